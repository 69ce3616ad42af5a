"""What a terminal would show of a stream: carriage returns and backspaces applied, in time linear in its length.

nbclient's own (`coalesce_streams`) takes quadratic time on long lines: 100 kB without a line end hold it for seconds.
"""

from __future__ import annotations

import re

MOST_APPLIED = 200_000
"""A text with more carriage returns within its lines, or more backspaces, keeps them: each costs a step."""

# Tried once a line, and goes back over no more than that line.
_OVERWRITTEN = re.compile(r"(?m)^[^\n]*\r(?=[^\r\n])")

_SEVERAL = re.compile(r"\r\r+")


def shown(text: str) -> str:
    """`text` with overwritten parts gone. A carriage return at the end of a line stays: what follows may overwrite."""
    if "\r" in text:
        text = _SEVERAL.sub("\r", text.replace("\r\n", "\n"))
        if text.count("\r") <= MOST_APPLIED:
            text = _OVERWRITTEN.sub("", text)
    if "\b" in text and text.count("\b") <= MOST_APPLIED:
        text = _without_backspaces(text)
    return text


def continued(text: str) -> str:
    """Return `text`, whose first line may go on with one that is already shown, with overwritten parts gone.

    What the first line overwrites of the line before it stays at its beginning as a carriage return or as backspaces:
    put together, the parts of a stream show what the whole stream shows.
    """
    if "\b" not in text and "\r" not in text:
        return text
    text = text.replace("\r\n", "\n")
    body = text.partition("\n")[0].rstrip("\r")
    over = "\r" if "\r" in body else "\b" * _backspaces_beyond(body)
    return over + shown(text)


def _backspaces_beyond(line: str) -> int:
    """Count the backspaces of a line that reach back over its beginning."""
    beyond = length = 0
    for character in line:
        if character != "\b":
            length += 1
        elif length:
            length -= 1
        else:
            beyond += 1
    return beyond


def _without_backspaces(text: str) -> str:
    """Take back a character of the same line for each backspace."""
    first, *others = text.split("\b")
    parts: list[str] = [first]
    ends: list[int] = [len(first)]
    for part in others:
        while parts and not ends[-1]:
            parts.pop()
            ends.pop()
        if parts and parts[-1][ends[-1] - 1] != "\n":
            ends[-1] -= 1
        parts.append(part)
        ends.append(len(part))
    return "".join(part[:end] for part, end in zip(parts, ends, strict=True))
