from __future__ import annotations

import pytest

from services.executor import model
from services.executor.model import Tally, Verdict
from shared.contracts.executions import CellRange, CellResult, ExecutionRequest, RerunRequest
from shared.contracts.retries import Retry, RetryCause
from shared.errors import Invalid

CELLS = [{"id": "a"}, {"id": "b"}, {"id": "c"}]


@pytest.mark.parametrize(
    ("before", "after"),
    [("Queued", "Claimed"), ("Claimed", "Running"), ("Running", "Collecting"), ("Collecting", "Completed")],
)
def test_the_main_path_is_allowed(before: model.State, after: model.State) -> None:
    model.check_step(before, after)


@pytest.mark.parametrize("ended", sorted(model.ENDED))
@pytest.mark.parametrize("after", sorted(model.NEXT))
def test_nothing_follows_an_end(ended: model.State, after: model.State) -> None:
    with pytest.raises(ValueError, match="cannot go"):
        model.check_step(ended, after)


def test_every_active_state_can_be_given_back_to_the_queue() -> None:
    for state in model.ACTIVE:
        model.check_step(state, "Queued")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, range(3)),
        (CellRange(start_cell="b", end_cell="c"), range(1, 3)),
        (CellRange(start_cell="b"), range(1, 3)),
        (CellRange(end_cell="a"), range(1)),
    ],
)
def test_cell_ranges_are_inclusive(wanted: CellRange | None, expected: range) -> None:
    assert model.cells_in_range(CELLS, wanted) == expected


def test_unknown_ends_of_a_range_are_all_named() -> None:
    with pytest.raises(Invalid) as caught:
        model.cells_in_range(CELLS, CellRange(start_cell="x", end_cell="y"))
    assert [fault.path for fault in caught.value.faults] == ["cellRange.startCell", "cellRange.endCell"]


@pytest.mark.parametrize("wanted", [None, CellRange(), CellRange(start_cell="", end_cell="")])
def test_a_range_without_an_end_runs_nothing_by_accident(wanted: CellRange | None) -> None:
    with pytest.raises(Invalid) as caught:
        model.cells_asked_for(CELLS, ExecutionRequest(execution_mode="range", cell_range=wanted))
    assert caught.value.faults[0].path == "cellRange"


def test_a_reversed_range_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        model.cells_in_range(CELLS, CellRange(start_cell="c", end_cell="a"))
    assert caught.value.faults[0].path == "cellRange"


def test_an_empty_notebook_has_an_empty_range() -> None:
    assert list(model.cells_in_range([], None)) == []


def test_progress_is_100_only_when_completed() -> None:
    tally = Tally([CellResult(cell_id=c["id"], status="Success") for c in CELLS])
    assert tally.progress().percent_complete == 99
    assert tally.progress(completed=True).percent_complete == 100


def test_a_run_without_cells_completes_at_100() -> None:
    assert Tally([]).progress(completed=True).percent_complete == 100
    assert Tally([]).progress().percent_complete == 0


def test_the_rest_is_left_with_a_status_and_reported_once() -> None:
    tally = Tally(model.pending_cells(["a", "b", "c"]))
    tally.put(CellResult(cell_id="a", status="Success"))
    tally.put(CellResult(cell_id="b", status="Error", error_type="KeyError", error_message="x"))
    changed = tally.leave_rest("Skipped")
    assert [(cell.cell_id, cell.status) for cell in changed] == [("c", "Skipped")]
    assert [cell.status for cell in tally.results] == ["Success", "Error", "Skipped"]
    assert tally.leave_rest("Skipped") == []


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (model.COMPLETED, "Ready"),
        (model.CANCELLED, "Ready"),
        (Verdict(state="Error", error_type="KeyError"), "Error"),
        (Verdict(state="Error", error_type="DeadKernelError"), "Kernel_Dead"),
    ],
)
def test_what_the_notebook_becomes(verdict: Verdict, status: str) -> None:
    assert verdict.notebook_status == status


