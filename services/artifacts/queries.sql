-- Every statement of the artifacts service.

-- name: find_dataset
-- The dataset's present version.
SELECT d.*, v.object_key, v.record_count, v.case_count, v.columns, v.case_id_column, v.activity_column, v.time_column,
       v.size_bytes, v.sha256, v.source, v.profile_state
FROM dataset d JOIN dataset_version v USING (dataset_id, version)
WHERE d.dataset_id = $1 AND d.tenant_id = $2 AND d.project_id = $3;

-- name: find_version
-- One version of a dataset, in the form of find_dataset: date_modified is when the version was made.
SELECT d.dataset_id, d.tenant_id, d.project_id, d.dataset_name, v.version, d.date_created,
       v.created_at AS date_modified, coalesce(v.created_by, d.created_by) AS created_by, v.object_key, v.record_count,
       v.case_count, v.columns, v.case_id_column, v.activity_column, v.time_column, v.size_bytes, v.sha256,
       v.source, v.profile_state
FROM dataset d JOIN dataset_version v USING (dataset_id)
WHERE d.dataset_id = $1 AND d.tenant_id = $2 AND d.project_id = $3 AND v.version = $4;

-- name: page_of_versions
SELECT v.*, coalesce(v.created_by, d.created_by) AS created_by_whom
FROM dataset d JOIN dataset_version v USING (dataset_id)
WHERE d.dataset_id = $1 AND d.tenant_id = $2 AND d.project_id = $3 AND ($4::bigint IS NULL OR v.version < $4)
ORDER BY v.version DESC LIMIT $5 OFFSET $6;

-- name: count_versions
SELECT count(*) FROM dataset_version WHERE dataset_id = $1;

-- name: find_profile
SELECT profile FROM dataset_version WHERE dataset_id = $1 AND version = $2;

-- name: claim_profile
-- The version that waits longest for its profile, for $1 seconds. One that was claimed too often has failed.
UPDATE dataset_version SET
    profile_tries = profile_tries + 1,
    profile_state = CASE WHEN profile_tries >= $2 THEN 'Failed' ELSE 'Pending' END,
    profile_due_at = clock_timestamp() + $1 * interval '1 s'
