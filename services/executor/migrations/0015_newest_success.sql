-- The newest completed run of a notebook, whose values `GET notebook/{id}/value` answers, however many failed after it.
CREATE INDEX execution_completed ON execution (notebook_id, accepted_at DESC, execution_id DESC) WHERE state = 'Completed';
