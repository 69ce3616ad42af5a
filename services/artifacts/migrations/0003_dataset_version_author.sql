-- Who made each version (unknown for those from before).
ALTER TABLE dataset_version ADD COLUMN created_by text;