WHERE (dataset_id, version) = (
    SELECT dataset_id, version FROM dataset_version
    WHERE profile_state = 'Pending' AND profile_due_at <= clock_timestamp()
    ORDER BY profile_due_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING dataset_id, version, object_key, columns, profile_state;

-- name: keep_profile
UPDATE dataset_version SET profile = $3, profile_state = 'Ready' WHERE dataset_id = $1 AND version = $2;

-- name: fail_profile
UPDATE dataset_version SET profile_state = 'Failed' WHERE dataset_id = $1 AND version = $2;

-- name: begin_upload
-- An upload with an id that is known already begins anew.
INSERT INTO dataset_upload (tenant_id, project_id, upload_id, dataset_id, owner, phase)
VALUES ($1, $2, $3, $4, $5, 'Receiving')
ON CONFLICT (tenant_id, project_id, upload_id) DO UPDATE SET
    dataset_id = excluded.dataset_id, owner = excluded.owner, phase = 'Receiving', bytes_received = 0,
    rows_converted = 0, error = NULL, modified_at = clock_timestamp();

-- name: advance_upload
UPDATE dataset_upload SET phase = $4, bytes_received = $5, rows_converted = $6, error = $7, modified_at = clock_timestamp()
WHERE tenant_id = $1 AND project_id = $2 AND upload_id = $3;

-- name: find_upload
-- `abandoned`: the process that received it is gone.
SELECT u.*, u.phase NOT IN ('Ready', 'Failed')
    AND NOT EXISTS (SELECT FROM process_lease p WHERE p.owner = u.owner AND p.expires_at > clock_timestamp()) AS abandoned
FROM dataset_upload u WHERE u.tenant_id = $1 AND u.project_id = $2 AND u.upload_id = $3;

-- name: forget_uploads
-- What nobody can want to know any more.
DELETE FROM dataset_upload WHERE modified_at < clock_timestamp() - $1 * interval '1 s';

-- name: unknown_objects
-- Those of the keys that nothing refers to: no version, no library, no file, no artifact, no upload in hand, no removal.
SELECT k.key FROM unnest($1::text[]) AS k (key)
WHERE NOT EXISTS (SELECT FROM dataset_version v WHERE v.object_key = k.key)
  AND NOT EXISTS (SELECT FROM library l WHERE l.object_key = k.key)
  AND NOT EXISTS (SELECT FROM file_content f WHERE f.object_key = k.key)
  AND NOT EXISTS (SELECT FROM artifact a WHERE a.object_key = k.key)
  AND NOT EXISTS (SELECT FROM artifact a WHERE a.pack_key = k.key)
  AND NOT EXISTS (SELECT FROM unsealed_object u WHERE u.object_key = k.key)
  AND NOT EXISTS (SELECT FROM removal r WHERE r.prefix = k.key);

-- name: remove_unknown_objects
INSERT INTO removal (prefix)
SELECT k.key FROM unnest($1::text[]) AS k (key)
WHERE NOT EXISTS (SELECT FROM dataset_version v WHERE v.object_key = k.key)
  AND NOT EXISTS (SELECT FROM library l WHERE l.object_key = k.key)
  AND NOT EXISTS (SELECT FROM file_content f WHERE f.object_key = k.key)
  AND NOT EXISTS (SELECT FROM artifact a WHERE a.object_key = k.key)
  AND NOT EXISTS (SELECT FROM artifact a WHERE a.pack_key = k.key)
  AND NOT EXISTS (SELECT FROM unsealed_object u WHERE u.object_key = k.key)
  AND NOT EXISTS (SELECT FROM removal r WHERE r.prefix = k.key);

-- name: remove_superseded
-- What a run registered under an epoch that a later one had overtaken by $1: its end names the later one. Attempts that
-- the run lists are kept.
WITH gone AS (
    DELETE FROM manifest m USING manifest later
    WHERE later.execution_id = m.execution_id AND later.epoch > m.epoch AND later.final AND later.sealed_at < $1
    AND NOT m.kept
    RETURNING m.tenant_id, m.project_id, m.execution_id, m.epoch
)
INSERT INTO removal (prefix)
SELECT DISTINCT format('%s/%s/%s/%s/', tenant_id, project_id, execution_id, epoch) FROM gone;

-- name: begin_sweep
-- True for the one process whose turn it is: nobody else swept within half of $1 seconds.
UPDATE sweep SET begun_at = clock_timestamp()
WHERE begun_at IS NULL OR begun_at < clock_timestamp() - $1 / 2 * interval '1 s'
RETURNING true;

-- name: lock_dataset
-- The dataset, kept from changing until the end of the transaction. No join: a row that changed while this waited would
-- no longer match its old version, and be missed.
SELECT dataset_name FROM dataset WHERE dataset_id = $1 AND tenant_id = $2 AND project_id = $3 FOR UPDATE;

-- name: page_by_number
-- A page of the project's datasets, newest first.
SELECT d.*, v.object_key, v.record_count, v.case_count, v.columns, v.case_id_column, v.activity_column, v.time_column,
       v.size_bytes, v.sha256, v.source, v.profile_state
FROM dataset d JOIN dataset_version v USING (dataset_id, version)
WHERE d.tenant_id = $1 AND d.project_id = $2
ORDER BY d.date_created DESC, d.dataset_id DESC
LIMIT $3 OFFSET $4;

-- name: page_after
-- The page after a given dataset, which may be gone meanwhile.
SELECT d.*, v.object_key, v.record_count, v.case_count, v.columns, v.case_id_column, v.activity_column, v.time_column,
       v.size_bytes, v.sha256, v.source, v.profile_state
FROM dataset d JOIN dataset_version v USING (dataset_id, version)
WHERE d.tenant_id = $1 AND d.project_id = $2 AND (d.date_created, d.dataset_id) < ($4, $5)
ORDER BY d.date_created DESC, d.dataset_id DESC
LIMIT $3;

-- name: count_datasets
SELECT count(*) FROM dataset WHERE tenant_id = $1 AND project_id = $2;

-- name: insert_dataset
-- A new dataset at version 1; no row when the id is taken.
INSERT INTO dataset (dataset_id, tenant_id, project_id, dataset_name, version, created_by)
VALUES ($1, $2, $3, $4, 1, $5)
ON CONFLICT (dataset_id) DO NOTHING
RETURNING dataset_id;

-- name: raise_version
-- The dataset gets its next version.
UPDATE dataset
SET version = version + 1, dataset_name = $2,
    date_modified = greatest(clock_timestamp(), date_modified + interval '1 ms')
WHERE dataset_id = $1
RETURNING version;

-- name: insert_version
INSERT INTO dataset_version (dataset_id, version, object_key, record_count, case_count, columns, case_id_column,
                             activity_column, time_column, size_bytes, sha256, source, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: set_origin
-- The version was made from a result of a run.
UPDATE dataset_version SET origin_execution_id = $3, origin = $4 WHERE dataset_id = $1 AND version = $2;

-- name: origin_of_version
SELECT v.origin FROM dataset_version v JOIN dataset d USING (dataset_id)
WHERE v.dataset_id = $1 AND v.version = $2 AND d.tenant_id = $3 AND d.project_id = $4;

-- name: datasets_made_by_runs
SELECT v.dataset_id, v.version, v.origin_execution_id, v.origin, d.dataset_name
FROM dataset_version v JOIN dataset d USING (dataset_id)
WHERE v.origin_execution_id = ANY($1::uuid[]) AND d.tenant_id = $2 AND d.project_id = $3
ORDER BY v.created_at, v.dataset_id;

-- name: delete_dataset
-- The versions go with it.
DELETE FROM dataset WHERE dataset_id = $1;

-- name: announce_object
-- An upload is about to begin under this key.
INSERT INTO unsealed_object (object_key, owner) VALUES ($1, $2) ON CONFLICT (object_key) DO NOTHING;

-- name: seal_object
-- The object is referred to from now on. No row: it was given up as a dead process's leaving.
DELETE FROM unsealed_object WHERE object_key = $1 RETURNING object_key;

-- name: abandon_object
-- The upload failed: its object is to be removed.
WITH gone AS (DELETE FROM unsealed_object WHERE object_key = $1 RETURNING object_key)
INSERT INTO removal (prefix) SELECT object_key FROM gone;

-- name: abandon_objects_of_the_dead
-- Uploads of processes whose lease is over. They may still be writing, so the removal waits.
WITH gone AS (
    DELETE FROM unsealed_object u
    WHERE u.created_at < clock_timestamp() - $1 * interval '1 s'
      AND NOT EXISTS (SELECT FROM process_lease p WHERE p.owner = u.owner AND p.expires_at > clock_timestamp())
    RETURNING object_key
)
INSERT INTO removal (prefix, due_at) SELECT object_key, clock_timestamp() + $1 * interval '1 s' FROM gone;

-- name: request_removal
-- Have everything under a prefix removed, after so many seconds.
INSERT INTO removal (prefix, due_at) VALUES ($1, clock_timestamp() + $2 * interval '1 s');

-- name: next_removals
-- What is due, each row to one process at a time.
SELECT id, prefix FROM removal WHERE due_at <= clock_timestamp() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED;

-- name: finish_removal
DELETE FROM removal WHERE id = $1;

-- name: lock_shared
-- Register something for a notebook or a run: waits for a purge of it to bury it, and keeps the next one waiting.
SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 1));

