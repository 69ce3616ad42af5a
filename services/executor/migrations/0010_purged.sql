-- Runs of a deleted notebook are hidden until they are removed: the index holds the few notebooks where that is to come.

ALTER TABLE notebook ADD COLUMN purged_at timestamptz;  -- of a tombstone: when its runs were removed
UPDATE notebook SET purged_at = clock_timestamp() WHERE blocked_at IS NOT NULL AND execution_count = 0;
CREATE INDEX notebook_being_deleted ON notebook (notebook_id) WHERE blocked_at IS NOT NULL AND purged_at IS NULL;
