-- The Python of each worker's base environment: a notebook that asks for no version shows it.
ALTER TABLE worker ADD COLUMN python_version text;
