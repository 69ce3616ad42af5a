-- What a failed attempt left behind stays although a later epoch overtakes it: the run lists its attempts.
ALTER TABLE manifest ADD COLUMN kept boolean NOT NULL DEFAULT false;
