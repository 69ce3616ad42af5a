"""The merge of a PUT into a notebook's definition, with every fault named at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, TypeAdapter

from services.catalog import cell_changes, faults, schedule
from services.catalog.cell_ids import Numbering
from services.catalog.document import Json
from services.catalog.limits import check_depth, check_size
from services.catalog.merging import checked, merge_patch, parse, wire_names
from services.catalog.model import Definition
from shared.contracts.base import Body, Moment
from shared.contracts.notebooks import Environment, Integration, KernelType, Name, Notebook, Precondition, Text
from shared.errors import Fault


class _Settings(Body):
    """The settings of a notebook, as merged."""

    notebook_name: Name
    notebook_description: Text | None = None
    kernel_type: KernelType = "python3"
    integration: Integration = Field(default_factory=Integration)
    environment: Environment = Field(default_factory=Environment)


_SETTINGS = frozenset(wire_names(_Settings))

READ_ONLY = frozenset(wire_names(Notebook)) - _SETTINGS - {"cells"}
"""Members of a GET answer that a PUT may bring back; they change nothing, but `etag` and `dateModified` are
preconditions."""

FREE_FORM = frozenset({"scheduleParameters", "retry"})
"""Members of `integration` that a PUT replaces whole: what is in them is not merged (SPEC.md: Notebooks)."""

_PARTS: dict[str, type[Body]] = {"integration": Integration, "environment": Environment}


def precondition_in(patch: Json, given: Precondition) -> Precondition:
    """The precondition of a PUT: `If-Match`, or `etag` and `dateModified` of its body. Raises Invalid."""
    found: list[Fault] = []
    etag = checked(TypeAdapter(str | None), patch.get("etag") or None, "etag", found)
    date = checked(TypeAdapter(Moment | None), patch.get("dateModified") or None, "dateModified", found)
    faults.refuse(found, "The request")
    return Precondition(etag=given.etag or etag, date_modified=given.date_modified or date)


def new_binding(patch: Json) -> Any:
    """The dataset that the patch wants to bind, unchecked."""
    integration = patch.get("integration")
    return integration.get("datasetBinding") if isinstance(integration, dict) else None


def update(
    current: Definition,
    patch: Json,
    numbering: Numbering,
    others: Sequence[Fault] = (),
    *,
    shown_python: str | None = None,
) -> Definition:
    """`current` with `patch` merged in. Raises Invalid with every fault, the `others` included, or TooLarge.

    `shown_python` is the version that answers show where the notebook asks for none: who sends it back with the rest of
    a notebook has not asked for it.
    """
    check_depth(patch)
    found = [*others, *faults.unknown_members(patch, _SETTINGS | READ_ONLY | {"cells"})]
    wanted = {name: value for name, value in patch.items() if name in _SETTINGS}
    for name, model in _PARTS.items():
        if isinstance(wanted.get(name), dict):
            known = wire_names(model)
            found += faults.unknown_members(wanted[name], known, name)
            wanted[name] = {key: value for key, value in wanted[name].items() if key in known}
    before = {
        "notebookName": current.name,
        "notebookDescription": current.description,
        "kernelType": current.kernel_type,
        "integration": current.integration.model_dump(mode="json", by_alias=True),
        "environment": current.environment.model_dump(mode="json", by_alias=True),
    }
    environment = wanted.get("environment")
    if isinstance(environment, dict) and current.environment.python_version is None and shown_python is not None:
        kept = {key: value for key, value in environment.items() if (key, value) != ("pythonVersion", shown_python)}
        wanted["environment"] = kept
    settings = parse(_Settings, _merged(before, wanted), "", found)
    if settings is not None:
        found += schedule.faults_of(settings.integration, "integration")
    document = current.document
    if patch.get("cells") is not None:
        document = cell_changes.replaced(document, patch["cells"], numbering, found)
    faults.refuse(found, "The request")
    check_size(document)
    assert settings is not None  # noqa: S101 - without faults there are settings
    return Definition(
        name=settings.notebook_name,
        description=settings.notebook_description,
        kernel_type=settings.kernel_type,
        integration=settings.integration,
        environment=settings.environment,
        document=document,
        files=current.files,
    )


def _merged(before: Json, wanted: Json) -> Json:
    """`before` with `wanted` merged in; members without a shape of their own are replaced, nulls within them kept."""
    merged: Json = merge_patch(before, wanted)
    integration = wanted.get("integration")
    if isinstance(integration, dict):
        replaced = {name: integration[name] for name in FREE_FORM & integration.keys()}
        merged["integration"] = {**merged["integration"], **replaced}
    return merged
