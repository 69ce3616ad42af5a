-- Who made each version (unknown for those from before), and what is known of its columns' values, which is computed
-- after the version has become visible.
ALTER TABLE dataset_version ADD COLUMN created_by text;
