"""Datasets in the form that was asked for; tables out from every library, whole or batch by batch."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from mindzie_sdk import DatasetError, NotSavableError, ProcessMiningClient, named_result

FRAME = pd.DataFrame(
    {
        "case_id": ["a", "a", "b", "c"],
        "activity": ["x", "y", "x", "x"],
        "timestamp": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-02-01", "2024-03-01"], utc=True),
        "amount": [1.0, 2.0, 3.0, None],
    }
)


@pytest.fixture
def client(tmp_path: Path) -> ProcessMiningClient:
    return ProcessMiningClient.local(dataset=FRAME, folder=tmp_path / "run")


def records(client: ProcessMiningClient) -> list[dict[str, Any]]:
    folder = client.outputs_folder / ".atelier"
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def saved(client: ProcessMiningClient) -> pa.Table:
    return pq.read_table(client.outputs_folder / records(client)[-1]["file"])


@pytest.mark.parametrize(
    ("given", "cases"),
    [
        ([("amount", ">", 1)], ["a", "b"]),
        ([("amount", ">", 1), ("case_id", "in", ["b", "c"])], ["b"]),
        ([[("case_id", "=", "c")], [("amount", "<=", 1)]], ["a", "c"]),
        ([("timestamp", ">=", "2024-02-01")], ["b", "c"]),
        ([("timestamp", "not in", ["2024-01-01", "2024-01-02T00:00:00Z"])], ["b", "c"]),
        (pc.field("activity") == "y", ["a"]),
    ],
)
def test_filters(client: ProcessMiningClient, given: Any, cases: list[str]) -> None:
    assert client.load_dataset(columns=["case_id"], filter=given)["case_id"].tolist() == cases
    batches = client.iter_dataset(columns=["case_id"], filter=given)
    assert [case for batch in batches for case in batch.column("case_id").to_pylist()] == cases


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([("amont", ">", 1)], "did you mean 'amount'"),
        ([("amount", "~", 1)], "no operator '~'"),
        ([("case_id", "in", "a")], "needs a list"),
        ([("timestamp", ">", "soon")], "is no time"),
        ("amount > 1", "is a list of conditions"),
        ([], "is a list of conditions"),
    ],
)
def test_faulty_filters_say_what_is_wrong(client: ProcessMiningClient, given: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        client.load_dataset(filter=given)


def test_every_library_gets_its_own_table(client: ProcessMiningClient) -> None:
    arrow = client.load_dataset(as_="arrow")
    assert isinstance(arrow, pa.Table)
    frame = client.load_dataset(as_="polars", columns=["amount"])
    assert isinstance(frame, pl.DataFrame)
    assert frame["amount"].to_list() == [1.0, 2.0, 3.0, None]
    assert client.load_dataset().equals(arrow.to_pandas())
    with pytest.raises(DatasetError, match="'pandas', 'arrow' or 'polars'"):
        client.load_dataset(as_="spark")  # type: ignore[call-overload]


def test_batches_are_as_small_as_asked(client: ProcessMiningClient) -> None:
    assert [batch.num_rows for batch in client.iter_dataset(batch_rows=3)] == [3, 1]


@pytest.mark.parametrize("kind", ["pandas", "arrow", "polars", "record batch", "reader", "lazy"])
def test_any_table_can_be_saved(client: ProcessMiningClient, kind: str) -> None:
    table = pa.table({"case_id": ["a"], "score": [0.5]})
    forms: dict[str, Any] = {
        "pandas": table.to_pandas(),
        "arrow": table,
        "polars": pl.from_arrow(table),
        "record batch": table.to_batches()[0],
        "reader": table.to_reader(),
        "lazy": pl.from_arrow(table).lazy(),  # type: ignore[union-attr]
    }
    client.save_enriched_dataset(forms[kind], name="scored")
    assert saved(client).to_pydict() == {"case_id": ["a"], "score": [0.5]}
    assert records(client)[-1]["newColumns"] == ["score"]
    assert records(client)[-1]["recordCount"] == 1


def test_an_iterator_is_written_as_it_comes_with_one_batch_in_memory(client: ProcessMiningClient) -> None:
    rows, count = 100_000, 60
    before = pa.total_allocated_bytes()
    most = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal most
        for number in range(count):
            values = pa.array(range(number * rows, (number + 1) * rows))
            most = max(most, pa.total_allocated_bytes() - before)
            yield pa.RecordBatch.from_arrays([values, pc.cast(values, pa.string())], ["n", "text"])

    client.save_enriched_dataset(batches(), name="large")
    one = rows * 8 + rows * 12
    assert records(client)[-1]["recordCount"] == rows * count
    assert most < one * count / 3
    read = pq.ParquetFile(client.outputs_folder / records(client)[-1]["file"])
    assert read.metadata.num_row_groups > 1
    assert pc.sum(read.read(["n"])["n"]).as_py() == sum(range(rows * count))


def test_columns_widen_for_later_batches(client: ProcessMiningClient) -> None:
    batches = [
        pd.DataFrame({"a": [1, 2], "b": [None, None], "c": ["x", "y"]}),
        pd.DataFrame({"c": ["z"], "a": [2.5], "b": ["late"]}),
        pd.DataFrame({"a": [3], "b": [None], "c": ["w"]}),
    ]
    client.save_enriched_dataset(iter(batches))
    assert saved(client).to_pydict() == {
        "a": [1.0, 2.0, 2.5, 3.0],
        "b": [None, None, "late", None],
        "c": ["x", "y", "z", "w"],
    }


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([], "there is no batch"),
        ([pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})], "different columns: a, b"),
        ([pd.DataFrame({"a": [1]}), pd.DataFrame({"a": ["x"]})], "do not fit together"),
        ([pd.DataFrame({"a": [1]}), 5], "batch 2 is a int"),
    ],
)
def test_batches_that_are_no_table_leave_nothing(client: ProcessMiningClient, batches: Any, words: str) -> None:
    with pytest.raises(NotSavableError, match=words):
        client.save_enriched_dataset(iter(batches))
    assert records(client) == []
    assert [path.name for path in client.outputs_folder.rglob("*") if path.is_file()] == []


def test_the_first_questions_are_answered(client: ProcessMiningClient) -> None:
    assert client.cases()["events"].tolist() == [2, 1, 1]
    assert client.cases()["variant"].tolist() == ["x → y", "x", "x"]
    assert client.variants()["cases"].tolist() == [2, 1]
    assert client.activities()["activity"].tolist() == ["x", "y"]
    assert client.directly_follows()[["source", "target", "count"]].to_numpy().tolist() == [["x", "y", 1]]
    assert client.durations()["duration_hours"].tolist() == [24.0, 0.0, 0.0]


def test_questions_to_a_table_that_is_no_event_log(tmp_path: Path) -> None:
    client = ProcessMiningClient.local(dataset=pd.DataFrame({"n": [1, 2]}), folder=tmp_path / "run")
    with pytest.raises(DatasetError, match="no case and no activity and no time column"):
        client.variants()


def test_models_by_joblib_and_what_is_not_installed(client: ProcessMiningClient) -> None:
    client.save_model({"weights": [1, 2]}, format="joblib", framework="own", model_type="Scores")
    record = records(client)[-1]
    assert (record["format"], record["framework"], record["modelType"]) == ("joblib", "own", "Scores")
    assert record["file"].endswith(".joblib")
    assert joblib.load(client.outputs_folder / record["file"]) == {"weights": [1, 2]}
    for form in ("onnx", "skops"):
        with pytest.raises(NotSavableError, match=r"add it to the notebook's environment\.packages"):
            client.save_model({}, format=form)
    with pytest.raises(NotSavableError, match="use one of pickle"):
        client.save_model({}, format="xml")  # type: ignore[arg-type]
    with pytest.raises(NotSavableError, match="cannot be saved in this format"):
        client.save_model(threading.Lock(), format="joblib")


class OnnxModel:
    def SerializeToString(self) -> bytes:  # noqa: N802 - as in ONNX
        return b"onnx"


def test_a_model_that_is_onnx_already(client: ProcessMiningClient) -> None:
    client.save_model(OnnxModel(), format="onnx")
    assert (client.outputs_folder / records(client)[-1]["file"]).read_bytes() == b"onnx"


def test_a_named_result_is_saved_by_convention(client: ProcessMiningClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_RUN_DIR", str(client.outputs_folder.parent))
    assert named_result.save({"x": 1, "result": "text"}) is None
    assert named_result.save({"result": pd.DataFrame({"total": [3]})}) is None  # a summary
    assert named_result.save({"result": FRAME.assign(score=1)}) == "result"
    assert named_result.save({"result": FRAME, "enriched_df": pl.DataFrame({"total": [3]})}) == "enriched_df"
    assert [record["name"] for record in records(client)] == ["result", "enriched_df"]
