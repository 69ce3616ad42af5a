"""One run on a worker, from claim to end."""
