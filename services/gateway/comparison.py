"""Two runs side by side, put together from what executor, catalog and artifacts know of them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from shared.contracts.comparisons import (
    CellTiming,
    ComparedOutput,
    ComparedRun,
    DatasetComparison,
    EnvironmentComparison,
    ExecutionComparison,
    ExecutionInputs,
    OutputChange,
    OutputComparison,
    OutputDifference,
    PackageDifference,
    ParameterComparison,
    ParameterDifference,
    SourceComparison,
    TimingComparison,
    ValueChange,
)
from shared.contracts.executions import Execution, ExecutionEnvironment
from shared.contracts.results import ArtifactEntry
from shared.contracts.versions import NotebookDiff


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is known of one run. `environment` is None where it was never prepared."""

    execution: Execution
    inputs: ExecutionInputs
    environment: ExecutionEnvironment | None
    artifacts: Sequence[ArtifactEntry]


def compare(a: Side, b: Side, diff: NotebookDiff) -> ExecutionComparison:
    """The comparison; `diff` is that of the notebook versions that ran."""
    source = SourceComparison(
        equal=diff.equal, a=diff.a, b=diff.b, cells=diff.cells, settings=diff.settings, files=diff.files
    )
    parameters = _parameters(a.inputs, b.inputs)
    environment = _environment(a.environment, b.environment)
    dataset = DatasetComparison(equal=_data(a.inputs) == _data(b.inputs), a=a.inputs.dataset, b=b.inputs.dataset)
    return ExecutionComparison(
        notebook_id=a.execution.notebook_id,
        a=ComparedRun.model_validate(a.execution.model_dump()),
        b=ComparedRun.model_validate(b.execution.model_dump()),
        same_inputs=source.equal and parameters.equal and environment.equal is True and dataset.equal,
        source=source,
        parameters=parameters,
        environment=environment,
        dataset=dataset,
        outputs=_outputs(a.artifacts, b.artifacts),
        timings=_timings(a, b),
    )


def _parameters(a: ExecutionInputs, b: ExecutionInputs) -> ParameterComparison:
    found = []
    for name in dict.fromkeys([*a.parameters, *b.parameters]):
        before, after = a.parameters.get(name), b.parameters.get(name)
        change: ValueChange = "changed"
        if name not in a.parameters:
            change = "added"
        elif name not in b.parameters:
            change = "removed"
        elif orjson.dumps(before, option=orjson.OPT_SORT_KEYS) == orjson.dumps(after, option=orjson.OPT_SORT_KEYS):
            continue
        found.append(ParameterDifference(name=name, change=change, a=before, b=after))
    return ParameterComparison(equal=not found, differences=found)


def _environment(a: ExecutionEnvironment | None, b: ExecutionEnvironment | None) -> EnvironmentComparison:
    before = {package.name: package.version for package in a.packages} if a else {}
    after = {package.name: package.version for package in b.packages} if b else {}
    known = a is not None and b is not None
    return EnvironmentComparison(
        equal=a.environment_id == b.environment_id if a is not None and b is not None else None,
        a=a.environment_id if a else None,
        b=b.environment_id if b else None,
        python_version_a=a.python_version if a else None,
        python_version_b=b.python_version if b else None,
        packages=[
            PackageDifference(name=name, a=before.get(name), b=after.get(name))
            for name in sorted({*before, *after})
            if known and before.get(name) != after.get(name)
        ],
    )


def _data(inputs: ExecutionInputs) -> tuple[object, ...] | None:
    return None if inputs.dataset is None else (inputs.dataset.dataset_id, inputs.dataset.version)


def _outputs(a: Sequence[ArtifactEntry], b: Sequence[ArtifactEntry]) -> OutputComparison:
    before, after = _keyed(a), _keyed(b)
    items = []
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key), after.get(key)
        shown = old or new
        assert shown is not None  # noqa: S101 - the key is from one of the two
        change: OutputChange = "added" if old is None else "removed" if new is None else "changed"
        if old is not None and new is not None and (old.sha256, old.content_type) == (new.sha256, new.content_type):
            change = "same"
        items.append(
            OutputDifference(
                cell_id=shown.cell_id,
                kind=shown.kind,
                name=shown.name,
                change=change,
                a=ComparedOutput.model_validate(old.model_dump()) if old else None,
                b=ComparedOutput.model_validate(new.model_dump()) if new else None,
            )
        )
    return OutputComparison(equal=all(item.change == "same" for item in items), items=items)


def _keyed(entries: Sequence[ArtifactEntry]) -> dict[tuple[object, ...], ArtifactEntry]:
    """By what makes outputs of two runs the same place: things with a name by it, others by their number in the cell.

    The executed notebook is left out: it has the times of its run in it and is never the same.
    """
    numbers: Counter[tuple[object, ...]] = Counter()
    found: dict[tuple[object, ...], ArtifactEntry] = {}
    for entry in sorted(entries, key=lambda entry: entry.position):
        if entry.kind == "notebook":
            continue
        place: tuple[object, ...] = (entry.kind, entry.cell_id)
        if entry.kind != "output":
            place = (*place, entry.name, entry.details.get("form"))
        numbers[place] += 1
        found[(*place, numbers[place])] = entry
    return found


def _timings(a: Side, b: Side) -> TimingComparison:
    before = {cell.cell_id: cell for cell in a.execution.cell_results}
    after = {cell.cell_id: cell for cell in b.execution.cell_results}
    cells = []
    for cell_id in dict.fromkeys([*before, *after]):
        old, new = before.get(cell_id), after.get(cell_id)
        cells.append(
            CellTiming(
                cell_id=cell_id,
                status_a=old.status if old else None,
                status_b=new.status if new else None,
                seconds_a=old.execution_time_seconds if old else None,
                seconds_b=new.execution_time_seconds if new else None,
            )
        )
    return TimingComparison(
        total_seconds_a=a.execution.total_duration_seconds,
        total_seconds_b=b.execution.total_duration_seconds,
        queued_seconds_a=a.execution.queued_seconds,
        queued_seconds_b=b.execution.queued_seconds,
        preparation_seconds_a=a.environment.preparation_seconds if a.environment else None,
        preparation_seconds_b=b.environment.preparation_seconds if b.environment else None,
        cells=cells,
    )
