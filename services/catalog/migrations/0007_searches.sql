-- Searches that are counted once: the tally tells what has changed in a project since a moment, name by name.

-- A row of the tally says which notebook it is about and which transaction wrote it. What a database snapshot does not
-- see of it is what has changed since that snapshot: a count that was made then is exact again with those rows added.
ALTER TABLE notebook_tally
    ADD COLUMN notebook_id uuid,   -- null: many, folded into one row
    ADD COLUMN name_key    text,   -- the notebook's when the row was written; null as above
    ADD COLUMN xid         xid8 NOT NULL DEFAULT pg_current_xact_id();
-- Sums read a project's rows, changes since a snapshot the newest of them.
DROP INDEX notebook_tally_project;
CREATE INDEX notebook_tally_project ON notebook_tally (tenant_id, project_id, xid)
    INCLUDE (kernel_type, enrichment_mode, status, change);

-- As before, and for a change of the name too.
CREATE OR REPLACE FUNCTION keep_notebook_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.kernel_type, OLD.enrichment_mode, OLD.status, OLD.name_key, OLD.deleted_at IS NULL)
            = (NEW.kernel_type, NEW.enrichment_mode, NEW.status, NEW.name_key, NEW.deleted_at IS NULL) THEN
            RETURN NULL;
        END IF;
        IF OLD.deleted_at IS NULL THEN
            INSERT INTO notebook_tally (tenant_id, project_id, kernel_type, enrichment_mode, status, change, notebook_id, name_key)
            VALUES (OLD.tenant_id, OLD.project_id, OLD.kernel_type, OLD.enrichment_mode, OLD.status, -1,
                    OLD.notebook_id, OLD.name_key);
        END IF;
    END IF;
    IF NEW.deleted_at IS NULL THEN
        INSERT INTO notebook_tally (tenant_id, project_id, kernel_type, enrichment_mode, status, change, notebook_id, name_key)
        VALUES (NEW.tenant_id, NEW.project_id, NEW.kernel_type, NEW.enrichment_mode, NEW.status, 1,
                NEW.notebook_id, NEW.name_key);
    END IF;
    RETURN NULL;
END
$$;

-- Notebooks of the rarer enrichment mode, as those of a status and a kernel. All three carry the other two, so that what
-- a second filter leaves out costs no look at the table.
DROP INDEX notebook_by_status, notebook_by_kernel;
CREATE INDEX notebook_by_status ON notebook (tenant_id, project_id, status, created_at, notebook_id)
    INCLUDE (kernel_type, enrichment_mode)
    WHERE deleted_at IS NULL;
CREATE INDEX notebook_by_kernel ON notebook (tenant_id, project_id, kernel_type, created_at, notebook_id)
    INCLUDE (enrichment_mode, status)
    WHERE deleted_at IS NULL;
CREATE INDEX notebook_by_enrichment ON notebook (tenant_id, project_id, enrichment_mode, created_at, notebook_id)
    INCLUDE (kernel_type, status)
    WHERE deleted_at IS NULL;

-- All runs of a notebook: for its removal and the foreign key's, which look at purged ones too, and for its newest start.
CREATE INDEX execution_of_notebook ON execution (notebook_id, accepted_at);

-- The dataset that a version is bound to. The member is found in the text: taken apart as JSON, a NUL character anywhere
-- in it would be an error. It is written before all members that hold text of clients, so the first one is the version's.
CREATE FUNCTION bound_dataset(integration json) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT substring(integration::text FROM '"datasetBinding" ?: ?(?:null|"([0-9a-f-]{36})")') $$;
-- `Is any notebook bound to this dataset?`
CREATE INDEX notebook_version_bound ON notebook_version (bound_dataset(integration))
    WHERE bound_dataset(integration) IS NOT NULL;
