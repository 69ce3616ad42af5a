"""Zip archives that clients send: what is taken, what is refused and why, and what bombs cost."""

from __future__ import annotations

import io
import os
import stat
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.gateway import unzip_program
from services.gateway.archives import Archives, Unpacked
from services.gateway.staging import Staging
from shared.errors import Invalid, TooLarge
from shared.file_limits import MAX_FILE_BYTES, MAX_FILES

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


def refusal(body: bytes, *, with_notebook: bool = False) -> dict[str, Any]:
    """What the program says of an archive that it refuses, here instead of in a process of its own."""
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.flush()
        descriptor = os.dup(file.fileno())
        os.lseek(descriptor, 0, os.SEEK_SET)
        *_, last = unzip_program.answer({"descriptor": descriptor, "notebook": with_notebook})
    assert last[:1] == b"X"
    told: dict[str, Any] = orjson.loads(last[5:])
    return told


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
def test_what_is_refused_is_named(body: Callable[[], bytes], path: str, reason: str) -> None:
    told = refusal(body())
    assert not told["tooLarge"]
    assert [message for place, message in told["faults"] if place == path and reason in message]


async def test_a_refusal_is_an_error_of_the_request(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        await unpacked(tmp_path, zipped(("../x.py", b""), ("/y.py", b"")))
    assert [fault.path for fault in caught.value.faults] == ["../x.py", "/y.py"]
    assert list(tmp_path.iterdir()) == []


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


async def test_bombs_end_at_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = bomb(entries=1, size=MAX_FILE_BYTES + 1_000_000)
    assert len(small) < 100_000
    with pytest.raises(TooLarge, match="50,000,000"):
        await unpacked(tmp_path, small)
    monkeypatch.setattr(unzip_program, "MAX_FILES_BYTES", 5_000_000)
    for body, reason in (
        (bomb(entries=6, size=1_000_000), "5,000,000"),
        (bomb(entries=MAX_FILES + 1, size=0), "1,000 files"),
        (bomb(entries=unzip_program.MAX_ENTRIES + 1, size=0), "entries"),
    ):
        told = refusal(body)
        assert told["tooLarge"]
        assert reason in str(told["faults"])


def test_what_the_table_of_contents_says_of_sizes_and_places_does_not_count() -> None:
    assert refusal(overlapping())["faults"]
    body = bytearray(bomb(entries=1, size=MAX_FILE_BYTES + 1_000_000))
    at = body.index(b"PK\x01\x02")
    body[at + 24 : at + 28] = (10).to_bytes(4, "little")
    assert refusal(bytes(body))["faults"]


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
def test_an_upload_has_one_notebook(entries: list[tuple[str, bytes]], reason: str) -> None:
    assert reason in str(refusal(zipped(*entries), with_notebook=True)["faults"])
