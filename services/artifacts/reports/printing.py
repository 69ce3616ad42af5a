"""Prints an HTML report as PDF, where there is a Chromium to do it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import structlog

from services.artifacts.reports.chromium import ChromiumError, opened
from shared.reports.page_policy import POLICY
from shared.reports.rendering import ReportError

log = structlog.get_logger(__name__)

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What Chromium is called where nobody says where it is."""

CONCURRENT = 1
"""Reports printed at a time: a Chromium takes some hundred megabytes."""

TIMEOUT_S = 90.0
"""Printing that takes longer is given up, in seconds."""

DRAWING_S = 30.0
"""How long the page's charts may take to draw, in seconds; what is there then is printed."""

MAX_HTML_BYTES = 96 * 1024 * 1024
"""A larger page is not printed."""

DRAWN = "document.fonts.ready.then(() => window.atelierDrawn)"
"""A promise that the page keeps when its charts are drawn (`shared/reports/scripts.py`)."""

PAPER = {
    "printBackground": True,
    "preferCSSPageSize": True,
    "displayHeaderFooter": True,
    "headerTemplate": "<span></span>",
    "footerTemplate": '<div style="width:100%;font-size:8px;color:#667085;text-align:center">'
    '<span class="pageNumber"></span> / <span class="totalPages"></span></div>',
}


class NoChromium(ReportError):
    """There is no Chromium here."""


class Printer:
    """One per process. `program` is the setting; without it the usual names are looked for."""

    def __init__(self, program: Path | None, *, sandbox: bool) -> None:
        self._program = program
        self._sandbox = sandbox
        self._slots = asyncio.Semaphore(CONCURRENT)

    async def print(self, html: Path, pdf: Path) -> None:
        """Write the page `html` as `pdf`. Raises NoChromium or ReportError."""
        program = self.program()
        if program is None:
            raise NoChromium("this installation has no Chromium")
        if (await asyncio.to_thread(html.stat)).st_size > MAX_HTML_BYTES:
            raise ReportError(f"the page is larger than {MAX_HTML_BYTES // 1024**2} MiB")
        async with self._slots:
            body = await asyncio.to_thread(html.read_bytes)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    async with opened(program, body, policy=POLICY, sandbox=self._sandbox) as page:
                        await page.load()
                        await page.settled(DRAWN, within_s=DRAWING_S)
                        await page.pdf(pdf, **PAPER)
            except TimeoutError:
                raise ReportError(f"printing took longer than {TIMEOUT_S:.0f} seconds") from None
            except (ChromiumError, OSError) as error:
                log.warning("a report could not be printed", reason=str(error))
                raise ReportError(f"Chromium could not print the page ({error})") from error

    def program(self) -> Path | None:
        """Where Chromium is; None when there is none."""
        if self._program is not None:
            return self._program if self._program.exists() else None
        found = next(filter(None, map(shutil.which, NAMES)), None)
        return Path(found) if found else None
