"""XES and Parquet files become the same kind of table."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mindzie_sdk.tables import write_parquet

from services.artifacts.formats.profile import profile
from services.artifacts.formats.xes_events import BATCH_BYTES, BATCH_EVENTS, LATE_EVENTS
from services.artifacts.formats.xes_table import MAX_TOKEN_BYTES, XesTable
from shared.errors import Invalid, TooLarge
from tests.support import hostile_tables
from tests.unit.artifacts.conversions import Workbench

HEAD = "<?xml version='1.0' encoding='UTF-8'?><log xmlns='http://www.xes-standard.org/'>"


def event(name: str, extra: str = "") -> str:
    return (
        f"<event><string key='concept:name' value='{name}'/>"
        f"<date key='time:timestamp' value='2020-01-01T10:00:00.000+01:00'/>{extra}</event>"
    )


def trace(case: str, *events: str) -> str:
    return f"<trace><string key='concept:name' value='{case}'/>{''.join(events)}</trace>"


def log(*traces: str) -> bytes:
    return f"{HEAD}{''.join(traces)}</log>".encode()


def test_trace_and_event_attributes_become_columns(bench: Workbench) -> None:
    data = log(
        trace("7", event("a", "<int key='cost' value='5'/>"), event("b", "<boolean key='paid' value='true'/>")),
        trace("8", event("c")),
    )
    done = bench.convert(data, piece=50)
    assert (done.record_count, done.case_count) == (3, 2)
    assert (done.roles.case_id, done.roles.activity, done.roles.time) == (
        "case:concept:name",
        "concept:name",
        "time:timestamp",
    )
    assert bench.rows()[0] == {
        "case:concept:name": "7",  # a string in XES, whatever it looks like
        "concept:name": "a",
        "time:timestamp": "2020-01-01T10:00:00.000+01:00",
        "cost": 5,
        "paid": None,
    }


def test_nested_attributes_are_columns_and_lists_are_json(bench: Workbench) -> None:
    resource = (
        "<string key='org:resource' value='Anna'><int key='floor' value='3'><date key='since' value='2020-01-01'/>"
    )
    resource += "</int></string>"
    values = "<string key='a' value='x'/><int key='b' value='1'><int key='left out' value='9'/></int>"
    nested = "<list key='in'><string key='c' value='&quot;'/></list>"
    nested += "<container key='r'><float key='d' value='2.5'/></container>"
    tags = f"<list key='tags'><values>{values}{nested}</values></list><list key='none'/>"
    box = "<container key='box'><int key='weight' value='7'/>"
    box += "<container key='lid'><boolean key='on' value='true'/></container>"
    case = "<container key='c'><int key='n' value='1'/></container>"
    data = log(f"<trace>{case}{event('a', resource + tags + box + '</container>')}</trace>")
    bench.convert(data, piece=37)
    (row,) = bench.rows()
    assert {name: row[name] for name in row if name not in ("concept:name", "time:timestamp")} == {
        "case:c/n": 1,
        "org:resource": "Anna",
        "org:resource/floor": 3,
        "org:resource/floor/since": date(2020, 1, 1),
        "tags": '["x","1",["\\""],{"d":"2.5"}]',
        "none": "[]",
        "box/weight": 7,
        "box/lid/on": True,
    }


@pytest.mark.parametrize("piece", [1 << 20, 61])
def test_attributes_may_follow_the_events(bench: Workbench, piece: int) -> None:
    late = "<string key='concept:name' value='{}'/><int key='cost' value='{}'/>"
    traces = [f"<trace>{event('a')}{event('b')}{late.format(n, n * 10)}</trace>" for n in (1, 2)]
    early = trace("3", event("c"))
    done = bench.convert(gzip.compress(log(*traces, early)), piece=piece)
    assert (done.record_count, done.case_count, done.source["gzip"]) == (5, 3, True)
    assert [(row["case:concept:name"], row["case:cost"]) for row in bench.rows()] == [
        ("1", 10),
        ("1", 10),
        ("2", 20),
        ("2", 20),
        ("3", None),
    ]


def test_an_attribute_after_very_many_events_of_its_trace_is_refused(bench: Workbench) -> None:
    events = "<event><string key='concept:name' value='a'/></event>" * (LATE_EVENTS + 5_000)
    assert bench.convert(log(f"<trace>{events}</trace>")).record_count == LATE_EVENTS + 5_000
    with pytest.raises(Invalid, match=f"more than {LATE_EVENTS} of its events"):
        bench.convert(log(f"<trace>{events}<string key='concept:name' value='1'/></trace>"))


def test_a_batch_is_bounded_by_bytes_and_cells() -> None:
    long = trace("1", *["<event/>"] * 600).replace("value='1'", f"value='{'x' * 100_000}'")
    wide = [trace("2", event("a", f"<int key='k{number}' value='1'/>")) for number in range(900)]
    sizes = []
    data = log(long, *wide)
    table = XesTable(lambda: iter([data]), max_columns=10_000)
    for batch in table.batches():
        sizes.append(sum(column.nbytes for column in batch.columns))
        last = batch
    assert sum(sizes) > 50_000_000
    assert max(sizes) < 2 * BATCH_BYTES
    assert len(last.names) == 903


def test_very_long_attributes_of_one_trace_are_refused(bench: Workbench) -> None:
    attributes = "".join(f"<string key='k{number}' value='{'x' * 1_000_000}'/>" for number in range(5))
    with pytest.raises(Invalid, match="attributes of a trace or an event are longer than"):
        bench.convert(log(f"<trace>{attributes}{event('a')}</trace>"))


def test_globals_classifiers_and_attributes_of_the_log_are_left_out(bench: Workbench) -> None:
    defaults = "<string key='concept:name' value='__INVALID__'/><int key='cost' value='0'/>"
    head = "<extension name='Concept' prefix='concept' uri='http://www.xes-standard.org/concept.xesext'/>"
    head += f"<global scope='trace'>{defaults}</global><global scope='event'>{defaults}</global>"
    head += "<classifier name='Activity' keys='concept:name'/><string key='concept:name' value='the log'/>"
    head += "<list key='sources'><string key='a' value='b'/></list>"
    bare = "<event><int key='cost' value='5'/></event><event><string key='concept:name' value='a'/></event>"
    bench.convert(log(head, f"<trace>{bare}</trace>"))
    assert bench.rows() == [{"cost": 5, "concept:name": None}, {"cost": None, "concept:name": "a"}]


def test_events_of_a_stream_have_no_case(bench: Workbench) -> None:
    done = bench.convert(log(trace("1", event("a")), event("b"), event("c")))
    assert (done.record_count, done.case_count) == (3, 1)
    assert [row["case:concept:name"] for row in bench.rows()] == ["1", None, None]


def test_an_attribute_that_shows_up_late_is_a_column_all_the_same(bench: Workbench) -> None:
    plain = [event("a")] * (BATCH_EVENTS + 10)
    bench.convert(log(trace("1", *plain), trace("2", event("z", "<float key='late' value='1.5'/>"))))
    rows = bench.rows()
    assert (rows[0]["late"], rows[-1]["late"], len(rows)) == (None, 1.5, BATCH_EVENTS + 11)


def test_a_packed_log_and_one_in_utf_16_are_read(bench: Workbench) -> None:
    data = log(trace("1", event("Prüfung")))
    assert bench.convert(gzip.compress(data)).record_count == 1
    assert bench.convert(data.decode().replace("UTF-8", "UTF-16").encode("utf-16")).record_count == 1
    assert bench.rows()[0]["concept:name"] == "Prüfung"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<?xml version='1.0'?><!DOCTYPE log [<!ENTITY a 'b'>]><log/>", "document type declaration is not allowed"),
        (b"<?xml version='1.0'?><feed/>", "not an XES log"),
        (b"<?xml version='1.0'?>\n<log>\n<trace>\n</log>", "Line 4, character 3: the XML is not well-formed"),
        (b"<log><trace>", "not well-formed"),
        (log("<trace><string value='x'/></trace>"), "has no key"),
        (
            log("<trace><list key='l'>" + "<int value='1'/>" * (MAX_TOKEN_BYTES // 2 + 1) + "</list></trace>"),
            "list is longer",
        ),
        (log("<list>" * 300 + "</list>" * 300), "nested too deep"),
        (log("<trace><string key='a' value='" + "x" * (2 * MAX_TOKEN_BYTES) + "'/></trace>"), "a value is longer"),
    ],
)
def test_hostile_or_broken_xml_is_refused(bench: Workbench, data: bytes, words: str) -> None:
    with pytest.raises(Invalid) as refusal:
        bench.convert(data)
    assert words in refusal.value.detail


def test_a_log_without_events_is_refused_as_it_has_no_columns(bench: Workbench) -> None:
    with pytest.raises(Invalid, match="no events"):
        bench.convert(log())


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_parquet_keeps_its_values_and_types(bench: Workbench) -> None:
    table = pa.table(
        {
            "case_id": pa.array(["a", "a", "b"]).dictionary_encode(),
            "activity": pa.array(["x", "y", None], pa.large_string()),
            "time": pa.array([datetime(2020, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("ns", "Europe/Amsterdam")),
            "n": pa.array([1, 2, 3], pa.int16()),
        }
    )
    done = bench.convert(gzip.compress(parquet(table)))
    assert (done.record_count, done.case_count, done.roles.time) == (3, 2, "time")
    assert done.columns == [("case_id", "string"), ("activity", "string"), ("time", "timestamp"), ("n", "integer")]
    assert bench.rows() == table.to_pylist()
    assert bench.csv().decode().splitlines()[1] == "a,x,2020-01-01 01:00:00+0100,1"


def test_parquet_that_is_no_table_is_refused(bench: Workbench) -> None:
    whole = parquet(pa.table({"a": [1]}))
    nested = parquet(pa.table({"a": [[1]], "b": [1]}))
    for data, words in (
        (whole[:-8], "damaged"),
        (whole[: len(whole) // 2], "damaged"),
        (b"PAR1" + b"\xff" * 100 + b"PAR1", "damaged"),
        (nested, "column 'a'"),
    ):
        with pytest.raises(Invalid) as refusal:
            bench.convert(data)
        assert words.lower() in refusal.value.detail.lower()


def test_values_without_end_are_refused_with_the_reason(bench: Workbench) -> None:
    bomb = hostile_tables.bomb(bench.folder / "bomb.parquet").read_bytes()
    with pytest.raises(Invalid, match="cannot be read: its values need more than 768 MB of memory"):
        bench.convert(bomb, limit=10**12)


def test_many_rows_of_nothing_stop_at_the_limit(bench: Workbench) -> None:
    rows = parquet(pa.table({"a": pa.repeat(7, 20_000_000)}))
    assert len(rows) < 200_000
    with pytest.raises(TooLarge, match="values come to more than"):
        bench.convert(rows, limit=10_000_000)


SAVABLE = pd.DataFrame(
    {
        "case_id": pd.Categorical(["a", "a", None]),
        "wait": pd.to_timedelta(["1 days 02:03:04.5", None, "-1 seconds"]),
        "flag": [True, False, True],
        "maybe": pd.array([True, None, False], "boolean"),
        "count": pd.array([2**60 + 1, None, 3], "Int64"),
        "small": pd.array([1, 2, 3], "uint8"),
        "day": [date(2020, 1, 1), None, date(2021, 1, 1)],
        "price": [Decimal("1.50"), None, Decimal("-2.25")],
        "zoned": pd.DatetimeIndex(["2020-01-01 12:00", "2020-06-01 12:00", pd.NaT]).tz_localize("Europe/Amsterdam"),
        "period": pd.period_range("2020-01", periods=3, freq="M"),
        "clock": [time(1, 2, 3), None, time(4)],
    }
)
"""One column of each type that a notebook can save."""


def test_each_type_that_a_notebook_can_save_becomes_a_dataset(bench: Workbench) -> None:
    write_parquet(SAVABLE, bench.folder / "enriched.parquet")
    done = bench.convert((bench.folder / "enriched.parquet").read_bytes())
    assert dict(done.columns) == {
        "case_id": "string",
        "wait": "duration",
        "flag": "boolean",
        "maybe": "boolean",
        "count": "integer",
        "small": "integer",
        "day": "date",
        "price": "number",
        "zoned": "timestamp",
        "period": "string",
        "clock": "string",
    }
    back = pd.read_parquet(bench.target)
    assert back["wait"].dtype == SAVABLE["wait"].dtype
    assert back["wait"].equals(SAVABLE["wait"])
    assert list(back["price"]) == list(SAVABLE["price"])
    first = bench.csv().decode().splitlines()[1]
    assert first == (
        "a,1 days 02:03:04.500000,true,true,1152921504606846977,1,2020-01-01,1.50,"
        "2020-01-01 12:00:00+0100,2020-01,01:02:03.000000"
    )
    profiled = {column["name"]: column for column in profile(bench.target, done.columns)}
    assert (profiled["wait"]["min"], profiled["wait"]["max"]) == (
        "-1 days +23:59:59.000000",
        "1 days 02:03:04.500000",
    )
    assert profiled["wait"]["null_count"] == 1


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([[1, 2]]), "Column 'x': it holds lists or records .* save them as text"),
        (pa.array([{"a": 1}]), "Column 'x': it holds lists or records .* save them as text"),
        (pa.array([b"\x00"]), "Column 'x': it holds binary values, which are not supported: save them as text"),
    ],
)
def test_what_a_table_cannot_hold_is_refused_with_what_to_do(bench: Workbench, column: pa.Array, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        bench.convert(parquet(pa.table({"x": column})))


@pytest.mark.parametrize("names", [[""], ["", ""], ["", "a"], ["a", ""]])
def test_an_event_without_a_name_is_read_as_it_is(bench: Workbench, names: list[str]) -> None:
    """An empty text was taken for no value, and the file was read again and again, for ever."""
    done = bench.convert(log(trace("7", *map(event, names))))
    assert done.record_count == len(names)
    assert dict(done.columns)["concept:name"] == "string"
    assert [row["concept:name"] for row in bench.rows()] == names
