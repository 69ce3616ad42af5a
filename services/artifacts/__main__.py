"""Starts the artifacts service: `python -m services.artifacts`."""

from __future__ import annotations

from services.artifacts.app import main

if __name__ == "__main__":
    main()
