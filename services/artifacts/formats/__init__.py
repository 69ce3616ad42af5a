"""File formats of datasets: everything that is read becomes Parquet, and Parquet becomes CSV again."""
