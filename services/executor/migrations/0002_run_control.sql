-- Reruns, and the notebook of a run that is under way.

ALTER TABLE execution
    ADD COLUMN rerun_of  uuid,                          -- the run whose snapshot this one shares; it may be gone
    ADD COLUMN from_cell text;                          -- cells of the range before it are replayed, not counted

-- The executed notebook so far: a reader asks, the run's worker answers, the end of the run removes it.
CREATE TABLE execution_draft (
    execution_id uuid PRIMARY KEY REFERENCES execution ON DELETE CASCADE,
    asked_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    epoch        integer,                               -- of the worker that wrote it
    made_at      timestamptz,
    notebook     bytea                                  -- nbformat 4.5, JSON
);
