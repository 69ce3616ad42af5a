-- Templates that a project has made from its notebooks.

CREATE TABLE project_template (
    tenant_id   uuid        NOT NULL,
    project_id  uuid        NOT NULL,
    name        text        NOT NULL,
    description text        NOT NULL,
    kernel_type text        NOT NULL,
    environment json        NOT NULL,
    parameters  json        NOT NULL,   -- JSON Schema, worked out from the content
    cell_count  integer     NOT NULL,
    body        bytea       NOT NULL,   -- nbformat 4.5 as JSON, without outputs
    created_at  timestamptz NOT NULL,
    created_by  text        NOT NULL,
    PRIMARY KEY (tenant_id, project_id, name)
);
ALTER TABLE project_template ALTER COLUMN body SET COMPRESSION lz4;
