"""Every file of the corpus uploads, exports and uploads again without loss, or is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import nbformat
import orjson
import pytest

from services.catalog import importing
from services.catalog.kernels import SPECS
from shared.errors import Invalid
from tests.unit.catalog.corpus import CORPUS, Case

Json = dict[str, Any]

KEPT = [case for case in CORPUS if case.refused_at is None]
REFUSED = [case for case in CORPUS if case.refused_at is not None]


def test_the_corpus_is_large_and_has_no_name_twice() -> None:
    names = [case.name for case in CORPUS]
    assert len(set(names)) == len(names) >= 100


@pytest.mark.parametrize("case", KEPT, ids=lambda case: case.name)
def test_it_survives_the_round_trip(case: Case) -> None:
    first = importing.read(case.file_name, case.file, None)
    assert first.kernel_type == case.kernel
    assert [part for part in case.warnings if not any(part in said for said in first.parsing.warnings)] == []
    assert len(first.parsing.warnings) == len(case.warnings), first.parsing.warnings
    exported = first.document.export(first.kernel_type)
    nbformat.validate(nbformat.from_dict(exported), version=4, version_minor=5)
    if case.file_name.endswith(".ipynb"):
        given = json.loads(case.file.removeprefix("\ufeff"))
        if given["nbformat"] == 4:
            assert_nothing_is_lost(given, exported)
        else:
            assert_version_3_says_the_same(given, exported)
    again = importing.read("b.ipynb", orjson.dumps(exported, option=orjson.OPT_INDENT_2).decode(), None)
    assert again.parsing.warnings == []
    assert again.kernel_type == first.kernel_type
    assert text_of(again.document.export(again.kernel_type)) == text_of(exported)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_it_is_refused_with_its_place(case: Case) -> None:
    with pytest.raises(Invalid) as raised:
        importing.read(case.file_name, case.file, None)
    fault = raised.value.faults[0]
    assert (fault.path, bool(fault.message)) == (case.refused_at, True)
    assert fault.message.split()[0] in raised.value.detail


def test_the_title_of_nbformat_3_stays() -> None:
    (case,) = (case for case in KEPT if case.name == "v3 title")
    document = importing.read(case.file_name, case.file, None).document
    assert document.export("python3")["metadata"]["title"] == "My title"


def test_scripts_are_split_at_line_ends_alone() -> None:
    (case,) = (case for case in KEPT if case.name == "script: separators")
    (cell,) = importing.read(case.file_name, case.file, None).document.cells
    assert cell["source"] == "x = 'a\x0cb\u2028c\x85d'"


def assert_nothing_is_lost(given: Json, exported: Json) -> None:
    """The export has all that the file had, but for what the warnings are about."""
    assert len(exported["cells"]) == len(given["cells"])
    for before, after in zip(given["cells"], exported["cells"], strict=True):
        assert after["cell_type"] == before["cell_type"]
        assert after["source"] == joined(before.get("source", ""))
        expected = dict(before.get("metadata", {}))
        if "execution" in expected and "timeout" in expected["execution"]:
            expected["execution"] = {**expected["execution"], "timeout": str(expected["execution"]["timeout"])}
        assert text_of(after["metadata"]) == text_of(expected)
        for name in ("attachments", "outputs", "execution_count"):
            if name == "attachments" or after["cell_type"] == "code":
                assert text_of(after.get(name)) == text_of(before.get(name, [] if name == "outputs" else None))
        if valid(before.get("id")) and sum(cell.get("id") == before["id"] for cell in given["cells"]) == 1:
            assert after["id"] == before["id"]
    for name, value in (given["metadata"] or {}).items():
        if name not in {"kernelspec", "language_info", "orig_nbformat"}:
            assert text_of(exported["metadata"][name]) == text_of(value)
    spec = (given["metadata"] or {}).get("kernelspec")
    if isinstance(spec, dict) and {"name", "display_name"} <= set(spec):
        assert exported["metadata"]["kernelspec"] in (spec, *(known["kernelspec"] for known in SPECS.values()))


def assert_version_3_says_the_same(given: Json, exported: Json) -> None:
    """Sources, outputs and counts, in the words of nbformat 4."""
    cells = [cell for sheet in given["worksheets"] for cell in sheet["cells"]]
    assert len(exported["cells"]) == len(cells)
    for before, after in zip(cells, exported["cells"], strict=True):
        kind = before["cell_type"]
        source = joined(before.get("input" if kind == "code" else "source", ""))
        assert after["cell_type"] == {"heading": "markdown", "html": "markdown"}.get(kind, kind)
        assert after["source"] == (f"{'#' * before.get('level', 1)} {source}" if kind == "heading" else source)
        if kind == "code":
            assert after["execution_count"] == before.get("prompt_number")
            assert [plain(output) for output in after["outputs"]] == [of_version_3(one) for one in before["outputs"]]


MIME_TYPES = {"text": "text/plain", "png": "image/png", "html": "text/html", "svg": "image/svg+xml"}


def of_version_3(output: Json) -> Json:
    """An output of nbformat 3 as nbformat 4 has it."""
    kind = output["output_type"]
    if kind == "stream":
        return {"output_type": "stream", "name": output["stream"], "text": joined(output["text"])}
    if kind == "pyerr":
        return {**output, "output_type": "error"}
    data = {MIME_TYPES[name]: joined(value) for name, value in output.items() if name in MIME_TYPES}
    shown: Json = {"output_type": kind, "data": data, "metadata": output["metadata"]}
    if kind == "pyout":
        shown |= {"output_type": "execute_result", "execution_count": output["prompt_number"]}
    return shown


def plain(output: Json) -> Json:
    """An output of nbformat 4 with each text as one string."""
    found = {name: joined(value) if name == "text" else value for name, value in output.items()}
    if "data" in output:
        found["data"] = {name: joined(value) for name, value in output["data"].items()}
    return found


def valid(cell_id: Any) -> bool:
    return isinstance(cell_id, str) and 0 < len(cell_id) <= 64 and " " not in cell_id


def joined(source: Any) -> str:
    return source if isinstance(source, str) else "".join(source)


def text_of(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
