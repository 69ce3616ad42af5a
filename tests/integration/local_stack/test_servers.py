"""The private servers by themselves: what they keep over crashes, whom they let in, and where they listen."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import aio_pika
import asyncpg
import pytest
from minio import Minio

from deploy.local import NotReady, Stack
from deploy.local.folder import ROOT
from deploy.local.object_store import S3Access, check_s3
from deploy.local.ports import LOOPBACK
from deploy.local.postgres import account, check_postgres
from deploy.local.processes import ProcessRecord
from deploy.local.rabbitmq import check_amqp

SERVERS = ["rabbitmq", "postgres", "s3"]
DEADLINE_SECONDS = 20.0


def listening_addresses(pid: int) -> set[str]:
    """The addresses on which a process accepts TCP connections, as ss(8) shows them."""
    said = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    return {line.split()[3].rpartition(":")[0] for line in said.splitlines() if f"pid={pid}," in line}


async def declare(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        # No quorum queue: killed within a second of making one, RabbitMQ 3.10 never finds a leader for it again.
        await channel.declare_queue("kept", durable=True)


async def publish(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        message = aio_pika.Message(b"one", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")


async def consume(url: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("kept")
        message = await queue.get(timeout=DEADLINE_SECONDS)
        assert message is not None
        return message.body


async def execute(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.mark.slow(reason="every server starts twice, and the broker three times")
async def test_data_and_ports_survive_a_crash_of_every_server(stack: Stack) -> None:
    await asyncio.to_thread(stack.up, only=SERVERS)
    urls = (stack.rabbitmq.url, stack.postgres.dsn, stack.object_store.access)
    await declare(stack.rabbitmq.url)
    await asyncio.to_thread(stack.rabbitmq.stop)  # a broker writes its queues down some time after it has said yes
    await asyncio.to_thread(stack.up, only=SERVERS)
    await publish(stack.rabbitmq.url)
    await execute(stack.postgres.dsn, "create table kept as select 42 as answer")
    (stack.folder.data("s3") / "atelier" / "kept").write_bytes(b"one")
    for part in (stack.rabbitmq, stack.rabbitmq.port_mapper, stack.postgres, stack.object_store):
        part.kill()
        assert not part.is_running()
    await asyncio.to_thread(stack.up, only=SERVERS)
    assert (stack.rabbitmq.url, stack.postgres.dsn, stack.object_store.access) == urls
    try:
        assert await consume(stack.rabbitmq.url) == b"one"
    except Exception:
        print(stack.rabbitmq.log.read_text(errors="replace")[-8_000:])  # it has been lost once, and nobody knows how
        raise
    assert await execute(stack.postgres.dsn, "select answer from kept") == 42
    access = stack.s3
    client = Minio(access.endpoint.removeprefix("http://"), access.access_key, access.secret_key, secure=False)
    answer = client.get_object("atelier", "kept")
    assert answer.read() == b"one"
    answer.close()
    answer.release_conn()


def test_servers_listen_on_loopback_and_let_in_only_with_the_secret(stack: Stack) -> None:
    stack.up(only=SERVERS)
    if shutil.which("ss") is not None:
        for part in (stack.rabbitmq, stack.rabbitmq.port_mapper, stack.postgres, stack.object_store):
            assert part.pid is not None
            assert listening_addresses(part.pid) <= {LOOPBACK, "[::1]"}
    with pytest.raises(NotReady):
        check_amqp(stack.rabbitmq.url.replace(stack.folder.secret("rabbitmq"), "wrong"))
    with pytest.raises(NotReady):
        check_amqp(stack.rabbitmq.url.replace(f"atelier:{stack.folder.secret('rabbitmq')}", "guest:guest"))
    with pytest.raises(NotReady, match="password"):
        check_postgres(stack.postgres.dsn.replace(stack.folder.secret("postgres"), "wrong"))
    access = stack.s3
    with pytest.raises(NotReady):
        check_s3(S3Access(endpoint=access.endpoint, access_key=access.access_key, secret_key="wrong"))


def test_a_lock_file_whose_pid_another_process_has_now_is_no_obstacle(stack: Stack) -> None:
    stack.postgres.start()
    stack.postgres.kill()
    lock = stack.postgres.data / "postmaster.pid"
    _, *rest = lock.read_text().splitlines()
    with subprocess.Popen(["sleep", "600"]) as other:
        lock.write_text("\n".join([str(other.pid), *rest]) + "\n")
        stack.postgres.start()
        other.kill()
    check_postgres(stack.postgres.dsn)


def test_the_database_server_does_not_run_as_root(stack: Stack) -> None:
    stack.postgres.start()
    assert stack.postgres.pid is not None
    owner = Path(f"/proc/{stack.postgres.pid}").stat().st_uid
    assert owner == (account().uid or os.geteuid())
    assert owner != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's folders are closed to the database's user")
def test_a_checkout_in_a_closed_folder_keeps_its_database_elsewhere_and_takes_it_away(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    stack = Stack(closed / "stack")
    try:
        stack.postgres.start()
        assert not stack.postgres.data.is_relative_to(closed)
        assert stack.postgres.data.is_dir()
    finally:
        data = stack.postgres.data
        stack.delete()
    assert not data.exists()


def test_stacks_side_by_side_share_nothing(stack: Stack, tmp_path: Path) -> None:
    other = Stack(tmp_path / "other")
    try:
        for one in (stack, other):
            one.up(only=["postgres", "s3"])
        assert stack.postgres.port != other.postgres.port
        other.down()
        assert not other.postgres.is_running()
        assert stack.postgres.is_running()
        assert stack.object_store.is_running()
    finally:
        other.delete()


def test_a_stack_ends_with_the_process_that_asked_for_it(tmp_path: Path, servers: None) -> None:
    program = (
        "import pathlib, sys; from deploy.local import Stack; stack = Stack(pathlib.Path(sys.argv[1]));"
        "stack.end_with_this_process(); stack.object_store.start(); print(stack.object_store.pid, flush=True);"
        "sys.stdin.read()"
    )
    folder = tmp_path / "stack"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        server = ProcessRecord.of(int(owner.stdout.readline()))
        assert server is not None
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and (server.is_alive() or folder.exists()):
        time.sleep(0.05)
    assert not server.is_alive()
    assert not folder.exists()
