"""What an uploaded library is, by its file alone."""

from __future__ import annotations

import io
import zipfile

import pytest

from services.artifacts import library_files
from shared.errors import Invalid


def wheel(*names: str, metadata: str = "Metadata-Version: 2.1\nName: My_Rules\nVersion: 1.2\n") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names or ("my_rules-1.2.dist-info/METADATA",):
            archive.writestr(name, metadata)
    return buffer.getvalue()


def test_a_wheel_tells_its_name_version_and_requirements() -> None:
    told = "Metadata-Version: 2.1\nName: My_Rules\nVersion: 1.2\nRequires-Dist: pandas>=2\nRequires-Dist: abc\n\ntext"
    content = wheel("my_rules/__init__.py", "my_rules-1.2.dist-info/METADATA", metadata=told)
    file = library_files.read("my_rules-1.2-py3-none-any.whl", io.BytesIO(content))
    assert (file.name, file.kind, file.version) == ("My_Rules", "wheel", "1.2")
    assert file.requires == ["pandas>=2", "abc"]


def test_a_module_is_named_for_its_file() -> None:
    file = library_files.read("my_rules.py", io.BytesIO(b"RULE = 1\n"))
    assert (file.name, file.kind, file.version, file.requires) == ("my_rules", "module", None, [])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rules.zip", b"x"),
        ("../rules.py", b"x = 1"),
        ("my_rules-1.2-py3-none-a/any.whl", wheel()),
        ("my rules.py", b"x = 1"),
        ("class.py", b"x = 1"),
        ("rules.py", b"\xff\xfe"),
        ("rules.py", b"x = '\x00'"),
        ("rules.whl", wheel()),
        ("other-1.2-py3-none-any.whl", wheel()),
        ("my_rules-1.2-py3-none-any.whl", b"PK, but no zip"),
        ("my_rules-1.2-py3-none-any.whl", wheel("my_rules/__init__.py")),
        ("my_rules-1.2-py3-none-any.whl", wheel("a-1.dist-info/METADATA", "b-1.dist-info/METADATA")),
        ("my_rules-1.2-py3-none-any.whl", wheel(metadata="Name: My_Rules\n" + "x" * library_files.METADATA_BYTES)),
    ],
)
def test_anything_else_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        library_files.read(name, io.BytesIO(content))
    assert [fault.path for fault in caught.value.faults] == ["file"]
