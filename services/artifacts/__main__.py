"""Starts the artifacts service: `python -m services.artifacts`."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder


class WithoutPandas(MetaPathFinder):
    """Makes pandas look absent: pyarrow would import it with the first Python value, some 60 MB for nothing here."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Refuse pandas; leave every other module to the usual finders."""
        if fullname == "pandas":
            raise ModuleNotFoundError("this service has no use for pandas", name=fullname)


if __name__ == "__main__":
    sys.meta_path.insert(0, WithoutPandas())
    from services.artifacts.app import main  # not before pandas is out of sight

    main()
