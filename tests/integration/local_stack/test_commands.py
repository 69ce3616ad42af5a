"""`make up`, `down`, `status` and `reset` with real servers: quick, repeatable, and without a trace."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import External, Stack, processes
from tests.integration.local_stack.checkout import Checkout
from tests.support.long import others_are_long

ALL = ["artifacts", "catalog", "control", "gateway", "postgres", "rabbitmq", "s3", "worker"]


def test_the_first_start_says_where_everything_is(checkout: Checkout) -> None:
    checkout.run("reset")
    code, printed = checkout.run("up")
    assert code == 0, printed
    port = checkout.ports["gateway.http"]
    assert f"base URL   http://127.0.0.1:{port}\n" in printed
    assert f"docs       http://127.0.0.1:{port}/docs\n" in printed
    dev_env = checkout.root / ".atelier/dev.env"
    assert stat.S_IMODE(dev_env.stat().st_mode) == 0o600
    assert f"ATELIER_URL=http://127.0.0.1:{port}\n" in dev_env.read_text()
    assert "ATELIER_DATASET=5f0c8d1e-0000-4000-8000-000000000001\n" in dev_env.read_text()


def test_a_second_start_starts_nothing(checkout: Checkout) -> None:
    checkout.up()
    before, dev_env = checkout.pids, (checkout.root / ".atelier/dev.env").read_text()
    assert checkout.up() == []
    assert checkout.pids == before
    assert (checkout.root / ".atelier/dev.env").read_text() == dev_env


def test_no_secret_is_on_a_command_line_or_readable_by_others(checkout: Checkout) -> None:
    checkout.up()
    private = (checkout.root / ".atelier/secrets.json").read_text()
    secrets = [part for part in private.split('"') if len(part) == 64]
    assert len(secrets) > 5
    for pid in checkout.pids.values():
        told = Path(f"/proc/{pid}/cmdline").read_text()
        assert not [secret for secret in secrets if secret in told]
    folder = checkout.root / ".atelier"
    holders = [
        path for path in folder.rglob("*") if path.is_file() and path.stat().st_size < 100_000 and _holds(path, secrets)
    ]
    assert folder / "secrets.json" in holders
    assert [path for path in holders if _others_can_read(path, folder)] == []


@pytest.mark.parametrize("victim", others_are_long([*ALL, "epmd"], ["epmd", "postgres", "rabbitmq", "worker"]))
def test_a_killed_part_is_started_again_and_the_others_are_left_alone(checkout: Checkout, victim: str) -> None:
    checkout.up()
    before = checkout.pids
    os.kill(before[victim], signal.SIGKILL)
    started = checkout.up()
    assert started == ([] if victim == "epmd" else [victim])
    after = checkout.pids
    assert after.pop(victim) != before.pop(victim)
    assert after == before


def test_everything_killed_at_once_comes_back_on_the_same_ports(checkout: Checkout) -> None:
    checkout.up()
    ports = checkout.ports
    for pid in checkout.pids.values():
        os.kill(pid, signal.SIGKILL)
    assert checkout.up() == ALL
    assert checkout.ports == ports


def test_down_leaves_no_process_and_keeps_the_data(checkout: Checkout) -> None:
    checkout.up()
    running = processes.marked(checkout.folder.markers)
    names = {Path(f"/proc/{record.pid}/comm").read_text().strip() for record in running}
    assert {"beam.smp", "epmd", "sleep"} <= names  # the sleep has left its parent's session
    pids = checkout.pids
    assert checkout.run("down")[0] == 0
    assert processes.marked(checkout.folder.markers) == []
    assert [record for record in running if record.is_alive()] == []
    assert checkout.pids == {}
    assert pids.keys() >= set(ALL)
    assert checkout.run("down") == (0, "nothing was running\n")
    assert checkout.run("status")[0] == 1
    assert (checkout.root / ".atelier/data/s3/atelier").is_dir()


def test_an_orphan_of_a_killed_worker_is_ended_by_down(checkout: Checkout) -> None:
    checkout.up()
    worker = checkout.pids["worker"]
    record = processes.ProcessRecord.of(worker)
    assert record is not None
    orphans = processes.descendants([record])
    assert orphans
    os.kill(worker, signal.SIGKILL)
    checkout.run("down")
    assert [orphan for orphan in orphans if orphan.is_alive()] == []


def test_two_starts_at_once_are_one(checkout: Checkout) -> None:
    checkout.run("down")
    both = [checkout.start("up"), checkout.start("up")]
    printed = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert sum("starting Atelier" in text for text in printed) == 1
    assert sum("waiting for it" in text for text in printed) == 1
    assert sorted(checkout.pids) == sorted([*ALL, "epmd"])


def test_a_port_that_someone_else_has_taken_is_replaced(checkout: Checkout) -> None:
    checkout.up()
    checkout.run("down")
    before = checkout.ports
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", before["gateway.http"]))
        taken.listen()
        checkout.up()
    after = checkout.ports
    assert after.pop("gateway.http") != before.pop("gateway.http")
    assert after == before
    assert f":{checkout.ports['gateway.http']}\n" in (checkout.root / ".atelier/dev.env").read_text()


def test_changed_programs_are_started_anew(checkout: Checkout) -> None:
    checkout.up()
    before = checkout.pids
    with (checkout.root / "services/stub.py").open("a") as source:
        source.write("# changed\n")
    assert "outdated" in checkout.run("status")[1]
    assert checkout.up() == ["artifacts", "catalog", "control", "gateway", "worker"]
    assert checkout.pids["rabbitmq"] == before["rabbitmq"]


def test_a_service_that_does_not_start_is_reported_with_its_last_words(checkout: Checkout) -> None:
    checkout.up()
    os.kill(checkout.pids["catalog"], signal.SIGKILL)
    code, printed = checkout.run("up", {"STUB_FAILS": "catalog"})
    assert code == 1
    assert "catalog ended during its start" in printed
    assert "| the stub was told to fail" in printed
    assert "make logs" in printed
    assert checkout.up() == ["catalog"]


def test_given_servers_are_used_and_not_started(checkout: Checkout, tmp_path: Path) -> None:
    checkout.up()
    owner = Stack(checkout.root / ".atelier")
    given = {
        "ATELIER_AMQP_URL": owner.rabbitmq.url,
        "ATELIER_POSTGRES_DSN": owner.postgres.dsn,
        "ATELIER_S3_ENDPOINT": owner.object_store.access.endpoint,
        "ATELIER_S3_ACCESS_KEY": owner.object_store.access.access_key,
        "ATELIER_S3_SECRET_KEY": owner.object_store.access.secret_key,
        "ATELIER_S3_BUCKET": "another",
    }
    guest = Checkout(tmp_path / "guest")
    try:
        assert guest.up(given) == ["artifacts", "catalog", "control", "gateway", "postgres", "rabbitmq", "s3", "worker"]
        assert sorted(guest.pids) == ["artifacts", "catalog", "control", "gateway", "worker"]
        settings = Path(f"/proc/{guest.pids['worker']}/environ").read_bytes().split(b"\0")
        assert f"ATELIER_AMQP_URL={owner.rabbitmq.url}".encode() in settings
        assert b"ATELIER_S3_BUCKET=another" in settings
        assert not [entry for entry in settings if entry.startswith(b"ATELIER_POSTGRES_DSN=")]
        wrong = given | {"ATELIER_AMQP_URL": owner.rabbitmq.url.replace("://atelier:", "://atelier:not-")}
        guest.run("down")
        code, printed = guest.run("up", wrong)
        assert code == 1
        assert "rabbitmq is given by setting, but RabbitMQ refuses" in printed
    finally:
        guest.run("reset")
    assert checkout.up() == []  # the owner's servers were left alone


def test_a_copy_of_a_running_checkout_is_another_stack(checkout: Checkout, tmp_path: Path) -> None:
    checkout.up()
    before = checkout.pids
    subprocess.run(["cp", "-a", checkout.root, tmp_path / "copy"], check=True)
    for command in ("down", "reset"):
        done = subprocess.run(
            [sys.executable, "-m", "deploy.local", command],
            cwd=tmp_path / "copy",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.startswith("nothing was running"), done.stderr
    assert checkout.pids == before


def test_reset_deletes_the_data(checkout: Checkout) -> None:
    checkout.up()
    assert checkout.run("reset")[0] == 0
    assert processes.marked(checkout.folder.markers) == []
    assert not (checkout.root / ".atelier/data").exists()
    assert not (checkout.root / ".atelier/secrets.json").exists()


def test_an_s3_endpoint_without_keys_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_S3_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("ATELIER_S3_SECRET_KEY", raising=False)
    with pytest.raises(ValueError, match="ATELIER_S3_SECRET_KEY"):
        External.from_environment()


def _holds(path: Path, secrets: list[str]) -> bool:
    content = path.read_bytes()
    return any(secret.encode() in content for secret in secrets)


def _others_can_read(path: Path, top: Path) -> bool:
    passable = all(
        parent.stat().st_mode & stat.S_IXOTH for parent in path.parents if parent.is_relative_to(top) and parent != top
    )
    return passable and bool(path.stat().st_mode & stat.S_IROTH)
