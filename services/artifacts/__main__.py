"""Starts the artifacts service: `python -m services.artifacts`."""

from __future__ import annotations

import sys

# pyarrow imports pandas wherever it is installed, at the first Python value it converts: some 60 MB for nothing here.
sys.modules["pandas"] = None  # type: ignore[assignment]

from services.artifacts.app import main  # noqa: E402 - pyarrow comes with it

if __name__ == "__main__":
    main()
