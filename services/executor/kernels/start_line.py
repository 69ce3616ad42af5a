"""The line that plain kernels run first. They see nothing of the services, so it holds the text of all it registers."""

from __future__ import annotations

from pathlib import Path

from services.executor.kernels.forkserver import outlet


def start_line() -> str:
    """The line, which leaves no name in the notebook's variables."""
    return "; ".join(map(_statement, outlet.REGISTERED))


def _statement(name: str) -> str:
    program = Path(outlet.__file__).with_name(f"{name}.py").read_text(encoding="utf-8") + "\nregister(get_ipython())\n"
    return f"exec({program!r}, {{'__name__': {name!r}, 'get_ipython': get_ipython}})"