@pytest.mark.parametrize(
    ("covered", "from_cell", "expected"),
    [
        (range(3), None, ([], [0, 1, 2])),
        (range(3), "a", ([], [0, 1, 2])),
        (range(3), "c", ([0, 1], [2])),
        (range(1, 3), "c", ([1], [2])),
    ],
)
def test_cells_before_the_first_are_replayed(
    covered: range, from_cell: str | None, expected: tuple[list[int], list[int]]
) -> None:
    replayed, run = model.cells_from(CELLS, covered, from_cell)
    assert (list(replayed), list(run)) == expected


@pytest.mark.parametrize("from_cell", ["x", "a"])
def test_the_first_cell_must_be_among_those_covered(from_cell: str) -> None:
    with pytest.raises(Invalid) as caught:
        model.cells_from(CELLS, range(1, 3), from_cell)
    assert [fault.path for fault in caught.value.faults] == ["fromCell"]


def test_a_range_without_ends_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        model.cells_asked_for(CELLS, ExecutionRequest(execution_mode="range"))
    assert caught.value.faults[0].path == "cellRange"
    unused = ExecutionRequest(cell_range=CellRange(start_cell="x"))
    assert model.cells_asked_for(CELLS, unused) == range(3)


@pytest.mark.parametrize(
    ("queue", "reason"),
    [
        (model.Queue(active=5, max_active=5, workers=0, free_slots=0), "no worker is running"),
        (
            model.Queue(active=5, max_active=5, workers=1, free_slots=3),
            "the tenant's limit of 5 concurrent runs is reached",
        ),
        (model.Queue(active=4, max_active=5, workers=2, free_slots=0), "waiting for a free worker slot"),
        (model.Queue(active=0, max_active=5, workers=2, free_slots=1), "about to be taken by a worker"),
        (
            model.Queue(active=1, max_active=5, workers=2, free_slots=1, reserved_slots=1),
            "waiting for a free worker slot; the last ones are kept for tenants that have none",
        ),
    ],
)
def test_why_a_run_waits(queue: model.Queue, reason: str) -> None:
    assert model.reason_to_wait(queue) == reason


def test_a_rerun_changes_only_what_it_names() -> None:
    before = ExecutionRequest(
        parameters={"x": 1, "y": [1]}, timeout=60, priority="High", version="1.0.0", error_policy="continue"
    )
    same = RerunRequest().applied_to(before)
    assert same == before.model_copy(update={"version": None})
    changed = RerunRequest(
        parameters={"y": None, "z": 2}, cell_range=CellRange(start_cell="b"), timeout=5, dry_run=True
    ).applied_to(before)
    assert changed.parameters == {"x": 1, "y": None, "z": 2}
    assert (changed.execution_mode, changed.timeout, changed.priority) == ("range", 5, "High")
    assert changed.dry_run is False


@pytest.mark.parametrize(
    ("members", "cause", "used", "wait_s"),
    [
        ({"limit": 1, "on": ["error"]}, "error", 0, 0.0),
        ({"limit": 1, "on": ["error"]}, "error", 1, None),
        ({"limit": 1}, "error", 0, None),
        ({"limit": 1, "backoff_seconds": 7}, "timeout", 0, 7.0),
        ({"limit": 9, "backoff_seconds": 7}, "lost", 5, 7.0),
        ({"limit": 9, "backoff_seconds": 7, "exponential": True}, "dead_kernel", 5, 224.0),
        ({"limit": 10, "backoff_seconds": 3600, "exponential": True}, "dead_kernel", 9, 3600.0),
        ({"limit": 0}, "timeout", 0, None),
        ({"limit": 10, "on": ["error", "timeout", "dead_kernel", "lost"]}, None, 0, None),
    ],
)
def test_when_the_next_attempt_is_due(
    members: dict[str, object], cause: RetryCause | None, used: int, wait_s: float | None
) -> None:
    verdict = Verdict(state="Error", error_type="E", cause=cause)
    assert model.retry_wait_s(Retry.model_validate(members), verdict, used) == wait_s
    assert model.retry_wait_s(Retry.model_validate(members), model.CANCELLED, used) is None
    assert model.retry_wait_s(None, verdict, used) is None
