from __future__ import annotations

import pytest
from nbformat.v4 import new_output

from services.executor.kernels import terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n", "plain\n"),
        ("10%\r20%\r30%\ndone", "30%\ndone"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("abc\b\bd", "ad"),
        ("\b\bx", "x"),
        ("50%\r", "50%\r"),
        ("", ""),
    ],
)
def test_what_a_terminal_shows(text: str, shown: str) -> None:
    assert terminal.shown(text) == shown


def test_long_lines_take_linear_time() -> None:
    # A quadratic way would need 10^14 steps here and run into the suite's time limit.
    assert len(terminal.shown("x" * 10_000_000 + "\r" + "y" * 10_000_000)) == 10_000_000


def test_only_streams_are_touched() -> None:
    outputs = [
        new_output("stream", name="stdout", text="a\rb"),
        new_output("display_data", data={"text/plain": "a\rb"}),
    ]
    terminal.tidy(outputs)
    assert outputs[0]["text"] == "b"
    assert outputs[1]["data"]["text/plain"] == "a\rb"
