"""Few conversions at a time: whoever is kept waiting by his sender gives way, and large files leave room for small."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.artifacts import conversion_child, conversion_scheduler
from services.artifacts.conversion_scheduler import Arriving, Converters
from services.artifacts.formats.conversion import Conversion, Wishes
from services.artifacts.formats.csv_dialect import MAX_RECORD_BYTES
from services.artifacts.formats.detection import HEAD_BYTES
from services.artifacts.formats.roles import Roles
from services.artifacts.formats.spool import Spool
from shared.child_pool import ChildPool
from shared.errors import Invalid

HEADER = b"case,activity,time\n"
ROW = b"1,a,2024-01-01\n"
ROWS = 2 * HEAD_BYTES // len(ROW)
BEGIN = HEADER + ROW * ROWS
LARGE = 2 * conversion_scheduler.SMALL_BYTES // len(ROW)
PATIENCE_S = 60.0


class Upload:
    """A file on its way in."""

    def __init__(self, converters: Converters, folder: Path, name: str) -> None:
        self.arriving = Arriving(Spool(folder / name))
        self.rows = 0
        wishes = Wishes(
            roles=Roles(), habit=Roles(), max_decompressed_bytes=1 << 30, max_columns=10, converted=self._converted
        )
        self.conversion = asyncio.create_task(
            converters.convert(self.arriving, folder / f"{name}.parquet", wishes), name=name
        )

    def _converted(self, rows: int) -> None:
        self.rows = rows

    async def end(self, data: bytes = b"") -> Conversion:
        """Send the rest; what comes of the file."""
        await self.arriving.append(data)
        self.arriving.finish()
        async with asyncio.timeout(PATIENCE_S):
            return await self.conversion


class Uploads:
    """Uploads of one service that has a place for small and one for large files."""

    def __init__(self, folder: Path, children: ChildPool) -> None:
        self.children = children
        self.converters = Converters(children, small=1, large=1)
        self._folder = folder
        self.begun: list[Upload] = []

    async def begin(self, data: bytes) -> Upload:
        """An upload of which this much has come."""
        upload = Upload(self.converters, self._folder, f"u{len(self.begun)}")
        self.begun.append(upload)
        await upload.arriving.append(data)
        return upload


@pytest.fixture(scope="module")
async def children() -> AsyncIterator[ChildPool]:
    children = ChildPool(["services.artifacts.child_functions"])
    await children.open()
    yield children
    await children.close()


@pytest.fixture
async def uploads(tmp_path: Path, children: ChildPool) -> AsyncIterator[Uploads]:
    uploads = Uploads(tmp_path, children)
    yield uploads
    for upload in uploads.begun:
        upload.conversion.cancel()
    await asyncio.gather(*(upload.conversion for upload in uploads.begun), return_exceptions=True)
    for upload in uploads.begun:
        upload.arriving.spool.close()


async def until(is_so: object) -> None:
    """Wait for a condition with a deadline."""
    assert callable(is_so)
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_little_of_a_file_takes_no_place(uploads: Uploads) -> None:
    stalled = [await uploads.begin(HEADER + ROW) for _ in range(10)]
    good = await uploads.begin(HEADER)
    assert (await good.end(ROW * 3)).record_count == 3
    assert uploads.converters.small.take_now()
    uploads.converters.small.give_back()
    assert [(await one.end(ROW)).record_count for one in stalled] == [2] * 10


async def test_who_is_kept_waiting_gives_way_and_loses_nothing(uploads: Uploads) -> None:
    stalled = [await uploads.begin(BEGIN) for _ in range(10)]
    good = await uploads.begin(BEGIN)
    assert (await good.end(ROW)).record_count == ROWS + 1
    assert [(await one.end(ROW * 2)).record_count for one in stalled] == [ROWS + 2] * 10


async def test_stalled_large_files_give_way_to_each_other(uploads: Uploads) -> None:
    stalled = [await uploads.begin(HEADER + ROW * LARGE) for _ in range(3)]
    await until(lambda: stalled[0].rows)
    good = await uploads.begin(HEADER + ROW * LARGE)
    assert (await good.end()).record_count == LARGE
    assert [(await one.end(ROW)).record_count for one in stalled] == [LARGE + 1] * 3


async def test_a_small_file_does_not_wait_for_a_large_one(uploads: Uploads) -> None:
    large = await uploads.begin(HEADER + ROW * LARGE)
    await until(lambda: large.rows * len(ROW) > conversion_scheduler.SMALL_BYTES)
    assert not uploads.converters.large.take_now()
    small = await uploads.begin(BEGIN)
    assert (await small.end()).record_count == ROWS
    assert not large.conversion.done()
    assert (await large.end(ROW)).record_count == LARGE + 1


async def test_only_one_large_file_is_converted_at_a_time(uploads: Uploads) -> None:
    assert uploads.converters.large.take_now()
    waits = await uploads.begin(HEADER + ROW * LARGE)
    waits.arriving.finish()
    await until(lambda: uploads.converters.large.is_wanted)
    assert uploads.converters.small.take_now()
    assert not waits.conversion.done()
    uploads.converters.small.give_back()
    uploads.converters.large.give_back()
    async with asyncio.timeout(PATIENCE_S):
        assert (await waits.conversion).record_count == LARGE


async def test_whole_files_go_first(uploads: Uploads) -> None:
    assert uploads.converters.small.take_now()
    first, second = await uploads.begin(BEGIN), await uploads.begin(BEGIN)
    second.arriving.finish()
    await until(lambda: uploads.converters.small.is_wanted)
    uploads.converters.small.give_back()
    async with asyncio.timeout(PATIENCE_S):
        assert (await second.conversion).record_count == ROWS
    assert (await first.end(ROW)).record_count == ROWS + 1


async def test_who_goes_away_leaves_his_place(uploads: Uploads) -> None:
    running, waiting = await uploads.begin(BEGIN), await uploads.begin(BEGIN)
    await until(lambda: uploads.converters.small.is_wanted or waiting.rows)
    for gone in (running, waiting):
        gone.conversion.cancel()
    await asyncio.wait({running.conversion, waiting.conversion}, timeout=PATIENCE_S)
    assert uploads.converters.small.take_now()


async def test_a_refusal_comes_before_the_end(uploads: Uploads) -> None:
    bad = await uploads.begin(b"\x89PNG" + b"\1" * HEAD_BYTES)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Invalid, match="image"):
            await bad.conversion


async def test_a_conversion_ends_with_its_sender(uploads: Uploads) -> None:
    """Whatever it is busy with: its process is killed."""
    columns = 9_000
    header = ",".join(f"c{n}" for n in range(columns)) + "\n"
    gone = await uploads.begin(header.encode() + (",".join(["03-01-2020"] * columns) + "\n").encode() * 30)
    gone.arriving.finish()
    await until(lambda: uploads.children._children)
    gone.conversion.cancel()
    await asyncio.wait({gone.conversion}, timeout=PATIENCE_S)
    assert not uploads.children._children
    assert uploads.converters.small.take_now()


async def test_a_small_file_that_takes_much_work_leaves_its_place_to_others(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion_scheduler, "SMALL_PROCESSOR_S", -1.0)
    uploads.converters.large.take_now()
    costly = await uploads.begin(BEGIN)
    costly.arriving.finish()
    await until(lambda: uploads.converters.large.is_wanted)
    monkeypatch.setattr(conversion_scheduler, "SMALL_PROCESSOR_S", 60.0)
    other = await uploads.begin(BEGIN)
    assert (await other.end()).record_count == ROWS
    assert not costly.conversion.done()
    uploads.converters.large.give_back()
    assert (await costly.end()).record_count == ROWS


async def test_a_conversion_may_take_so_much_work_and_no_more(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion_scheduler, "MOST_PROCESSOR_S", -1.0)
    monkeypatch.setattr(conversion_scheduler, "PROCESSOR_S_A_MEGABYTE", 0.0)
    upload = await uploads.begin(BEGIN)
    with pytest.raises(Invalid, match="too costly"):
        await upload.end()


REFUSED = (
    BEGIN + b"1,2\n",
    BEGIN + b'2,"' + b"text\n" * MAX_RECORD_BYTES,
    BEGIN + b"x" * (2 * MAX_RECORD_BYTES),
    BEGIN + b"\0\n",
)


async def test_refused_files_leave_their_places(uploads: Uploads) -> None:
    """Whatever more is read ahead meanwhile: a reader that passed 8 MB took the place for large files for good."""
    for begin in REFUSED * 3:
        bad = await uploads.begin(begin)
        for _ in range(16):
            await bad.arriving.append(ROW * 70_000)
        bad.arriving.finish()
        with pytest.raises(Invalid):
            await bad.conversion
    assert uploads.converters.large.take_now()
    assert uploads.converters.small.take_now()
    assert not uploads.converters.small.take_now()


async def test_a_step_that_never_comes_back_is_ended(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the operating system, with the same words."""
    monkeypatch.setattr(conversion_child, "FUNCTION", "tests.support.costly:spin_and_talk")
    monkeypatch.setattr(conversion_scheduler, "LIMITS", replace(conversion_scheduler.LIMITS, processor_s=1))
    upload = await uploads.begin(BEGIN)
    with pytest.raises(Invalid, match="too costly: it takes more than"):
        await upload.end()
