"""`python -m services.executor control` or `worker`; each role imports what it needs and no more."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import typer

from services.executor import secrecy
from services.executor.settings import ExecutorSettings, WorkerSettings
from shared import memory, process
from shared.settings import load

cli = typer.Typer(help="The executor, in one of its two roles.", no_args_is_help=True, add_completion=False)


@cli.command()
def control() -> None:
    """Answer commands and reads, sweep lost runs. Run two or more."""
    from services.executor.app import build_control  # noqa: PLC0415 - see the module

    settings = load(ExecutorSettings)
    memory.give_back()
    process.run(
        "executor-control",
        lambda readiness: build_control(settings, readiness),
        ops_bind=settings.ops_bind,
        log_level=settings.log_level,
    )


@cli.command()
def worker() -> None:
    """Claim runs and execute them in kernels. Run none to many."""
    from services.executor.worker_app import WorkerApp  # noqa: PLC0415 - see the module

    memory.give_back()
    secrecy.hide()
    settings = load(WorkerSettings)
    app = WorkerApp(settings)
    process.run(
        "executor-worker",
        app.build,
        ops_bind=settings.ops_bind,
        log_level=settings.log_level,
        exposition=app.exposition,
    )


@cli.command()
def isolation(python: Path) -> None:
    """Print as JSON which isolation this machine allows kernels of an interpreter, and what the next level misses."""
    from services.executor.kernels.survey import survey  # noqa: PLC0415 - see the module

    print(json.dumps(asyncio.run(survey(python.absolute()))))


if __name__ == "__main__":
    cli()
