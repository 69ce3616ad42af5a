-- Runs of a deleted notebook are hidden until they are removed. The index holds the few notebooks where that is to come;
-- the column is apart from blocked_at, which tombstones keep, so that the planner knows that they are few.

ALTER TABLE notebook ADD COLUMN deleting_at timestamptz;
CREATE INDEX notebook_being_deleted ON notebook (notebook_id) WHERE deleting_at IS NOT NULL;
