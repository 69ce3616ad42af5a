"""What a terminal would show of a stream: carriage returns and backspaces applied, in time linear in its length.

nbclient's own (`coalesce_streams`) takes quadratic time on long lines: 100 kB without a line end hold it for seconds.
"""

from __future__ import annotations

from nbformat import NotebookNode


def shown(text: str) -> str:
    """`text` with overwritten parts gone."""
    if "\b" not in text and "\r" not in text:
        return text
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(_line(line) for line in lines)


def continued(text: str) -> str:
    """Return `text`, whose first line may go on with one that is already shown, with overwritten parts gone.

    What the first line overwrites of the line before it stays at its beginning as a carriage return or as backspaces:
    put together, the parts of a stream show what the whole stream shows.
    """
    if "\b" not in text and "\r" not in text:
        return text
    first, newline, rest = text.replace("\r\n", "\n").partition("\n")
    body = first.rstrip("\r")
    over = "\r" if "\r" in body else "\b" * _backspaces_beyond(body)
    return over + _line(first) + newline + "\n".join(map(_line, rest.split("\n")))


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


def _line(line: str) -> str:
    body = line.rstrip("\r")
    ending = line[len(body) : len(body) + 1]
    kept = body.rpartition("\r")[2]
    if "\b" in kept:
        characters: list[str] = []
        for character in kept:
            if character != "\b":
                characters.append(character)
            elif characters:
                characters.pop()
        kept = "".join(characters)
    return kept + ending


def tidy(outputs: list[NotebookNode]) -> None:
    """Apply `shown` to every stream among a cell's outputs."""
    for output in outputs:
        if output["output_type"] == "stream":
            output["text"] = shown(output["text"])
