-- Which notebook a kept reply shows: when that is deleted, nothing of it may stay in the log either. Null for replies that
-- show none, and for those that an older release keeps.
ALTER TABLE command_log ADD COLUMN subject uuid;
CREATE INDEX command_log_subject ON command_log (subject) WHERE subject IS NOT NULL;
