"""Libraries, archives of notebooks and files, and forms that are no forms."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Callable
from functools import partial

import aiohttp

from tests.abuse.attacker import Attacker, Input, grouped

Make = Callable[[], bytes]

WHEEL = "abuse-1.0-py3-none-any.whl"

LARGE_BYTES, AT_ONCE = 49_000_000, 4
"""Of large libraries that come at the same time."""


def _zip(files: dict[str, bytes], *, packed: bool = True) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(
        buffer, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED, compresslevel=1
    ) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _wheel(metadata: bytes, **files: bytes) -> bytes:
    return _zip({"abuse-1.0.dist-info/METADATA": metadata, **files})


HEAD = b"Metadata-Version: 2.1\nName: abuse\nVersion: 1.0\n"

LIBRARIES: dict[str, tuple[str, Make]] = {
    "60,000 files": (WHEEL, lambda: _zip({f"f{n}": b"" for n in range(60_000)})),
    "60,000 METADATA": (WHEEL, lambda: _zip({f"f{n}.dist-info/METADATA": b"" for n in range(30_000)})),
    "a METADATA of 300 MB": (WHEEL, lambda: _wheel(b"a" * 300_000_000)),
    "a long header": (WHEEL, lambda: _wheel(HEAD + b"Summary: a\n" + b" b\n" * 300_000)),
    "50,000 requirements": (WHEEL, lambda: _wheel(HEAD + b"Requires-Dist: a\n" * 50_000)),
    "a requirement of brackets": (WHEEL, lambda: _wheel(HEAD + b"Requires-Dist: a" + b"[(" * 400_000 + b"\n")),
    "headers without end": (WHEEL, lambda: _wheel(HEAD + b"a: b\n" * 180_000)),
    "a name of a megabyte": ("a" * 150_000 + "-1.0-py3-none-any.whl", lambda: _wheel(HEAD)),
    "a version of digits": (f"abuse-{'1.' * 20_000}0-py3-none-any.whl", lambda: _wheel(HEAD)),
    "a module of brackets": ("abuse.py", lambda: b"(" * 20_000_000),
    "a module of NUL": ("abuse.py", lambda: b"\0" * 20_000_000),
    "no zip, but its end": (WHEEL, lambda: b"PK\x05\x06" * 5_000_000),
    "a zip of comments": (WHEEL, lambda: _wheel(HEAD)[:-2] + b"\xff\xff" + b"PK\x05\x06" * 16_383),
}

ARCHIVES: dict[str, Make] = {
    "60,000 empty files": lambda: _zip({f"f{n}": b"" for n in range(60_000)}),
    "300 MB of zeros": lambda: _zip({"a.ipynb": b"\0" * 300_000_000}),
    "names of 60,000 characters": lambda: _zip({"d/" * 30_000 + str(n): b"a" for n in range(20)}),
    "names that lead out": lambda: _zip({"../" * n + "a.ipynb": b"{}" for n in range(1, 500)}),
    "300 notebooks": lambda: _zip({f"{n}.ipynb": b'{"nbformat":4,"cells":[]}' for n in range(300)}),
    "a zip in a zip": lambda: _zip({"a.ipynb": _zip({"a.ipynb": b"\0" * 100_000_000})}),
    "an open directory": lambda: _zip({f"f{n}": b"a" for n in range(5_000)})[:-10],
}


def _form(*parts: bytes, boundary: bytes = b"b", end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + end


NAME = b'Content-Disposition: form-data; name="notebookName"\r\n\r\na'
FILE = b'Content-Disposition: form-data; name="file"; filename="a.py"\r\n\r\n'

FORMS: dict[str, tuple[str, Make]] = {
    "50,000 parts": ("b", lambda: _form(*[NAME] * 50_000)),
    "a field of 20 MB": ("b", lambda: _form(NAME * 1 + b"a" * 20_000_000)),
    "50,000 headers of a part": ("b", lambda: _form(b"a: b\r\n" * 50_000 + NAME)),
    "a header of 10 MB": ("b", lambda: _form(b"Content-Disposition: form-data; name=" + b"a" * 10_000_000)),
    "a disposition of parameters": (
        "b",
        lambda: _form(b"Content-Disposition: form-data" + b"; a=b" * 1_500 + b"\r\n\r\nc"),
    ),
    "quotes in a disposition": (
        "b",
        lambda: _form(b'Content-Disposition: form-data; name="' + b'\\"' * 3_900 + b"\r\n\r\nc"),
    ),
    "file names in pieces": (
        "b",
        lambda: _form(
            b"Content-Disposition: form-data; " + b"; ".join(b"filename*%d=a" % n for n in range(400)) + b"\r\n\r\nc"
        ),
    ),
    "nearly boundaries": ("b", lambda: _form(FILE + b"\r\n--" * 2_000_000)),
    "nearly a long boundary": (
        "b" * 70,
        lambda: _form(FILE + (b"\r\n--" + b"b" * 69) * 150_000, boundary=b"b" * 70, end=b""),
    ),
    "line ends": ("b", lambda: b"\r\n" * 5_000_000 + _form(NAME)),
    "no end": ("b", lambda: _form(NAME, FILE + b"1", end=b"")),
    "a boundary of 5,000 characters": ("b" * 5_000, lambda: _form(NAME, boundary=b"b" * 5_000, end=b"")),
    "forms within": (
        "b",
        lambda: _form(b"Content-Type: multipart/mixed; boundary=c\r\n\r\n" + b"--c\r\n\r\n" * 50_000),
    ),
}


async def _library(attacker: Attacker, *, name: str, make: Make) -> None:
    await attacker.upload("library", make(), name)
    await attacker.viewer.get("libraries")


async def _libraries(attacker: Attacker) -> None:
    content = b"#" * LARGE_BYTES
    await asyncio.gather(*(attacker.upload("library", content, f"large{n}.py") for n in range(AT_ONCE)))


async def _archive(attacker: Attacker, *, make: Make) -> None:
    content = make()
    await attacker.upload("notebook/upload", content, "a.zip", notebookName="an archive")
    notebook = await attacker.editor.create("1")
    path = f"notebook/{notebook['notebookId']}/files"
    await attacker.editor.put(path, data=io.BytesIO(content), headers={"Content-Type": "application/zip"})


async def _multipart(attacker: Attacker, *, boundary: str, make: Make) -> None:
    content = make()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    for path in ("notebook/upload", "dataset", "library"):
        await attacker.editor.post(path, data=io.BytesIO(content), headers=headers)


async def _many_files(attacker: Attacker) -> None:
    notebook = await attacker.editor.create("1")
    form = aiohttp.FormData()
    for number in range(1_200):
        form.add_field("file", b"a", filename=f"{'d/' * 20}{number}.txt")
    await attacker.editor.put(f"notebook/{notebook['notebookId']}/files", data=form)
    await attacker.viewer.get(f"notebook/{notebook['notebookId']}/files")


INPUTS = [
    *grouped(
        "library", [Input(kind, partial(_library, name=name, make=make)) for kind, (name, make) in LIBRARIES.items()]
    ),
    *grouped("library", [Input("four of 49 MB at a time", _libraries)]),
    *grouped("archive", [Input(kind, partial(_archive, make=make)) for kind, make in ARCHIVES.items()]),
    *grouped(
        "form",
        [Input(kind, partial(_multipart, boundary=boundary, make=make)) for kind, (boundary, make) in FORMS.items()],
    ),
    *grouped("files", [Input("1,200 in one form", _many_files)]),
]
