-- What runs by itself: when it is to run next, and each time that it was to run with what became of it.

-- The clock of schedules: the database's, one for all replicas. Tests that live through hours put another in its place.
CREATE FUNCTION schedule_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

-- One row for each notebook whose present version runs by itself, or ever did: the definition's members, spread out.
-- It is the lock of everything that makes fires: a deletion removes it first, and none is made after that. Taken after
-- the notebook's lock, never before.
CREATE TABLE automation (
    notebook_id     uuid        PRIMARY KEY REFERENCES notebook ON DELETE CASCADE,
    tenant_id       uuid        NOT NULL,
    project_id      uuid        NOT NULL,
    cron            text,                                -- null: no schedule
    time_zone       text        NOT NULL,
    overlap         text        NOT NULL,
    misfire         text        NOT NULL,
    jitter          integer     NOT NULL,                -- seconds
    parameters      json        NOT NULL,                -- of all automatic runs
    paused_at       timestamptz,
    paused_by       text,
    next_fire_at    timestamptz,                         -- the first time that has no fire yet; null: none is to come
    due_at          timestamptz,                         -- that time with its jitter
    dataset_id      uuid,                                -- whose new data starts it; null: autoExecution is off
    dataset_version integer     NOT NULL DEFAULT 0,      -- the newest version heard of or read by such a run
    chained_at      timestamptz                          -- when it was last started as part of a chain
);
-- `Which schedule is due?`
CREATE INDEX automation_due ON automation (due_at) WHERE due_at IS NOT NULL;
-- `Which notebooks run on new data of this dataset?`
CREATE INDEX automation_of_dataset ON automation (tenant_id, project_id, dataset_id) WHERE dataset_id IS NOT NULL;

-- `integration.runAfter` of present versions. A notebook that is deleted is not waited for any more.
CREATE TABLE chain_link (
    notebook_id uuid NOT NULL REFERENCES automation ON DELETE CASCADE,
    after_id    uuid NOT NULL,
    PRIMARY KEY (notebook_id, after_id)
);
CREATE INDEX chain_link_after ON chain_link (after_id);

-- Every time that a notebook was to run by itself: exactly one row for one reason and time. No foreign key: the check
-- would take the notebook's lock after the automation's.
CREATE TABLE fire (
    fire_id      uuid        PRIMARY KEY,                -- also the execution's id and the command's
    notebook_id  uuid        NOT NULL,
    tenant_id    uuid        NOT NULL,
    project_id   uuid        NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('schedule', 'manual', 'dataset', 'chain')),
    fire_at      timestamptz NOT NULL,
    due_at       timestamptz NOT NULL,                   -- by the clock of schedules
    state        text        NOT NULL CHECK (state IN ('waiting', 'sending', 'started', 'skipped')),
    reason       text,
    trigger      json        NOT NULL,                   -- Trigger
    subject      text        NOT NULL,                   -- who the run is said to be created by
    overlap      text        NOT NULL,                   -- what StartExecution is told
    attempts     integer     NOT NULL DEFAULT 0,
    try_at       timestamptz NOT NULL DEFAULT clock_timestamp(),  -- not to be sent (again) before, by the real clock
    decided_at   timestamptz,
    UNIQUE (notebook_id, kind, fire_at)
);
-- What is still to be sent.
CREATE INDEX fire_open ON fire (notebook_id, fire_at, fire_id) WHERE state IN ('waiting', 'sending');
-- Histories, newest first, by keyset.
CREATE INDEX fire_by_notebook ON fire (notebook_id, fire_at DESC, fire_id DESC);
-- What may be forgotten.
CREATE INDEX fire_decided ON fire (decided_at) WHERE decided_at IS NOT NULL;