-- name: lock_exclusive
-- Bury a notebook or a run: waits for those who are registering something for it.
SELECT pg_advisory_xact_lock(hashtextextended($1, 1));

-- name: bury
-- Nothing may be registered any more for this id.
INSERT INTO tombstone (id) VALUES ($1) ON CONFLICT (id) DO NOTHING;

-- name: is_purged
SELECT purged_at IS NOT NULL FROM tombstone WHERE id = $1;

-- name: mark_purged
-- True for the first to finish the purge.
UPDATE tombstone SET purged_at = clock_timestamp() WHERE id = $1 AND purged_at IS NULL RETURNING true;

-- name: find_tombstone
-- Whether any of these ids is buried.
SELECT true FROM tombstone WHERE id = ANY($1::uuid[]) LIMIT 1;

-- name: executions_of_notebook
SELECT DISTINCT execution_id FROM manifest WHERE notebook_id = $1 AND tenant_id = $2 AND project_id = $3;

-- name: delete_manifests
-- The artifacts' rows go with them.
DELETE FROM manifest WHERE execution_id = ANY($1::uuid[]) AND tenant_id = $2 AND project_id = $3;

-- name: open_manifest
-- The manifest of (execution, epoch), made if it is new, and locked.
INSERT INTO manifest (execution_id, epoch, tenant_id, project_id, notebook_id)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (execution_id, epoch) DO UPDATE SET sealed_at = manifest.sealed_at
RETURNING final, tenant_id, project_id, notebook_id;

