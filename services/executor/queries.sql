-- Statements of the executor, by the handler or loop that uses them. Lock order everywhere: notebook, tenant, execution.

-- name: lock_notebook
-- Make the notebook's row if it is new, and lock it: starts, ends and the deletion of a notebook take turns. Nothing
-- comes back, and nothing is locked, for a notebook of another tenant or project.
INSERT INTO notebook AS n (notebook_id, tenant_id, project_id) VALUES ($1, $2, $3)
ON CONFLICT (notebook_id) DO UPDATE SET notebook_id = excluded.notebook_id
WHERE n.tenant_id = $2 AND n.project_id = $3
RETURNING blocked_at, tenant_id, project_id, execution_count, closing_until > clock_timestamp() AS closing

-- name: notebook_facts
SELECT status, last_accepted_at, execution_count, cells, blocked_at,
       EXISTS (SELECT 1 FROM execution e WHERE e.notebook_id = n.notebook_id
               AND e.state IN ('Queued', 'Delayed', 'Claimed', 'Running', 'Collecting')) AS running
FROM notebook n WHERE notebook_id = $1 AND tenant_id = $2 AND project_id = $3

-- name: count_in
-- One more waiting run for the tenant; nothing comes back when its queue is full.
INSERT INTO tenant AS t (tenant_id, queued) VALUES ($1, 1)
ON CONFLICT (tenant_id) DO UPDATE SET queued = t.queued + 1
WHERE t.queued + t.delayed < COALESCE(t.max_queued, $2)
RETURNING queued

-- name: insert_execution
INSERT INTO execution (execution_id, tenant_id, project_id, notebook_id, notebook_version, state, phase, priority,
    queue_deadline, created_by, request, warnings, estimated_seconds, last_seq, progress, traceparent, correlation_id,
    rerun_of, from_cell, trigger, dataset_id, dataset_version)
VALUES ($1, $2, $3, $4, $5, 'Queued', 'Queued', $6, clock_timestamp() + $7 * interval '1 s', $8, $9, $10,
    (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FROM (
        SELECT extract(epoch FROM ended_at - started_at) AS seconds FROM execution
        WHERE notebook_id = $4 AND state = 'Completed' ORDER BY accepted_at DESC LIMIT 9) recent),
    1, $11, $12, $13, $14, $15, $16, $17, $18)
RETURNING *

