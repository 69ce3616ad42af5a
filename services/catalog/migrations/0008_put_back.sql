-- A schedule that cannot be moved on is put back for longer each time, so that it does not stand before all others.
ALTER TABLE automation ADD COLUMN failures integer NOT NULL DEFAULT 0;  -- in a row
