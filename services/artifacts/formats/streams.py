"""Byte streams on their way to a parser: unpacked within a limit, decoded to UTF-8, and readable as a file."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Iterator

from services.artifacts.formats.refusal import refuse
from shared.errors import TooLarge

Chunks = Iterator[bytes]
OpenChunks = Callable[[], Chunks]
"""Starts the stream again from its first byte."""

GZIP_MAGIC = b"\x1f\x8b"

UNPACK_BYTES = 1024 * 1024
"""Most that one step of decompression puts out, in bytes: what bounds memory."""

GZIP_WINDOW = 16 + zlib.MAX_WBITS
"""zlib's way of saying: a gzip header is expected."""

WESTERN = "windows-1252"
"""What an eight-bit text is in when it is not UTF-8. A superset of Latin-1, and what the web takes Latin-1 for."""

_WESTERN_CHARACTERS = "".join(
    bytes([byte]).decode("cp1252", errors="ignore") or chr(byte)  # five bytes stand for nothing: WHATWG keeps them
    for byte in range(256)
)


def take(chunks: Chunks, size: int) -> tuple[bytes, bool]:
    """The first `size` bytes or a little more, and whether that was all."""
    head = bytearray()
    for chunk in chunks:
        head += chunk
        if len(head) >= size:
            return bytes(head), False
    return bytes(head), True


def gunzip(chunks: Chunks, *, limit: int) -> Chunks:
    """Unpack a gzip stream (RFC 1952, several members allowed); raises Invalid or, over `limit` bytes, TooLarge."""
    unpacker = zlib.decompressobj(GZIP_WINDOW)
    total = 0
    started = False
    for chunk in chunks:
        data = chunk
        while data:
            if unpacker.eof:
                data = data.lstrip(b"\0")  # padding that some writers leave after the last member
                if not data:
                    break
                unpacker = zlib.decompressobj(GZIP_WINDOW)
            started = True
            try:
                piece = unpacker.decompress(data, UNPACK_BYTES)
            except zlib.error as error:
                raise refuse("the gzip data is damaged") from error
            data = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            total += len(piece)
            if total > limit:
                raise TooLarge(f"The file unpacks to more than {limit} bytes, which is the limit.")
            if piece:
                yield piece
    if started and not unpacker.eof:
        raise refuse("the gzip data ends early: the file is truncated")


def without_bom(chunks: Chunks, bom: bytes) -> Chunks:
    """The stream without the byte order mark it begins with."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= len(bom):
            yield head.removeprefix(bom)
            break
    yield from chunks


class Undecodable(Exception):
    """The text is not in its encoding; the message says so. All that is before was handed out."""


def to_utf8(chunks: Chunks, encoding: str) -> Chunks:
    """The stream in UTF-8; raises Undecodable where the bytes are not in `encoding`."""
    if encoding == WESTERN:
        for chunk in chunks:
            yield codecs.charmap_decode(chunk, "strict", _WESTERN_CHARACTERS)[0].encode()
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    for chunk in chunks:
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            yield error.object[: error.start].decode(encoding).encode("utf-8", "surrogatepass")
            wrong = " ".join(f"0x{byte:02x}" for byte in error.object[error.start : error.end])
            raise Undecodable(f"the text is not valid {encoding.upper()} (bytes {wrong})") from error
        if text:
            yield text.encode("utf-8", "surrogatepass")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise Undecodable(f"the text ends in the middle of a {encoding.upper()} character") from error


def skip(chunks: Chunks, size: int) -> Chunks:
    """The stream without its first `size` bytes."""
    left = size
    for chunk in chunks:
        if left >= len(chunk):
            left -= len(chunk)
            continue
        yield chunk[left:]
        break
    yield from chunks


class ChunkFile:
    """A stream as the file object that pyarrow reads from."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer only at the end."""
        parts: list[bytes] = []
        wanted = size if size >= 0 else 1 << 62
        while wanted > 0:
            if not self._left:
                self._left = memoryview(next(self._chunks, b""))
                if not self._left:
                    break
            piece = self._left[:wanted]
            self._left = self._left[len(piece) :]
            parts.append(bytes(piece))
            wanted -= len(piece)
        return b"".join(parts)

    def readable(self) -> bool:
        """Always."""
        return True

    def writable(self) -> bool:
        """Never."""
        return False

    def seekable(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Let go of the stream."""
        self.closed = True
        self._left = memoryview(b"")
