-- Notebooks, their versions and contents, and what their runs came to (a projection of executor's facts).
--
-- Client text that PostgreSQL could refuse (NUL characters, deep or odd JSON) is kept in bytea or json, never in jsonb:
-- json keeps the text as it was written.

-- One row a notebook: its present version, spread out for lists and filters, and the state of its runs.
CREATE TABLE notebook (
    notebook_id         uuid        PRIMARY KEY,
    tenant_id           uuid        NOT NULL,
    project_id          uuid        NOT NULL,
    name                text        NOT NULL,
    name_key            text        NOT NULL,            -- the name case-folded: searched and sorted by
    kernel_type         text        NOT NULL,
    enrichment_mode     boolean     NOT NULL,
    cell_count          integer     NOT NULL,
    version             text        NOT NULL,            -- the present row of notebook_version
    etag                text        NOT NULL,            -- changes with the definition only, never by a run
    highest_cell_number bigint      NOT NULL,            -- of all ids like cell-007 ever seen here; none is given twice
    created_at          timestamptz NOT NULL,
    created_by          text        NOT NULL,
    modified_at         timestamptz NOT NULL,            -- whole milliseconds, as clients see it; grows with each version
    deleted_at          timestamptz,                     -- hidden since then; the row goes once all it owns is gone
    status              text        NOT NULL DEFAULT 'Ready',
    last_execution_date timestamptz,                     -- when the newest run was accepted
    execution_count     bigint      NOT NULL DEFAULT 0
);

-- Lists are confined to a project and read in the order of one of these four indexes, by cursor from the place where
-- the last page ended, so that a page costs the same wherever it is. Each ends in the id, which makes the order total,
-- and leaves hidden notebooks out. Counting pages walks the index alone.
CREATE INDEX notebook_by_creation ON notebook (tenant_id, project_id, created_at, notebook_id)
    WHERE deleted_at IS NULL;
CREATE INDEX notebook_by_change ON notebook (tenant_id, project_id, modified_at, notebook_id)
    WHERE deleted_at IS NULL;
CREATE INDEX notebook_by_name ON notebook (tenant_id, project_id, name_key COLLATE "C", notebook_id)
    WHERE deleted_at IS NULL;
-- Notebooks that never ran come last when the newest run is wanted first.
CREATE INDEX notebook_by_execution
    ON notebook (tenant_id, project_id, COALESCE(last_execution_date, '-infinity'::timestamptz), notebook_id)
    WHERE deleted_at IS NULL;
-- The few that run or failed, among many that are ready.
CREATE INDEX notebook_by_status ON notebook (tenant_id, project_id, status, created_at, notebook_id)
    WHERE deleted_at IS NULL;
-- What the purge has still to do; nearly always empty.
CREATE INDEX notebook_hidden ON notebook (deleted_at) WHERE deleted_at IS NOT NULL;

-- The bytes of a notebook's cells, once per content however many versions have it.
CREATE TABLE content (
    notebook_id uuid  NOT NULL REFERENCES notebook ON DELETE CASCADE,
    sha256      bytea NOT NULL,
    body        bytea NOT NULL,   -- nbformat 4.5 as JSON, sorted keys, every code cell without outputs
    outputs     bytea,            -- the outputs an uploaded file came with, by cell id, so that an export has them again
    PRIMARY KEY (notebook_id, sha256)
);
-- Bodies are read on every GET; lz4 unpacks several times faster than the default.
ALTER TABLE content ALTER COLUMN body SET COMPRESSION lz4;
ALTER TABLE content ALTER COLUMN outputs SET COMPRESSION lz4;

-- Every version a notebook ever had; rows never change.
CREATE TABLE notebook_version (
    notebook_id    uuid        NOT NULL REFERENCES notebook ON DELETE CASCADE,
    version        text        NOT NULL,
    ordinal        bigint      NOT NULL,   -- 1, 2, 3 … within the notebook, the order of history
    name           text        NOT NULL,
    description    text,
    kernel_type    text        NOT NULL,
    integration    json        NOT NULL,
    environment    json        NOT NULL,
    parameters     json        NOT NULL,   -- JSON Schema, worked out from the content when the version was made
    content_sha256 bytea       NOT NULL,
    created_at     timestamptz NOT NULL,
    created_by     text        NOT NULL,
    change_message text,
    PRIMARY KEY (notebook_id, version),
    UNIQUE (notebook_id, ordinal),
    FOREIGN KEY (notebook_id, content_sha256) REFERENCES content (notebook_id, sha256)
);

-- Every cell id a notebook ever had: when the cell last changed, and what its latest run came to.
CREATE TABLE cell (
    notebook_id      uuid        NOT NULL REFERENCES notebook ON DELETE CASCADE,
    cell_id          text        NOT NULL,
    modified_at      timestamptz NOT NULL,
    run_ended_at     timestamptz,             -- end of the run that the next four tell of; older ends change nothing
    execution_count  integer,
    has_output       boolean     NOT NULL DEFAULT false,
    last_executed    timestamptz,
    execution_status text,
    PRIMARY KEY (notebook_id, cell_id)
);

-- Runs as heard from executor. A fact counts only when its number is higher than the last one heard.
CREATE TABLE execution (
    execution_id    uuid        PRIMARY KEY,
    notebook_id     uuid        NOT NULL REFERENCES notebook ON DELETE CASCADE,
    last_seq        bigint      NOT NULL,
    active          boolean     NOT NULL,     -- accepted and not ended
    accepted_at     timestamptz NOT NULL,
    ended_at        timestamptz,
    outcome         text,                     -- Completed, Error or Cancelled
    notebook_status text,                     -- what the notebook is if this run is the one that ended last
    purged          boolean     NOT NULL DEFAULT false  -- removed by its owner; kept so that a late fact does not revive it
);
-- `Is any run of this notebook not ended?` Few rows at any time.
CREATE INDEX execution_active ON execution (notebook_id) WHERE active;
-- `Which one ended last?`
CREATE INDEX execution_ended ON execution (notebook_id, ended_at, execution_id) WHERE ended_at IS NOT NULL AND NOT purged;
-- `When was the newest accepted?`
CREATE INDEX execution_accepted ON execution (notebook_id, accepted_at) WHERE NOT purged;

-- How many notebooks a project has, by what lists filter on: the sum of `change` over its rows. Each change of a notebook
-- adds a row and never waits for another writer; the purge folds the rows of a project into one for each kind.
CREATE TABLE notebook_tally (
    tally_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       uuid    NOT NULL,
    project_id      uuid    NOT NULL,
    kernel_type     text    NOT NULL,
    enrichment_mode boolean NOT NULL,
    status          text    NOT NULL,
    change          bigint  NOT NULL
);
CREATE INDEX notebook_tally_project ON notebook_tally (tenant_id, project_id) INCLUDE (kernel_type, enrichment_mode, status, change);

-- A trigger keeps the tally, because whatever path a change takes the count must be exact.
CREATE FUNCTION keep_notebook_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.kernel_type, OLD.enrichment_mode, OLD.status, OLD.deleted_at IS NULL)
            = (NEW.kernel_type, NEW.enrichment_mode, NEW.status, NEW.deleted_at IS NULL) THEN
            RETURN NULL;
        END IF;
        IF OLD.deleted_at IS NULL THEN
            INSERT INTO notebook_tally (tenant_id, project_id, kernel_type, enrichment_mode, status, change)
            VALUES (OLD.tenant_id, OLD.project_id, OLD.kernel_type, OLD.enrichment_mode, OLD.status, -1);
        END IF;
    END IF;
    IF NEW.deleted_at IS NULL THEN
        INSERT INTO notebook_tally (tenant_id, project_id, kernel_type, enrichment_mode, status, change)
        VALUES (NEW.tenant_id, NEW.project_id, NEW.kernel_type, NEW.enrichment_mode, NEW.status, 1);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER notebook_tally AFTER INSERT OR UPDATE ON notebook
    FOR EACH ROW EXECUTE FUNCTION keep_notebook_tally();
