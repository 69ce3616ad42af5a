"""The catalog's pure rules: versions, what a definition is, its etag, preconditions, the status of a notebook."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import orjson

from services.catalog.document import Document
from services.catalog.files.file_set import FileSet
from shared.contracts.base import rfc3339
from shared.contracts.notebooks import Environment, Integration, KernelType, Precondition
from shared.errors import Conflict

FIRST_VERSION = "1.0.0"
"""The version of a new notebook (SPEC.md: POST notebook)."""

_VERSION = re.compile(r"^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\Z", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What a client defines of a notebook: everything that a version keeps."""

    name: str
    description: str | None
    kernel_type: KernelType
    integration: Integration
    environment: Environment
    document: Document
    files: FileSet = field(default_factory=FileSet)

    def fingerprint(self) -> bytes:
        """Equal for equal definitions, whatever the order of members."""
        settings: list[object] = [
            self.name,
            self.description,
            self.kernel_type,
            self.integration.model_dump(mode="json"),
            self.environment.model_dump(mode="json"),
            self.document.sha256.hex(),
        ]
        if self.files.entries:
            settings.append(self.files.fingerprint())
        return sha256(orjson.dumps(settings, option=orjson.OPT_SORT_KEYS)).digest()


def is_version(text: str) -> bool:
    """Whether `text` is a semantic number like 1.3.2."""
    return _VERSION.match(text) is not None


def next_version(version: str, *, content_changed: bool) -> str:
    """The number after `version`: cells and files raise the minor number and reset the patch, all else raises the
    patch."""
    major, minor, patch = (int(part) for part in version.split("."))
    return f"{major}.{minor + 1}.0" if content_changed else f"{major}.{minor}.{patch + 1}"


def etag_of(notebook_id: UUID, version: str, definition: Definition) -> str:
    """A strong validator of the definition at this version."""
    return sha256(notebook_id.bytes + version.encode() + definition.fingerprint()).hexdigest()[:32]


def whole_milliseconds(moment: datetime) -> datetime:
    """`moment` as clients see it: a time they send back must equal the one stored."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def next_modification(previous: datetime, now: datetime) -> datetime:
    """When a change happens: `now`, but always after the previous change, whatever the clocks of replicas say."""
    return max(whole_milliseconds(now), previous + timedelta(milliseconds=1))


def check_precondition(
    precondition: Precondition, *, etag: str, modified_at: datetime, others: Collection[str] = ()
) -> None:
    """Raise Conflict, with the present `dateModified`, when the caller's belief is stale. `others` are etags of what
    the caller may have meant instead of the notebook."""
    if not any(precondition.holds(etag=one, modified_at=modified_at) for one in (etag, *others)):
        raise Conflict(
            "The notebook was changed by somebody else in the meantime; get it again and repeat the change.",
            extra={"dateModified": rfc3339(modified_at), "etag": etag},
        )
