"""Datasets that come as Parquet: they are rewritten in our own form, by another process, since a stranger made them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.artifacts.formats.conversion import Conversion, Wishes
from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.spool import GrowingFile
from services.artifacts.formats.streams import OpenChunks
from shared import apart
from shared.errors import AtelierError, Fault, Invalid, TooLarge

_PROGRAM = "services.artifacts.formats.parquet_rewriting"
_REFUSALS: dict[str, type[AtelierError]] = {"Invalid": Invalid, "TooLarge": TooLarge}


def convert(file: GrowingFile, unpacked: OpenChunks | None, target: Path, wishes: Wishes) -> Conversion:
    """Rewrite a Parquet file; waits for the whole file, since its description is at the end.

    `unpacked` is the stream inside when the file came packed. Raises Invalid or TooLarge.
    """
    path = file.path
    if unpacked is not None:
        path = target.with_suffix(".unpacked")
        with path.open("wb") as whole:
            for chunk in unpacked():
                whole.write(chunk)
    file.wait_complete(wishes.waiting)
    wishes.passing(path.stat().st_size)
    question = {
        "source": str(path),
        "target": str(target),
        "roles": asdict(wishes.roles),
        "habit": asdict(wishes.habit),
        "maxBytes": wishes.max_decompressed_bytes,
        "maxColumns": wishes.max_columns,
    }
    said: dict[str, Any] = {}
    try:
        for said in apart.ask(_PROGRAM, question, scratch=target.parent):
            if "rows" in said:
                wishes.converted(said["rows"])
    except apart.Ended as error:
        raise refuse(f"the Parquet file cannot be read: {error}") from error
    if "damaged" in said:
        raise refuse(f"the Parquet file is damaged ({said['damaged']})")
    if "refused" in said:
        refused = said["refused"]
        faults = [Fault(**fault) for fault in refused["faults"]]
        raise _REFUSALS[refused["kind"]](refused["detail"], faults=faults)
    return Conversion.of_json(said["done"])
