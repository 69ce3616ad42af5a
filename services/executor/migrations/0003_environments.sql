-- What runs ran in: each environment once, by the hash of everything it is made of.
CREATE TABLE environment (
    environment_id text PRIMARY KEY,
    source         text NOT NULL CHECK (source IN ('base', 'built')),
    python_version text NOT NULL,
    lock           text NOT NULL,                       -- requirements.txt form; hashes for what came from an index
    first_used_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE execution
    ADD COLUMN environment_id      text,                -- null until it is ready
    ADD COLUMN preparation_seconds double precision;    -- of the phase PreparingEnvironment, the last time
