"""What a kernel logs at its end is no output of a notebook's."""

from __future__ import annotations

import logging

import pytest
import zmq

from services.executor.kernels.forkserver.outlet import _is_no_closed_socket


def record_of(error: BaseException | None) -> logging.LogRecord:
    trace = (type(error), error, None) if error is not None else None
    return logging.LogRecord("tornado.general", logging.ERROR, "", 1, "Uncaught exception", (), trace)


def test_only_a_socket_that_was_closed_is_not_told() -> None:
    with zmq.Context() as context:
        socket = context.socket(zmq.PULL)
        socket.close()
        with pytest.raises(zmq.ZMQError) as raised:
            socket.recv(zmq.NOBLOCK)
    assert not _is_no_closed_socket(record_of(raised.value))
    assert _is_no_closed_socket(record_of(ValueError("a fault of the notebook's")))
    assert _is_no_closed_socket(record_of(None))
