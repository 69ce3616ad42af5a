-- Where a dataset version comes from when a run made it: kept with the version, so that it stays known when the run is
-- removed. Null for what was uploaded.
ALTER TABLE dataset_version
    ADD COLUMN origin_execution_id uuid,
    ADD COLUMN origin              text;                -- JSON: DatasetOrigin
CREATE INDEX dataset_version_by_origin ON dataset_version (origin_execution_id) WHERE origin_execution_id IS NOT NULL;
