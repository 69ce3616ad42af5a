from __future__ import annotations

import random

import pytest

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


@pytest.mark.parametrize(
    "text", ["x\b" * 9_500_000, "a\rb\n" * 5_000_000, "ab\r" * 6_000_000, "x" * 10**7 + "\b" * 10**5]
)
def test_what_would_take_many_steps_takes_few(text: str) -> None:
    # One step a character would be within the suite's time limit, too; one a pair of them would not.
    assert len(terminal.shown(text)) <= len(text)


def plainly(text: str) -> str:
    """The same character by character."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        body = line.rstrip("\r")
        kept: list[str] = []
        for character in body.rpartition("\r")[2]:
            if character != "\b":
                kept.append(character)
            elif kept:
                kept.pop()
        lines.append("".join(kept) + line[len(body) : len(body) + 1])
    return "\n".join(lines)


def test_any_mixture_is_shown_as_character_by_character_at_once_and_in_pieces() -> None:
    chance = random.Random(5)
    for _ in range(20_000):
        text = "".join(chance.choice("ab\r\b\n") for _ in range(chance.randrange(14)))
        assert terminal.shown(text) == plainly(text), repr(text)
        if "\r\r" not in text:
            cut = chance.randrange(len(text) + 1)
            assert terminal.shown(terminal.shown(text[:cut]) + text[cut:]) == plainly(text), (text, cut)
