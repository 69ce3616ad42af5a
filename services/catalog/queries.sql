-- The catalog's statements. Pages of lists are put together in listing.py, from the fragments a list asks for.

-- name: get
-- A notebook as GET shows it: its present version, its cells' bytes, and the cells' times and runs as one JSON array.
SELECT n.notebook_id, n.tenant_id, n.project_id, n.version, n.etag, n.highest_cell_number,
       n.created_at, n.created_by, n.modified_at, n.status, n.last_execution_date, n.execution_count,
       v.ordinal, v.name, v.description, v.kernel_type, v.integration, v.environment, v.parameters,
       v.content_sha256, c.body,
       (SELECT json_agg(json_build_array(cell_id, modified_at, execution_count, has_output, last_executed,
                                         execution_status))
        FROM cell WHERE cell.notebook_id = n.notebook_id) AS cells
FROM notebook n
JOIN notebook_version v ON v.notebook_id = n.notebook_id AND v.version = n.version
JOIN content c ON c.notebook_id = n.notebook_id AND c.sha256 = v.content_sha256
WHERE n.notebook_id = $1 AND n.tenant_id = $2 AND n.project_id = $3 AND n.deleted_at IS NULL

-- name: lock
-- Take a notebook for a change; others wait. The clock is the database's, one for all replicas.
SELECT version, etag, modified_at, highest_cell_number, clock_timestamp() AS now,
    reserved_until > clock_timestamp() AS reserved
FROM notebook
WHERE notebook_id = $1 AND tenant_id = $2 AND project_id = $3 AND deleted_at IS NULL
FOR UPDATE

-- name: version
-- One version with its content; without a number the present one.
SELECT v.version, v.ordinal, v.name, v.description, v.kernel_type, v.integration, v.environment, v.parameters,
       v.content_sha256, v.created_at, v.created_by, v.change_message, v.restored_from, c.body, c.outputs,
       f.body AS files
FROM notebook n
JOIN notebook_version v ON v.notebook_id = n.notebook_id AND v.version = COALESCE($4, n.version)
JOIN content c ON c.notebook_id = n.notebook_id AND c.sha256 = v.content_sha256
LEFT JOIN file_set f ON f.notebook_id = n.notebook_id AND f.sha256 = v.files_sha256
WHERE n.notebook_id = $1 AND n.tenant_id = $2 AND n.project_id = $3 AND n.deleted_at IS NULL

-- name: files
-- The files of one version; without a number of the present one.
SELECT n.version AS present, n.etag, n.modified_at, v.version, f.body AS files
FROM notebook n
JOIN notebook_version v ON v.notebook_id = n.notebook_id AND v.version = COALESCE($4, n.version)
LEFT JOIN file_set f ON f.notebook_id = n.notebook_id AND f.sha256 = v.files_sha256
WHERE n.notebook_id = $1 AND n.tenant_id = $2 AND n.project_id = $3 AND n.deleted_at IS NULL

-- name: used_contents
-- Those of the hashes $4 that some version of the notebook has.
SELECT c.sha256 FROM file_content c JOIN notebook n USING (notebook_id)
WHERE c.notebook_id = $1 AND n.tenant_id = $2 AND n.project_id = $3 AND n.deleted_at IS NULL AND c.sha256 = ANY($4::text[])

-- name: content_size
-- Bytes of the contents of some versions as stored; null in $4 is the present one.
SELECT COALESCE(sum(octet_length(c.body) + COALESCE(octet_length(c.outputs), 0)), 0)::bigint
FROM notebook n
CROSS JOIN unnest($4::text[]) AS wanted (version)
JOIN notebook_version v ON v.notebook_id = n.notebook_id AND v.version = COALESCE(wanted.version, n.version)
JOIN content c ON c.notebook_id = n.notebook_id AND c.sha256 = v.content_sha256
WHERE n.notebook_id = $1 AND n.tenant_id = $2 AND n.project_id = $3 AND n.deleted_at IS NULL

-- name: versions
-- A stretch of a notebook's history, newest first, before an ordinal. Read along the index on (notebook_id, ordinal).
SELECT version, ordinal, name, kernel_type, content_sha256, created_at, created_by, change_message, restored_from
FROM notebook_version
WHERE notebook_id = $1 AND ordinal < $2
ORDER BY ordinal DESC
LIMIT $3 OFFSET $4

