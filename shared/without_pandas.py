"""Makes pandas look absent: pyarrow would import it with the first Python value, some 60 MB for nothing here."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder


class WithoutPandas(MetaPathFinder):
    """A finder in front of all others that knows of no pandas."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Refuse pandas; leave every other module to the usual finders."""
        if fullname == "pandas":
            raise ModuleNotFoundError("a service has no use for pandas", name=fullname)


def install() -> None:
    """From now on in this process; before pyarrow is imported."""
    sys.meta_path.insert(0, WithoutPandas())