-- name: close_manifest
UPDATE manifest SET final = true, kept = $3, sealed_at = clock_timestamp() WHERE execution_id = $1 AND epoch = $2;

-- name: upsert_artifact
INSERT INTO artifact (execution_id, epoch, artifact_id, position, kind, categories, name, file_name, content_type,
                      size_bytes, sha256, object_key, inline, cell_id, output_type, title, width, height, content,
                      content_truncated, details, pack_key, pack_offset, crc32)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)
ON CONFLICT (execution_id, epoch, artifact_id) DO UPDATE SET
    position = excluded.position, kind = excluded.kind, categories = excluded.categories, name = excluded.name,
    file_name = excluded.file_name, content_type = excluded.content_type, size_bytes = excluded.size_bytes,
    sha256 = excluded.sha256, object_key = excluded.object_key, inline = excluded.inline, cell_id = excluded.cell_id,
    output_type = excluded.output_type, title = excluded.title, width = excluded.width, height = excluded.height,
    content = excluded.content, content_truncated = excluded.content_truncated, details = excluded.details,
    pack_key = excluded.pack_key, pack_offset = excluded.pack_offset, crc32 = excluded.crc32;

-- name: withdraw_artifacts
-- What a run showed while it went on and has taken back. The objects are swept once nothing refers to them.
DELETE FROM artifact WHERE execution_id = $1 AND epoch = $2 AND artifact_id = ANY($3::uuid[]);

