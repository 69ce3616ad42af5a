-- Attempts by policy: a run whose attempt failed waits as `Delayed` until the next is due, then it is `Queued` again.
-- Releases before this one know no such state: they neither claim nor sweep it.

ALTER TABLE execution DROP CONSTRAINT execution_state_check;
ALTER TABLE execution ADD CONSTRAINT execution_state_check CHECK (state IN
    ('Queued', 'Delayed', 'Claimed', 'Running', 'Collecting', 'Completed', 'Error', 'Cancelled')) NOT VALID;
ALTER TABLE execution
    ADD COLUMN retry_at timestamptz,                    -- when the next attempt is due
    ADD COLUMN retries  integer NOT NULL DEFAULT 0,     -- attempts that the run's policy has begun or promised
    ADD COLUMN losses   integer NOT NULL DEFAULT 0;     -- attempts whose worker was lost
CREATE INDEX execution_due ON execution (retry_at) WHERE state = 'Delayed';

-- Runs that are `Delayed`: no work that waits for a worker, but a place in the tenant's queue.
ALTER TABLE tenant ADD COLUMN delayed integer NOT NULL DEFAULT 0;

-- The attempts of a run but its last, which the run itself tells of.
CREATE TABLE execution_attempt (
    execution_id   uuid        NOT NULL REFERENCES execution ON DELETE CASCADE,
    attempt        integer     NOT NULL,
    started_at     timestamptz NOT NULL,
    ended_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    error_type     text        NOT NULL,
    error_message  text,
    failed_cell    text,
    manifest_epoch integer,                             -- artifacts registered under this epoch are this attempt's
    PRIMARY KEY (execution_id, attempt)
);
