"""Starts the artifacts service: `python -m services.artifacts`."""

from __future__ import annotations

from shared import without_pandas

if __name__ == "__main__":
    without_pandas.install()
    from services.artifacts.app import main  # not before pandas is out of sight

    main()
