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
