-- Until when nobody may change the notebook, because it is being deleted in the state that its deleter has seen.
ALTER TABLE notebook ADD COLUMN reserved_until timestamptz;
