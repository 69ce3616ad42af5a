"""Processes are known by more than their pid, and ports are kept apart, on a real kernel."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local import processes
from deploy.local.ports import LOOPBACK, PortBook
from deploy.local.processes import ProcessRecord

GENTLE = ((signal.SIGTERM, 5.0),)
DEADLINE_SECONDS = 10.0


def spawn(tmp_path: Path, program: str, **env: str) -> ProcessRecord:
    pid = processes.spawn(["sh", "-c", program], env={**os.environ, **env}, cwd=tmp_path, log=tmp_path / "log")
    record = ProcessRecord.of(pid)
    assert record is not None
    return record


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.01)
    return path.read_text()


def test_a_record_survives_on_disk_and_ends_with_the_process(tmp_path: Path) -> None:
    record = spawn(tmp_path, "exec sleep 600")
    record.save(tmp_path / "pid.json")
    loaded = ProcessRecord.load(tmp_path / "pid.json")
    assert loaded == record
    assert loaded.is_alive()
    processes.end([loaded], GENTLE)
    assert not loaded.is_alive()


def test_a_recycled_pid_is_neither_alive_nor_signalled(tmp_path: Path) -> None:
    record = spawn(tmp_path, "exec sleep 600")
    for stranger in (replace(record, started=record.started + 1), replace(record, boot="another boot")):
        assert not stranger.is_alive()
        stranger.send(signal.SIGKILL)
        processes.end([stranger], GENTLE)
        assert record.is_alive()
    processes.end([record], GENTLE)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "unknown": 2}'])
def test_a_damaged_record_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "pid.json").write_text(content)
    assert ProcessRecord.load(tmp_path / "pid.json") is None


def test_what_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    record = spawn(tmp_path, "trap '' TERM; echo ready > ready; while :; do sleep 0.1; done")
    wait_for(tmp_path / "ready")
    processes.end([record], ((signal.SIGTERM, 0.3),))
    assert not record.is_alive()


def test_a_process_that_left_its_parent_and_session_is_found_by_its_mark(tmp_path: Path) -> None:
    mark = f"mark-{os.getpid()}"
    program = "setsid sh -c 'echo $$ > child; exec sleep 600' & sleep 600"
    parent = spawn(tmp_path, program, ATELIER_STACK=f"{mark}:worker")
    child = ProcessRecord.of(int(wait_for(tmp_path / "child")))
    assert child is not None
    assert child in processes.descendants([parent])
    processes.end([parent], ())
    assert child.is_alive()
    found = processes.marked([f"ATELIER_STACK={mark}:".encode()])
    assert child.pid in {record.pid for record in found}
    processes.end(found, GENTLE)
    assert processes.marked([f"ATELIER_STACK={mark}:".encode()]) == []


def test_a_port_is_remembered(tmp_path: Path) -> None:
    book = PortBook(tmp_path / "ports.json")
    port = book["amqp"]
    assert PortBook(tmp_path / "ports.json")["amqp"] == port
    book.claim("amqp")
    book.release("amqp")
    assert book["amqp"] == port


def test_a_port_in_use_is_replaced(tmp_path: Path) -> None:
    book = PortBook(tmp_path / "ports.json")
    port = book["amqp"]
    with socket.create_server((LOOPBACK, port)):
        book.claim("amqp")
    book.release("amqp")
    assert book["amqp"] != port
    assert PortBook(tmp_path / "ports.json")["amqp"] == book["amqp"]


def test_a_reserved_port_can_be_listened_on_but_not_chosen_by_another(tmp_path: Path) -> None:
    book = PortBook(tmp_path / "ports.json")
    book.claim("amqp")
    other = tmp_path / "other.json"
    other.write_text((tmp_path / "ports.json").read_text())
    with socket.create_server((LOOPBACK, book["amqp"])):
        rival = PortBook(other)
        rival.claim("amqp")
        assert rival["amqp"] != book["amqp"]
        rival.release("amqp")
    book.release("amqp")


def test_a_damaged_book_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("{")
    assert PortBook(tmp_path / "ports.json")["amqp"] > 0


def test_all_ports_of_a_book_are_different(tmp_path: Path) -> None:
    book = PortBook(tmp_path / "ports.json")
    names = [f"port-{number}" for number in range(50)]
    assert len({book[name] for name in names}) == len(names)


def test_children_are_reaped(tmp_path: Path) -> None:
    record = spawn(tmp_path, "sleep 0.5")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while record.is_alive():
        assert time.monotonic() < deadline
    assert subprocess.run(["ps", "-p", str(record.pid)], capture_output=True, check=False).returncode == 1


def test_a_child_that_ended_unnoticed_is_reaped_at_the_next_start(tmp_path: Path) -> None:
    unnoticed = Path("/proc", str(spawn(tmp_path, "sleep 0.1").pid))
    deadline = time.monotonic() + DEADLINE_SECONDS
    while " Z " not in (unnoticed / "stat").read_text():
        assert time.monotonic() < deadline
    spawn(tmp_path, "sleep 0")
    assert not unnoticed.exists()
