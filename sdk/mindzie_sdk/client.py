"""The client a notebook uses: parameters and dataset in; tables, models, reports, values, figures and progress out."""

from __future__ import annotations

import copy
import math
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mindzie_sdk.errors import NoDatasetError, NotSavableError
from mindzie_sdk.figures import rendering
from mindzie_sdk.json_values import to_json
from mindzie_sdk.outputs import OutputWriter, checked_name
from mindzie_sdk.progress import ProgressReporter
from mindzie_sdk.run_folder import DatasetInfo, RunDescription, find_run_folder, read_run

if TYPE_CHECKING:
    import pandas as pd

FRAMEWORKS = {"sklearn": "scikit-learn", "torch": "pytorch"}  # where the import name is not the product's name
FRAGMENT_PAGE = (
    '<!doctype html>\n<html>\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
    "<body>\n{body}\n</body>\n</html>\n"
)


class ProcessMiningClient:
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

    def load_dataset(self, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The bound dataset, or only the named columns of it, which is faster.

        Raises NoDatasetError when none is bound, DatasetError for a column it does not have.
        """
        from mindzie_sdk.tables import read_parquet

        if self._run.dataset is None:
            raise NoDatasetError
        return read_parquet(self._run.dataset.path, columns, self._run.dataset.column_names)

    def save_enriched_dataset(self, df: pd.DataFrame, name: str = "enriched_dataset") -> None:
        """Hands back a table. Its new columns are those that the bound dataset does not have.

        A named index becomes columns; a column without a Parquet type is saved as text, with a warning.
        """
        from mindzie_sdk.tables import write_parquet

        name = checked_name(name, "enriched dataset")
        columns: list[str] = []
        file = self._outputs.save_file(name, ".parquet", lambda path: columns.extend(write_parquet(df, path)))
        bound = set(self._run.dataset.column_names) if self._run.dataset else set()
        self._outputs.add_record(
            "enriched_dataset",
            name,
            {
                "file": file,
                "recordCount": len(df),
                "columns": columns,
                "newColumns": [column for column in columns if column not in bound],
            },
        )

    def save_model(
        self,
        model: object,
        name: str = "model",
        metrics: Mapping[str, Any] | None = None,
        features: Sequence[str] | None = None,
    ) -> None:
        """Hands back a fitted model as a pickle, with its metrics and the names of its features.

        The metric named `accuracy`, where it is a number, is also shown on its own. Without `features` the names a
        scikit-learn model was fitted with are taken. Raises NotSavableError when the model cannot be pickled.
        """
        name = checked_name(name, "model")
        numbers = to_json(dict(metrics or {}))
        accuracy = numbers.get("accuracy")
        if isinstance(accuracy, bool) or not isinstance(accuracy, int | float):
            accuracy = None
        if features is None:
            features = getattr(model, "feature_names_in_", ())
        root = type(model).__module__.partition(".")[0]
        file = self._outputs.save_file(name, ".pkl", lambda path: _pickle(model, path))
        self._outputs.add_record(
            "model",
            name,
            {
                "file": file,
                "modelType": type(model).__name__,
                "framework": "python" if root in {"builtins", "__main__"} else FRAMEWORKS.get(root, root),
                "metrics": numbers,
                "accuracy": accuracy,
                "features": [str(feature) for feature in features],
            },
        )

    def save_report(self, html: str, name: str = "report") -> None:
        """Hands back an HTML report; a fragment is completed to a page. Images must be inside (data: URLs)."""
        name = checked_name(name, "report")
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

    def save_figure(self, figure: Any, name: str = "figure", format: str = "png") -> None:  # noqa: A002  # as savefig
        """Hands back a chart: of matplotlib or seaborn (as `png` or `svg`), of Plotly (as HTML), or PNG bytes."""
        name = checked_name(name, "figure")
        rendered = rendering(figure, format)
        file = self._outputs.save_file(name, rendered.suffix, rendered.write)
        self._outputs.add_record("figure", name, {"file": file, "contentType": rendered.content_type})

    def progress(self, fraction: float, message: str = "") -> None:
        """Reports how far the current cell is, from 0 to 1; call it as often as you like."""
        if isinstance(fraction, float) and math.isinf(fraction):
            fraction = math.copysign(1.0, fraction)
        self._progress.report(fraction, message)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _pickle(model: object, path: Path) -> None:
    try:
        with path.open("wb") as stream:
            pickle.dump(model, stream, protocol=5)
    except OSError:
        raise
    except Exception as error:  # whatever a class's own reduction code raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NotSavableError(f"this {type(model).__name__} cannot be pickled: {reason}") from error
