-- What is known of the values in each column of a version, which is computed after the version has become visible.
ALTER TABLE dataset_version
    ADD COLUMN profile_state   text        NOT NULL DEFAULT 'Pending'
                               CHECK (profile_state IN ('Pending', 'Ready', 'Failed')),
    ADD COLUMN profile         text,                       -- JSON: [{"name", "nullCount", ...}]
    ADD COLUMN profile_tries   integer     NOT NULL DEFAULT 0,
    ADD COLUMN profile_due_at  timestamptz NOT NULL DEFAULT clock_timestamp();  -- a claim puts it off
CREATE INDEX dataset_version_to_profile ON dataset_version (profile_due_at) WHERE profile_state = 'Pending';

-- How far the uploads are whose senders want to know. Rows are of no consequence and go after a day.
CREATE TABLE dataset_upload (
    tenant_id      uuid        NOT NULL,
    project_id     uuid        NOT NULL,
    upload_id      uuid        NOT NULL,  -- the sender's own
    dataset_id     uuid        NOT NULL,
    owner          uuid        NOT NULL,  -- the process that receives it
    phase          text        NOT NULL CHECK (phase IN ('Receiving', 'Converting', 'Storing', 'Ready', 'Failed')),
    bytes_received bigint      NOT NULL DEFAULT 0,
    rows_converted bigint      NOT NULL DEFAULT 0,
    error          text,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    modified_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, project_id, upload_id)
);
CREATE INDEX dataset_upload_by_age ON dataset_upload (modified_at);
