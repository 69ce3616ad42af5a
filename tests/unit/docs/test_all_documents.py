"""What every document promises: links lead somewhere, files and make targets exist, quoted code is the code."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.unit.docs import documents
from tests.unit.docs.documents import NAMES, ROOT

PATH = re.compile(r"(?:services|shared|sdk|deploy|tests|examples|docs)/[\w./-]*\w/?")
"""Something in backticks that looks like a path of this project."""

MADE = {"deploy/compose.env"}
"""Files that a reader makes."""


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for link in documents.links(name):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), f"{name} links to {link}"
        if anchor:
            assert anchor in documents.anchors(str(target.resolve().relative_to(ROOT))), f"{name} links to {link}"


@pytest.mark.parametrize("name", NAMES)
def test_files_exist(name: str) -> None:
    missing = [
        word
        for word in documents.code_words(name)
        if PATH.fullmatch(word) and word not in MADE and not (ROOT / word).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("name", NAMES)
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`|\$ )make ([a-z-]+)", documents.text(name), re.MULTILINE))
    assert named <= targets


def test_the_readme_links_every_document() -> None:
    linked = set(documents.links("README.md"))
    assert {name for name in NAMES if name != "README.md"} <= linked


def test_code_quoted_in_contributing_is_the_code() -> None:
    quoted = [*documents.blocks("CONTRIBUTING.md", "python"), *documents.blocks("CONTRIBUTING.md", "sql")]
    assert len(quoted) >= 8
    for block in quoted:
        said = re.search(r"In `([^`]+)`:\s*\Z", block.before)
        assert said is not None, f"no file is named before: {block.text}"
        assert block.text in (ROOT / said[1]).read_text(encoding="utf-8"), f"not in {said[1]}: {block.text}"


def test_the_changelog_knows_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[([^\]]+)\]", documents.text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert version in headings
