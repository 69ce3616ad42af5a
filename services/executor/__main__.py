"""`python -m services.executor control` or `worker`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import typer

from services.executor import app as wiring
from services.executor.kernels.survey import survey
from services.executor.settings import ExecutorSettings, WorkerSettings
from shared import process

cli = typer.Typer(help="The executor, in one of its two roles.", no_args_is_help=True, add_completion=False)


@cli.command()
def control() -> None:
    """Answer commands and reads, sweep lost runs. Run two or more."""
    settings = ExecutorSettings()
    process.run(
        "executor-control",
        lambda readiness: wiring.build_control(settings, readiness),
        ops_bind=settings.ops_bind,
        log_level=settings.log_level,
    )


@cli.command()
def worker() -> None:
    """Claim runs and execute them in kernels. Run none to many."""
    settings = WorkerSettings()
    process.run(
        "executor-worker",
        lambda readiness: wiring.build_worker(settings, readiness),
        ops_bind=settings.ops_bind,
        log_level=settings.log_level,
    )


@cli.command()
def isolation(python: Path) -> None:
    """Print as JSON which isolation this machine allows kernels of an interpreter, and what the next level misses."""
    print(json.dumps(asyncio.run(survey(python.absolute()))))


if __name__ == "__main__":
    cli()
