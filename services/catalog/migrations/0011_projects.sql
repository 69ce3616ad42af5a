-- The projects of tenants. Those that older releases wrote to, or made keys for, are taken over; a schema that is not there
-- has none.
CREATE TABLE project (
    tenant_id  uuid        NOT NULL,
    project_id uuid        NOT NULL,
    name       text,
    created_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
    created_by text,                   -- null: taken over
    PRIMARY KEY (tenant_id, project_id)
);
CREATE INDEX project_created ON project (tenant_id, created_at DESC, project_id DESC);

INSERT INTO project (tenant_id, project_id) SELECT DISTINCT tenant_id, project_id FROM notebook;

DO $$
DECLARE
    source text;
BEGIN
    FOREACH source IN ARRAY ARRAY['artifacts.dataset', 'artifacts.library', 'executor.retention', 'gateway.api_key'] LOOP
        IF to_regclass(source) IS NOT NULL THEN
            EXECUTE format(
                'INSERT INTO project (tenant_id, project_id) '
                'SELECT DISTINCT tenant_id, project_id FROM %s WHERE project_id IS NOT NULL ON CONFLICT DO NOTHING',
                source
            );
        END IF;
    END LOOP;
END
$$;