-- name: history_length
-- How many versions a notebook has: they are numbered without gaps, and none goes before the notebook does.
SELECT v.ordinal
FROM notebook n
JOIN notebook_version v ON v.notebook_id = n.notebook_id AND v.version = n.version
WHERE n.notebook_id = $1 AND n.tenant_id = $2 AND n.project_id = $3 AND n.deleted_at IS NULL

-- name: standing
-- What a precondition is checked against.
SELECT version, etag, modified_at
FROM notebook
WHERE notebook_id = $1 AND tenant_id = $2 AND project_id = $3 AND deleted_at IS NULL

-- name: bound_to
-- The notebooks whose present version is bound to a dataset.
SELECT n.name FROM notebook n
JOIN notebook_version v ON v.notebook_id = n.notebook_id AND v.version = n.version
WHERE n.tenant_id = $1 AND n.project_id = $2 AND n.deleted_at IS NULL AND bound_dataset(v.integration) = $3
ORDER BY n.created_at LIMIT 4

-- name: clock
-- The time by the database's clock, one for all replicas.
SELECT clock_timestamp()

-- name: insert_notebook
INSERT INTO notebook (notebook_id, tenant_id, project_id, name, name_key, kernel_type, enrichment_mode, cell_count,
                      version, etag, highest_cell_number, created_at, created_by, modified_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, date_trunc('milliseconds', $12::timestamptz))

-- name: insert_content
-- Equal contents of a notebook are kept once.
INSERT INTO content (notebook_id, sha256, body, outputs) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING

