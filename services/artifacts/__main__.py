"""Starts the artifacts service: `python -m services.artifacts`."""

from __future__ import annotations

import typer

from shared import memory, without_pandas

command_line = typer.Typer(add_completion=False, help=__doc__)


@command_line.command()
def serve() -> None:
    """Serve until told to stop."""
    without_pandas.install()
    memory.give_back()
    from services.artifacts.app import main  # noqa: PLC0415 - not before that: it imports pyarrow

    main()


if __name__ == "__main__":
    command_line()
