"""Every output type, made by the real libraries, in results, executed notebook and report; the report in a browser."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest

from deploy.local.services import KERNEL_PYTHON
from tests.support.api import Api
from tests.support.runs import address

COLOURS = {"matplotlib": (200, 16, 46), "seaborn": (0, 130, 90), "plotly": (120, 40, 200), "altair": (250, 140, 0)}
"""Each library draws in a colour that nothing else on the page has."""

CELLS = {
    "stream": "print('to stdout')\nimport sys; print('to stderr', file=sys.stderr)",
    "matplotlib": "import matplotlib.pyplot as plt\nplt.bar(['a', 'b'], [1, 2], color='#c8102e'); plt.show()",
    "seaborn": "import seaborn as sns, pandas as pd\nframe = pd.DataFrame({'x': [1, 2], 'y': [3, 4]})\n"
    "sns.barplot(frame, x='x', y='y', color='#00825a', saturation=1); plt.show()",
    "plotly": "import plotly.express as px\nfigure = px.bar(x=['a', 'b'], y=[1, 3], title='Cases a month')\n"
    "figure.update_traces(marker_color='rgb(120,40,200)'); figure.show()",
    "altair": "import altair as alt\nalt.Chart(frame, title='Altair chart', width=300).mark_bar(color='#fa8c00')"
    ".encode(x='x:O', y='y')",
    "styler": "frame.style.set_caption('Styled table').background_gradient()",
    "frame": "frame",
    "widgets": "import ipywidgets as widgets\nout = widgets.Output()\nwith out: print('inside the widget')\n"
    "widgets.VBox([widgets.IntSlider(7, description='Threshold'), out])",
    "sympy": "import sympy\nsympy.init_printing()\nx = sympy.symbols('x')\nsympy.Integral(sympy.sqrt(1 / x), x)",
    "latex": "from IPython.display import HTML, JSON, SVG, Latex, Markdown, display\n"
    "Latex(r'Thus $\\int_0^1 x\\,dx = \\frac{1}{2}$.')",
    "svg": 'SVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="2in" height="48"><circle r="9"/></svg>\')',
    "json": "JSON({'cases': 3})",
    "markdown": "Markdown('**bold words**')",
    "html": "display(HTML('<p>plain page</p>'), metadata={'title': 'Own title'})",
    "error": "1/0",
}


@pytest.fixture(scope="module")
async def corpus(api: Api) -> dict[str, Any]:
    """The executed corpus."""
    notebook = await api.create("md:# All outputs\n\nWith $a^2 + b^2$.", *CELLS.values())
    run = await api.run(notebook["notebookId"], {"errorPolicy": "continue", "outputOptions": {"generateReport": True}})
    assert run["status"] == "Completed", run["errorMessage"]
    assert [cell["status"] for cell in run["cellResults"][1:-1]] == ["Success"] * (len(CELLS) - 1), run
    return run


def of_cells(run: dict[str, Any], outputs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    names = dict(zip([cell["cellId"] for cell in run["cellResults"][1:]], CELLS, strict=True))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CELLS}
    for output in outputs:
        found[names[output["cellId"]]].append(output)
    return found


async def test_each_appears_rightly_in_results(api: Api, corpus: dict[str, Any]) -> None:
    found = of_cells(corpus, (await api.results(corpus))["outputs"])
    kinds = {name: [output["contentType"] for output in outputs] for name, outputs in found.items()}
    words = {name: [output["outputType"] for output in outputs] for name, outputs in found.items()}
    assert kinds["stream"] == ["text/plain", "text/plain"]
    assert words["stream"] == ["stream", "stream"]
    assert kinds["matplotlib"] == kinds["seaborn"] == ["image/png"]
    assert found["matplotlib"][0]["dimensions"]["width"] > 300
    assert kinds["plotly"] == ["application/vnd.plotly.v1+json"]
    assert found["plotly"][0]["title"] == "Cases a month"
    assert re.fullmatch(r"application/vnd\.vegalite\.v\d+\+json", kinds["altair"][0])
    assert found["altair"][0]["title"] == "Altair chart"
    assert kinds["styler"] == kinds["frame"] == ["text/html"]
    assert "Styled table" in found["styler"][0]["content"]
    assert kinds["widgets"] == ["text/plain"]
    assert "IntSlider(value=7" in found["widgets"][0]["content"]
    assert kinds["sympy"] == kinds["latex"] == ["text/latex"]
    assert "\\int" in found["sympy"][0]["content"]
    assert words["svg"] == ["image/svg+xml"]
    assert found["svg"][0]["dimensions"] == {"width": 192, "height": 48}
    assert found["json"][0]["content"] == {"cases": 3}
    assert kinds["markdown"] == ["text/markdown"]
    assert found["html"][0]["title"] == "Own title"
    assert words["error"] == ["error"]
    assert "ZeroDivisionError" in found["error"][0]["content"]
    plots = of_cells(corpus, (await api.results(corpus, outputType="plots"))["outputs"])
    assert {name for name, outputs in plots.items() if outputs} == {*COLOURS, "svg"}
    assert (corpus["outputs"]["plots"], corpus["outputs"]["dataFrames"]) == (5, 2)


async def test_the_executed_notebook_holds_all_of_it(api: Api, corpus: dict[str, Any]) -> None:
    status, body, _ = await api.get(f"{address(corpus)}/notebook")
    assert status == 200
    notebook = nbformat.from_dict(body if isinstance(body, dict) else json.loads(body))
    nbformat.validate(notebook)
    assert all(cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    assert "IntSliderModel" in {state["model_name"] for state in states}


async def report(api: Api, run: dict[str, Any], **params: str) -> tuple[str, Any]:
    """A report as soon as it is made."""
    async with asyncio.timeout(120):
        while True:
            status, body, headers = await api.get(f"{address(run)}/report", params=params)
            if status == 200:
                return body.decode(), headers
            assert (status, headers["Retry-After"]) == (503, "5"), body


async def test_reports_come_in_profiles_under_a_sandbox(api: Api, corpus: dict[str, Any]) -> None:
    full, headers = await report(api, corpus)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "init_printing" in full
    bare, _ = await report(api, corpus, profile="no-code", disposition="attachment")
    assert "init_printing" not in bare
    for page in (full, bare):
        assert "<math" in page
        assert "inside the widget" in page
        assert "Styled table" in page
    etag = headers["ETag"]
    status, _, _ = await api.get(f"{address(corpus)}/report", headers={"If-None-Match": etag})
    assert status == 304
    status, latest, _ = await api.get(f"notebook/{corpus['notebookId']}/report")
    assert (status, latest.decode()) == (200, full)


async def test_the_notebooks_report_is_that_of_its_latest_success(api: Api) -> None:
    cells = [
        {"cellType": "code", "content": "fail, mark = False, 'none'", "tags": ["parameters"]},
        {"cellType": "code", "content": "print('mark ' + mark)\n1 / (not fail)"},
    ]
    notebook = await api.create(initialCells=cells)
    path = f"notebook/{notebook['notebookId']}"
    assert (await api.get(f"{path}/report"))[0] == 404

    async def shown_after(*, fail: bool, mark: str) -> tuple[str, str, str]:
        run = await api.run(notebook["notebookId"], {"parameters": {"fail": fail, "mark": mark}})
        page, _ = await report(api, run)
        status, latest, _ = await api.get(f"{path}/report")
        assert status == 200, latest
        return run["status"], page, latest.decode()

    status, first, latest = await shown_after(fail=False, mark="one")
    assert (status, latest) == ("Completed", first)
    status, failed, latest = await shown_after(fail=True, mark="two")
    assert (status, latest) == ("Error", first)
    assert "mark two" in failed
    status, second, latest = await shown_after(fail=False, mark="three")
    assert (status, latest) == ("Completed", second)
    assert "mark three" in second


async def test_html_behind_a_link_is_saved_and_never_run(api: Api, corpus: dict[str, Any]) -> None:
    outputs = (await api.results(corpus))["outputs"]
    url = next(output["downloadUrl"] for output in outputs if output["contentType"] == "text/html")
    async with api.session.get(url) as answer:
        assert answer.status == 200
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        assert answer.headers["Content-Disposition"].startswith("attachment;")


async def test_the_tags_of_cells_are_honoured(api: Api) -> None:
    tagged = {"remove-cell": "print('cell ' + 'gone')", "remove-input": "print('input ' + 'gone')"}
    cells = [{"cellType": "code", "content": source, "tags": [tag]} for tag, source in tagged.items()]
    cells.append({"cellType": "code", "content": "print('output ' + 'gone')", "tags": ["remove-output"]})
    notebook = await api.create(initialCells=cells)
    page, _ = await report(api, await api.run(notebook["notebookId"]))
    text = re.sub(r"<[^>]+>", "", page)
    assert "cell gone" not in text
    assert "input gone" in text
    assert "'input '" not in text
    assert "'output '" in text
    assert "output gone" not in text


async def test_a_report_reads_no_file_and_waits_for_the_end_of_the_run(api: Api) -> None:
    notebook = await api.create("md:![x](/etc/hostname) ![y](../../../etc/passwd)", "import time; time.sleep(3)")
    run = await api.start(notebook["notebookId"])
    status, _, _ = await api.get(f"{address(run)}/report")
    assert status == 409
    status, _, _ = await api.get(f"notebook/{notebook['notebookId']}/report")
    assert status == 404
    page, _ = await report(api, await api.wait(notebook["notebookId"], run["executionId"]))
    assert "data:None" not in page
    assert "root:" not in page
    assert 'src="/etc/hostname"' in page


def chromium() -> str:
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("chromium is missing: make test installs it")
    return program


@pytest.mark.slow(reason="a browser prints")
async def test_a_pdf_is_printed_where_there_is_a_chromium(api: Api, corpus: dict[str, Any]) -> None:
    chromium()
    async with asyncio.timeout(240):
        while True:
            status, body, headers = await api.get(f"{address(corpus)}/report", params={"format": "pdf"})
            if status == 200:
                break
            assert status == 503, body
    assert headers["Content-Type"] == "application/pdf"
    assert body.startswith(b"%PDF-")
    assert body.rstrip().endswith(b"%%EOF")
    assert len(body) > 50_000


COUNT = """
import json, sys
from PIL import Image
shown = Image.open(sys.argv[1]).convert("RGB").getcolors(2**24)
near = lambda one, other: all(abs(a - b) < 12 for a, b in zip(one, other))
wanted = json.loads(sys.argv[2])
print(json.dumps({name: sum(n for n, seen in shown if near(seen, colour)) for name, colour in wanted.items()}))
"""


@pytest.mark.parametrize("profile", ["full", "no-code"])
@pytest.mark.slow(reason="a browser draws")
async def test_the_report_shows_its_plots_in_a_browser_without_a_network(
    api: Api, corpus: dict[str, Any], tmp_path: Path, profile: str
) -> None:
    page, _ = await report(api, corpus, profile=profile)
    html, picture = tmp_path / "report.html", tmp_path / "report.png"
    html.write_text(page)
    # No name can be resolved and no proxy answers: the browser is off the network.
    options = ["--headless=new", "--disable-gpu", "--no-sandbox", "--hide-scrollbars", "--window-size=1280,7000"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", f"--user-data-dir={tmp_path}/c"]
    options += ["--virtual-time-budget=15000", f"--screenshot={picture}", html.as_uri()]
    done = await asyncio.to_thread(
        subprocess.run, [chromium(), *options], capture_output=True, timeout=200, check=False
    )
    assert picture.exists(), done.stderr
    counting: list[str | Path] = [KERNEL_PYTHON, "-c", COUNT, picture, json.dumps(COLOURS)]
    pixels = json.loads(await asyncio.to_thread(subprocess.check_output, counting))
    assert {name: count > 500 for name, count in pixels.items()} == dict.fromkeys(COLOURS, True), pixels
