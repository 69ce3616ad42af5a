"""A private RabbitMQ node with an Erlang port mapper (epmd) of its own; both listen on loopback only."""

import asyncio
import hashlib
import json
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aio_pika
from aio_pika.exceptions import AMQPError
from typing_extensions import override

from deploy.local import processes, surroundings
from deploy.local.component import Component, Launch, NotReady
from deploy.local.folder import MARKER, StackFolder, write_private_text
from deploy.local.ports import LOOPBACK, is_listening
from shared import broker_users, topology

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's script for a private node; the one in /usr/sbin switches to the system's user and cookie."""
EPMD = "epmd"
USER = VHOST = "atelier"
NODE = "atelier@localhost"  # not the host's name: the data must survive a new one, as containers get
CHECK_SECONDS = 5.0
DISK_FREE_LIMIT = "50MB"
LOOPBACK_ONLY = "-kernel inet_dist_use_interface {127,0,0,1}"  # by default Erlang's own port listens everywhere
NO_BUSY_WAITING = "+sbwt none +sbwtdcpu none +sbwtdio none"  # its threads share the processors with everything else


class PortMapper(Component):
    """epmd, started before the node: a node that finds none leaves a daemon behind that nobody stops."""

    stop_steps = ((signal.SIGTERM, 2.0),)

    @property
    @override
    def port_names(self) -> Sequence[str]:
        return ("epmd",)

    @override
    def prepare(self) -> Launch:
        env = surroundings.bare()
        return Launch(argv=[EPMD, "-port", str(self.port), "-address", LOOPBACK], env=env, cwd=self.folder.path)

    @override
    def check(self) -> None:
        if not is_listening(self.port):
            raise NotReady("epmd does not listen")

    @override
    def clear_remains(self) -> None:
        """Ends a daemon that a node started by itself after it had lost its port mapper."""
        for record in processes.marked([f"{MARKER}={self.folder.stack_id}:rabbitmq".encode()]):
            if _program(record.pid) == EPMD:
                processes.end([record], self.stop_steps)


class RabbitMQ(Component):
    """The broker. `url` is the administrator's, `url_of(service)` what a service connects to."""

    stop_steps = ((signal.SIGTERM, 20.0),)  # writes its queues to disk first: about 2 s

    def __init__(self, folder: StackFolder) -> None:
        super().__init__("rabbitmq", folder)
        self.port_mapper = PortMapper("epmd", folder)

    @property
    @override
    def port_names(self) -> Sequence[str]:
        return ("amqp", "erlang")

    @property
    def url(self) -> str:
        """The broker's address, password and virtual host included."""
        return f"amqp://{USER}:{self.folder.secret('rabbitmq')}@{LOOPBACK}:{self.port}/{VHOST}"

    def url_of(self, service: str) -> str:
        """The broker's address for the user of one service (`shared/broker_users.py`)."""
        user = self._user_of(service)
        return f"amqp://{user.name}:{user.password}@{LOOPBACK}:{self.port}/{VHOST}"

    def _user_of(self, service: str) -> broker_users.User:
        return broker_users.service_user(service, self.folder.secret(f"rabbitmq.{service}"))

    def _definitions(self) -> dict[str, Any]:
        administrator = broker_users.User(
            name=USER,
            password=self.folder.secret("rabbitmq"),
            permissions=broker_users.ADMINISTRATOR,
            is_administrator=True,
        )
        users = [administrator, *(self._user_of(service) for service in broker_users.SERVICES)]
        return broker_users.definitions(VHOST, users, with_topology=True)

    @override
    def fingerprint(self, plan: Launch) -> str:
        return definitions_digest()

    @override
    def is_current(self) -> bool:
        return self.port_mapper.is_running() and not self._is_outdated()

    def _is_outdated(self) -> bool:
        record = self.record
        return record is not None and record.fingerprint != definitions_digest()

    @override
    def launch(self) -> None:
        if self._is_outdated():
            self.stop()  # what users may do is read at the start
        if not self.port_mapper.is_running():
            self.port_mapper.start()
        super().launch()

    @override
    def prepare(self) -> Launch:
        data = self.folder.data("rabbitmq")
        for name in ("home", "mnesia", "log"):
            (data / name).mkdir(exist_ok=True)
        (data / "enabled_plugins").write_text("[].\n")
        write_private_text(
            data / "rabbitmq.conf",
            f"listeners.tcp.1 = {LOOPBACK}:{self.port}\n"
            f"disk_free_limit.absolute = {DISK_FREE_LIMIT}\n"
            # At every start: users with their permissions, exchanges, queues and bindings.
            f"load_definitions = {data / 'definitions.json'}\n",
        )
        write_private_text(data / "definitions.json", json.dumps(self._definitions()))
        env = surroundings.bare() | {
            "HOME": str(data / "home"),
            "ERL_EPMD_PORT": str(self.port_mapper.port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": NODE,
            "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
            "RABBITMQ_LOG_BASE": str(data / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.folder.ports["erlang"]),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(data / "rabbitmq.pid"),
            "RABBITMQ_CONFIG_FILE": str(data / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(data / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(data / "rabbitmq-env.conf"),  # there is none: the system's must not count
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{LOOPBACK_ONLY} {NO_BUSY_WAITING}",
            # Makes the start script become the server, instead of staying as a parent that waits for it.
            "RUNNING_UNDER_SYSTEMD": "1",
        }
        return Launch(argv=[str(SERVER)], env=env, cwd=data)

    @override
    def check(self) -> None:
        if not is_listening(self.port):
            raise NotReady("the AMQP port is closed")
        check_amqp(self.url)

    @override
    def stop(self) -> None:
        super().stop()
        self.port_mapper.clear_remains()
        self.port_mapper.stop()


def definitions_digest() -> str:
    """A digest of users' permissions, exchanges and queues."""
    told = repr((broker_users.PERMISSIONS, topology.EXCHANGES, topology.QUEUES))
    return hashlib.sha256(told.encode()).hexdigest()


def check_amqp(url: str) -> None:
    """Logs in to a broker and opens the virtual host. Raises NotReady with the broker's words."""

    async def attempt() -> None:
        connection = await aio_pika.connect(url, timeout=CHECK_SECONDS)
        await connection.close()

    try:
        # In a thread of its own: the caller's thread may have a running event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, attempt()).result()
    except (AMQPError, OSError, TimeoutError) as error:
        raise NotReady(f"RabbitMQ refuses: {error or type(error).__name__}") from error


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""
