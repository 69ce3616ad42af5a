"""Differences between two versions: cell by cell for people, nbdime's operations for programs, a page for a browser."""
