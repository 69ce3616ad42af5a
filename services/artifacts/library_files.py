"""What an uploaded library is: a wheel or a single module, by its file alone. Nothing of it is run. Pure, no I/O."""

from __future__ import annotations

import codecs
import keyword
import zipfile
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import PurePosixPath
from typing import IO, Literal

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from shared.errors import Fault, Invalid

METADATA_BYTES = 1_000_000
"""The most that a wheel's METADATA file may hold, in bytes; descriptions make it some tens of thousands."""


PIECE_BYTES = 1024 * 1024
"""How much of a module is looked at at once, in bytes."""


@dataclass(frozen=True, kw_only=True)
class LibraryFile:
    """What its file says of a library."""

    name: str
    kind: Literal["wheel", "module"]
    version: str | None
    requires: list[str]


def read(file_name: str, content: IO[bytes]) -> LibraryFile:
    """What the file is; raises Invalid when it is neither a wheel nor a module."""
    if PurePosixPath(file_name).name != file_name:
        raise _refused("has a folder in its name")
    if file_name.endswith(".whl"):
        return _wheel(file_name, content)
    if file_name.endswith(".py"):
        return _module(file_name, content)
    raise _refused("is neither a wheel (.whl) nor a module (.py)")


def _module(file_name: str, content: IO[bytes]) -> LibraryFile:
    name = file_name.removesuffix(".py")
    if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name):
        raise _refused(f"cannot be imported under the name {name!r}")
    decoder, position = codecs.getincrementaldecoder("utf-8")(), 0
    while piece := content.read(PIECE_BYTES):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(piece)
        except UnicodeDecodeError as error:
            at = position - held + error.start
            raise _refused(f"is not UTF-8 text: the byte at position {at} is wrong") from error
        if b"\x00" in piece:
            raise _refused("contains the NUL character")
        position += len(piece)
    if decoder.getstate()[0]:
        raise _refused("is not UTF-8 text: it ends within a character")
    return LibraryFile(name=name, kind="module", version=None, requires=[])


def _wheel(file_name: str, content: IO[bytes]) -> LibraryFile:
    try:
        name, version, _build, _tags = parse_wheel_filename(file_name)
        with zipfile.ZipFile(content) as archive:
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
