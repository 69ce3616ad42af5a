"""Which format a file is in, told from its first bytes: a name may lie."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Literal

from services.artifacts.formats import csv_places
from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.streams import WESTERN

HEAD_BYTES = 64 * 1024
"""How much of a file is looked at, in bytes."""

Format = Literal["csv", "parquet", "xes"]

_FOREIGN = {
    b"PK\x03\x04": "it is a ZIP archive or an Excel workbook; save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "it is an old Excel or Word file; save the sheet as CSV",
    b"%PDF": "it is a PDF document",
    b"SQLite format 3\0": "it is an SQLite database",
    b"\x89PNG": "it is an image",
    b"\xff\xd8\xff": "it is an image",
    b"GIF8": "it is an image",
    b"BZh": "it is packed with bzip2; only gzip is unpacked",
    b"\xfd7zXZ": "it is packed with xz; only gzip is unpacked",
    b"\x28\xb5\x2f\xfd": "it is packed with zstd; only gzip is unpacked",
    b"\x1f\x8b": "it is packed with gzip twice",
    b"ARROW1": "it is an Arrow (Feather) file; save it as Parquet",
    b"\x7fELF": "it is a program",
}


@dataclass(frozen=True, kw_only=True)
class Detected:
    """What the first bytes say: the format and, of a text, its encoding and the byte order mark to skip."""

    format: Format
    encoding: str = "utf-8"
    bom: bytes = b""


def detect(head: bytes, *, complete: bool, encoding: str | None = None) -> Detected:
    """The format of a file (unpacked) that begins with `head`; raises Invalid when it is no table. `encoding` is the
    one that the caller says, None to find it out."""
    if not head:
        raise refuse("the file is empty")
    if head.startswith(b"PAR1"):
        return Detected(format="parquet")
    for magic, reason in _FOREIGN.items():
        if head.startswith(magic):
            raise refuse(f"the file is not a table: {reason}")
    encoding, bom = _told(head, encoding) if encoding else _encoding(head, complete=complete)
    text = head[len(bom) :].decode(encoding, errors="replace")
    start = text.lstrip()[:200].lower()
    if not start:
        if complete:
            raise refuse("the file holds nothing but white space")
    elif start.startswith(("<?xml", "<log", "<!--")):
        return Detected(format="xes", encoding=encoding, bom=bom)
    elif start.startswith(("<!doctype", "<html", "<")):
        raise refuse("the file is not a table: it is HTML or another markup")
    elif start.startswith(("{", "[{", "[[")):
        raise refuse("the file is not a table: it is JSON")
    if not encoding.startswith("utf-16") and not encoding.startswith("utf-32"):
        _refuse_binary(head)
    return Detected(format="csv", encoding=encoding, bom=bom)


_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins like the next
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def _told(head: bytes, encoding: str) -> tuple[str, bytes]:
    """The encoding that the caller says, and the mark to skip. `utf-16` alone leaves the order of bytes to the mark."""
    for bom, marked in _MARKS:
        if head.startswith(bom) and marked.startswith(encoding):
            return marked, bom
    return ("utf-16-le" if encoding == "utf-16" else encoding), b""


def _encoding(head: bytes, *, complete: bool) -> tuple[str, bytes]:
    for bom, encoding in _MARKS:
        if head.startswith(bom):
            return encoding, bom
    # Without a mark, UTF-16 shows as a NUL beside every Latin character.
    sample = head[: len(head) // 2 * 2][:2000]
    if len(sample) >= 4 and sample[1::2].count(0) > 0.8 * len(sample) / 2 and sample[0::2].count(0) == 0:
        return "utf-16-le", b""
    if len(sample) >= 4 and sample[0::2].count(0) > 0.8 * len(sample) / 2 and sample[1::2].count(0) == 0:
        return "utf-16-be", b""
    return _eight_bit(head, complete=complete), b""


def _eight_bit(head: bytes, *, complete: bool) -> str:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=complete)
    except UnicodeDecodeError:
        return WESTERN
    return "utf-8"


def _refuse_binary(head: bytes) -> None:
    """Refuse what begins with anything but a line of text; behind that, whoever reads the rows can tell the column."""
    found = csv_places.CONTROL.search(head)
    if found and b"\n" not in head[: found.start()]:
        raise csv_places.in_header(head[: found.start()], csv_places.controlled(found[0][0]))
