-- Libraries that projects uploaded for their notebooks: wheels and single modules. The bytes are in the object store.
CREATE TABLE library (
    tenant_id    uuid        NOT NULL,
    project_id   uuid        NOT NULL,
    name_key     text        NOT NULL,                  -- the name in normal form (PEP 503)
    library_name text        NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('wheel', 'module')),
    version      text,
    requires     text[]      NOT NULL,
    file_name    text        NOT NULL,
    object_key   text        NOT NULL UNIQUE,
    size_bytes   bigint      NOT NULL,
    sha256       text        NOT NULL,
    date_created timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by   text        NOT NULL,
    PRIMARY KEY (tenant_id, project_id, name_key)
);
