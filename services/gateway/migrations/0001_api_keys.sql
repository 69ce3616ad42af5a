-- Credentials of programs. The key itself is shown once, when it is made; here is only its hash.
CREATE TABLE api_key (
    key_id       uuid        PRIMARY KEY,
    key_hash     bytea       NOT NULL UNIQUE,  -- SHA-256 of the whole key
    tenant_id    uuid        NOT NULL,
    project_id   uuid,                         -- null: every project of the tenant
    role         text        NOT NULL CHECK (role IN ('viewer', 'runner', 'editor', 'admin')),
    name         text        NOT NULL,         -- who or what uses it; shows as createdBy
    created_at   timestamptz NOT NULL DEFAULT now(),
    revoked_at   timestamptz,
    last_used_at timestamptz                   -- exact to a minute, so that polling writes nothing
);
CREATE INDEX api_key_tenant ON api_key (tenant_id, created_at);
