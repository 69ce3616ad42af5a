-- Which ended runs each project keeps. Without a row a project keeps all.
CREATE TABLE retention (
    tenant_id             uuid        NOT NULL,
    project_id            uuid        NOT NULL,
    max_age_days          integer,
    max_runs_per_notebook integer,
    max_bytes             bigint,
    modified_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    modified_by           text        NOT NULL,
    checked_at            timestamptz,                  -- when a control process last took it; null: never since its change
    applied_at            timestamptz,                  -- when it was last seen to hold
    PRIMARY KEY (tenant_id, project_id)
);
-- The one that waits longest is next.
CREATE INDEX retention_due ON retention (checked_at NULLS FIRST);
