"""Zip archives that clients send: what is taken, what is refused and why, and what bombs cost."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.gateway.archives import Archives, Unpacked
from services.gateway.staging import Staging
from shared.errors import Invalid, TooLarge
from shared.file_limits import MAX_FILE_BYTES, MAX_FILES, MAX_FILES_BYTES

NOTEBOOK = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return target.getvalue()


def special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


async def unpacked(folder: Path, body: bytes, *, with_notebook: bool = False) -> tuple[dict[str, bytes], Unpacked]:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1024 * 1024):
            yield body[start : start + 1024 * 1024]

    async with Staging(folder) as staging:
        found = await Archives(folder).unpack(pieces(), staging, with_notebook=with_notebook)
        files = {file.path: await staging.whole(file) for file in staging.files}
        if found.notebook is not None:
            files[f"notebook {found.notebook.path}"] = await staging.whole(found.notebook)
    return files, found


def encrypted() -> bytes:
    body = bytearray(zipped(("secret.txt", b"1")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(signature) + offset] |= 1
    return bytes(body)


def damaged() -> bytes:
    body = bytearray(zipped(("a.txt", b"hello"), compression=zipfile.ZIP_STORED))
    body[body.index(b"hello")] ^= 1
    return bytes(body)


async def test_files_come_out_as_they_went_in(tmp_path: Path) -> None:
    random = os.urandom(600_000)
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        body = zipped(
            ("helpers.py", b"x = 1\n"),
            ("data/", b""),
            ("data/lookup.csv", random),
            ("pkg/__init__.py", b""),
            ("Größe.txt", b"g"),
            ("__MACOSX/._helpers.py", b"m"),
            (".ipynb_checkpoints/a-checkpoint.ipynb", b"{}"),
            compression=compression,
        )
        files, found = await unpacked(tmp_path, body)
        assert files == {
            "helpers.py": b"x = 1\n",
            "data/lookup.csv": random,
            "pkg/__init__.py": b"",
            "Größe.txt": b"g",
        }
        assert len(found.warnings) == 1
        assert "__MACOSX/._helpers.py" in found.warnings[0]
    assert list(tmp_path.iterdir()) == []


async def test_names_in_utf_8_that_do_not_say_so(tmp_path: Path) -> None:
    body = zipped(("é.py", b"1"))
    unsaid = body.replace("é".encode(), "é".encode()).replace(b"\x00\x08", b"\x00\x00")
    assert zipfile.ZipFile(io.BytesIO(unsaid)).infolist()[0].flag_bits & 0x800 == 0
    files, _ = await unpacked(tmp_path, unsaid)
    assert files == {"é.py": b"1"}


@pytest.mark.parametrize(
    ("body", "path", "reason"),
    [
        (lambda: zipped(("../x.py", b"")), "../x.py", "'..'"),
        (lambda: zipped(("/etc/cron.d/x", b"")), "/etc/cron.d/x", "absolute"),
        (lambda: zipped(("a\\b.py", b"")), "a\\b.py", "backslash"),
        (lambda: zipped((".atelier/1.json", b"")), ".atelier/1.json", "reserved"),
        (lambda: zipped((special("link", stat.S_IFLNK | 0o777), b"/etc/passwd")), "link", "symbolic link"),
        (lambda: zipped((special("pipe", stat.S_IFIFO | 0o644), b"")), "pipe", "no regular file"),
        (lambda: zipped(("a", b"1"), ("a/b", b"2")), "a/b", "to be a folder"),
        (lambda: zipped(("a.py", b"1"), ("./a.py", b"2")), "a.py", "more than once"),
        (encrypted, "secret.txt", "encrypted"),
        (lambda: b"no zip at all", "file", "no zip archive"),
        (lambda: b"PK\x03\x04" + b"\x00" * 100, "file", "no zip archive"),
        (lambda: zipped(("a.txt", b"hello " * 100))[:-30], "file", "no zip archive"),
        (damaged, "a.txt", "is damaged"),
        (lambda: zipped(("a.txt", b"1")).replace(b"a.txt", b"a\x00txt"), "a\x00txt", "control character"),
    ],
)
async def test_what_is_refused_is_named(tmp_path: Path, body: Callable[[], bytes], path: str, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        await unpacked(tmp_path, body())
    assert path in [fault.path for fault in caught.value.faults]
    assert reason in str([fault.message for fault in caught.value.faults])


def bomb(*, entries: int, size: int, name: str = "zeros") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(entries):
            with archive.open(f"{name}{number}", "w") as entry:
                for _ in range(size // 1_000_000):
                    entry.write(bytes(1_000_000))
    return target.getvalue()


def overlapping() -> bytes:
    """Many entries of the table of contents that share one body (D. Fifield: A better zip bomb, 2019)."""
    body = bytearray(bomb(entries=1, size=MAX_FILE_BYTES - 1_000_000))
    start = body.index(b"PK\x01\x02")
    end = body.index(b"PK\x05\x06")
    entry, tail = bytes(body[start:end]), bytearray(body[end:])
    copies = [entry.replace(b"zeros0", b"zer%03d" % number) for number in range(100)]
    table = b"".join(copies)
    tail[8:10] = tail[10:12] = len(copies).to_bytes(2, "little")
    tail[12:16] = len(table).to_bytes(4, "little")
    local = bytes(body[:start])
    return local + table + bytes(tail)


async def test_bombs_end_at_the_limits(tmp_path: Path) -> None:
    small = bomb(entries=1, size=MAX_FILE_BYTES + 1_000_000)
    assert len(small) < 100_000
    with pytest.raises(TooLarge, match="50,000,000"):
        await unpacked(tmp_path, small)
    with pytest.raises(TooLarge, match="200,000,000"):
        await unpacked(tmp_path, bomb(entries=MAX_FILES_BYTES // 40_000_000 + 1, size=40_000_000))
    with pytest.raises(TooLarge, match="1,000 files"):
        await unpacked(tmp_path, bomb(entries=MAX_FILES + 1, size=0))
    with pytest.raises((Invalid, TooLarge)):  # of one name each, or over the limit of all together
        await unpacked(tmp_path, overlapping())


async def test_a_size_that_is_a_lie_does_not_count(tmp_path: Path) -> None:
    body = bytearray(bomb(entries=1, size=MAX_FILE_BYTES + 1_000_000))
    at = body.index(b"PK\x01\x02")
    body[at + 24 : at + 28] = (10).to_bytes(4, "little")
    with pytest.raises((Invalid, TooLarge)):
        await unpacked(tmp_path, bytes(body))


async def test_a_table_of_contents_without_end_costs_little_memory(tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number:05d}", b"")
    with pytest.raises(TooLarge, match="entries"):
        await unpacked(tmp_path, target.getvalue())


async def test_the_notebook_of_an_upload_and_what_is_beside_it(tmp_path: Path) -> None:
    files, _ = await unpacked(
        tmp_path,
        zipped(("project/data/a.csv", b"1"), ("project/main.ipynb", NOTEBOOK), ("project/helpers.py", b"2")),
        with_notebook=True,
    )
    assert files == {"notebook main.ipynb": NOTEBOOK, "data/a.csv": b"1", "helpers.py": b"2"}
    files, _ = await unpacked(tmp_path, zipped(("A.IPYNB", NOTEBOOK), ("b/._c.ipynb", b"x")), with_notebook=True)
    assert files == {"notebook A.IPYNB": NOTEBOOK}


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([("a.py", b"")], "has no notebook"),
        ([("a.ipynb", NOTEBOOK), ("b/c.ipynb", NOTEBOOK)], "several notebooks in it: a.ipynb, b/c.ipynb"),
        ([("notebooks/a.ipynb", NOTEBOOK), ("data/b.csv", b"")], "outside of the notebook's folder notebooks"),
        ([], "has no notebook"),
    ],
)
async def test_an_upload_has_one_notebook(tmp_path: Path, entries: list[tuple[str, bytes]], reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        await unpacked(tmp_path, zipped(*entries), with_notebook=True)
    assert reason in str([fault.message for fault in caught.value.faults])