-- name: note_automatic_start
-- Nothing comes back when this run was started before.
INSERT INTO automatic_start (execution_id, notebook_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING execution_id

-- name: started_before
SELECT a.execution_id, e.execution_id IS NOT NULL AS kept
FROM automatic_start a LEFT JOIN execution e USING (execution_id) WHERE a.execution_id = $1

-- name: insert_snapshot
INSERT INTO execution_snapshot (execution_id, notebook, dataset) VALUES ($1, $2, $3)

-- name: insert_cells
INSERT INTO execution_cell (execution_id, position, cell_id, result)
SELECT $1, * FROM unnest($2::int[], $3::text[], $4::json[])

-- name: insert_events
INSERT INTO execution_event (execution_id, sequence, body) SELECT $1, * FROM unnest($2::int[], $3::bytea[])

-- name: note_accepted
UPDATE notebook SET execution_count = execution_count + 1, last_accepted_at = $2 WHERE notebook_id = $1

-- name: find
-- A run by id; the notebook may be left open. As in all that clients read: none of a notebook that was deleted, whose
-- runs are removed a moment later.
SELECT e.* FROM execution e WHERE execution_id = $1 AND tenant_id = $2 AND project_id = $3
AND ($4::uuid IS NULL OR notebook_id = $4)
AND NOT EXISTS (SELECT 1 FROM notebook n WHERE n.notebook_id = e.notebook_id AND n.deleting_at IS NOT NULL)

-- name: find_completed
-- The newest completed run, or the given one.
SELECT e.* FROM execution e WHERE notebook_id = $1 AND tenant_id = $2 AND project_id = $3 AND state = 'Completed'
AND ($4::uuid IS NULL OR execution_id = $4)
AND NOT EXISTS (SELECT 1 FROM notebook n WHERE n.notebook_id = e.notebook_id AND n.deleting_at IS NOT NULL)
ORDER BY accepted_at DESC, execution_id DESC LIMIT 1

-- name: find_latest
SELECT e.* FROM execution e WHERE notebook_id = $1 AND tenant_id = $2 AND project_id = $3
AND NOT EXISTS (SELECT 1 FROM notebook n WHERE n.notebook_id = e.notebook_id AND n.deleting_at IS NOT NULL)
ORDER BY accepted_at DESC, execution_id DESC LIMIT 1

-- name: cells_of
SELECT execution_id, result FROM execution_cell WHERE execution_id = ANY($1::uuid[]) ORDER BY execution_id, position

-- name: queue_position
-- How many of the tenant's runs go before this one, itself included.
SELECT count(*) FROM execution WHERE state = 'Queued' AND tenant_id = $1
AND (priority > $2 OR (priority = $2 AND accepted_at <= $3))

-- name: queue
-- What decides when the tenant's next run is taken. $2: the default of its limit. A draining worker has no slots.
SELECT COALESCE(t.active, 0) AS active, COALESCE(t.max_active, $2) AS max_active, w.workers, w.slots - w.held AS free,
    floor(w.slots * $3::float8) AS reserved
FROM (
    SELECT count(*) AS workers, COALESCE(sum(slots), 0) AS slots, COALESCE(sum((
        SELECT count(*) FROM execution e
        WHERE e.worker_id = worker.worker_id AND e.state IN ('Claimed', 'Running', 'Collecting'))), 0) AS held
    FROM worker WHERE expires_at >= clock_timestamp() AND slots > 0
) w LEFT JOIN tenant t ON t.tenant_id = $1

-- name: quota
-- A tenant's numbers; no row before its first run.
SELECT active, queued + delayed AS queued, max_active, max_queued FROM tenant WHERE tenant_id = $1

-- name: list_executions
-- One page and one row more, newest first. $4 status words, $5/$6 the cursor's key, $7 limit, $8 offset.
SELECT e.* FROM execution e WHERE tenant_id = $1 AND project_id = $2 AND ($3::uuid IS NULL OR notebook_id = $3)
AND ($4::text[] IS NULL OR state = ANY($4))
AND ($5::timestamptz IS NULL OR (accepted_at, execution_id) < ($5, $6::uuid))
AND NOT EXISTS (SELECT 1 FROM notebook n WHERE n.notebook_id = e.notebook_id AND n.deleting_at IS NOT NULL)
ORDER BY accepted_at DESC, execution_id DESC LIMIT $7 OFFSET $8

-- name: count_executions
-- All, from an index alone, but those of the few notebooks that are being deleted.
SELECT (
    SELECT count(*) FROM execution WHERE tenant_id = $1 AND project_id = $2 AND ($3::uuid IS NULL OR notebook_id = $3)
    AND ($4::text[] IS NULL OR state = ANY($4))
) - (
    SELECT count(*) FROM notebook n JOIN execution e USING (notebook_id)
    WHERE n.deleting_at IS NOT NULL AND e.tenant_id = $1 AND e.project_id = $2
    AND ($3::uuid IS NULL OR notebook_id = $3) AND ($4::text[] IS NULL OR e.state = ANY($4))
)

-- name: past_of_notebooks
SELECT notebook_id, last_ended_at, execution_count, cells FROM notebook
WHERE notebook_id = ANY($1::uuid[]) AND tenant_id = $2 AND project_id = $3

-- name: past_runs
-- The newest $3 runs of each notebook, or those accepted in the millisecond $2 or before. Of one that has not ended the
-- last number is that of the newest fact which says that it was accepted or begun; the others are nobody's but the run's.
SELECT r.* FROM unnest($1::uuid[]) AS n (id), LATERAL (
    SELECT notebook_id, execution_id, state, accepted_at, ended_at, error_type,
           CASE WHEN ended_at IS NOT NULL THEN last_seq ELSE (
               SELECT max(v.sequence) FROM execution_event v
               WHERE v.execution_id = e.execution_id
                 AND convert_from(v.body, 'UTF8')::json ->> 'type' IN ('execution.queued', 'execution.started')
           ) END AS last_seq
    FROM execution e
    WHERE e.notebook_id = n.id AND ($2::timestamptz IS NULL OR date_trunc('milliseconds', e.accepted_at) <= $2)
    ORDER BY e.accepted_at DESC, e.execution_id DESC LIMIT $3
) AS r

-- name: runs_on_dataset
-- One page and one row more of the runs that read a dataset, or its version $4, newest first.
SELECT * FROM execution WHERE tenant_id = $1 AND project_id = $2 AND dataset_id = $3
AND ($4::integer IS NULL OR dataset_version = $4)
AND ($5::timestamptz IS NULL OR (accepted_at, execution_id) < ($5, $6::uuid))
ORDER BY accepted_at DESC, execution_id DESC LIMIT $7 OFFSET $8

-- name: count_runs_on_dataset
SELECT count(*) FROM execution WHERE tenant_id = $1 AND project_id = $2 AND dataset_id = $3
AND ($4::integer IS NULL OR dataset_version = $4)

-- name: events_after
SELECT sequence, body FROM execution_event WHERE execution_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3

-- name: lock_tenant
SELECT tenant_id FROM tenant WHERE tenant_id = $1 FOR UPDATE

-- name: lock_execution
SELECT * FROM execution WHERE execution_id = $1 FOR UPDATE

-- name: request_cancel
UPDATE execution SET cancel_requested_at = COALESCE(cancel_requested_at, clock_timestamp()) WHERE execution_id = $1

-- name: active_runs_of_notebook
SELECT execution_id, tenant_id FROM execution
WHERE notebook_id = $1 AND state IN ('Queued', 'Delayed', 'Claimed', 'Running', 'Collecting')

-- name: close_notebook
UPDATE notebook SET closing_until = clock_timestamp() + $2 * interval '1 s' WHERE notebook_id = $1

-- name: block_notebook
UPDATE notebook SET blocked_at = COALESCE(blocked_at, clock_timestamp()), deleting_at = clock_timestamp()
WHERE notebook_id = $1

-- name: claim_tenant
-- The least served tenant, by its weight, that has waiting work and room for more; its row stays locked until the claim
-- commits. $2: the part of all slots that is kept for tenants that have none; $3: tenants that were tried already.
SELECT t.tenant_id FROM tenant t, (
    SELECT (SELECT COALESCE(sum(active), 0) FROM tenant WHERE active > 0) AS taken,
        (SELECT COALESCE(sum(slots), 0) FROM worker WHERE expires_at >= clock_timestamp()) AS slots
) s
WHERE t.queued > 0 AND t.active < COALESCE(t.max_active, $1) AND NOT t.tenant_id = ANY ($3::uuid[])
AND (t.active = 0 OR s.taken < s.slots - floor(s.slots * $2::float8))
ORDER BY t.active / t.weight, t.served_at LIMIT 1 FOR UPDATE OF t

-- name: wrong_tenants
-- Tenants whose numbers are not those of their runs. Both change in the same transactions, so no honest row is among them.
SELECT t.tenant_id FROM tenant t
LEFT JOIN (SELECT tenant_id, count(*) AS n FROM execution WHERE state = 'Queued' GROUP BY 1) q USING (tenant_id)
LEFT JOIN (SELECT tenant_id, count(*) AS n FROM execution
           WHERE state IN ('Claimed', 'Running', 'Collecting') GROUP BY 1) a USING (tenant_id)
LEFT JOIN (SELECT tenant_id, count(*) AS n FROM execution WHERE state = 'Delayed' GROUP BY 1) d USING (tenant_id)
WHERE t.queued <> COALESCE(q.n, 0) OR t.active <> COALESCE(a.n, 0) OR t.delayed <> COALESCE(d.n, 0) LIMIT 100

-- name: recount_tenant
-- The tenant's numbers, from its runs; its row is locked, so that none of them comes or goes meanwhile.
UPDATE tenant t SET
    queued = (SELECT count(*) FROM execution e WHERE e.tenant_id = $1 AND e.state = 'Queued'),
    active = (SELECT count(*) FROM execution e
              WHERE e.tenant_id = $1 AND e.state IN ('Claimed', 'Running', 'Collecting')),
    delayed = (SELECT count(*) FROM execution e WHERE e.tenant_id = $1 AND e.state = 'Delayed')
WHERE t.tenant_id = $1 RETURNING queued, active, delayed

-- name: claim_execution
-- The head of that tenant's queue: highest priority, then longest waiting.
SELECT * FROM execution WHERE state = 'Queued' AND tenant_id = $1
ORDER BY priority DESC, accepted_at LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: mark_claimed
UPDATE execution SET state = 'Claimed', phase = 'PreparingEnvironment', epoch = epoch + 1, attempt = attempt + 1,
    worker_id = $2, started_at = clock_timestamp(), last_seq = last_seq + 1, manifest_epoch = NULL
WHERE execution_id = $1 RETURNING *

-- name: count_claimed
UPDATE tenant SET queued = queued - 1, active = active + 1, served_at = clock_timestamp() WHERE tenant_id = $1

-- name: snapshot
SELECT notebook, dataset FROM execution_snapshot WHERE execution_id = $1

-- name: beat
-- Renew the worker's lease and read which runs it still holds, and which of them are to be cancelled.
WITH beat AS (
    INSERT INTO worker (worker_id, expires_at, slots, host) VALUES ($1, clock_timestamp() + $2 * interval '1 s', $3, $4)
    ON CONFLICT (worker_id) DO UPDATE SET expires_at = excluded.expires_at, slots = excluded.slots
)
SELECT e.execution_id, e.epoch, e.cancel_requested_at IS NOT NULL AS cancel,
    d.execution_id IS NOT NULL AND (d.made_at IS NULL OR d.made_at < d.asked_at) AS draft_wanted
FROM execution e LEFT JOIN execution_draft d USING (execution_id)
WHERE e.worker_id = $1 AND e.state IN ('Claimed', 'Running', 'Collecting')

-- name: note_python
UPDATE worker SET python_version = $2 WHERE worker_id = $1

-- name: base_python
-- The Python of the base environment, by the worker that was heard of last.
SELECT python_version FROM worker WHERE python_version IS NOT NULL ORDER BY expires_at DESC LIMIT 1

-- name: ask_for_draft
-- Somebody wants the notebook so far. Answers when it was asked.
INSERT INTO execution_draft (execution_id)
SELECT execution_id FROM execution WHERE execution_id = $1 AND state IN ('Claimed', 'Running', 'Collecting')
ON CONFLICT (execution_id) DO UPDATE SET asked_at = clock_timestamp()
RETURNING asked_at

-- name: put_draft
-- The worker's answer; nothing changes when the run is no longer its own. $4: when it was begun.
UPDATE execution_draft d SET epoch = $2, notebook = $3, made_at = $4 FROM execution e
WHERE d.execution_id = $1 AND e.execution_id = $1 AND e.epoch = $2
AND e.state IN ('Claimed', 'Running', 'Collecting')

-- name: clock
SELECT clock_timestamp()

-- name: draft
SELECT e.state, d.notebook, d.made_at FROM execution e
LEFT JOIN execution_draft d ON d.execution_id = e.execution_id AND d.epoch = e.epoch
WHERE e.execution_id = $1

-- name: remove_draft
DELETE FROM execution_draft WHERE execution_id = $1

-- name: let_go
UPDATE execution SET worker_id = NULL WHERE execution_id = $1 AND worker_id = $2 AND epoch = $3
AND state IN ('Claimed', 'Running', 'Collecting')

-- name: leave
DELETE FROM worker WHERE worker_id = $1

-- name: record_progress
-- One group of progress facts: state, cells, events and outbox together, or nothing (NULL) if the run is no longer ours.
-- A transaction of its own (shared/database.py: commit_at_once); the cells' positions are part of their primary key.
WITH fenced AS (
    UPDATE execution SET state = COALESCE($4, state), phase = COALESCE($5, phase), current_cell = $6, progress = $7,
        last_seq = last_seq + cardinality($16::bytea[]), manifest_epoch = COALESCE($10, manifest_epoch),
        environment_id = COALESCE($11, environment_id), preparation_seconds = COALESCE($12, preparation_seconds)
    WHERE execution_id = $1 AND epoch = $2 AND last_seq = $3 AND state IN ('Claimed', 'Running', 'Collecting')
    RETURNING execution_id
), cells AS (
    UPDATE execution_cell c SET result = u.result FROM unnest($8::int[], $9::json[]) AS u (position, result), fenced
    WHERE c.execution_id = $1 AND c.position = u.position
), events AS (
    INSERT INTO execution_event (execution_id, sequence, body)
    SELECT fenced.execution_id, $3 + u.place, u.body
    FROM fenced, unnest($16::bytea[]) WITH ORDINALITY AS u (body, place)
), sent AS (
    INSERT INTO outbox (owner, event_type, routing_key, body)
    SELECT $13, u.* FROM fenced, unnest($14::text[], $15::text[], $16::bytea[]) AS u
    RETURNING id
)
SELECT array_agg(id ORDER BY id) FROM sent

-- name: put_environment
INSERT INTO environment (environment_id, source, python_version, lock) VALUES ($1, $2, $3, $4)
ON CONFLICT (environment_id) DO NOTHING

-- name: environment
SELECT environment_id, source, python_version, lock FROM environment WHERE environment_id = $1

-- name: fence_state
SELECT state, epoch, last_seq FROM execution WHERE execution_id = $1

-- name: end_execution
-- The terminal step, fenced by epoch and sequence number; nothing comes back when the run is no longer the writer's, or
-- when somebody was told that it will be cancelled and $4 is another end.
UPDATE execution SET state = $4, phase = NULL, ended_at = clock_timestamp(), last_seq = last_seq + 1,
    current_cell = NULL, progress = $5, outputs = $6, resources = $7, error_type = $8, error_message = $9,
    failed_cell = $10, manifest_epoch = COALESCE($11, manifest_epoch), warnings = COALESCE($12, warnings)
WHERE execution_id = $1 AND epoch = $2 AND last_seq = $3
AND state IN ('Queued', 'Delayed', 'Claimed', 'Running', 'Collecting')
AND ($4 = 'Cancelled' OR cancel_requested_at IS NULL)
RETURNING *

-- name: put_cells
UPDATE execution_cell c SET result = u.result FROM unnest($2::text[], $3::json[]) AS u (cell_id, result)
WHERE c.execution_id = $1 AND c.cell_id = u.cell_id

-- name: count_ended
UPDATE tenant SET active = active - $2, queued = queued - $3, delayed = delayed - $4 WHERE tenant_id = $1

-- name: note_ended
-- Only the run that ended last decides (its end is now, and the notebook's row is locked).
UPDATE notebook SET status = $2, last_ended_at = $3, cells = $4 WHERE notebook_id = $1

-- name: cells_of_notebook
SELECT cells FROM notebook WHERE notebook_id = $1

-- name: expired_runs
-- Runs whose worker has let its lease run out. Never right after a database start: workers could not renew meanwhile.
SELECT e.execution_id, e.tenant_id, e.notebook_id, e.worker_id FROM execution e
LEFT JOIN worker w USING (worker_id)
WHERE e.state IN ('Claimed', 'Running', 'Collecting')
AND (w.worker_id IS NULL OR w.expires_at < clock_timestamp())
AND clock_timestamp() > pg_postmaster_start_time() + $1 * interval '1 s'
LIMIT 100

-- name: lease_expired
SELECT NOT EXISTS (SELECT 1 FROM worker WHERE worker_id = $1 AND expires_at >= clock_timestamp())

-- name: overdue_in_queue
SELECT execution_id FROM execution WHERE state = 'Queued' AND queue_deadline < clock_timestamp() LIMIT 100

-- name: requeue
-- The time that it may wait begins anew: the run had been taken within it. $4: 1 counts no attempt, 0 counts a lost one.
-- What the lost attempt had registered was never sealed, and is shown no more.
UPDATE execution SET state = 'Queued', phase = 'Queued', epoch = epoch + 1, worker_id = NULL, started_at = NULL,
    attempt = attempt - $4, losses = losses + 1 - $4, last_seq = last_seq + $6, current_cell = NULL, progress = $5,
    manifest_epoch = NULL, queue_deadline = clock_timestamp() + (request ->> 'queueTimeout')::integer * interval '1 s'
WHERE execution_id = $1 AND epoch = $2 AND last_seq = $3 AND state IN ('Claimed', 'Running', 'Collecting')
RETURNING *

-- name: count_requeued
UPDATE tenant SET active = active - 1, queued = queued + 1 WHERE tenant_id = $1

-- name: retry
-- The attempt has failed and another is due after $5 seconds. Nothing comes back when the run is no longer the writer's,
-- or when somebody was told that it will be cancelled. What the attempt has registered can be read until the next begins.
UPDATE execution SET state = CASE WHEN $5 > 0 THEN 'Delayed' ELSE 'Queued' END, phase = 'Queued', epoch = epoch + 1,
    worker_id = NULL, started_at = NULL, retries = retries + 1, losses = losses + $7,
    last_seq = $3 + CASE WHEN $5 > 0 THEN 1 ELSE 2 END, current_cell = NULL, progress = $4,
    retry_at = clock_timestamp() + $5 * interval '1 s', manifest_epoch = COALESCE($6, manifest_epoch),
    queue_deadline = clock_timestamp() + (request ->> 'queueTimeout')::integer * interval '1 s'
WHERE execution_id = $1 AND epoch = $2 AND last_seq = $3 AND state IN ('Claimed', 'Running', 'Collecting')
AND cancel_requested_at IS NULL
RETURNING *

-- name: insert_attempt
INSERT INTO execution_attempt (execution_id, attempt, started_at, error_type, error_message, failed_cell, manifest_epoch)
VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ended_at

-- name: attempts_of
SELECT * FROM execution_attempt WHERE execution_id = ANY($1::uuid[]) ORDER BY execution_id, attempt

-- name: attempt
SELECT * FROM execution_attempt WHERE execution_id = $1 AND attempt = $2

-- name: count_delayed
UPDATE tenant SET active = active - 1, delayed = delayed + 1 WHERE tenant_id = $1

-- name: due_runs
SELECT execution_id, tenant_id FROM execution WHERE state = 'Delayed' AND retry_at <= clock_timestamp()
ORDER BY retry_at LIMIT 500

-- name: requeue_due
-- Its time to wait for a worker begins. Nothing comes back when it has been queued or cancelled meanwhile.
UPDATE execution SET state = 'Queued', last_seq = last_seq + 1,
    queue_deadline = clock_timestamp() + (request ->> 'queueTimeout')::integer * interval '1 s'
WHERE execution_id = $1 AND state = 'Delayed' AND retry_at <= clock_timestamp()
RETURNING *

-- name: count_due
UPDATE tenant SET delayed = delayed - 1, queued = queued + 1 WHERE tenant_id = $1

-- name: forget_workers
DELETE FROM worker w WHERE expires_at < clock_timestamp() - interval '1 h'
AND NOT EXISTS (SELECT 1 FROM execution e WHERE e.worker_id = w.worker_id
                AND e.state IN ('Claimed', 'Running', 'Collecting'))

-- name: find_claimed
-- A run that is still held under this epoch.
SELECT * FROM execution WHERE execution_id = $1 AND epoch = $2 AND state IN ('Claimed', 'Running', 'Collecting')

-- name: find_state
-- A run that has ended stays as it is.
SELECT notebook_id, state FROM execution WHERE execution_id = $1

-- name: remove_execution
DELETE FROM execution WHERE execution_id = $1

-- name: forget_on_notebook
-- What a notebook's remaining runs amount to, after one was removed. How many there were stays: it is a number of its
-- life, not of its history.
UPDATE notebook n
SET last_accepted_at = (SELECT max(e.accepted_at) FROM execution e WHERE e.notebook_id = n.notebook_id),
    status = COALESCE((
        SELECT CASE WHEN e.state <> 'Error' THEN 'Ready' WHEN e.error_type = 'DeadKernelError' THEN 'Kernel_Dead'
                    ELSE 'Error' END
        FROM execution e WHERE e.notebook_id = n.notebook_id AND e.ended_at IS NOT NULL
        ORDER BY e.ended_at DESC, e.execution_id DESC LIMIT 1
    ), 'Ready')
WHERE n.notebook_id = $1

-- name: unsealed_runs
-- Runs whose worker may have stored objects that artifacts never heard of.
SELECT execution_id FROM execution WHERE notebook_id = $1 AND manifest_epoch IS NULL AND epoch > 0

-- name: empty_tombstone
UPDATE notebook SET cells = '{}', execution_count = 0, last_accepted_at = NULL, last_ended_at = NULL, status = 'Ready',
    deleting_at = NULL
WHERE notebook_id = $1

-- name: forget_replies_of_executions
-- Kept replies that show runs of a notebook say from now on that these are gone.
UPDATE command_log SET reply = $2, subject = NULL
WHERE subject IN (SELECT execution_id FROM execution WHERE notebook_id = $1)

-- name: remove_executions_of_notebook
DELETE FROM execution WHERE notebook_id = $1

-- name: forget_automatic_starts
DELETE FROM automatic_start WHERE notebook_id = $1

-- name: queue_depth
SELECT COALESCE(sum(queued), 0) AS queued, COALESCE(sum(active), 0) AS active FROM tenant

-- name: retention
SELECT * FROM retention WHERE tenant_id = $1 AND project_id = $2

-- name: set_retention
-- A changed policy is due at once.
INSERT INTO retention (tenant_id, project_id, max_age_days, max_runs_per_notebook, max_bytes, modified_by)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, project_id) DO UPDATE
SET max_age_days = excluded.max_age_days, max_runs_per_notebook = excluded.max_runs_per_notebook,
    max_bytes = excluded.max_bytes, modified_at = clock_timestamp(), modified_by = excluded.modified_by, checked_at = NULL
RETURNING *

-- name: next_retention
-- Take the policy that waits longest, if it is due. Two control processes never take the same.
UPDATE retention SET checked_at = clock_timestamp()
WHERE (tenant_id, project_id) = (
    SELECT tenant_id, project_id FROM retention
    WHERE checked_at IS NULL OR checked_at < clock_timestamp() - make_interval(secs => $1)
    ORDER BY checked_at NULLS FIRST LIMIT 1
    FOR UPDATE SKIP LOCKED)
RETURNING *

-- name: note_retention
UPDATE retention SET applied_at = clock_timestamp() WHERE tenant_id = $1 AND project_id = $2

-- name: runs_to_let_go
-- Ended runs beyond an age ($3, days) or a number ($4) of their notebook, oldest first; never its newest completed one.
SELECT execution_id FROM (
    SELECT execution_id, ended_at, accepted_at,
           row_number() OVER by_age AS place,
           state = 'Completed' AND row_number() OVER by_outcome = 1 AS newest_success
    FROM execution
    WHERE tenant_id = $1 AND project_id = $2 AND state IN ('Completed', 'Error', 'Cancelled')
    WINDOW by_age AS (PARTITION BY notebook_id ORDER BY accepted_at DESC, execution_id DESC),
           by_outcome AS (PARTITION BY notebook_id, state = 'Completed' ORDER BY accepted_at DESC, execution_id DESC)
) AS ranked
WHERE NOT newest_success AND (ended_at < clock_timestamp() - make_interval(days => $3) OR place > $4)
ORDER BY accepted_at, execution_id LIMIT $5

-- name: runs_that_may_go
-- Those of these runs that are still there, and which of them may go: ended, and not the newest completed one of their
-- notebook.
SELECT e.execution_id,
       e.state IN ('Completed', 'Error', 'Cancelled') AND (e.state <> 'Completed' OR EXISTS (
           SELECT 1 FROM execution newer
           WHERE newer.notebook_id = e.notebook_id AND newer.state = 'Completed'
             AND (newer.accepted_at, newer.execution_id) > (e.accepted_at, e.execution_id))) AS may_go
FROM execution e
WHERE e.tenant_id = $1 AND e.project_id = $2 AND e.execution_id = ANY($3::uuid[])
