-- A forced deletion that waits for runs to end lets no new one in meanwhile. It is over by itself, when the deletion is
-- given up.
ALTER TABLE notebook ADD COLUMN IF NOT EXISTS closing_until timestamptz;
