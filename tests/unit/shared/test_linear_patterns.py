"""No regular expression of the services takes more than linear time, whatever text it meets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.patterns import Pattern, faults_of, patterns_of

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("services", "shared")
NOTEBOOKS = "services/catalog/templates/"  # these run in kernels

REVIEWED = {
    ("services/artifacts/formats/text_forms.py", None): (
        "put together from SHAPES, whose parts are bounded or possessive, for formats of ours; meets short texts alone"
    ),
    ("services/executor/environments/rules.py", r"(?<![\w/.])/(?:[^\s/`'\":()]+/)*([^\s/`'\":()]+)/?"): (
        "each part ends at a slash, which no part holds, and a part is enough: it never gives back more than one"
    ),
}
"""Patterns that look as if they could, by file and text, with the reason why they cannot."""


def patterns() -> list[Pattern]:
    return [
        pattern
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not (name := path.relative_to(ROOT).as_posix()).startswith(NOTEBOOKS)
        for pattern in patterns_of(path, name)
    ]


def test_every_pattern_is_linear_or_reviewed() -> None:
    found = patterns()
    assert len(found) > 50
    wrong = {
        f"{pattern.path}:{pattern.line} {pattern.text!r}": faults
        for pattern in found
        if (pattern.path, pattern.text) not in REVIEWED and (faults := faults_of(pattern))
    }
    assert wrong == {}, "use possessive repeats (`*+`), bounds, or a scan by hand; or review it and say why it is fine"


def test_what_was_reviewed_is_still_there() -> None:
    assert {(pattern.path, pattern.text) for pattern in patterns()} >= set(REVIEWED)


def of(text: str, *, anchored: bool = False) -> Pattern:
    return Pattern(path="a.py", line=1, text=text, flags=0, anchored=anchored)


@pytest.mark.parametrize(
    "text",
    [
        r"(a+)+b",
        r"(?:a|b+)*c",
        r"^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z",  # found in the catalog: 38 s for 20 kB
        r"\bone of:\s*(?P<choices>.+?)\s*$",
        r"^#{1,6}\s+(.+?)\s*#*\s*$",
        r"\b[a-z][a-z0-9+.-]*://[^\s]+",
        r"[\d. ]+$",
        r"<script[^>]*>x",
        r"a.*b",
    ],
)
def test_patterns_that_can_take_the_square_are_found(text: str) -> None:
    assert faults_of(of(text))


@pytest.mark.parametrize(
    "text",
    [
        r"(?:[^\"\\]++|\\.?)*+",
        r"^-?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?\Z",
        r"^[a-z]+\s+[0-9]+$",
        r"[a-z]{1,30}://\S++",
        r"\d+",
        r"<[^<>]*>",
    ],
)
def test_linear_patterns_pass(text: str) -> None:
    assert faults_of(of(text)) == []


def test_a_match_at_the_beginning_alone_begins_once() -> None:
    assert faults_of(of(r"a.*b", anchored=True)) == []
