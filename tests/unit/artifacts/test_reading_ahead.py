"""Which artifacts of a run are fetched together."""

from __future__ import annotations

from uuid import uuid4

from services.artifacts.reading_ahead import GAP_BYTES, SMALL_BYTES, portions
from shared.contracts.results import ArtifactEntry, Packed


def entry(size: int, *, key: str | None = None, offset: int | None = None) -> ArtifactEntry:
    """In a row; or an object; or, with an offset, part of one."""
    packed = key is not None and offset is not None
    return ArtifactEntry(
        artifact_id=uuid4(),
        kind="output",
        position=1,
        name="x",
        file_name="x",
        content_type="text/plain",
        size_bytes=size,
        sha256="",
        object_key=None if packed else key,
        pack=Packed(object_key=key, offset=offset) if key is not None and offset is not None else None,
    )


def test_rows_are_gathered_up_to_a_size() -> None:
    rows = [entry(SMALL_BYTES // 4) for _ in range(9)]
    assert [len(portion.entries) for portion in portions(rows)] == [4, 4, 1]


def test_neighbours_in_a_pack_are_one_request_and_rows_between_them_do_not_matter() -> None:
    first, row, second = entry(40_000, key="p", offset=100), entry(10), entry(50_000, key="p", offset=40_100)
    found = portions([first, row, second])
    assert [portion.entries for portion in found] == [[first, second], [row]]
    assert (found[0].start, found[0].end, found[0].packed) == (100, 90_100, True)


def test_a_wide_gap_a_way_back_and_another_object_are_requests_of_their_own() -> None:
    entries = [
        entry(40_000, key="p", offset=0),
        entry(40_000, key="p", offset=40_000 + GAP_BYTES + 1),
        entry(40_000, key="p", offset=0),
        entry(40_000, key="q", offset=0),
        entry(40_000, key="alone"),
    ]
    found = portions(entries)
    assert [portion.entries for portion in found] == [[one] for one in entries]
    assert [portion.packed for portion in found] == [True, True, True, True, False]


def test_large_ones_are_not_fetched_ahead() -> None:
    large = [entry(SMALL_BYTES + 1, key="p", offset=0), entry(SMALL_BYTES + 1, key="alone")]
    assert portions(large) == []
