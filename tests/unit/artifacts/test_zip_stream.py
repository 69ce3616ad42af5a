"""Archives as `zipfile` reads them: whole ones, and such as are too large for the old form."""

from __future__ import annotations

import io
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.artifacts.zip_stream import Member, ZipStream, length_of

MADE = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)
GIB = 1024**3


def written(bodies: dict[str, bytes], *, known: bool) -> bytes:
    stream, parts = ZipStream(MADE), []
    for name, body in bodies.items():
        crc32 = zlib.crc32(body)
        parts += [stream.begin(Member(name=name, size=len(body), crc32=crc32 if known else None)), body]
        parts.append(stream.end(None if known else crc32))
    parts.append(stream.close())
    whole = b"".join(parts)
    assert len(whole) == stream.length
    return whole


@pytest.mark.parametrize("known", [True, False])
def test_an_archive_is_read_by_others_and_as_long_as_was_said(known: bool) -> None:
    bodies = {"a.txt": b"hello", "empty": b"", "plöt 日.png": bytes(range(256)) * 300}
    whole = written(bodies, known=known)
    members = [Member(name=n, size=len(b), crc32=zlib.crc32(b) if known else None) for n, b in bodies.items()]
    assert length_of(members) == len(whole)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == bodies
        assert {info.date_time for info in archive.infolist()} == {(2024, 2, 29, 23, 59, 58)}
        assert {info.external_attr >> 16 for info in archive.infolist()} == {0o100644}


def test_an_archive_of_nothing_is_one() -> None:
    with zipfile.ZipFile(io.BytesIO(written({}, known=True))) as archive:
        assert archive.namelist() == []


@pytest.mark.parametrize("known", [True, False])
def test_files_from_4_gib_on_and_what_follows_them_are_found(tmp_path: Path, known: bool) -> None:
    sparse, stream, size = tmp_path / "large.zip", ZipStream(MADE), 5 * GIB
    last = b"the last"
    with sparse.open("wb") as file:
        file.write(stream.begin(Member(name="large", size=size, crc32=7 if known else None)))
        file.seek(size, io.SEEK_CUR)
        file.write(stream.end(None if known else 7))
        file.write(stream.begin(Member(name="last", size=len(last), crc32=zlib.crc32(last))) + last + stream.end())
        file.write(stream.close())
    assert sparse.stat().st_size == stream.length
    with zipfile.ZipFile(sparse) as archive:
        large, small = archive.infolist()
        assert (large.file_size, large.compress_size, large.CRC) == (size, size, 7)
        assert small.header_offset > size
        assert archive.read("last") == last
        with archive.open("large") as start:
            assert start.read(10) == bytes(10)


def test_more_files_than_the_old_form_counts() -> None:
    bodies = {str(number): b"" for number in range(66_000)}
    with zipfile.ZipFile(io.BytesIO(written(bodies, known=True))) as archive:
        assert len(archive.namelist()) == 66_000


def test_a_file_without_a_checksum_is_refused() -> None:
    stream = ZipStream(MADE)
    with pytest.raises(ValueError, match="no file"):
        stream.end(1)
    stream.begin(Member(name="x", size=1, crc32=None))
    with pytest.raises(ValueError, match="no checksum"):
        stream.end()
