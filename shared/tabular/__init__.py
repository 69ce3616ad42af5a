"""Stored tables (Parquet): read batch by batch, and written as CSV; one way for datasets and for what runs produce."""
