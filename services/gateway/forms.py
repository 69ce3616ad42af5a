"""Multipart bodies: parts in any order and of any type, read piece by piece, with every bound checked on the way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel

from services.gateway import decoding, reading
from shared.errors import Fault, Invalid, UnsupportedMediaType
from shared.file_limits import MAX_FILES

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")

FIELD_BYTES = 64 * 1024
"""A field beside the file is no larger, in bytes."""

MOST_PARTS = 50
"""Parts of a form at most."""

MOST_FILES = MAX_FILES + 100
"""Parts at most of a form of files: more than a notebook may have, what file managers leave included."""

MOST_PREAMBLE_LINES = 100
"""Lines before the first part of a form, which no client sends (RFC 2046, section 5.1.1, allows them)."""

MOST_PART_HEADERS = 16
"""Headers of a part; three are known."""

UNBOUNDED = sys.maxsize
"""A limit that is somebody else's to keep."""

PIECE_BYTES = 256 * 1024
"""How much of a file is read at a time, in bytes."""

FORM_OVERHEAD = 1024 * 1024
"""Room for the fields and boundaries beside a file of the largest size, in bytes."""

FILE_FIELD = "file"
"""The name of the part that holds the file."""

_BROKEN = (
    ValueError,
    AssertionError,
    RuntimeError,
    LookupError,
    HttpProcessingError,
    web.RequestPayloadError,
    ConnectionError,
)
"""What aiohttp's multipart reader raises for bytes that are no multipart body, or one that was cut off."""


@dataclass
class FormFields:
    """The fields read so far, and what is wrong with them."""

    values: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    file_name: str | None = None

    def add(self, name: str, raw: bytes) -> None:
        """Take in a field's bytes."""
        if name in self.values:
            self.faults.append(Fault(path=name, message="is given more than once"))
        try:
            self.values[name] = raw.decode("utf-8")
        except UnicodeDecodeError:
            self.values[name] = ""
            self.faults.append(Fault(path=name, message="is not UTF-8 text"))

    def checked(self, model: type[M]) -> M | None:
        """The fields as a `model`; adds what is wrong with them to the faults."""
        return decoding.check(model, self.values, faults=self.faults)


@dataclass(frozen=True)
class FilePart:
    """The part that holds the file; its bytes can be read once."""

    name: str
    _part: BodyPartReader
    _limit: int
    _silence_s: float

    async def pieces(self) -> AsyncIterator[bytes]:
        """The file, piece by piece. Raises TooLarge as soon as it is over the limit, Invalid when it is cut off or
        nothing comes any more."""
        size = 0
        async for piece in _pieces(self._part, self._silence_s):
            size += len(piece)
            if size > self._limit:
                raise reading.too_large(self._limit)
            yield piece


async def parts(
    request: web.Request, fields: FormFields, *, file_limit: int, silence_s: float = reading.BODY_PATIENCE_S
) -> AsyncIterator[FilePart]:
    """Reads a form: fields go to `fields`; the file, which is read before the loop goes on, is yielded.

    Raises UnsupportedMediaType for another kind of body, TooLarge, and Invalid for one that is malformed or of which
    nothing comes for `silence_s` seconds.
    """
    reading.check_encoding(request)
    if not request.content_type.startswith("multipart/"):
        if request.body_exists and request.content_length != 0:
            raise UnsupportedMediaType("Send the body as multipart/form-data.")
        return
    if request.content_length is not None and request.content_length > file_limit + FORM_OVERHEAD:
        raise reading.too_large(file_limit)
    try:
        async for part in _plain_parts(request, silence_s, most=MOST_PARTS):
            name = part.name
            if not name or not name.isprintable():
                raise _malformed("a part has no readable name")
            if name == FILE_FIELD:
                if fields.file_name is not None:
                    raise Invalid(
                        "The form has two files.", faults=[Fault(path="file", message="is given more than once")]
                    )
                fields.file_name = _safe_name(part.filename)
                yield FilePart(fields.file_name, part, file_limit, silence_s)
            else:
                fields.add(name, await _field(part, name, silence_s))
    except _BROKEN as error:
        raise _malformed("it is not multipart/form-data, or was cut off") from error


