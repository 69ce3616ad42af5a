-- What runs by itself. Lock order: notebook, automation, fire.

-- name: now
SELECT schedule_now()

-- name: lock
SELECT * FROM automation WHERE notebook_id = $1 FOR UPDATE

-- name: read
SELECT * FROM automation WHERE notebook_id = $1

-- name: put
-- The definition's members; a pause and what was heard of the dataset stay.
INSERT INTO automation AS a (notebook_id, tenant_id, project_id, cron, time_zone, overlap, misfire, jitter, parameters,
                             dataset_id, next_fire_at, due_at, paused_at, paused_by)
SELECT n.notebook_id, n.tenant_id, n.project_id, $2, $3, $4, $5, $6, $7::json, $8, $9, $10, $11, $12
FROM notebook n WHERE n.notebook_id = $1
ON CONFLICT (notebook_id) DO UPDATE
SET cron = excluded.cron, time_zone = excluded.time_zone, overlap = excluded.overlap, misfire = excluded.misfire,
    jitter = excluded.jitter, parameters = excluded.parameters, next_fire_at = excluded.next_fire_at,
    due_at = excluded.due_at, failures = 0, paused_at = excluded.paused_at, paused_by = excluded.paused_by,
    dataset_version = CASE WHEN a.dataset_id = excluded.dataset_id THEN a.dataset_version ELSE 0 END,
    dataset_id = excluded.dataset_id

-- name: remove
DELETE FROM automation WHERE notebook_id = $1

-- name: unlink
-- A deleted notebook is not waited for any more.
DELETE FROM chain_link WHERE after_id = $1

-- name: clear_links
DELETE FROM chain_link WHERE notebook_id = $1

-- name: put_links
INSERT INTO chain_link (notebook_id, after_id)
SELECT $1, n.notebook_id FROM notebook n
WHERE n.notebook_id = ANY($2::uuid[]) AND n.deleted_at IS NULL
  AND (n.tenant_id, n.project_id) = (SELECT s.tenant_id, s.project_id FROM notebook s WHERE s.notebook_id = $1)
ON CONFLICT DO NOTHING

-- name: links
SELECT after_id FROM chain_link WHERE notebook_id = $1

-- name: lock_chains
-- Changes of a project's chains take turns: two that are fine alone may close a cycle together.
SELECT pg_advisory_xact_lock(hashtextextended('chains ' || n.project_id, 0)) FROM notebook n WHERE n.notebook_id = $1

-- name: links_back
-- The links of all that the notebooks in $2 run after, directly or through others, if $1 is among those; else none.
WITH RECURSIVE before (notebook_id) AS (
    SELECT u.id FROM unnest($2::uuid[]) AS u (id)
    UNION
    SELECT l.after_id FROM before JOIN chain_link l USING (notebook_id) WHERE l.notebook_id <> $1
)
SELECT notebook_id, array_agg(l.after_id) AS after_ids FROM before JOIN chain_link l USING (notebook_id)
WHERE $1 IN (SELECT notebook_id FROM before)
GROUP BY notebook_id

-- name: names
SELECT notebook_id, name FROM notebook WHERE notebook_id = ANY($1::uuid[])

-- name: strangers
-- Which of the notebooks in $2 are none of the project of $1. One that an earlier version named may be gone by now.
SELECT u.id FROM unnest($2::uuid[]) AS u (id)
WHERE NOT EXISTS (
    SELECT FROM notebook n JOIN notebook s ON s.notebook_id = $1
    WHERE n.notebook_id = u.id AND n.tenant_id = s.tenant_id AND n.project_id = s.project_id AND n.deleted_at IS NULL
) AND NOT EXISTS (
    SELECT FROM notebook_version v
    WHERE v.notebook_id = $1 AND v.integration::text LIKE '%' || u.id || '%'
      AND v.ordinal < (SELECT max(w.ordinal) FROM notebook_version w WHERE w.notebook_id = $1)
)

-- name: take_due
-- A schedule whose time has come. Two replicas never take the same.
SELECT * FROM automation WHERE due_at <= schedule_now() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: advance
UPDATE automation SET next_fire_at = $2, due_at = $3, failures = 0 WHERE notebook_id = $1

-- name: put_back
-- A schedule that was due at $2 could not be moved on: it is left alone for $3 seconds, and its time is not lost.
UPDATE automation SET due_at = schedule_now() + $3 * interval '1 s', failures = failures + 1
WHERE notebook_id = $1 AND due_at = $2

-- name: pause
UPDATE automation SET paused_at = clock_timestamp(), paused_by = $2, next_fire_at = NULL, due_at = NULL
WHERE notebook_id = $1

-- name: resume
UPDATE automation SET paused_at = NULL, paused_by = NULL, next_fire_at = $2, due_at = $3 WHERE notebook_id = $1

-- name: insert_fire
-- Nothing comes back when there is a fire of this kind and time already.
INSERT INTO fire (fire_id, notebook_id, tenant_id, project_id, kind, fire_at, due_at, state, reason, trigger, subject,
                  overlap, decided_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text, $9, $10::json, $11, $12,
        CASE WHEN $8::text = 'skipped' THEN clock_timestamp() END)
ON CONFLICT (notebook_id, kind, fire_at) DO NOTHING
RETURNING fire_id

-- name: count_open
SELECT count(*) FROM fire WHERE notebook_id = $1 AND state IN ('waiting', 'sending')

