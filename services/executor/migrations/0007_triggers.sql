-- Why runs were started, and the memory that keeps automatic ones from being started twice.

ALTER TABLE execution ADD COLUMN trigger json NOT NULL DEFAULT '{"kind": "api"}';  -- Trigger

-- Runs that started by themselves. Their ids are made from notebook and fire time; the row outlives the run, so that a
-- command that is repeated after the run was removed starts nothing.
CREATE TABLE automatic_start (
    execution_id uuid PRIMARY KEY,
    notebook_id  uuid        NOT NULL REFERENCES notebook,
    accepted_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX automatic_start_of_notebook ON automatic_start (notebook_id);

-- A forced deletion that waits for runs to end lets no new one in meanwhile. It is over by itself, when the deletion is
-- given up.
ALTER TABLE notebook ADD COLUMN closing_until timestamptz;
