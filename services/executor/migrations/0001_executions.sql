-- What executor knows of a notebook: the lock that orders its runs against its deletion, and what its runs amounted to.
CREATE TABLE notebook (
    notebook_id      uuid PRIMARY KEY,
    tenant_id        uuid        NOT NULL,
    project_id       uuid        NOT NULL,
    blocked_at       timestamptz,                       -- tombstone: being deleted, no run may start (decision 5)
    status           text        NOT NULL DEFAULT 'Ready',  -- by the run that ended last: Ready, Error, Kernel_Dead
    last_ended_at    timestamptz,
    last_accepted_at timestamptz,
    execution_count  integer     NOT NULL DEFAULT 0,
    cells            json        NOT NULL DEFAULT '{}'  -- cell id -> CellActivity, from the run that ended last
);

-- Quotas are counters locked by the claim and given back by the terminal transaction (decision 5).
CREATE TABLE tenant (
    tenant_id  uuid PRIMARY KEY,
    queued     integer NOT NULL DEFAULT 0,
    active     integer NOT NULL DEFAULT 0,
    max_active integer,                                 -- null: the setting's default
    max_queued integer,
    served_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- The claim looks for tenants with waiting work, least served first.
CREATE INDEX tenant_waiting ON tenant (active, served_at) WHERE queued > 0;

CREATE TABLE worker (
    worker_id  uuid PRIMARY KEY,
    expires_at timestamptz NOT NULL,                    -- the lease of all its runs
    slots      integer     NOT NULL,
    host       text        NOT NULL
);

CREATE TABLE execution (
    execution_id     uuid PRIMARY KEY,
    tenant_id        uuid        NOT NULL,
    project_id       uuid        NOT NULL,
    notebook_id      uuid        NOT NULL REFERENCES notebook,
    notebook_version text        NOT NULL,
    state            text        NOT NULL CHECK (state IN
                     ('Queued', 'Claimed', 'Running', 'Collecting', 'Completed', 'Error', 'Cancelled')),
    phase            text,
    epoch            integer     NOT NULL DEFAULT 0,    -- raised by every claim; writes of an older one are refused
    attempt          integer     NOT NULL DEFAULT 0,
    worker_id        uuid,
    priority         smallint    NOT NULL,              -- 0 Low, 1 Normal, 2 High
    accepted_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,                       -- when it left the queue (the last time)
    ended_at         timestamptz,
    queue_deadline   timestamptz,
    cancel_requested_at timestamptz,
    created_by       text        NOT NULL,
    request          json        NOT NULL,              -- ExecutionRequest as accepted
    warnings         json        NOT NULL DEFAULT '[]',
    estimated_seconds double precision,
    last_seq         integer     NOT NULL DEFAULT 0,
    current_cell     text,
    progress         json        NOT NULL,
    outputs          json        NOT NULL DEFAULT '{}',
    resources        json        NOT NULL DEFAULT '{}',
    error_type       text,
    error_message    text,
    failed_cell      text,
    manifest_epoch   integer,                           -- artifacts registered under this epoch are this run's results
    traceparent      text,
    correlation_id   uuid        NOT NULL
);
-- The head of a tenant's queue.
CREATE INDEX execution_queue ON execution (tenant_id, priority DESC, accepted_at) WHERE state = 'Queued';
-- What a worker holds, and what the sweeper looks through.
CREATE INDEX execution_held ON execution (worker_id) WHERE state IN ('Claimed', 'Running', 'Collecting');
-- Histories, newest first, by keyset.
CREATE INDEX execution_by_notebook ON execution (notebook_id, accepted_at DESC, execution_id DESC);
CREATE INDEX execution_by_project ON execution (tenant_id, project_id, accepted_at DESC, execution_id DESC);
CREATE INDEX execution_queue_deadline ON execution (queue_deadline) WHERE state = 'Queued';

-- What to run: the pinned notebook version and dataset version, as catalog and artifacts gave them.
CREATE TABLE execution_snapshot (
    execution_id uuid PRIMARY KEY REFERENCES execution ON DELETE CASCADE,
    notebook     bytea NOT NULL,                        -- PinnedNotebook, JSON
    dataset      json                                   -- PinnedDataset, or null
);

CREATE TABLE execution_cell (
    execution_id uuid    NOT NULL REFERENCES execution ON DELETE CASCADE,
    position     integer NOT NULL,
    cell_id      text    NOT NULL,
    result       json    NOT NULL,                      -- CellResult
    PRIMARY KEY (execution_id, position)
);

-- Every fact of a run under its gapless number, for SSE replay.
CREATE TABLE execution_event (
    execution_id uuid    NOT NULL REFERENCES execution ON DELETE CASCADE,
    sequence     integer NOT NULL,
    body         bytea   NOT NULL,                      -- the whole envelope
    PRIMARY KEY (execution_id, sequence)
);
