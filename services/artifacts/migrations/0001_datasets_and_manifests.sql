-- Datasets and the sealed manifests of runs. The bytes are in the object store; a row here is what makes them exist.

-- The present state of each dataset. `version` is the one that a run binds unless told otherwise.
CREATE TABLE dataset (
    dataset_id    uuid        PRIMARY KEY,
    tenant_id     uuid        NOT NULL,
    project_id    uuid        NOT NULL,
    dataset_name  text        NOT NULL,
    version       integer     NOT NULL,
    date_created  timestamptz NOT NULL DEFAULT clock_timestamp(),
    date_modified timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by    text        NOT NULL
);
CREATE INDEX dataset_by_age ON dataset (tenant_id, project_id, date_created DESC, dataset_id DESC);

-- Every version of a dataset, immutable: runs pin one.
CREATE TABLE dataset_version (
    dataset_id      uuid        NOT NULL REFERENCES dataset ON DELETE CASCADE,
    version         integer     NOT NULL,
    object_key      text        NOT NULL UNIQUE,
    record_count    bigint      NOT NULL,
    case_count      bigint,
    columns         text        NOT NULL,  -- JSON: [{"name", "type"}]
    case_id_column  text,
    activity_column text,
    time_column     text,
    size_bytes      bigint      NOT NULL,  -- of the Parquet object
    sha256          text        NOT NULL,  -- of the Parquet object
    source          text        NOT NULL,  -- JSON: what was uploaded (format, encoding, delimiter, size, hash)
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (dataset_id, version)
);

-- Objects that a process is uploading and no row refers to yet. The committing transaction takes the row out; the
-- rows of a process whose lease is over go to `removal`.
CREATE TABLE unsealed_object (
    object_key text        PRIMARY KEY,
    owner      uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Objects to remove, each by key or by prefix. A row leaves when the object store has done it.
CREATE TABLE removal (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    prefix text        NOT NULL,
    due_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX removal_due ON removal (due_at);

-- Notebooks and executions that are gone for ever: nothing may be registered for them again (DESIGN.md decision 5).
CREATE TABLE tombstone (
    id         uuid        PRIMARY KEY,  -- a notebook's or an execution's
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    purged_at  timestamptz               -- when its last object and row were removed
);

-- What a run registered under one epoch. Invisible until executor's terminal commit names the epoch (decision 6).
CREATE TABLE manifest (
    execution_id uuid        NOT NULL,
    epoch        integer     NOT NULL,
    tenant_id    uuid        NOT NULL,
    project_id   uuid        NOT NULL,
    notebook_id  uuid        NOT NULL,
    final        boolean     NOT NULL DEFAULT false,
    sealed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (execution_id, epoch)
);
CREATE INDEX manifest_by_notebook ON manifest (notebook_id);

CREATE TABLE artifact (
    execution_id      uuid    NOT NULL,
    epoch             integer NOT NULL,
    artifact_id       uuid    NOT NULL,
    position          integer NOT NULL,
    kind              text    NOT NULL,
    categories        text[]  NOT NULL,  -- which `outputType` filters show it, besides `all`
    name              text    NOT NULL,
    file_name         text    NOT NULL,
    content_type      text    NOT NULL,
    size_bytes        bigint  NOT NULL,
    sha256            text    NOT NULL,
    object_key        text,              -- either this
    inline            bytea,             -- or this holds the bytes
    cell_id           text,
    output_type       text,
    title             text,
    width             integer,
    height            integer,
    content           bytea,             -- JSON; bytea because text refuses the NUL character that outputs may hold
    content_truncated boolean NOT NULL,
    details           bytea   NOT NULL,  -- JSON
    PRIMARY KEY (execution_id, epoch, artifact_id),
    FOREIGN KEY (execution_id, epoch) REFERENCES manifest ON DELETE CASCADE,
    CHECK ((object_key IS NULL) <> (inline IS NULL))
);
CREATE INDEX artifact_in_order ON artifact (execution_id, epoch, position, artifact_id);
