-- Which dataset version a run read, to find the runs that read a dataset.
ALTER TABLE execution
    ADD COLUMN dataset_id      uuid,
    ADD COLUMN dataset_version integer;
UPDATE execution e
SET dataset_id = (s.dataset -> 'dataset' ->> 'datasetId')::uuid,
    dataset_version = (s.dataset -> 'dataset' ->> 'version')::integer
FROM execution_snapshot s WHERE s.execution_id = e.execution_id AND s.dataset IS NOT NULL;
CREATE INDEX execution_by_dataset ON execution (dataset_id, accepted_at DESC, execution_id DESC) WHERE dataset_id IS NOT NULL;
