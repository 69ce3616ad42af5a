-- name: add_key
-- Keep a new key's hash and what it may do.
INSERT INTO api_key (key_id, key_hash, tenant_id, project_id, role, name) VALUES ($1, $2, $3, $4, $5, $6)

-- name: find_key
-- Who a presented key belongs to, and whether its last use was long enough ago to be written down again.
SELECT key_id, tenant_id, project_id, role, name,
       last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS use_to_be_noted
FROM api_key
WHERE key_hash = $1 AND revoked_at IS NULL

-- name: note_use
-- Write down that a key is in use.
UPDATE api_key SET last_used_at = now() WHERE key_id = $1
