"""The outputs of a cell: what is cleared, overwritten or replaced is counted no more."""

from __future__ import annotations

from nbformat import NotebookNode

from services.executor.kernels.output_limits import MAX_CELL_OUTPUTS, Account, OutputLimits, OutputTally
from services.executor.kernels.output_list import Display, OutputList

LIMITS = OutputLimits(output_bytes=1_000_000, traffic_bytes=10**9, messages=10**6)


def account() -> Account:
    return Account(OutputTally(LIMITS), OutputTally(LIMITS))


def shown(data: dict[str, str]) -> NotebookNode:
    return NotebookNode({"output_type": "display_data", "data": data, "metadata": {}})


def test_cleared_output_makes_room() -> None:
    outputs = OutputList([], account())
    for number in range(60):
        outputs.clears_with_next = True
        assert outputs.add(shown({"n": str(number)}), 600_000) is None
    assert [output.data["n"] for output in outputs.outputs] == ["59"]
    assert outputs.add(shown({}), 600_000) == "run_output"
    outputs.clear()
    assert outputs.add(shown({}), 900_000) is None


def test_a_line_that_is_written_over_and_over_takes_the_room_of_one_line() -> None:
    outputs = OutputList([], account())
    for number in range(100_000):
        assert outputs.add_text("stdout", f"\rstep {number} of 100000 ..........") is None
    outputs.settle()
    assert [output.text for output in outputs.outputs] == ["step 99999 of 100000 .........."]
    assert outputs.size == len(outputs.outputs[0].text)


def test_text_that_stays_counts_to_the_last_character() -> None:
    outputs = OutputList([], account())
    assert all(outputs.add_text("stdout", "x" * 1_000) is None for _ in range(1_000))
    assert outputs.add_text("stdout", "x") == "run_output"
    outputs.settle()
    assert outputs.outputs[0].text == "x" * 1_000_000


def test_streams_take_turns_and_a_deferred_clearing_takes_all_before_it() -> None:
    outputs = OutputList([], account())
    for name, text in (("stdout", "a"), ("stdout", "b"), ("stderr", "c"), ("stdout", "d")):
        assert outputs.add_text(name, text) is None
    outputs.settle()
    assert [(output.name, output.text) for output in outputs.outputs] == [
        ("stdout", "ab"),
        ("stderr", "c"),
        ("stdout", "d"),
    ]
    outputs.clears_with_next = True
    assert outputs.add_text("stdout", "e") is None
    outputs.settle()
    assert [output.text for output in outputs.outputs] == ["e"]


def test_displays_of_one_id_change_together_and_count_for_each_place() -> None:
    ours = account()
    outputs, display = OutputList([], ours), Display({"n": "1"}, {}, 10)
    for _ in range(100):
        assert outputs.add(shown(display.data), 10, display) is None
    assert display.show({"n": "2"}, {"title": "t"}, 9_000, ours) is None
    assert {output.data["n"] for output in outputs.outputs} == {"2"}
    assert outputs.size == 900_000
    assert display.show({"n": "3"}, {}, 11_000, ours) == "run_output"
    assert {output.data["n"] for output in outputs.outputs} == {"2"}
    outputs.clear()
    assert display.show({"n": "4"}, {}, 900_000, ours) is None
    assert ours.keep(1_000_000) is None


def test_pieces_are_counted() -> None:
    outputs = OutputList([], account())
    pieces = [outputs.add(shown({}), 1) for _ in range(MAX_CELL_OUTPUTS + 1)]
    assert pieces[-2:] == [None, "output"]