-- name: insert_file_set
-- Equal sets of files of a notebook are kept once.
INSERT INTO file_set (notebook_id, sha256, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: insert_file_contents
INSERT INTO file_content (notebook_id, sha256) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING

-- name: insert_version
-- The next version of a locked or new notebook.
INSERT INTO notebook_version (notebook_id, version, ordinal, name, description, kernel_type, integration, environment,
                              parameters, content_sha256, created_at, created_by, change_message, restored_from,
                              files_sha256)
SELECT $1, $2, COALESCE(max(ordinal), 0) + 1, $3, $4, $5, $6::json, $7::json, $8::json, $9, $10, $11, $12, $13, $14
FROM notebook_version
WHERE notebook_id = $1

-- name: update_notebook
UPDATE notebook
SET name = $2, name_key = $3, kernel_type = $4, enrichment_mode = $5, cell_count = $6, version = $7, etag = $8,
    highest_cell_number = $9, modified_at = $10
WHERE notebook_id = $1

-- name: touch_cells
-- New and changed cells; a cell that comes back keeps what its runs came to.
INSERT INTO cell (notebook_id, cell_id, modified_at)
SELECT $1, unnest($2::text[]), $3
ON CONFLICT (notebook_id, cell_id) DO UPDATE SET modified_at = excluded.modified_at

-- name: reserve
-- Nobody may change the notebook for $2 seconds; with null from now on again.
UPDATE notebook SET reserved_until = clock_timestamp() + $2::float8 * interval '1 s' WHERE notebook_id = $1

-- name: hide
-- First step of a deletion: no reader sees the notebook from here on.
UPDATE notebook SET deleted_at = clock_timestamp()
WHERE notebook_id = $1 AND tenant_id = $2 AND project_id = $3 AND deleted_at IS NULL
RETURNING name, version

-- name: next_hidden
-- A hidden notebook to remove. Two replicas never take the same.
SELECT notebook_id FROM notebook WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: remove_versions
-- Some of a hidden notebook's versions: a long history goes in several short transactions.
DELETE FROM notebook_version
WHERE notebook_id = $1
  AND ordinal IN (SELECT ordinal FROM notebook_version WHERE notebook_id = $1 ORDER BY ordinal LIMIT $2)

-- name: remove_contents
DELETE FROM content
WHERE notebook_id = $1 AND sha256 IN (SELECT sha256 FROM content WHERE notebook_id = $1 LIMIT $2)

-- name: remove_file_sets
DELETE FROM file_set
WHERE notebook_id = $1 AND sha256 IN (SELECT sha256 FROM file_set WHERE notebook_id = $1 LIMIT $2)

-- name: remove_executions
DELETE FROM execution
WHERE execution_id IN (SELECT execution_id FROM execution WHERE notebook_id = $1 LIMIT $2)

-- name: remove_notebook
-- The rest; cells go with it.
DELETE FROM notebook WHERE notebook_id = $1 AND deleted_at IS NOT NULL

-- name: fold_tallies
-- Replace the rows of projects that have many by their sums, at most $2 rows at once; gives how many were taken. Readers
-- see the rows before or after, never both. A sum of
-- nothing stays, to tell that rows were folded. Rows of a transaction that is yet to come are another server's, from before
-- a restore; folded, they get a number of this one.
WITH crowded AS (
    SELECT tenant_id, project_id FROM notebook_tally
    GROUP BY tenant_id, project_id
    HAVING count(*) > $1 OR bool_or(xid >= pg_snapshot_xmax(pg_current_snapshot()))
), taken AS (
    DELETE FROM notebook_tally WHERE tally_id IN (
        SELECT t.tally_id FROM notebook_tally t JOIN crowded USING (tenant_id, project_id) LIMIT $2
        FOR UPDATE OF t SKIP LOCKED
    )
    RETURNING tenant_id, project_id, kernel_type, enrichment_mode, status, change
), folded AS (
    INSERT INTO notebook_tally (tenant_id, project_id, kernel_type, enrichment_mode, status, change)
    SELECT tenant_id, project_id, kernel_type, enrichment_mode, status, sum(change)
    FROM taken
    GROUP BY tenant_id, project_id, kernel_type, enrichment_mode, status
)
SELECT count(*) FROM taken

-- name: forget_tally
-- A notebook's own rows of the tally hold its name. What they add up to stays without it, as after folding.
WITH taken AS (
    DELETE FROM notebook_tally t USING notebook n
    WHERE n.notebook_id = $1 AND t.tenant_id = n.tenant_id AND t.project_id = n.project_id AND t.notebook_id = $1
    RETURNING t.tenant_id, t.project_id, t.kernel_type, t.enrichment_mode, t.status, t.change
)
INSERT INTO notebook_tally (tenant_id, project_id, kernel_type, enrichment_mode, status, change)
SELECT tenant_id, project_id, kernel_type, enrichment_mode, status, sum(change)
FROM taken
GROUP BY tenant_id, project_id, kernel_type, enrichment_mode, status

-- name: count_search
-- Every notebook whose name is LIKE $3, by kind, with the snapshot that this statement sees. The last column says whether
-- that snapshot sees all rows of the tally: right after a restore it does not, as their numbers are another server's.
SELECT found.*, pg_current_snapshot()::text AS snapshot, pg_postmaster_start_time() AS server_start,
       tally.project_size, tally.is_lasting
FROM (
    SELECT COALESCE(sum(change), 0)::bigint AS project_size,
           COALESCE(bool_and(pg_visible_in_snapshot(xid, pg_current_snapshot())), true) AS is_lasting
    FROM notebook_tally WHERE tenant_id = $1 AND project_id = $2
) AS tally LEFT JOIN (
    SELECT kernel_type, enrichment_mode, status, count(*) AS number, array_agg(notebook_id) AS notebook_ids
    FROM notebook
    WHERE tenant_id = $1 AND project_id = $2 AND deleted_at IS NULL AND name_key LIKE $3
    GROUP BY kernel_type, enrichment_mode, status
) AS found ON true

-- name: changed_names
-- What has changed since snapshot $4 among the notebooks whose names are LIKE $3, by kind; folded rows may be about them.
SELECT changed.*, pg_postmaster_start_time() AS server_start
FROM (SELECT) AS always LEFT JOIN (
    SELECT kernel_type, enrichment_mode, status, sum(change)::bigint AS change, array_agg(notebook_id) AS notebook_ids,
           bool_or(name_key IS NULL) AS folded
    FROM notebook_tally
    WHERE tenant_id = $1 AND project_id = $2 AND xid >= pg_snapshot_xmin($4::text::pg_snapshot)
      AND NOT pg_visible_in_snapshot(xid, $4::text::pg_snapshot) AND (name_key IS NULL OR name_key LIKE $3)
    GROUP BY kernel_type, enrichment_mode, status
) AS changed ON true

-- name: count_kinds
-- How many notebooks a project has, by what lists filter on.
SELECT kernel_type, enrichment_mode, status, sum(change)::bigint AS number
FROM notebook_tally
WHERE tenant_id = $1 AND project_id = $2
GROUP BY kernel_type, enrichment_mode, status

-- name: lock_for_run
-- Take a notebook to write down a fact about a run of it. Nothing is returned for one that is hidden or gone.
SELECT status FROM notebook
WHERE notebook_id = $1 AND tenant_id = $2 AND project_id = $3 AND deleted_at IS NULL
FOR UPDATE

-- name: hear_of_run
-- Write down what a fact says of a run, unless a later one has been heard. Returns nothing then.
INSERT INTO execution (execution_id, notebook_id, last_seq, active, accepted_at, ended_at, outcome, notebook_status)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (execution_id) DO UPDATE
SET last_seq = excluded.last_seq, active = excluded.active,
    -- Of a start it is reckoned from rounded seconds, and known better.
    accepted_at = CASE WHEN excluded.active THEN execution.accepted_at ELSE excluded.accepted_at END,
    ended_at = excluded.ended_at, outcome = excluded.outcome, notebook_status = excluded.notebook_status
WHERE execution.last_seq < excluded.last_seq AND NOT execution.purged
RETURNING (xmax = 0) AS is_new

-- name: forget_run
-- A run was removed by its owner. The row stays, so that a late fact does not bring it back, and goes on to count. Returns
-- nothing when the removal was known already.
INSERT INTO execution (execution_id, notebook_id, last_seq, active, accepted_at, purged)
VALUES ($1, $2, 0, false, clock_timestamp(), true)
ON CONFLICT (execution_id) DO UPDATE SET purged = true, active = false WHERE NOT execution.purged
RETURNING (xmax = 0) AS is_new

-- name: refresh_state
-- A notebook's state from its runs: running while any has not ended, else what the one that ended last left behind.
UPDATE notebook n
SET execution_count = n.execution_count + $2,
    last_execution_date = (
        SELECT max(e.accepted_at) FROM execution e WHERE e.notebook_id = n.notebook_id AND NOT e.purged
    ),
    status = CASE
        WHEN EXISTS (SELECT FROM execution e WHERE e.notebook_id = n.notebook_id AND e.active) THEN 'Running'
        ELSE COALESCE((
            SELECT e.notebook_status FROM execution e
            WHERE e.notebook_id = n.notebook_id AND e.ended_at IS NOT NULL AND NOT e.purged
            ORDER BY e.ended_at DESC, e.execution_id DESC LIMIT 1
        ), 'Ready')
    END
WHERE n.notebook_id = $1

-- name: recount_state
-- As refresh_state, with every number counted anew. $2 is executor's count, null where that is not known; removed runs
-- count in both.
UPDATE notebook n
SET execution_count = GREATEST((SELECT count(*) FROM execution e WHERE e.notebook_id = n.notebook_id), $2::integer),
    last_execution_date = (
        SELECT max(e.accepted_at) FROM execution e WHERE e.notebook_id = n.notebook_id AND NOT e.purged
    ),
    status = CASE
        WHEN EXISTS (SELECT FROM execution e WHERE e.notebook_id = n.notebook_id AND e.active) THEN 'Running'
        ELSE COALESCE((
            SELECT e.notebook_status FROM execution e
            WHERE e.notebook_id = n.notebook_id AND e.ended_at IS NOT NULL AND NOT e.purged
            ORDER BY e.ended_at DESC, e.execution_id DESC LIMIT 1
        ), 'Ready')
    END
WHERE n.notebook_id = $1

-- name: next_project
-- The project after ($1, $2), or the first.
SELECT tenant_id, project_id FROM notebook
WHERE deleted_at IS NULL AND ($1::uuid IS NULL OR (tenant_id, project_id) > ($1, $2::uuid))
ORDER BY tenant_id, project_id LIMIT 1

-- name: notebooks_of_project
-- Some of a project's notebooks, in the order of their creation, after the one of ($3, $4).
SELECT notebook_id, created_at FROM notebook
WHERE tenant_id = $1 AND project_id = $2 AND deleted_at IS NULL
  AND (created_at, notebook_id) > ($3, $4)
ORDER BY created_at, notebook_id LIMIT $5

-- name: lock_known
SELECT status FROM notebook WHERE notebook_id = $1 AND deleted_at IS NULL FOR UPDATE

-- name: mark_removed_runs
-- Runs that are not in the history were removed.
UPDATE execution SET purged = true, active = false
WHERE notebook_id = $1 AND NOT purged AND NOT execution_id = ANY($2::uuid[]) AND accepted_at < $3

-- name: put_past_runs
-- Runs as the history has them. One that has ended here and not there ended after the history was read.
INSERT INTO execution AS x (execution_id, notebook_id, last_seq, active, accepted_at, ended_at, outcome, notebook_status)
SELECT t.id, $1, t.seq, t.ended_at IS NULL, t.accepted_at, t.ended_at, t.outcome, t.notebook_status
FROM unnest($2::uuid[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::text[])
    AS t (id, seq, accepted_at, ended_at, outcome, notebook_status)
ON CONFLICT (execution_id) DO UPDATE
SET last_seq = excluded.last_seq, active = excluded.active, accepted_at = excluded.accepted_at,
    ended_at = excluded.ended_at, outcome = excluded.outcome, notebook_status = excluded.notebook_status
WHERE NOT x.purged AND (excluded.ended_at IS NOT NULL OR x.ended_at IS NULL)

-- name: ended_after
-- Whether a run is known here that ended after $2.
SELECT EXISTS (
    SELECT FROM execution WHERE notebook_id = $1 AND ended_at > COALESCE($2::timestamptz, '-infinity') AND NOT purged
)

-- name: clear_cells
UPDATE cell SET run_ended_at = NULL, execution_count = NULL, has_output = false, last_executed = NULL,
    execution_status = NULL
WHERE notebook_id = $1 AND (run_ended_at, execution_status, last_executed) IS DISTINCT FROM (NULL, NULL, NULL)

-- name: tell_cells
-- What a run came to, cell by cell; a run that ended earlier than the one already told of changes nothing.
UPDATE cell c
SET run_ended_at = $2, execution_count = t.execution_count, has_output = t.has_output,
    last_executed = COALESCE(t.last_executed, c.last_executed), execution_status = t.execution_status
FROM unnest($3::text[], $4::integer[], $5::boolean[], $6::timestamptz[], $7::text[])
    AS t (cell_id, execution_count, has_output, last_executed, execution_status)
WHERE c.notebook_id = $1 AND c.cell_id = t.cell_id AND (c.run_ended_at IS NULL OR c.run_ended_at <= $2)

-- name: template
-- A template of the project.
SELECT name, description, kernel_type, environment, parameters, cell_count, body, created_at, created_by
FROM project_template
WHERE tenant_id = $1 AND project_id = $2 AND name = $3

-- name: template_list
-- The project's templates without their content.
SELECT name, description, kernel_type, parameters, cell_count, created_at, created_by
FROM project_template
WHERE tenant_id = $1 AND project_id = $2
ORDER BY name COLLATE "C"

-- name: count_templates
SELECT count(*) FROM project_template WHERE tenant_id = $1 AND project_id = $2

-- name: insert_template
-- Returns nothing for a name that is taken.
INSERT INTO project_template (tenant_id, project_id, name, description, kernel_type, environment, parameters, cell_count,
                              body, created_at, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp(), $10)
ON CONFLICT DO NOTHING
RETURNING name, description, kernel_type, environment, parameters, cell_count, created_at, created_by

-- name: delete_template
DELETE FROM project_template WHERE tenant_id = $1 AND project_id = $2 AND name = $3 RETURNING name

-- name: find_project
-- One project.
SELECT * FROM project WHERE tenant_id = $1 AND project_id = $2

-- name: insert_project
-- Make a project unless there is one.
INSERT INTO project (tenant_id, project_id, name, created_by) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
RETURNING *

-- name: count_projects
-- How many projects a tenant has, or whether it has the one in $2.
SELECT count(*) FROM project WHERE tenant_id = $1 AND ($2::uuid IS NULL OR project_id = $2)

-- name: page_of_projects
-- Projects of a tenant (or the one in $2), newest first, after a key or an offset.
SELECT * FROM project
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR project_id = $2)
  AND ($3::timestamptz IS NULL OR (created_at, project_id) < ($3, $4::uuid))
ORDER BY created_at DESC, project_id DESC
LIMIT $5 OFFSET $6
