"""The client a notebook uses: parameters and dataset in; tables, models, reports, values, figures and progress out."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, overload

from mindzie_sdk.errors import NoDatasetError, NotSavableError
from mindzie_sdk.figures import rendering
from mindzie_sdk.json_values import to_json
from mindzie_sdk.measures import DatasetMeasures
from mindzie_sdk.models import framework_of, model_file
from mindzie_sdk.outputs import OutputWriter, checked_name
from mindzie_sdk.progress import ProgressReporter
from mindzie_sdk.run_folder import DatasetInfo, RunDescription, find_run_folder, read_run

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from mindzie_sdk.reading import Filter

    Table: TypeAlias = pd.DataFrame | pl.DataFrame | pa.Table | pa.RecordBatch

DEFAULT_FIGURE = "figure"  # a chart that nobody named is shown under its own title
BATCH_ROWS = 131_072  # rows of a batch: some megabytes of a usual event log
FRAGMENT_PAGE = (
    '<!doctype html>\n<html>\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
    "<body>\n{body}\n</body>\n</html>\n"
)


class HtmlPage(Protocol):
    """Something that can write itself as a page, such as `process_mining_utils.Report`."""

    def html(self) -> str:
        """The page."""


class ProcessMiningClient(DatasetMeasures):
    """Everything a notebook needs of the platform, offline: it reads and writes the run folder and nothing else.

    `ProcessMiningClient()` works in every kernel of the platform. Elsewhere use `ProcessMiningClient.local(…)`.
    Several clients in one run share the same outputs. Raises NotInARunError outside a run.
    """

    def __init__(self, run_folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = find_run_folder() if run_folder is None else Path(run_folder)
        self._run = read_run(self._folder)
        self._outputs = OutputWriter(self._folder)
        self._progress = ProgressReporter()

    @classmethod
    def local(
        cls,
        dataset: str | os.PathLike[str] | pd.DataFrame | None = None,
        parameters: Mapping[str, Any] | None = None,
        folder: str | os.PathLike[str] = "./run",
        *,
        case_id_column: str | None = None,
        activity_column: str | None = None,
        time_column: str | None = None,
    ) -> ProcessMiningClient:
        """Makes a run folder on this computer, for development, and returns a client for it.

        `dataset` is a CSV or Parquet file or a DataFrame. Columns that are not named are detected. What earlier runs
        saved in the folder stays. A program that calls `ProcessMiningClient()` itself uses the folder when
        ATELIER_RUN_DIR is set to it.
        """
        from mindzie_sdk.local_run import make_run_folder

        named = {"caseIdColumn": case_id_column, "activityColumn": activity_column, "timeColumn": time_column}
        make_run_folder(Path(folder), dataset, parameters or {}, named)
        return cls(folder)

    def __repr__(self) -> str:
        dataset = self.dataset.dataset_name or self.dataset.dataset_id if self.dataset else None
        return f"ProcessMiningClient(run={self._run.execution_id!r}, dataset={dataset!r})"

    @property
    def run(self) -> RunDescription:
        """What is known about this run: ids, notebook version, output format."""
        return self._run

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of this run, as a copy that may be changed."""
        return copy.deepcopy(dict(self._run.parameters))

    def parameter(self, name: str, default: Any = None) -> Any:
        """One parameter of this run, or `default` where the run has none of that name."""
        return copy.deepcopy(self._run.parameters.get(name, default))

    @property
    def dataset(self) -> DatasetInfo | None:
        """What is known about the bound dataset; None when none is bound."""
        return self._run.dataset

    @property
    def outputs_folder(self) -> Path:
        """The folder whose files are handed back; a notebook may also write its own files there."""
        return self._outputs.folder

    @overload
    def load_dataset(
        self, *, columns: Sequence[str] | None = None, filter: Filter | None = None, as_: Literal["pandas"] = "pandas"
    ) -> pd.DataFrame: ...

    @overload
    def load_dataset(
        self, *, columns: Sequence[str] | None = None, filter: Filter | None = None, as_: Literal["arrow"]
    ) -> pa.Table: ...

    @overload
    def load_dataset(
        self, *, columns: Sequence[str] | None = None, filter: Filter | None = None, as_: Literal["polars"]
    ) -> pl.DataFrame: ...

    def load_dataset(
        self,
        *,
        columns: Sequence[str] | None = None,
        filter: Filter | None = None,  # noqa: A002  # the word that users expect
        as_: str = "pandas",
    ) -> Any:
        """The bound dataset, or the named columns and the filtered rows of it, which is faster.

        `filter` is a list of conditions that all hold, as `[("amount", ">", 100), ("state", "in", ["open"])]`; or a
        list of such lists, of which one holds; or an Arrow expression. Operators: `==`, `!=`, `<`, `<=`, `>`, `>=`,
        `in`, `not in`; a time may be given as text. `as_` is `pandas`, `arrow` or, where it is installed, `polars`.
        Raises NoDatasetError when none is bound, DatasetError for a column it does not have.
        """
        from mindzie_sdk.reading import read

        info = self._bound()
        return read(info.path, info.column_names, columns=columns, filter=filter, as_=as_)

    def iter_dataset(
        self,
        *,
        columns: Sequence[str] | None = None,
        filter: Filter | None = None,  # noqa: A002
        batch_rows: int = BATCH_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """The bound dataset as Arrow batches, in memory that does not grow with it; see `load_dataset`."""
        from mindzie_sdk.reading import batches

        info = self._bound()
        return batches(info.path, info.column_names, columns=columns, filter=filter, rows=batch_rows)

    def save_enriched_dataset(self, df: Table | Iterable[Table], name: str = "enriched_dataset") -> None:
        """Hands back a table. Its new columns are those that the bound dataset does not have.

        A pandas or polars DataFrame, an Arrow table, or an iterable of these, of which one at a time is in memory. A
        named index becomes columns; a column without a Parquet type is saved as text, with a warning.
        """
        from mindzie_sdk.tables import Written, write_parquet

        name = checked_name(name, "enriched dataset")
        written: list[Written] = []
        file = self._outputs.save_file(name, ".parquet", lambda path: written.append(write_parquet(df, path)))
        bound = set(self._run.dataset.column_names) if self._run.dataset else set()
        self._outputs.add_record(
            "enriched_dataset",
            name,
            {
                "file": file,
                "recordCount": written[0].rows,
                "columns": written[0].columns,
                "newColumns": [column for column in written[0].columns if column not in bound],
            },
        )

    def save_model(
        self,
        model: object,
        name: str = "model",
        metrics: Mapping[str, Any] | None = None,
        features: Sequence[str] | None = None,
        *,
        format: Literal["pickle", "joblib", "onnx", "skops"] = "pickle",  # noqa: A002  # as save_figure
        framework: str | None = None,
        model_type: str | None = None,
    ) -> None:
        """Hands back a fitted model with its metrics, the names of its features, its framework and its type.

        `format` is `pickle` (anything that can be pickled), `joblib` (smaller for large arrays), or `onnx` or `skops`
        where those are installed (`onnx` also takes a model that is ONNX already). The metric named `accuracy`, where
        it is a number, is also shown on its own. Without `features` the names a scikit-learn model was fitted with are
        taken. Raises NotSavableError when the model cannot be saved.
        """
        name = checked_name(name, "model")
        numbers = to_json(dict(metrics or {}))
        accuracy = numbers.get("accuracy")
        if isinstance(accuracy, bool) or not isinstance(accuracy, int | float):
            accuracy = None
        if features is None:
            features = getattr(model, "feature_names_in_", ())
        form = model_file(model, format, len(features))
        file = self._outputs.save_file(name, form.suffix, form.write)
        self._outputs.add_record(
            "model",
            name,
            {
                "file": file,
                "format": format,
                "modelType": model_type or type(model).__name__,
                "framework": framework or framework_of(model),
                "metrics": numbers,
                "accuracy": accuracy,
                "features": [str(feature) for feature in features],
            },
        )

    def save_report(self, html: str | HtmlPage, name: str = "report") -> None:
        """Hands back an HTML report: text, or what has a method `html()`, such as `process_mining_utils.Report`. A
        fragment is completed to a page. Images must be inside (data: URLs)."""
        name = checked_name(name, "report")
        if not isinstance(html, str) and callable(getattr(html, "html", None)):
            html = html.html()
        if not isinstance(html, str):
            raise NotSavableError(f"a report must be HTML text, not {type(html).__name__}")
        if "<html" not in html[:2000].lower():
            html = FRAGMENT_PAGE.format(title=name.replace("&", "&amp;").replace("<", "&lt;"), body=html)
        content = html.encode("utf-8", "replace")
        file = self._outputs.save_file(name, ".html", lambda path: _write(path, content))
        self._outputs.add_record("report", name, {"file": file, "format": "html"})

    def save_value(self, name: str, value: Any) -> None:
        """Hands back a named result as JSON, at most a mebibyte; NaN becomes null, times RFC 3339 text."""
        self._outputs.add_record("value", checked_name(name, "value"), {"value": to_json(value)})

    def save_figure(self, figure: Any, name: str = DEFAULT_FIGURE, format: str = "png") -> None:  # noqa: A002  # as savefig
        """Hands back a chart: of matplotlib or seaborn (as `png` or `svg`), of Plotly or Altair (interactive), or PNG
        bytes."""
        name = checked_name(name, "figure")
        rendered = rendering(figure, format)
        file = self._outputs.save_file(name, rendered.suffix, rendered.write)
        title = rendered.title if name == DEFAULT_FIGURE else None
        members = {"file": file, "contentType": rendered.content_type, "title": title}
        self._outputs.add_record("figure", name, members)

    def progress(self, fraction: float, message: str = "") -> None:
        """Reports how far the current cell is, from 0 to 1; call it as often as you like."""
        if isinstance(fraction, float) and math.isinf(fraction):
            fraction = math.copysign(1.0, fraction)
        self._progress.report(fraction, message)

    def _bound(self) -> DatasetInfo:
        if self._run.dataset is None:
            raise NoDatasetError
        return self._run.dataset


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