-- name: count_missing_artifacts
-- How many of these ids the manifest does not hold: a closed one takes what it has already, and nothing else.
SELECT count(*) FROM unnest($3::uuid[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM artifact a WHERE a.execution_id = $1 AND a.epoch = $2 AND a.artifact_id = wanted.id);

-- name: list_artifacts
-- In order; $5 to $7 are filters, null for none; $8 the kinds. Content only when $9 says so, bytes never. After $10, $11
-- at most $12 of them, and fewer when they grow over $13 bytes; null for no limit. The last column: whether that is all.
-- Each row is looked up once: joined to itself, a table that has just grown, of which the planner knows nothing yet,
-- would be read whole for each artifact of the page.
WITH page AS (
    SELECT a.artifact_id, a.position, a.kind, a.name, a.file_name, a.content_type, a.size_bytes, a.sha256, a.object_key,
           a.cell_id, a.output_type, a.title, a.width, a.height, a.content_truncated, a.details, a.pack_key,
           a.pack_offset, a.crc32,
           CASE WHEN $9 THEN a.content END AS content,
           octet_length(a.details) + CASE WHEN $9 THEN COALESCE(octet_length(a.content), 0) ELSE 0 END AS size
    FROM artifact a JOIN manifest m USING (execution_id, epoch)
    WHERE a.execution_id = $1 AND a.epoch = $2 AND m.tenant_id = $3 AND m.project_id = $4
      AND ($5::text IS NULL OR $5 = ANY(a.categories))
      AND ($6::text IS NULL OR a.cell_id = $6)
      AND ($7::text IS NULL OR a.kind = $7)
      AND ($8::text[] IS NULL OR a.kind = ANY($8::text[]))
      AND ($10::integer IS NULL OR (a.position, a.artifact_id) > ($10, $11::uuid))
    ORDER BY a.position, a.artifact_id LIMIT $12::bigint + 1
), sized AS (
    SELECT page.*, sum(size) OVER (ORDER BY position, artifact_id) AS total,
           row_number() OVER (ORDER BY position, artifact_id) AS number, count(*) OVER () AS available
    FROM page
)
SELECT artifact_id, position, kind, name, file_name, content_type, size_bytes, sha256, object_key, cell_id, output_type,
       title, width, height, content_truncated, details, pack_key, pack_offset, crc32, content, available
FROM sized
WHERE ($12::bigint IS NULL OR number <= $12) AND ($13::bigint IS NULL OR number = 1 OR total <= $13)
ORDER BY position, artifact_id;

-- name: find_artifact
SELECT a.artifact_id, a.position, a.kind, a.name, a.file_name, a.content_type, a.size_bytes, a.sha256, a.object_key,
       a.cell_id, a.output_type, a.title, a.width, a.height, a.content_truncated, a.details, a.pack_key, a.pack_offset,
       a.crc32, a.content
FROM artifact a JOIN manifest m USING (execution_id, epoch)
WHERE a.execution_id = $1 AND a.epoch = $2 AND a.artifact_id = $3 AND m.tenant_id = $4 AND m.project_id = $5;

-- name: find_notebook
-- The executed notebook of a run.
SELECT a.artifact_id, a.position, a.kind, a.name, a.file_name, a.content_type, a.size_bytes, a.sha256, a.object_key,
       a.cell_id, a.output_type, a.title, a.width, a.height, a.content_truncated, a.details, a.pack_key, a.pack_offset,
       a.crc32, a.content
FROM artifact a JOIN manifest m USING (execution_id, epoch)
WHERE a.execution_id = $1 AND a.epoch = $2 AND m.tenant_id = $3 AND m.project_id = $4 AND a.kind = 'notebook'
ORDER BY a.position DESC LIMIT 1;

-- name: artifact_bytes
-- The bytes of an artifact that is kept in its row.
SELECT inline FROM artifact WHERE execution_id = $1 AND epoch = $2 AND artifact_id = $3;

-- name: bytes_of_artifacts
-- The same of several.
SELECT artifact_id, inline FROM artifact WHERE execution_id = $1 AND epoch = $2 AND artifact_id = ANY($3::uuid[]);

-- name: take_library
-- Remove a project's library, and tell where its file is.
DELETE FROM library WHERE tenant_id = $1 AND project_id = $2 AND name_key = $3 RETURNING object_key;

-- name: insert_library
INSERT INTO library (tenant_id, project_id, name_key, library_name, kind, version, requires, file_name, object_key,
    size_bytes, sha256, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
RETURNING *;

-- name: list_libraries
SELECT * FROM library WHERE tenant_id = $1 AND project_id = $2 AND ($3::text IS NULL OR name_key > $3)
ORDER BY name_key LIMIT $4 OFFSET $5;

-- name: count_libraries
SELECT count(*) FROM library WHERE tenant_id = $1 AND project_id = $2;

-- name: find_libraries
-- Those of one project alone: another one's are not there for it.
SELECT * FROM library WHERE tenant_id = $1 AND project_id = $2 AND name_key = ANY($3::text[]) ORDER BY name_key;

-- name: lock_library
-- Uploads of one name in one project take turns.
SELECT pg_advisory_xact_lock(hashtextextended($1, 1));

-- name: storage_use
SELECT (SELECT COALESCE(sum(v.size_bytes), 0)::bigint FROM dataset d JOIN dataset_version v USING (dataset_id)
        WHERE d.tenant_id = $1 AND d.project_id = $2) AS dataset_bytes,
       (SELECT COALESCE(sum(size_bytes), 0)::bigint FROM library
        WHERE tenant_id = $1 AND project_id = $2) AS library_bytes,
       (SELECT COALESCE(sum(size_bytes), 0)::bigint FROM file_content
        WHERE tenant_id = $1 AND project_id = $2) AS file_bytes

-- name: run_bytes
SELECT COALESCE(sum(a.size_bytes), 0)::bigint
FROM manifest m JOIN artifact a USING (execution_id, epoch)
WHERE m.tenant_id = $1 AND m.project_id = $2

-- name: oldest_runs
-- The runs that have stored something, with all their epochs.
SELECT m.execution_id, sum(a.size_bytes)::bigint AS size_bytes
FROM manifest m JOIN artifact a USING (execution_id, epoch)
WHERE m.tenant_id = $1 AND m.project_id = $2
GROUP BY m.execution_id
ORDER BY min(m.sealed_at), m.execution_id
LIMIT $3;

-- name: lock_file_contents
-- Who changes which contents a project has does so alone: a content must not go while somebody begins to need it.
SELECT pg_advisory_xact_lock(hashtextextended($1, 2));

-- name: known_contents
SELECT sha256 FROM file_content WHERE tenant_id = $1 AND project_id = $2 AND sha256 = ANY($3::text[]);

-- name: insert_content
-- No row: another upload was first, and its object is kept.
INSERT INTO file_content (tenant_id, project_id, sha256, size_bytes, object_key)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id, project_id, sha256) DO NOTHING
RETURNING object_key;

-- name: reserve_contents
INSERT INTO file_use (tenant_id, project_id, notebook_id, sha256)
SELECT $1, $2, $3, unnest($4::text[])
ON CONFLICT (tenant_id, project_id, notebook_id, sha256) DO UPDATE SET reserved_at = excluded.reserved_at;

-- name: locate_contents
-- Those that the notebook needs: another one's are not there for it.
SELECT c.sha256, c.size_bytes, c.object_key
FROM file_use u JOIN file_content c USING (tenant_id, project_id, sha256)
WHERE u.tenant_id = $1 AND u.project_id = $2 AND u.notebook_id = $3 AND u.sha256 = ANY($4::text[]);

-- name: old_reservations
-- Notebooks with contents that were reserved before $1, and never confirmed.
SELECT tenant_id, project_id, notebook_id, array_agg(sha256) AS sha256s
FROM file_use WHERE NOT confirmed AND reserved_at < $1
GROUP BY tenant_id, project_id, notebook_id ORDER BY min(reserved_at) LIMIT $2;

-- name: confirm_contents
UPDATE file_use SET confirmed = true
WHERE tenant_id = $1 AND project_id = $2 AND notebook_id = $3 AND sha256 = ANY($4::text[]) AND NOT confirmed;

-- name: give_up_contents
-- Those that were not reserved again meanwhile.
DELETE FROM file_use
WHERE tenant_id = $1 AND project_id = $2 AND notebook_id = $3 AND sha256 = ANY($4::text[]) AND NOT confirmed
  AND reserved_at < $5;

-- name: release_contents
-- A notebook is gone.
DELETE FROM file_use WHERE tenant_id = $1 AND project_id = $2 AND notebook_id = $3;

-- name: remove_unused_contents
WITH gone AS (
    DELETE FROM file_content c
    WHERE c.tenant_id = $1 AND c.project_id = $2
      AND NOT EXISTS (
          SELECT FROM file_use u
          WHERE u.tenant_id = c.tenant_id AND u.project_id = c.project_id AND u.sha256 = c.sha256
      )
    RETURNING c.object_key
)
INSERT INTO removal (prefix) SELECT object_key FROM gone;
