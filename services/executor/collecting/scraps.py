"""Values that a notebook glued with scrapbook, which are outputs of a MIME type of its own (scrapbook 0.5)."""

from __future__ import annotations

from typing import Any

import orjson

PREFIX, SUFFIX = "application/scrapbook.scrap.", "+json"
"""Around the name of an encoder in such a MIME type; the payload is `{name, data, encoder, version}`."""

OPAQUE = frozenset({"pandas"})
"""Encoders whose data nobody can read without scrapbook: a Parquet file in base64. Those outputs stay outputs."""

MAX_NAME = 200
"""Longest name of a value, in characters."""


def scrap_in(output: Any) -> tuple[str, Any] | None:
    """Return the name and the value that an output carries, or None where it is no scrap."""
    data = output.get("data")
    if output.get("output_type") != "display_data" or not isinstance(data, dict):
        return None
    for mime, payload in data.items():
        if not (mime.startswith(PREFIX) and mime.endswith(SUFFIX)) or not isinstance(payload, dict):
            continue
        name = payload.get("name")
        encoder = mime[len(PREFIX) : -len(SUFFIX)]
        if isinstance(name, str) and 0 < len(name) <= MAX_NAME and "data" in payload and encoder not in OPAQUE:
            try:
                return name, orjson.loads(orjson.dumps(payload["data"]))
            except TypeError:
                return None  # whole numbers beyond 64 bits: the output shows what it is
    return None
