"""Where things are kept, which filter shows what, how downloads are named and cut."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.artifacts import archive_names, headers, model, ranges
from services.artifacts.formats.roles import Roles, assign
from services.artifacts.ranges import Span, Unsatisfiable
from shared.contracts.base import Scope
from shared.contracts.results import ArtifactEntry, Packed
from shared.errors import Invalid

SCOPE = Scope(tenant_id=UUID(int=1), project_id=UUID(int=2))
RUN = UUID(int=3)


def entry(**members: Any) -> ArtifactEntry:
    data = members.pop("data", b"bytes")
    given = {
        "artifact_id": uuid4(),
        "kind": "output",
        "position": 0,
        "name": "x",
        "file_name": "x.bin",
        "content_type": "text/plain",
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "inline": base64.b64encode(data).decode(),
    }
    return ArtifactEntry(**{**given, **members})


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        ({"kind": "enriched_dataset"}, ["data"]),
        ({"kind": "value", "content_type": "application/json"}, ["data"]),
        ({"kind": "model"}, ["models"]),
        ({"kind": "report", "content_type": "text/html"}, ["reports"]),
        ({"kind": "notebook"}, []),
        ({"kind": "file", "content_type": "image/png"}, ["plots"]),
        ({"kind": "file", "content_type": "text/csv"}, ["data"]),
        ({"kind": "file", "content_type": "application/zip"}, []),
        ({"content_type": "text/html", "details": {"isPlot": True}}, ["plots"]),
        ({"content_type": "image/png", "output_type": "image/png"}, ["plots"]),
        ({"content_type": "image/svg+xml"}, ["plots"]),
        ({"content_type": "application/vnd.plotly.v1+json"}, ["plots"]),
        ({"content_type": "application/vnd.vegalite.v5+json"}, ["plots"]),
        ({"content_type": "application/json", "output_type": "application/json"}, ["data"]),
        ({"content_type": "text/html", "content": "<div><table border=1>"}, ["data"]),
        ({"content_type": "text/html", "details": {"dataFrame": True}}, ["data"]),
        ({"content_type": "text/html", "content": "<b>tablespoon</b>"}, []),
        ({"content_type": "text/plain", "output_type": "stream"}, []),
        ({"content_type": "text/html", "output_type": "error", "content": "<table>"}, []),
    ],
)
def test_each_output_is_shown_by_its_own_filter(members: dict[str, Any], shown: list[str]) -> None:
    assert model.categories(entry(**members)) == shown


def test_a_manifest_with_bytes_in_the_right_place_is_accepted() -> None:
    key = model.epoch_prefix(SCOPE, RUN, 2) + "model.pkl"
    packed = entry(inline=None, pack=Packed(object_key=key, offset=3))
    model.check_entries(SCOPE, RUN, 2, [entry(), entry(inline=None, object_key=key), packed, entry(data=b"")])


def test_every_fault_of_a_manifest_is_named() -> None:
    twice = entry()
    other_epoch = model.epoch_prefix(SCOPE, RUN, 1) + "x"
    upwards = model.epoch_prefix(SCOPE, RUN, 2) + "../../x"
    entries = [
        entry(inline=None),
        entry(object_key="x"),
        entry(inline=None, object_key=other_epoch),
        entry(inline=None, object_key=upwards),
        entry(size_bytes=4),
        entry(sha256="0" * 64),
        entry(inline="%%%"),
        entry(inline=None, pack=Packed(object_key=other_epoch, offset=0)),
        entry(pack=Packed(object_key=model.epoch_prefix(SCOPE, RUN, 2) + "x", offset=0)),
        twice,
        twice,
    ]
    with pytest.raises(Invalid) as refusal:
        model.check_entries(SCOPE, RUN, 2, entries)
    paths = {fault.path.partition(".")[0] for fault in refusal.value.faults}
    assert paths == {f"entries[{index}]" for index in range(9)} | {"entries"}


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("bytes=0-3", Span(start=0, end=4)),
        ("bytes=4-", Span(start=4, end=10)),
        ("bytes=-3", Span(start=7, end=10)),
        ("bytes=-99", Span(start=0, end=10)),
        ("bytes=8-99", Span(start=8, end=10)),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("bytes=-", None),
        ("items=0-3", None),
        ("bytes=0-9" + "9" * 5000, Span(start=0, end=10)),
    ],
)
def test_ranges_are_read_as_rfc_9110_says(header: str | None, span: Span | None) -> None:
    assert ranges.parse(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_past_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        ranges.parse(header, 10)


def test_validators_compare_weakly_and_in_lists() -> None:
    assert ranges.matches('"x", W/"abc"', '"abc"')
    assert ranges.matches("*", '"abc"')
    assert not ranges.matches('"x"', '"abc"')
    assert not ranges.matches(None, '"abc"')
    assert ranges.matches(None, '"abc"', absent=True)


def test_archive_names_are_plain_unique_and_keep_their_extension() -> None:
    wanted = ["plot.png", "PLOT.png", "../../etc/passwd", "c:\\x\\con.txt", "a\x00b?.csv", "", "..", "manifest.json"]
    names = archive_names.archive_names(wanted, taken=["manifest.json"])
    assert names == [
        "plot.png",
        "PLOT-2.png",
        "passwd",
        "file-con.txt",
        "a_b_.csv",
        "file",
        "file-2",
        "manifest-2.json",
    ]
    long = archive_names.plain_name("ü" * 500 + ".parquet")
    assert len(long.encode()) <= archive_names.MAX_NAME_BYTES
    assert long.endswith(".parquet")


def test_a_file_name_cannot_break_out_of_its_header() -> None:
    header = headers.disposition('a"\r\nX: y/ü.csv')
    assert "\r" not in header
    assert header.startswith('attachment; filename="a___X: y__.csv"')
    assert header.endswith("%C3%BC.csv")


@pytest.mark.parametrize(
    ("columns", "roles"),
    [
        ([("case:concept:name", "string"), ("concept:name", "string"), ("time:timestamp", "timestamp")], (0, 1, 2)),
        ([("Case ID", "string"), ("Activity Name", "string"), ("Complete Timestamp", "timestamp")], (0, 1, 2)),
        ([("timestamp", "timestamp"), ("event", "string"), ("case", "integer")], (2, 1, 0)),
        ([("order_id", "integer"), ("step", "string"), ("happened", "timestamp")], (0, 1, 2)),
        ([("caseid", "string"), ("start", "timestamp"), ("timestamp", "timestamp")], (0, None, 2)),
        ([("case", "string"), ("timestamp", "string")], (0, None, 1)),
        ([("x", "string"), ("y", "number")], (None, None, None)),
    ],
)
def test_roles_are_found_by_name_then_by_type(
    columns: list[tuple[str, str]], roles: tuple[int | None, int | None, int | None]
) -> None:
    found = assign(columns, Roles(), Roles())
    expected = [None if index is None else columns[index][0] for index in roles]
    assert [found.case_id, found.activity, found.time] == expected


def test_new_data_keeps_the_roles_it_had() -> None:
    columns = [("case_id", "string"), ("order", "string"), ("activity", "string")]
    assert assign(columns, Roles(), Roles(case_id="order", activity="gone")).case_id == "order"
    assert assign(columns, Roles(), Roles(activity="gone")).activity == "activity"
