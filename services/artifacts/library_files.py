"""What an uploaded library is: a wheel or a single module, by its file alone. Nothing of it is run. Pure, no I/O."""

from __future__ import annotations

import io
import keyword
import zipfile
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import PurePosixPath
from typing import Literal

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from shared.errors import Fault, Invalid

METADATA_BYTES = 1_000_000
"""The most that a wheel's METADATA file may hold, in bytes; descriptions make it some tens of thousands."""


@dataclass(frozen=True, kw_only=True)
class LibraryFile:
    """What its file says of a library."""

    name: str
    kind: Literal["wheel", "module"]
    version: str | None
    requires: list[str]


def read(file_name: str, content: bytes) -> LibraryFile:
    """What the file is; raises Invalid when it is neither a wheel nor a module."""
    if PurePosixPath(file_name).name != file_name:
        raise _refused("has a folder in its name")
    if file_name.endswith(".whl"):
        return _wheel(file_name, content)
    if file_name.endswith(".py"):
        return _module(file_name, content)
    raise _refused("is neither a wheel (.whl) nor a module (.py)")


def _module(file_name: str, content: bytes) -> LibraryFile:
    name = file_name.removesuffix(".py")
    if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name):
        raise _refused(f"cannot be imported under the name {name!r}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(f"is not UTF-8 text: the byte at position {error.start} is wrong") from error
    if "\x00" in text:
        raise _refused("contains the NUL character")
    return LibraryFile(name=name, kind="module", version=None, requires=[])


def _wheel(file_name: str, content: bytes) -> LibraryFile:
    try:
        name, version, _build, _tags = parse_wheel_filename(file_name)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = [one for one in archive.infolist() if PurePosixPath(one.filename).match("*.dist-info/METADATA")]
            if len(found) != 1 or found[0].file_size > METADATA_BYTES:
                raise _refused("is no wheel: it has no METADATA, or more than one, or one that is too large")
            metadata = BytesParser().parsebytes(archive.read(found[0]), headersonly=True)
    except InvalidWheelFilename as error:
        raise _refused(f"is not named like a wheel: {error}") from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise _refused("is no wheel: it cannot be unpacked") from error
    said = str(metadata.get("Name", ""))
    if canonicalize_name(said) != name:
        raise _refused(f"is named for {name}, but holds {said!r}")
    requires = [str(one) for one in metadata.get_all("Requires-Dist", [])]
    return LibraryFile(name=said, kind="wheel", version=str(version), requires=requires)


def _refused(message: str) -> Invalid:
    return Invalid(f"The file {message}.", faults=[Fault(path="file", message=message)])
