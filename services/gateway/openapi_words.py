"""What members and parameters mean, for those whose models do not say it: read from `descriptions.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("descriptions.toml")


@cache
def table() -> dict[str, dict[str, str]]:
    """The file: `members` by name, `overrides` by `Model.member`, `path` for parameters of addresses."""
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


def describe(model: str, properties: dict[str, dict[str, Any]]) -> None:
    """Give every member of a model's schema a description."""
    model = model.rpartition("__")[2]
    for name, member in properties.items():
        if "description" not in member and (text := words(model, name)) is not None:
            member["description"] = text


def words(model: str, name: str) -> str | None:
    """What a member means; None when nobody says."""
    return table()["overrides"].get(f"{model}.{name}") or table()["members"].get(name)
