-- Several artifacts of a run in one object, and what a zip needs to know of a file before it has read it.
ALTER TABLE artifact
    ADD COLUMN pack_key    text,                        -- or this object holds the bytes, size_bytes of them from
    ADD COLUMN pack_offset bigint,                      -- here on, beside those of other artifacts of its epoch
    ADD COLUMN crc32       bigint;                      -- null for what was stored before this was kept

-- Not validated: what is there satisfies the older, narrower rule.
ALTER TABLE artifact DROP CONSTRAINT artifact_check;
ALTER TABLE artifact ADD CONSTRAINT artifact_bytes_are_somewhere CHECK (
    num_nonnulls(object_key, inline, pack_key) = 1 AND (pack_key IS NULL) = (pack_offset IS NULL)
) NOT VALID;
CREATE INDEX artifact_by_pack ON artifact (pack_key) WHERE pack_key IS NOT NULL;