async def files(request: web.Request, *, silence_s: float) -> AsyncIterator[FilePart]:
    """Reads a form of files alone: each part, which is read before the loop goes on, is yielded with its `filename` as
    it was sent. How large they may be is for the reader to say.

    Raises Invalid for a part that is no file, and as `parts` does.
    """
    reading.check_encoding(request)
    try:
        async for part in _plain_parts(request, silence_s, most=MOST_FILES):
            if not part.filename:
                field = part.name if part.name and part.name.isprintable() else ""
                message = "has no filename; each part is a file, and its filename its path"
                raise Invalid(f"A part {message}.", faults=[Fault(path=field[:200], message=message)])
            yield FilePart(part.filename, part, UNBOUNDED, silence_s)
    except _BROKEN as error:
        raise _malformed("it is not multipart/form-data, or was cut off") from error


async def _plain_parts(request: web.Request, silence_s: float, *, most: int) -> AsyncIterator[BodyPartReader]:
    """The parts of a form, one after the other; raises Invalid for nested and encoded ones, and for too many."""
    count = 0
    content = _Lines(request.content, MOST_PREAMBLE_LINES)
    form = MultipartReader(request.headers, cast("StreamReader", content), max_headers=MOST_PART_HEADERS)
    while (part := await _in_time(form.next(), silence_s)) is not None:
        content.are_counted = False
        count += 1
        if not isinstance(part, BodyPartReader) or count > most:
            raise _malformed("it has nested or too many parts")
        _check_plain(part)
        yield part


class _Lines:
    """A body for aiohttp's reader of forms, which may not read more lines than so many as long as `are_counted` is set:
    it takes them one by one, and there is no other bound for what stands before the first part."""

    def __init__(self, body: StreamReader, most: int) -> None:
        self._body, self._left = body, most
        self.are_counted = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    async def readline(self, **options: Any) -> bytes:
        """The next line. Raises ValueError when there were too many."""
        self._left -= self.are_counted
        if self._left < 0:
            raise ValueError("too many lines before the first part")
        return await self._body.readline(**options)


def _check_plain(part: BodyPartReader) -> None:
    if part.headers.get("Content-Transfer-Encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise _malformed("a part has a Content-Transfer-Encoding")
    if part.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _malformed("a part has a Content-Encoding")


async def _field(part: BodyPartReader, name: str, silence_s: float) -> bytes:
    raw = b""
    async for piece in _pieces(part, silence_s):
        raw += piece
        if len(raw) > FIELD_BYTES:
            message = f"is longer than {FIELD_BYTES:,} bytes"
            raise Invalid(f"{name} {message}.", faults=[Fault(path=name, message=message)])
    return raw


async def _pieces(part: BodyPartReader, silence_s: float) -> AsyncIterator[bytes]:
    while not part.at_eof():
        try:
            piece = await _in_time(part.read_chunk(PIECE_BYTES), silence_s)
        except _BROKEN as error:
            raise _malformed("it was cut off") from error
        if piece:
            yield piece


async def _in_time(step: Awaitable[R], silence_s: float) -> R:
    """What comes next of the form; raises Invalid when the client sends nothing for so long."""
    try:
        async with asyncio.timeout(silence_s):
            return await step
    except TimeoutError as error:
        raise reading.silent(silence_s) from error


def _malformed(reason: str) -> Invalid:
    return Invalid(f"The form cannot be read: {reason}.", faults=[Fault(path="", message=f"cannot be read: {reason}")])


def _safe_name(name: str | None) -> str:
    """The bare file name a client gave, without folders or control characters."""
    bare = (name or "").replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in bare if character.isprintable())[:200] or "file"
