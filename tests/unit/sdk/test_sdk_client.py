"""The client reads a run folder as the worker lays it out, and hands back complete files with numbered records."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import pickle
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mindzie_sdk
import numpy as np
import pandas as pd
import pytest
from mindzie_sdk import (
    DatasetError,
    InvalidNameError,
    MindzieError,
    NoDatasetError,
    NotInARunError,
    NotSavableError,
    ProcessMiningClient,
)


def make_run(folder: Path, **changes: Any) -> Path:
    """A run folder written here, not by the SDK, from the documented contract."""
    (folder / "inputs").mkdir(parents=True)
    (folder / "outputs").mkdir()
    frame = pd.DataFrame({"case": ["a", "a", "b"], "step": ["x", "y", "x"], "n": [1, 2, 3]})
    frame.to_parquet(folder / "inputs" / "dataset.parquet")
    run: dict[str, Any] = {
        "schemaVersion": 1,
        "executionId": "bb0e8400-e29b-41d4-a716-446655440000",
        "notebookId": "aa0e8400-e29b-41d4-a716-446655440000",
        "notebookVersion": "1.0.0",
        "projectId": "660e8400-e29b-41d4-a716-446655440000",
        "parameters": {"threshold": 0.5, "nested": {"list": [1]}},
        "enrichmentMode": True,
        "outputFormat": "enriched_dataframe",
        "dataset": {
            "datasetId": "880e8400-e29b-41d4-a716-446655440000",
            "datasetName": "orders",
            "version": 3,
            "path": "inputs/dataset.parquet",
            "recordCount": 3,
            "caseCount": 2,
            "columns": [{"name": name, "type": "string"} for name in frame.columns],
            "caseIdColumn": "case",
            "activityColumn": "step",
            "timeColumn": None,
        },
        **changes,
    }
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for path in sorted((folder / "outputs" / ".atelier").glob("*.json"))]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_run(tmp_path / "run")
    monkeypatch.setenv("ATELIER_RUN_DIR", str(folder))
    return folder


def test_gives_parameters_and_dataset(run: Path) -> None:
    client = ProcessMiningClient()
    assert client.parameters == {"threshold": 0.5, "nested": {"list": [1]}}
    assert client.parameter("threshold") == 0.5
    assert client.parameter("missing", "default") == "default"
    assert client.dataset is not None
    assert (client.dataset.dataset_name, client.dataset.version, client.dataset.case_count) == ("orders", 3, 2)
    assert client.dataset.column_names == ("case", "step", "n")
    assert client.dataset.time_column is None
    assert client.load_dataset()["n"].tolist() == [1, 2, 3]
    assert client.load_dataset(columns=["n"]).columns.tolist() == ["n"]


def test_changing_parameters_changes_only_the_copy(run: Path) -> None:
    client = ProcessMiningClient()
    client.parameters["nested"]["list"].append(2)
    client.parameter("nested")["list"].append(2)
    assert client.parameters["nested"] == {"list": [1]}


def test_unknown_column_names_the_nearest(run: Path) -> None:
    with pytest.raises(DatasetError, match=r"no column 'cas': did you mean 'case'"):
        ProcessMiningClient().load_dataset(columns=["cas"])
    with pytest.raises(DatasetError, match=r"pass columns=\['n'\]"):
        ProcessMiningClient().load_dataset(columns="n")


def test_no_dataset_says_how_to_bind_one(tmp_path: Path) -> None:
    client = ProcessMiningClient(make_run(tmp_path / "run", dataset=None))
    assert client.dataset is None
    with pytest.raises(NoDatasetError) as caught:
        client.load_dataset()
    assert str(caught.value) == (
        "no dataset is bound to this run: bind one with integration.datasetBinding or pass dataset_id"
    )


def test_outside_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ATELIER_RUN_DIR", raising=False)
    with pytest.raises(NotInARunError, match=r"use ProcessMiningClient\.local"):
        ProcessMiningClient()
    with pytest.raises(NotInARunError, match=r"cannot read run\.json"):
        ProcessMiningClient(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "not valid JSON"), ("[]", "not a JSON object"), ('{"schemaVersion": 2}', "schemaVersion 2")],
)
def test_unreadable_description(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(NotInARunError, match=reason):
        ProcessMiningClient(tmp_path)


def test_a_dataset_outside_the_run_folder_is_refused(tmp_path: Path) -> None:
    for path in ("../other.parquet", "/etc/passwd"):
        folder = tmp_path / path.replace("/", "_")
        make_run(folder)
        described = json.loads((folder / "run.json").read_text("utf-8"))
        described["dataset"]["path"] = path
        (folder / "run.json").write_text(json.dumps(described), encoding="utf-8")
        with pytest.raises(NotInARunError, match="outside the run folder"):
            ProcessMiningClient(folder)


def test_enriched_dataset_names_its_new_columns(run: Path) -> None:
    client = ProcessMiningClient()
    client.save_enriched_dataset(client.load_dataset().assign(score=0.5), name="Kosten & Zeit")
    (record,) = records(run)
    assert record["schemaVersion"] == 1
    assert record["kind"] == "enriched_dataset"
    assert record["name"] == "Kosten & Zeit"
    assert record["file"] == "Kosten_Zeit.parquet"
    assert record["recordCount"] == 3
    assert record["columns"] == ["case", "step", "n", "score"]
    assert record["newColumns"] == ["score"]
    assert dt.datetime.fromisoformat(record["createdAt"]).tzinfo is not None
    assert record["createdAt"].endswith("Z")
    assert pd.read_parquet(run / "outputs" / record["file"])["score"].tolist() == [0.5] * 3


def test_saving_again_keeps_both_and_the_last_counts(run: Path) -> None:
    first, second = ProcessMiningClient(), ProcessMiningClient()
    first.save_enriched_dataset(pd.DataFrame({"v": [1]}), name="t")
    second.save_enriched_dataset(pd.DataFrame({"v": [2, 3]}), name="t")
    first.save_enriched_dataset(pd.DataFrame({"v": [4]}), name="t!")  # another name with the same safe form
    assert [record["file"] for record in records(run)] == ["t.parquet", "t-2.parquet", "t-3.parquet"]
    assert [path.name for path in sorted((run / "outputs" / ".atelier").iterdir())] == [
        "000001.json",
        "000002.json",
        "000003.json",
    ]
    values = [pd.read_parquet(run / "outputs" / record["file"])["v"].tolist() for record in records(run)]
    assert values == [[1], [2, 3], [4]]


def test_many_writers_lose_nothing(run: Path) -> None:
    clients = [ProcessMiningClient() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: clients[n % 8].save_value(f"v{n}", n), range(120)))
        list(pool.map(lambda n: clients[n % 8].save_report(f"<p>{n}</p>", name="same"), range(16)))
    values = [record["value"] for record in records(run) if record["kind"] == "value"]
    assert sorted(values) == list(range(120))
    assert len({record["file"] for record in records(run) if record["kind"] == "report"}) == 16
    assert not list((run / "outputs" / ".atelier").glob("*partial*"))


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201, "bell\a", 7, None])
def test_unusable_names(run: Path, name: Any) -> None:
    with pytest.raises(InvalidNameError):
        ProcessMiningClient().save_value(name, 1)
    with pytest.raises(InvalidNameError):
        ProcessMiningClient().save_report("<p>", name=name)
    assert not records(run)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("../../etc/passwd", "etc_passwd.html"),
        (".atelier", "atelier.html"),
        ("Zürich/Köln", "Zurich_Koln.html"),
        ("报告", "unnamed.html"),
        ("x" * 200, "x" * 80 + ".html"),
        ("-rf", "rf.html"),
    ],
)
def test_file_names_are_safe(run: Path, name: str, file: str) -> None:
    ProcessMiningClient().save_report("<p>hello</p>", name=name)
    (record,) = records(run)
    assert (record["name"], record["file"]) == (name, file)
    assert (run / "outputs" / file).read_text("utf-8").startswith("<!doctype html>")


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("holds a lock")


def test_model_record(run: Path) -> None:
    model = {"weights": [1, 2]}
    client = ProcessMiningClient()
    client.save_model(model, name="m", metrics={"accuracy": np.float64(0.87), "auc": math.nan}, features=["a", "b"])
    client.save_model(model, name="n", metrics={"accuracy": True})
    first, second = records(run)
    assert first["modelType"] == "dict"
    assert first["framework"] == "python"
    assert first["accuracy"] == 0.87
    assert first["metrics"] == {"accuracy": 0.87, "auc": None}
    assert first["features"] == ["a", "b"]
    assert second["accuracy"] is None
    assert second["features"] == []
    assert pickle.loads((run / "outputs" / first["file"]).read_bytes()) == model


def test_what_cannot_be_saved_leaves_nothing(run: Path) -> None:
    client = ProcessMiningClient()
    with pytest.raises(NotSavableError, match="this Unpicklable cannot be pickled: holds a lock"):
        client.save_model(Unpicklable())
    with pytest.raises(NotSavableError, match="batch 1 is a int, not a table"):
        client.save_enriched_dataset([1, 2])
    with pytest.raises(NotSavableError, match="or an iterable of these, not dict"):
        client.save_enriched_dataset({"a": [1]})
    with pytest.raises(NotSavableError, match="two columns are named 'a'"):
        client.save_enriched_dataset(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(NotSavableError, match="must be HTML text, not bytes"):
        client.save_report(b"<p>")  # type: ignore[arg-type]
    with pytest.raises(NotSavableError, match="not be a int"):
        client.save_figure(3)
    with pytest.raises(NotSavableError, match="'gif'"):
        client.save_figure(object(), format="gif")
    assert [path for path in (run / "outputs").rglob("*") if path.is_file()] == []


def test_unusual_tables(run: Path) -> None:
    table = pd.DataFrame(
        {
            ("level", "one"): pd.Series([1, "two", None], dtype=object),
            ("level", "two"): [pd.Timestamp("2024-01-01T08:00Z"), pd.NaT, pd.Timestamp("2024-01-02T00:00Z")],
        }
    ).set_axis(pd.Index(["a", "b", "c"], name="key"), axis="index")
    with pytest.warns(UserWarning, match="column 'level_one' .* is saved as text"):
        ProcessMiningClient().save_enriched_dataset(table)
    (record,) = records(run)
    read = pd.read_parquet(run / "outputs" / record["file"])
    assert read.columns.tolist() == ["key", "level_one", "level_two"]
    assert read["level_one"].iloc[:2].tolist() == ["1", "two"]
    assert read["level_one"].isna().tolist() == [False, False, True]
    assert read["level_two"].iloc[0] == pd.Timestamp("2024-01-01T08:00Z")


def test_an_empty_table_keeps_its_columns(run: Path) -> None:
    ProcessMiningClient().save_enriched_dataset(pd.DataFrame({"a": [], "b": []}))
    (record,) = records(run)
    assert (record["recordCount"], record["columns"]) == (0, ["a", "b"])


class Chart:
    """Stands for a matplotlib figure, which this environment does not have."""

    def savefig(self, path: Path, **options: Any) -> None:
        path.write_bytes(f"{options['format']}".encode())


def test_figures(run: Path) -> None:
    client = ProcessMiningClient()
    client.save_figure(Chart(), name="flow")
    client.save_figure(Chart(), name="flow", format="svg")
    client.save_figure(b"\x89PNG\r\n\x1a\n....", name="bytes")
    assert [(record["file"], record["contentType"]) for record in records(run)] == [
        ("flow.png", "image/png"),
        ("flow.svg", "image/svg+xml"),
        ("bytes.png", "image/png"),
    ]


def test_a_value_over_a_mebibyte_is_refused(run: Path) -> None:
    with pytest.raises(NotSavableError, match="save a table with save_enriched_dataset instead"):
        ProcessMiningClient().save_value("big", "x" * 1_100_000)
    assert not records(run)


def test_outputs_that_cannot_be_written(run: Path) -> None:
    client = ProcessMiningClient()
    (run / "outputs").rmdir()
    (run / "outputs").write_text("a file")
    with pytest.raises(MindzieError, match="cannot write to the run's outputs"):
        client.save_value("v", 1)
    with pytest.raises(MindzieError, match="cannot write to the run's outputs"):
        client.save_report("<p>")


def test_progress_outside_a_kernel_is_a_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = ProcessMiningClient()
    for step in range(1001):
        client.progress(step / 1000, "Loading")
    client.progress(math.inf, "Done")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "  0% Loading"
    assert lines[-2:] == ["100% Loading", "100% Done"]
    assert len(lines) < 50
    with pytest.raises(ValueError, match="not NaN"):
        client.progress(math.nan)


def test_progress_in_a_kernel_is_a_display_message(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[dict[str, Any]] = []

    def publish(data: dict[str, Any]) -> None:
        published.append(data)

    shell = types.SimpleNamespace(kernel=object(), display_pub=types.SimpleNamespace(publish=publish))
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    ProcessMiningClient().progress(np.float64(0.25), "Loading")
    ProcessMiningClient().progress(7)
    assert published == [
        {"application/vnd.atelier.progress+json": {"fraction": 0.25, "message": "Loading"}},
        {"application/vnd.atelier.progress+json": {"fraction": 1.0, "message": ""}},
    ]


def test_importing_loads_no_pandas() -> None:
    code = "import sys, mindzie_sdk; sys.exit(any(m in sys.modules for m in ('pandas', 'numpy', 'pyarrow')))"
    source = str(Path(mindzie_sdk.__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": source}, check=False)
    assert done.returncode == 0


def test_local_run_from_csv(tmp_path: Path) -> None:
    log = tmp_path / "orders.csv"
    log.write_text("Order ID,Activity,Timestamp,User\n1,A,2024-01-01 08:00,x\n1,B,2024-01-01 09:00+02:00,\n2,A,,y\n")
    client = ProcessMiningClient.local(log, {"when": pd.Timestamp("2024-01-01")}, tmp_path / "run")
    assert client.dataset is not None
    assert (client.dataset.case_id_column, client.dataset.activity_column) == ("Order ID", "Activity")
    assert (client.dataset.time_column, client.dataset.case_count) == ("Timestamp", 2)
    assert client.parameters == {"when": "2024-01-01T00:00:00"}
    times = client.load_dataset()["Timestamp"]
    assert times.iloc[1] == pd.Timestamp("2024-01-01T07:00Z")
    client.save_value("v", 1)
    again = ProcessMiningClient.local(None, folder=tmp_path / "run")
    again.save_value("v", 2)
    assert again.dataset is None
    assert [record["value"] for record in records(tmp_path / "run")] == [1, 2]


def test_a_local_run_finds_the_files_beside_the_notebook(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "config.yaml").write_text("threshold: 0.8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lookup.csv").write_text("case,step\na,x\n")
    program = (
        "from mindzie_sdk import ProcessMiningClient\n"
        "client = ProcessMiningClient.local(dataset='data/lookup.csv', folder='./run')\n"
        "import helpers\n"
        "client.save_value('config', [open('config.yaml').read(), helpers.double(len(client.load_dataset()))])\n"
    )
    (tmp_path / "notebook.py").write_text(program)
    subprocess.run([sys.executable, "notebook.py"], cwd=tmp_path, check=True)
    (record,) = (tmp_path / "run" / "outputs" / ".atelier").glob("*.json")
    assert json.loads(record.read_text())["value"] == ["threshold: 0.8", 2]


def test_local_run_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"use a \.csv or .parquet file"):
        ProcessMiningClient.local(tmp_path / "log.xlsx", folder=tmp_path / "run")
    with pytest.raises(DatasetError, match="cannot read"):
        ProcessMiningClient.local(tmp_path / "missing.csv", folder=tmp_path / "run")
    with pytest.raises(DatasetError, match="no column 'x'"):
        ProcessMiningClient.local(pd.DataFrame({"a": [1]}), folder=tmp_path / "run", case_id_column="x")
