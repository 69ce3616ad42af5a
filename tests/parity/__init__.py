"""Parity with papermill: the same notebooks there and here, compared cell by cell."""
