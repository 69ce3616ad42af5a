from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from services.executor.kernels import messages, outcomes
from services.executor.kernels.forkserver.shown_failures import PAYLOAD

DEEP: list[Any] = []
for _ in range(400):
    DEEP = [DEEP]


def message(kind: str, **content: Any) -> dict[str, Any]:
    return {"msg_type": kind, "content": content}


@pytest.mark.parametrize(
    "good",
    [
        message("stream", name="stdout", text="x"),
        message("error", ename="E", evalue="", traceback=["a", "b"]),
        message("display_data", data={"text/plain": "x"}, metadata={}, transient={"display_id": "a"}),
        message("execute_result", data={}, metadata={}, execution_count=3, transient=None),
        message("status", execution_state="idle"),
        message("comm_open", comm_id="a", data={"state": {"x": 1}}),
        message("clear_output", wait=True),
        message("a kind of later versions"),
    ],
    ids=lambda good: good["msg_type"],
)
def test_messages_of_the_protocol_are_well_formed(good: dict[str, Any]) -> None:
    assert messages.is_well_formed(good)


@pytest.mark.parametrize(
    "bad",
    [
        {"msg_type": 5, "content": {}},
        {"msg_type": "stream", "content": []},
        message("stream", name="stdout", text=5),
        message("stream", name="elsewhere", text="x"),
        message("stream"),
        message("error", ename=1, evalue="", traceback=[]),
        message("error", ename="E", evalue="", traceback=[5]),
        message("error", ename="E", evalue="", traceback="x"),
        message("display_data", data=[1], metadata={}),
        message("display_data", data={}, metadata=7),
        message("update_display_data", data={}, metadata={}, transient={"display_id": ["x"]}),
        message("status"),
        message("comm_open", data=5),
        message("comm_msg", comm_id="a", data={"state": 5}),
        message("execute_input", execution_count="x"),
        message("execute_input", execution_count=True),
    ],
)
def test_what_has_another_shape_is_told(bad: dict[str, Any]) -> None:
    assert not messages.is_well_formed(bad)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain", "plain"),
        ("ä€𝄞", "ä€𝄞"),
        ("a\x00b", "a\ufffdb"),
        ("a\ud800b", "a\ufffdb"),
        ("\x00\udc00", "\ufffd\ufffd"),
    ],
)
def test_text_becomes_storable_and_loses_nothing_else(text: str, kept: str) -> None:
    assert messages.storable(text) == kept
    kept.encode()


def test_what_no_store_takes_is_replaced_in_every_part_of_a_message() -> None:
    shown = message(
        "display_data",
        data={"text/plain": "\x00", "application/json": {"a": ["\ud800"]}, "application/x+json": DEEP, "n": 10**400},
        metadata={"title": "\x00", "m": {"\x00": 1}},
    )
    messages.clean(shown)
    assert shown["content"]["data"]["text/plain"] == "\ufffd"
    assert shown["content"]["data"]["application/json"] == {"a": ["\ufffd"]}
    assert shown["content"]["data"]["n"] == 10**400
    assert shown["content"]["data"]["application/x+json"] == messages.NOT_SHOWN
    json.dumps(shown, allow_nan=False, ensure_ascii=False).encode()
    assert "\\u0000" not in json.dumps(shown)
    failed = message("error", ename="E\x00", evalue="\ud800", traceback=["\x00"])
    messages.clean(failed)
    assert orjson.dumps(failed["content"])
    assert "\x00" not in str(failed["content"])


def test_ordinary_outputs_stay_as_they_are() -> None:
    data = {"text/html": "<b>ä</b>", "application/json": {"a": [1, 2.5, None, "x"]}, "image/png": "iVBORw0KGgo="}
    shown = message("display_data", data=dict(data), metadata={"title": "t", "image/png": {"width": 3}})
    messages.clean(shown)
    assert shown["content"]["data"] == data
    assert shown["content"]["metadata"] == {"title": "t", "image/png": {"width": 3}}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"a": float("nan"), "b": [float("inf"), 1.5]}, {"a": None, "b": [None, 1.5]}),
        ({"a": 2**70, "b": float("nan"), "c": "\ud83d"}, {"a": 2**70, "b": None, "c": "\ufffd"}),
        ({"\ud83d": 1, "\x00": [2]}, {"\ufffd": [2]}),
        ([[2**64]] * 3, [[2**64]] * 3),
        (-(2**200), -(2**200)),
        ([0] * (messages.MAX_CLEANED + 1) + [2**70], messages.NOT_SHOWN),
        ([DEEP, "\ud83d"], messages.NOT_SHOWN),
    ],
)
def test_json_is_kept_with_its_integers_and_without_what_json_has_not(value: Any, kept: Any) -> None:
    shown = message("display_data", data={"application/json": value}, metadata={})
    state = message("comm_open", comm_id="a", data={"state": {"value": value}})
    for one in (shown, state):
        assert messages.is_well_formed(one)
        messages.clean(one)
    assert shown["content"]["data"]["application/json"] == kept
    assert state["content"]["data"]["state"]["value"] == kept


@pytest.mark.parametrize("count", [-1, 2**31, 10**30, 1.0, True])
def test_execution_counts_that_no_column_holds_are_refused(count: Any) -> None:
    assert not messages.is_well_formed(message("execute_result", data={}, metadata={}, execution_count=count))


SHOWN = {"ename": "KeyError", "evalue": "'missing'", "traceback": ["one", "two"]}


@pytest.mark.parametrize("payload", [[{"source": PAYLOAD}], [3, {"source": "page"}, {"source": PAYLOAD}]])
def test_an_error_that_a_script_ended_with_fails_its_cell_and_the_run_goes_on(payload: list[Any]) -> None:
    assert outcomes.replied({"status": "ok", "payload": payload}, SHOWN) == {
        "status": "Error",
        "error_type": "KeyError",
        "error_message": "'missing'",
        "traceback": "one\ntwo",
        "goes_on": True,
    }


@pytest.mark.parametrize("payload", [None, {}, "text", [], [{"source": "page"}], [PAYLOAD]])
def test_an_error_that_was_only_shown_fails_nothing(payload: Any) -> None:
    assert outcomes.replied({"status": "ok", "payload": payload}, SHOWN) == {"status": "Success"}


def test_an_error_that_was_cleared_fails_nothing() -> None:
    """So has papermill it, which looks for errors among a notebook's outputs."""
    assert outcomes.replied({"status": "ok", "payload": [{"source": PAYLOAD}]}, None) == {"status": "Success"}
