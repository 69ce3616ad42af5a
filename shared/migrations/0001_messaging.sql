-- Every service's schema has these tables; they carry DESIGN.md decisions 1 and 2.

-- Facts that are committed but not yet confirmed by the broker. Rows leave when the broker has confirmed them.
CREATE TABLE outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner       uuid        NOT NULL,  -- the process that sends the row; another adopts it when that one's lease is over
    event_type  text        NOT NULL,
    routing_key text        NOT NULL,
    body        bytea       NOT NULL,  -- the whole envelope
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX outbox_owner ON outbox (owner, id);

-- Leases of the processes that own outbox rows.
CREATE TABLE process_lease (
    owner      uuid        PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

-- Replies of committed write commands: asking again under the same command id, or with the same Idempotency-Key,
-- gives the first answer. Kept 24 hours.
CREATE TABLE command_log (
    command_id      uuid        PRIMARY KEY,
    idempotency_key text        UNIQUE,            -- caller, route and key, joined
    fingerprint     text,                          -- hash of the request's decoded content
    reply           bytea       NOT NULL,
    committed_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX command_log_committed_at ON command_log (committed_at);