-- name: take_open
-- Fires to send now: of each notebook the oldest, and those that somebody asked for. A taken one is left alone by others
-- for $1 seconds; who took it may be dead by then, and it is sent again under the same ids.
UPDATE fire f SET state = 'sending', attempts = attempts + 1, try_at = clock_timestamp() + $1 * interval '1 s'
FROM (
    SELECT c.fire_id FROM fire c
    WHERE c.state IN ('waiting', 'sending') AND c.try_at <= clock_timestamp() AND c.due_at <= schedule_now()
      AND (c.kind = 'manual' OR NOT EXISTS (
          SELECT FROM fire o
          WHERE o.notebook_id = c.notebook_id AND o.state IN ('waiting', 'sending') AND o.kind <> 'manual'
            AND o.due_at <= schedule_now() AND (o.fire_at, o.fire_id) < (c.fire_at, c.fire_id)))
    ORDER BY c.try_at LIMIT $2 FOR UPDATE SKIP LOCKED
) AS chosen
WHERE f.fire_id = chosen.fire_id
RETURNING f.*, (SELECT a.parameters FROM automation a WHERE a.notebook_id = f.notebook_id) AS parameters,
          (SELECT a.dataset_id FROM automation a WHERE a.notebook_id = f.notebook_id) AS dataset_id,
          (SELECT a.dataset_version FROM automation a WHERE a.notebook_id = f.notebook_id) AS read_version

-- name: settle
-- What became of a fire; nothing comes back when that is known already, or the notebook is gone.
UPDATE fire SET state = $2, reason = $3, trigger = COALESCE($4::json, trigger), decided_at = clock_timestamp()
WHERE fire_id = $1 AND state IN ('waiting', 'sending')
RETURNING *

-- name: put_off
-- Not now: it waits, and is tried again in $3 seconds.
UPDATE fire SET state = $4, reason = $2, try_at = clock_timestamp() + $3 * interval '1 s'
WHERE fire_id = $1 AND state IN ('waiting', 'sending')

-- name: hurry
-- A run of the notebook has ended: what waited for that goes now.
UPDATE fire SET try_at = clock_timestamp() WHERE notebook_id = $1 AND state = 'waiting'

-- name: fires
-- One page and one row more, newest first. $2 states, $3/$4 the cursor's key, $5 limit, $6 offset.
SELECT * FROM fire WHERE notebook_id = $1 AND ($2::text[] IS NULL OR state = ANY($2))
AND ($3::timestamptz IS NULL OR (fire_at, fire_id) < ($3, $4::uuid))
ORDER BY fire_at DESC, fire_id DESC LIMIT $5 OFFSET $6

-- name: count_fires
SELECT count(*) FROM fire WHERE notebook_id = $1 AND ($2::text[] IS NULL OR state = ANY($2))

-- name: one_fire
SELECT * FROM fire WHERE fire_id = $1

-- name: remove_fires
DELETE FROM fire WHERE fire_id IN (SELECT fire_id FROM fire WHERE notebook_id = $1 LIMIT $2)

-- name: forget_fires
-- Old history.
DELETE FROM fire WHERE fire_id IN (
    SELECT fire_id FROM fire WHERE decided_at < clock_timestamp() - $1 * interval '1 day' LIMIT $2
)

-- name: on_dataset
-- The notebooks that new data of a dataset starts, and have not heard of this version.
SELECT * FROM automation
WHERE tenant_id = $1 AND project_id = $2 AND dataset_id = $3 AND dataset_version < $4
ORDER BY notebook_id FOR UPDATE

-- name: heard_of_data
UPDATE automation SET dataset_version = GREATEST(dataset_version, $2) WHERE notebook_id = $1

-- name: waiting_for_data
-- The fire on new data that has not been sent yet; newer data joins it.
SELECT * FROM fire WHERE notebook_id = $1 AND kind = 'dataset' AND state = 'waiting' FOR UPDATE

-- name: join_data
-- Newer data: the pause begins anew, but ends $4 seconds after the first of it at the latest.
UPDATE fire SET trigger = $2::json, due_at = LEAST(schedule_now() + $3 * interval '1 s', fire_at + $4 * interval '1 s')
WHERE fire_id = $1

-- name: downstream
-- The notebooks that run after one, in the order of locking.
SELECT a.* FROM automation a JOIN chain_link l USING (notebook_id)
WHERE l.after_id = $1 ORDER BY a.notebook_id FOR UPDATE OF a

-- name: last_start
-- When a notebook was last started, by anybody, as far as is known here.
SELECT GREATEST(a.chained_at, (SELECT max(e.accepted_at) FROM execution e WHERE e.notebook_id = a.notebook_id))
FROM automation a WHERE a.notebook_id = $1

-- name: upstream
-- The notebooks that one runs after, with the newest run of each that completed after $2.
SELECT l.after_id, n.name, r.execution_id, r.ended_at
FROM chain_link l JOIN notebook n ON n.notebook_id = l.after_id AND n.deleted_at IS NULL
LEFT JOIN LATERAL (
    SELECT e.execution_id, e.ended_at FROM execution e
    WHERE e.notebook_id = l.after_id AND e.outcome = 'Completed' AND ($2::timestamptz IS NULL OR e.ended_at > $2)
    ORDER BY e.ended_at DESC LIMIT 1
) AS r ON true
WHERE l.notebook_id = $1

-- name: chain_waits
SELECT EXISTS (SELECT FROM fire WHERE notebook_id = $1 AND kind = 'chain' AND state = 'waiting')

-- name: chained
-- Started because of runs, the last of which ended at $2: they count for no other start, in whatever order they are heard.
UPDATE automation SET chained_at = GREATEST(chained_at, $2) WHERE notebook_id = $1
