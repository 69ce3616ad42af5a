-- Files beside notebooks. Their bytes are with artifacts, by hash.

-- The files of versions, once per set however many versions have it; rows never change.
CREATE TABLE file_set (
    notebook_id uuid  NOT NULL REFERENCES notebook ON DELETE CASCADE,
    sha256      bytea NOT NULL,
    body        bytea NOT NULL,   -- JSON: {path: [SHA-256, bytes, when it was put there]}
    PRIMARY KEY (notebook_id, sha256)
);
ALTER TABLE file_set ALTER COLUMN body SET COMPRESSION lz4;
CREATE TRIGGER file_set_is_history BEFORE UPDATE ON file_set
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Every content that a file of any version has. `Does this notebook need the bytes?`
CREATE TABLE file_content (
    notebook_id uuid NOT NULL REFERENCES notebook ON DELETE CASCADE,
    sha256      text NOT NULL,
    PRIMARY KEY (notebook_id, sha256)
);

ALTER TABLE notebook_version ADD COLUMN files_sha256 bytea;   -- null: no files
