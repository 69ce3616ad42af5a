"""The template of a worker's processes: `python -m services.executor.slots.template <descriptor>`.

It has everything imported that a slot needs, so that a new slot is a fork of it. For each order it forks a process with
the channel that came with the order, and tells of its end. It has one thread and no connection. When the supervisor
ends, so does it, and with it every process.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
from typing import Any, NoReturn

import orjson

from services.executor import secrecy
from services.executor.slots import wiring
from services.executor.slots.channel import MESSAGE_BYTES
from shared import apart, memory


def main() -> None:
    """Serve until the control socket is closed."""
    memory.give_back()
    secrecy.hide()
    apart.end_with_parent()
    apart.name_process("template")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they reach the whole group; the supervisor says when to end
    control = socket.socket(fileno=int(sys.argv[1]))
    gc.collect()
    gc.freeze()
    children: dict[int, tuple[int, int]] = {}
    control.send(orjson.dumps({"ready": True}))
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    _obey(control, selector, children)
                else:
                    _tell_end(control, selector, children, key)


def _obey(control: socket.socket, selector: selectors.DefaultSelector, children: dict[int, tuple[int, int]]) -> None:
    body, descriptors, *_ = socket.recv_fds(control, MESSAGE_BYTES, 1)
    if not body:
        os._exit(0)
    order = orjson.loads(body)
    if "kill" in order:
        if order["kill"] in children:
            signal.pidfd_send_signal(children[order["kill"]][0], signal.SIGKILL)
        return
    number, channel = order["number"], descriptors[0]
    pid = os.fork()
    if pid == 0:
        _live(order, channel)
    os.close(channel)
    pidfd = os.pidfd_open(pid)
    children[number] = (pidfd, pid)
    selector.register(pidfd, selectors.EVENT_READ, number)
    control.send(orjson.dumps({"number": number, "pid": pid}))


def _tell_end(
    control: socket.socket,
    selector: selectors.DefaultSelector,
    children: dict[int, tuple[int, int]],
    key: selectors.SelectorKey,
) -> None:
    pidfd, pid = children.pop(key.data)
    _, status = os.waitpid(pid, 0)
    selector.unregister(pidfd)
    os.close(pidfd)
    control.send(orjson.dumps({"number": key.data, "status": os.waitstatus_to_exitcode(status)}))


def _live(order: dict[str, Any], channel: int) -> NoReturn:
    """The new process."""
    apart.end_with_parent()
    apart.name_process(f"{order['role']}-{order['number']}")
    kept = 3
    os.dup2(channel, kept)
    os.closerange(kept + 1, 1 << 20)
    status = 1
    with contextlib.suppress(KeyboardInterrupt):
        wiring.main(order, socket.socket(fileno=kept))
        status = 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
