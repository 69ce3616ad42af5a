"""Which members of the notebook object differ between two versions, cells apart."""

from __future__ import annotations

from typing import Any

from services.catalog.document import same
from services.catalog.model import Definition
from shared.contracts.versions import SettingDifference


def compare(a: Definition, b: Definition) -> list[SettingDifference]:
    """The members that differ, by their names on the API."""
    before, after = _members(a), _members(b)
    return [
        SettingDifference(path=path, a=before[path], b=after[path])
        for path in before
        if not same(before[path], after[path])
    ]


def _members(definition: Definition) -> dict[str, Any]:
    members: dict[str, Any] = {
        "notebookName": definition.name,
        "notebookDescription": definition.description,
        "kernelType": definition.kernel_type,
    }
    for name, part in (("integration", definition.integration), ("environment", definition.environment)):
        for member, value in part.model_dump(mode="json", by_alias=True).items():
            members[f"{name}.{member}"] = value
    return members
