-- A tenant's share of the slots when several wait: one of weight 2 gets twice as many as one of weight 1.
ALTER TABLE tenant ADD COLUMN weight real NOT NULL DEFAULT 1 CHECK (weight > 0);
-- How many slots are taken, without a look at the tenants that have none.
CREATE INDEX tenant_active ON tenant (tenant_id) INCLUDE (active) WHERE active > 0;
