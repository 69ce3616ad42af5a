"""Artifacts: datasets, what runs produced, and everything else that lives in the object store."""
