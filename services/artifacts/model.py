"""Pure rules of artifacts: where objects live, which filter shows what, what makes a manifest entry acceptable."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from datetime import datetime
from uuid import UUID

from shared.contracts.base import Scope, rfc3339
from shared.contracts.notebooks import Precondition
from shared.contracts.results import ArtifactEntry, OutputTypeFilter
from shared.errors import Conflict, Fault, Invalid

PARQUET_TYPE = "application/vnd.apache.parquet"
"""Media type of Parquet (IANA)."""

BINARY_TYPE = "application/octet-stream"
"""Media type of bytes of which nothing else is known."""

HIDDEN_KINDS = ("notebook",)
"""Kinds that a list shows only when they are asked for by kind: they are no results of their own."""

_TABLE_TYPES = frozenset(
    {
        "application/json",
        "application/geo+json",
        PARQUET_TYPE,
        "application/vnd.dataresource+json",
        "text/csv",
        "text/tab-separated-values",
    }
)
"""MIME types of outputs that are data."""

_INTERACTIVE_CHART = re.compile(r"application/vnd\.(plotly|vega|vegalite|bokehjs)[\w.-]*(\+json)?$")
"""MIME types of charts that a front end draws: Plotly, Vega, Vega-Lite, Bokeh."""

_HTML_TABLE = re.compile(r"<table[\s>]", re.IGNORECASE)


def dataset_prefix(scope: Scope, dataset_id: UUID) -> str:
    """The folder of everything stored of a dataset."""
    return f"{scope.tenant_id}/{scope.project_id}/datasets/{dataset_id}/"


def dataset_key(scope: Scope, dataset_id: UUID, upload: UUID) -> str:
    """Where one version of a dataset is stored. Named after the upload, not the version: versions are given out by
    the committing transaction, and no two attempts may ever write to one key."""
    return f"{dataset_prefix(scope, dataset_id)}{upload}/data.parquet"


def dataset_etag(version: int, sha256: str) -> str:
    """What tells one state of a dataset from every other."""
    return f"{version}-{sha256[:16]}"


def check_precondition(precondition: Precondition, *, etag: str, modified_at: datetime) -> None:
    """Raise Conflict, with the present `dateModified`, when the caller's belief about a dataset is stale."""
    if not precondition.holds(etag=etag, modified_at=modified_at):
        raise Conflict(
            "The dataset was changed by somebody else in the meantime; get it again and repeat the change.",
            extra={"dateModified": rfc3339(modified_at), "etag": etag},
        )


def library_key(scope: Scope, upload: UUID) -> str:
    """Where the file of a library is stored; named after the upload, as with datasets."""
    return f"{scope.tenant_id}/{scope.project_id}/libraries/{upload}"


def file_key(scope: Scope, upload: UUID) -> str:
    """Where a content of notebooks' files is stored; named after the upload, as with datasets."""
    return f"{scope.tenant_id}/{scope.project_id}/files/{upload}"


def execution_prefix(scope: Scope, execution_id: UUID) -> str:
    """The folder of everything stored of a run, whatever the epoch (DESIGN.md decision 6)."""
    return f"{scope.tenant_id}/{scope.project_id}/{execution_id}/"


def epoch_prefix(scope: Scope, execution_id: UUID, epoch: int) -> str:
    """The folder that a run's worker may write to under one epoch."""
    return f"{execution_prefix(scope, execution_id)}{epoch}/"


def categories(entry: ArtifactEntry) -> list[OutputTypeFilter]:
    """Which `outputType` filters show the entry, besides `all` (SPEC.md: Results)."""
    if entry.kind in ("enriched_dataset", "value"):
        return ["data"]
    if entry.kind == "model":
        return ["models"]
    if entry.kind == "report":
        return ["reports"]
    if entry.kind in HIDDEN_KINDS:
        return []
    if entry.output_type in ("stream", "error"):
        return []
    if (
        entry.details.get("isPlot")
        or entry.content_type.startswith("image/")
        or _INTERACTIVE_CHART.match(entry.content_type)
    ):
        return ["plots"]
    if entry.content_type in _TABLE_TYPES or entry.details.get("dataFrame") or _shows_table(entry):
        return ["data"]
    return []


def _shows_table(entry: ArtifactEntry) -> bool:
    return (
        entry.content_type == "text/html"
        and isinstance(entry.content, str)
        and _HTML_TABLE.search(entry.content) is not None
    )


def inline_bytes(entry: ArtifactEntry) -> bytes | None:
    """The bytes that travelled within the entry; raises ValueError when they are not what the entry says."""
    if entry.inline is None:
        return None
    try:
        data = base64.b64decode(entry.inline, validate=True)
    except binascii.Error as error:
        raise ValueError("is not base64") from error
    if len(data) != entry.size_bytes:
        raise ValueError(f"has {len(data)} bytes, not {entry.size_bytes}")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ValueError("does not match its SHA-256")
    return data


def check_entries(scope: Scope, execution_id: UUID, epoch: int, entries: list[ArtifactEntry]) -> None:
    """Refuse a manifest that could not be honoured; raises Invalid with every fault.

    An entry's bytes must be in the folder of its own epoch, or inline and as described.
    """
    faults = []
    prefix = epoch_prefix(scope, execution_id, epoch)
    for index, entry in enumerate(entries):
        path = f"entries[{index}]"
        if sum(place is not None for place in (entry.object_key, entry.pack, entry.inline)) != 1:
            faults.append(Fault(path=path, message="needs its bytes in one of objectKey, pack and inline"))
        if entry.object_key is not None and not _is_inside(entry.object_key, prefix):
            faults.append(Fault(path=f"{path}.objectKey", message=f"is not under {prefix}"))
        if entry.pack is not None and not _is_inside(entry.pack.object_key, prefix):
            faults.append(Fault(path=f"{path}.pack.objectKey", message=f"is not under {prefix}"))
        try:
            inline_bytes(entry)
        except ValueError as error:
            faults.append(Fault(path=f"{path}.inline", message=str(error)))
    if len({entry.artifact_id for entry in entries}) != len(entries):
        faults.append(Fault(path="entries", message="name an artifactId twice"))
    if faults:
        raise Invalid("The manifest is not consistent.", faults=faults)


def _is_inside(key: str, prefix: str) -> bool:
    return key.startswith(prefix) and ".." not in key.split("/")


def storable(text: str) -> str:
    """`text` without the NUL character, which PostgreSQL's text type cannot hold."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
