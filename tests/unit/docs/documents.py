"""The project's documents, taken apart: paths, links, fenced blocks and tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

NAMES = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/api.md",
    "docs/deploy.md",
    "docs/events.md",
    "docs/operations.md",
    "docs/sdk.md",
)
"""Every document for people who use, run or change Atelier."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its language, its text, and the document before it."""

    language: str
    text: str
    before: str


def text(name: str) -> str:
    """The document."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[Block]:
    """The fenced blocks of one language, in order."""
    document = text(name)
    return [
        Block(language=found[1], text=found[2], before=document[: found.start()])
        for found in _FENCE.finditer(document)
        if found[1] == language
    ]


def prose(name: str) -> str:
    """The document without its fenced blocks."""
    return _FENCE.sub("", text(name))


def links(name: str) -> list[str]:
    """Where the document's links lead."""
    return _LINK.findall(prose(name))


def anchors(name: str) -> set[str]:
    """The anchors of the document's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in _HEADING.findall(prose(name))}


def code_words(name: str) -> set[str]:
    """What stands in backticks within the prose."""
    return set(re.findall(r"`([^`\n]+)`", prose(name)))


def section(name: str, title: str) -> str:
    """What stands under a heading, up to the next one of any level; fenced blocks included."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text(name), re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError(f"{name} has no heading {title!r}")
    return found[2]


def first_cells(name: str) -> list[tuple[list[str], str]]:
    """For each row of the document's tables: the backticked words of its first cell, and the second cell."""
    rows = []
    for line in prose(name).splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows.append((re.findall(r"`([^`]+)`", cells[0]), cells[1] if len(cells) > 1 else ""))
    return rows
