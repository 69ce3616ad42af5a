"""Starts the artifacts service: `python -m services.artifacts`."""

from __future__ import annotations

from shared import memory, without_pandas

if __name__ == "__main__":
    without_pandas.install()
    memory.give_back()
    from services.artifacts.app import main  # not before that: it imports pyarrow

    main()
