-- History that can be relied on: a version says what it restored, and neither versions nor contents can be changed.

ALTER TABLE notebook_version
    ADD COLUMN restored_from text;             -- the version whose definition a restore brought back; null: an edit

-- `Rows never change` is a promise of the schema, not only of the code above it.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% holds history: its rows are never changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER notebook_version_is_history BEFORE UPDATE ON notebook_version
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER content_is_history BEFORE UPDATE ON content
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
