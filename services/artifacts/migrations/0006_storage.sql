-- What a project's runs take, oldest first.
CREATE INDEX manifest_by_project ON manifest (tenant_id, project_id, sealed_at);
