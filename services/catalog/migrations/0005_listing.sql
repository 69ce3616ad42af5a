-- Lists that cost the same in a large project as in a small one, and among a million notebooks as among a thousand.
--
-- Every list is confined to one project, so each index begins with tenant and project: what others have costs nothing.

-- The name index can be asked `which names contain this?`; it needs trigrams, and the project's id beside them in the
-- same index, or a search would read the matches of all projects. Both extensions are `trusted`: no superuser is needed.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;

-- One index for each order. Each carries what lists filter by, so that a page at any depth, under any filter, is found
-- in the index alone; the table is read for the notebooks that are shown, and for no others.
DROP INDEX notebook_by_creation, notebook_by_change, notebook_by_name, notebook_by_execution, notebook_by_status;
CREATE INDEX notebook_by_creation ON notebook (tenant_id, project_id, created_at, notebook_id)
    INCLUDE (kernel_type, enrichment_mode, status)
    WHERE deleted_at IS NULL;
CREATE INDEX notebook_by_change ON notebook (tenant_id, project_id, modified_at, notebook_id)
    INCLUDE (kernel_type, enrichment_mode, status)
    WHERE deleted_at IS NULL;
-- A search whose text is in very many names is counted here, too: a name is read from the index twenty times faster than
-- from the table. So it carries what such a search may be sorted by.
CREATE INDEX notebook_by_name ON notebook (tenant_id, project_id, name_key COLLATE "C", notebook_id)
    INCLUDE (kernel_type, enrichment_mode, status, created_at, modified_at, last_execution_date)
    WHERE deleted_at IS NULL;
-- Notebooks that never ran come last when the newest run is wanted first. The plain column is carried because an index on
-- an expression is not read alone without the columns that the expression is made of.
CREATE INDEX notebook_by_execution
    ON notebook (tenant_id, project_id, COALESCE(last_execution_date, '-infinity'::timestamptz), notebook_id)
    INCLUDE (kernel_type, enrichment_mode, status, last_execution_date)
    WHERE deleted_at IS NULL;
-- The few among many: notebooks that run or failed, and those of a kernel that a project hardly uses. Walking an order for
-- them would pass all the others.
CREATE INDEX notebook_by_status ON notebook (tenant_id, project_id, status, created_at, notebook_id)
    WHERE deleted_at IS NULL;
CREATE INDEX notebook_by_kernel ON notebook (tenant_id, project_id, kernel_type, created_at, notebook_id)
    WHERE deleted_at IS NULL;

-- The extension may have been in the database before, in a schema of its own.
DO $$
BEGIN
    EXECUTE format(
        'CREATE INDEX notebook_by_words ON notebook USING gin (project_id, name_key %I.gin_trgm_ops) WHERE deleted_at IS NULL',
        (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm')
    );
END
$$;
