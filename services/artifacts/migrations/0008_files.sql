-- Contents of files beside notebooks: the bytes once per project, and which notebooks need them.

CREATE TABLE file_content (
    tenant_id    uuid        NOT NULL,
    project_id   uuid        NOT NULL,
    sha256       text        NOT NULL,
    size_bytes   bigint      NOT NULL,
    object_key   text        NOT NULL UNIQUE,
    date_created timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, project_id, sha256)
);

-- A notebook needs a content from the upload on, before catalog has a version with it. If none has it a day later, the
-- row goes; the last row of a content takes the content along.
CREATE TABLE file_use (
    tenant_id   uuid        NOT NULL,
    project_id  uuid        NOT NULL,
    notebook_id uuid        NOT NULL,
    sha256      text        NOT NULL,
    confirmed   boolean     NOT NULL DEFAULT false,  -- catalog has said that a version of the notebook has it
    reserved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, project_id, notebook_id, sha256),
    FOREIGN KEY (tenant_id, project_id, sha256) REFERENCES file_content
);
CREATE INDEX file_use_of_content ON file_use (tenant_id, project_id, sha256);
CREATE INDEX file_use_unconfirmed ON file_use (reserved_at) WHERE NOT confirmed;
