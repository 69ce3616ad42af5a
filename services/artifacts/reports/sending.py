"""`GET /internal/executions/{id}/report`: the executed notebook as a page, rendered when it is asked for.

Rendering may take longer than a caller waits. It goes on all the same, and what comes of it is kept for a while, so
that whoever asks again gets it at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from services.artifacts import ranges, store, ticketed
from services.artifacts.downloads import PIECE_BYTES
from services.artifacts.headers import disposition
from services.artifacts.metrics import BYTES_OUT, REPORT_SECONDS
from services.artifacts.reports.printing import NoChromium, Printer
from services.artifacts.store import queries
from shared.contracts.results import ArtifactEntry
from shared.contracts.transfers import REPORT_DOWNLOAD, ReportDownload
from shared.errors import Fault, Invalid, NotFound, Unavailable
from shared.reports.rendering import Heading, Renderer, ReportError

if TYPE_CHECKING:
    from services.artifacts.app import App

log = structlog.get_logger(__name__)

KEPT_S, KEPT_BYTES = 600.0, 1024**3
"""How long a report is kept for whoever asks again, in seconds, and how many bytes of them at most."""

PATIENCE_S = 18.0
"""How long a caller waits for a report that is being made; then it is told to come back, in seconds."""

TYPES = {"html": "text/html; charset=utf-8", "pdf": "application/pdf"}

FORM = "3"
"""Changes when reports of the same notebook come to look otherwise."""


class Reports:
    """Makes reports, each once at a time, and keeps them for a while in a folder of this process."""

    def __init__(self, folder: Path, printer: Printer) -> None:
        self._folder = folder
        self._renderer = Renderer(folder / "scripts")
        self._printer = printer
        self._making: dict[str, asyncio.Task[Path]] = {}

    async def get(self, app: App, wanted: ReportDownload, entry: ArtifactEntry, inline: bytes | None) -> Path:
        """The file of a report. Raises Invalid for one that cannot be made, Unavailable while it is being made."""
        name = report_name(wanted, entry)
        making = self._making.get(name)
        if making is None:
            making = self._making[name] = asyncio.create_task(self._made(app, name, wanted, entry, inline))
            making.add_done_callback(lambda done: self._forget(name, done))
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await asyncio.shield(making)
        except TimeoutError:
            raise Unavailable("The report is being made; ask again shortly.", extra={"retryAfter": 5}) from None
        except NoChromium as error:
            message = "pdf is not available here: this installation has no Chromium"
            raise Invalid(f"format {message}.", faults=[Fault(path="format", message=message)]) from error
        except ReportError as error:
            message = f"leads to an execution of which no report could be made: {error}"
            raise Invalid(
                f"The report could not be made: {error}.", faults=[Fault(path="executionId", message=message)]
            ) from error

    async def close(self) -> None:
        """Give up what is being made."""
        for making in self._making.values():
            making.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)

    def _forget(self, name: str, done: asyncio.Task[Path]) -> None:
        del self._making[name]
        if not done.cancelled() and (error := done.exception()) is not None:
            log.warning("report not made", reason=str(error))

    async def _made(
        self, app: App, name: str, wanted: ReportDownload, entry: ArtifactEntry, inline: bytes | None
    ) -> Path:
        kept = self._folder / f"{name}.{wanted.format}"
        if await asyncio.to_thread(kept.exists):
            return kept
        if wanted.format == "pdf" and self._printer.program() is None:
            raise NoChromium
        began = time.monotonic()
        await asyncio.to_thread(self._make_room)
        with app.workspace.folder() as folder:
            source, html, pdf = folder / "notebook.ipynb", folder / "report.html", folder / "report.pdf"
            if entry.object_key is None:
                await asyncio.to_thread(source.write_bytes, inline or b"")
            else:
                await app.objects.get_file(entry.object_key, source)
            heading = Heading(title=wanted.title, lines=wanted.lines)
            await self._renderer.render(source, html, profile=wanted.profile, heading=heading)
            made = html
            if wanted.format == "pdf":
                await self._printer.print(html, pdf)
                made = pdf
            await asyncio.to_thread(made.replace, kept)
        REPORT_SECONDS.labels(wanted.format).observe(time.monotonic() - began)
        return kept

    def _make_room(self) -> None:
        """Remove what is old, and the oldest of what is too much."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files = [(path.stat(), path) for path in self._folder.iterdir() if path.is_file()]
        total = sum(status.st_size for status, _ in files)
        for status, path in sorted(files, key=lambda pair: pair[0].st_mtime):
            if total > KEPT_BYTES or status.st_mtime < time.time() - KEPT_S:
                path.unlink(missing_ok=True)
                total -= status.st_size


def report_name(wanted: ReportDownload, entry: ArtifactEntry) -> str:
    """Equal for reports that are equal: the same notebook in the same profile under the same heading."""
    parts = [FORM, str(wanted.execution_id), entry.sha256, wanted.profile, wanted.title, *wanted.lines]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


async def send_report(app: App, request: web.Request) -> web.StreamResponse:
    """The report; 304 when the caller has it already."""
    wanted = ticketed.claimed(request, ReportDownload, key=app.internal_secret, purpose=REPORT_DOWNLOAD)
    ticketed.matching_id(request, wanted.execution_id)
    async with app.database.connection() as connection:
        found = await store.find_notebook(connection, wanted.scope, wanted.execution_id, wanted.epoch)
        if found is None:
            raise NotFound("This execution left no notebook to make a report of.")
        inline = None
        if found.object_key is None:
            inline = await connection.fetchval(
                queries.artifact_bytes, wanted.execution_id, wanted.epoch, found.artifact_id
            )
    headers = {
        "Content-Type": TYPES[wanted.format],
        "Content-Disposition": disposition(f"report.{wanted.format}"),
        "ETag": f'"{report_name(wanted, found)[:32]}-{wanted.format}"',
    }
    if ranges.matches(request.headers.get("If-None-Match"), headers["ETag"]):
        return web.Response(status=304, headers=headers)
    path = await app.reports.get(app, wanted, found, inline)
    with await asyncio.to_thread(path.open, "rb") as file:
        response = web.StreamResponse(headers=headers)
        response.content_length = await asyncio.to_thread(lambda: path.stat().st_size)
        await response.prepare(request)
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            await response.write(piece)
            BYTES_OUT.labels("report").inc(len(piece))
    await response.write_eof()
    return response
