"""Normal form: what differs between two runs of the same notebook is replaced, by the rules listed here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

RUN_DIR = "RUN"
"""Stands for the folder of a run, which holds `work`, `outputs`, `home` and `tmp`."""


@dataclass(frozen=True)
class Rule:
    """What is replaced in every text, and why it differs."""

    reason: str
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]


RULES = (
    Rule("not a difference: escape sequences as something to read", re.compile("\x1b"), "␛"),
    Rule("memory addresses", re.compile(r"\b0x[0-9a-f]{6,16}\b"), "0x0"),
    Rule("memory addresses as IPython writes them", re.compile(r"\bobject at [0-9a-f]{6,16}\b"), "object at 0"),
    Rule("a cell's file has the kernel's process id in its name", re.compile(r"(?:/[\w.+-]+)*/ipykernel_\d+/\d+\.py"),
         "CELL.py"),
    Rule("where packages are installed", re.compile(r"[~/](?:[\w.+-]+/)*site-packages/"), "site-packages/"),
    Rule("where the interpreter is", re.compile(r"/(?:[\w.+-]+/)+bin/python[\d.]*"), "python"),
    Rule("processor time of %time", re.compile(r"CPU times: .*"), "CPU times: some"),
    Rule("elapsed time of %time", re.compile(r"Wall time: .*"), "Wall time: some"),
    Rule("figures of %timeit", re.compile(r"[\d.]+ \S+ ± [\d.]+ \S+ per loop"), "some ± some per loop"),
    Rule("a remark of %timeit that depends on its figures", re.compile(r"The slowest run took .*\n"), ""),
    Rule("times of unittest", re.compile(r"(Ran \d+ tests? in )[\d.]+s"), r"\g<1>0.000s"),
    Rule("when a figure was drawn", re.compile(r"<dc:date>[^<]*"), "<dc:date>"),
    Rule("process ids", re.compile(r"\b(pid|PID)[ =]\d+"), r"\1 0"),
)  # fmt: skip

ID = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![0-9a-f])")
"""Ids made at random: numbered in the order in which they appear, so that what refers to what is still compared."""


@dataclass
class Normal:
    """Brings one notebook into normal form. `run_dirs`: patterns of its folder, as the kernel saw it."""

    run_dirs: Sequence[str] = ()
    _ids: dict[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """One text."""
        for pattern in self.run_dirs:
            text = re.sub(pattern, RUN_DIR, text)
        for rule in RULES:
            text = rule.pattern.sub(rule.replacement, text)
        return ID.sub(lambda found: self._ids.setdefault(found[0], f"id-{len(self._ids) + 1}"), text)

    def value(self, value: Any) -> Any:
        """A JSON value with all its texts, names of members included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(str(name)): self.value(item) for name, item in value.items()}
        return value
