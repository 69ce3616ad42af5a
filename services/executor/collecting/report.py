"""The HTML report of a run: the executed notebook rendered by nbconvert, self-contained, without any outside host.

Rendering takes hundreds of milliseconds of CPU, so it runs in a process of its own: `python -m … NOTEBOOK HTML`.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

RENDER_TIMEOUT_S = 120.0
"""A report that takes longer is given up, in seconds."""


class ReportError(Exception):
    """The report could not be rendered; the message says why."""


async def render(notebook: Path, html: Path) -> None:
    """Render `notebook` to `html`; raises ReportError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(notebook), str(html), stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
    )
    try:
        async with asyncio.timeout(RENDER_TIMEOUT_S):
            _, errors = await process.communicate()
    except TimeoutError:
        raise ReportError(f"rendering took longer than {RENDER_TIMEOUT_S:.0f} seconds") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise ReportError(lines[-1][:200] if lines else f"the renderer ended with status {process.returncode}")


def main(notebook: str, html: str) -> None:
    """The renderer's process."""
    import nbformat  # noqa: PLC0415 - only this process needs them
    from nbconvert import HTMLExporter  # noqa: PLC0415
    from traitlets.config import Config  # noqa: PLC0415

    config = Config()
    # No outside host: MathJax, RequireJS and mermaid are otherwise fetched from a content network.
    config.HTMLExporter.mathjax_url = ""
    config.HTMLExporter.require_js_url = ""
    config.HTMLExporter.jquery_url = ""
    config.HTMLExporter.mermaid_js_url = ""
    config.HTMLExporter.embed_images = True
    body, _ = HTMLExporter(config=config).from_notebook_node(nbformat.read(notebook, as_version=4))
    Path(html).write_text(body, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
