"""What the processes of a worker tell each other arrives as it was."""

from __future__ import annotations

from pathlib import Path

import orjson

from services.executor.environments.base import Interpreter, SdkFiles
from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.spares import Origin


def test_an_origin_arrives_as_it_was() -> None:
    command = KernelCommand(
        argv=("/usr/bin/R", "{connection_file}"),
        transport="tcp",
        environment={"A": "1"},
        readable=(Path("/opt/one"), Path("/opt/two")),
        ended_by="q() called",
        start_timeout_s=90.0,
        start_processors=2,
    )
    origin = Origin(kind="r", command=command, lasting=True)
    assert Origin.from_json(orjson.loads(orjson.dumps(origin.to_json()))) == origin


def test_an_interpreter_arrives_as_it_was() -> None:
    for sdk in (None, SdkFiles(folder=Path("/site"), names=["mindzie_sdk"], requires=["pandas"])):
        interpreter = Interpreter(
            python=Path("/usr/bin/python3"), version="3.11.2", installed={"pandas": "2"}, folders=["/site"], sdk=sdk
        )
        assert Interpreter.from_json(orjson.loads(orjson.dumps(interpreter.to_json()))) == interpreter
