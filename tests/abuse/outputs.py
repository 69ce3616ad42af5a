"""What a kernel puts out: each MIME type, streams with control characters, errors, widgets and records of saved things,
shaped to cost whoever reads, cuts, copies or renders them most."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.abuse.attacker import Attacker, Input, grouped

SHOW = """
from IPython.display import display
def show(data, metadata=None): display(data, raw=True, metadata=metadata)
"""

RECORD = """
import json, os, pathlib
OUT = pathlib.Path(os.environ['ATELIER_RUN_DIR'], 'outputs')
def record(number, **members):
    path = OUT / '.atelier' / f'{number:06d}.json'
    path.parent.mkdir(exist_ok=True)
    about = {'schemaVersion': 1, 'createdAt': '2024-01-01T00:00:00Z'}
    path.with_suffix('.tmp').write_text(json.dumps({**about, **members}))
    path.with_suffix('.tmp').rename(path)
"""

PANDAS = "import pandas as pd\n"

CELLS: dict[str, str] = {
    "JSON of 1,900,000 objects": "show(data={'application/json': [{'a': 1}] * 1_900_000})",
    "four times a million objects": "for _ in range(4): show(data={'application/json': [{}] * 990_000})",
    "JSON of 900 levels": "import json\nshow(data={'application/json': json.loads('[' * 900 + ']' * 900)})",
    "JSON of wide names": "show(data={'application/json': {'n' * 100 + str(n): n for n in range(150_000)}})",
    "backspaces": "print('x\\b' * 9_500_000)",
    "carriage returns": "print('x\\r' * 9_000_000)",
    "backspaces line by line": "for n in range(300): print('x' * 1_000 + '\\b' * 1_000)",
    "escape sequences": "print('\\x1b[31mx' * 2_000_000)",
    "open escape sequences": "print('\\x1b[' * 5_000_000)",
    "line by line": "for n in range(40_000): print(n)",
    "SVG with a width of blanks": "show(data={'image/svg+xml': \"<svg width='1\" + ' ' * 3_000_000})",
    "SVG of attributes": "show(data={'image/svg+xml': '<svg ' + 'a=\"b\" ' * 500_000 + '>'})",
    "SVG of depth": "show(data={'image/svg+xml': '<svg>' + '<g>' * 60_000})",
    "a picture that is none": "show(data={'image/png': 'A' * 8_000_000})",
    "a picture that says it is huge": (
        "import base64, struct\n"
        "sizes = struct.pack('>I4sIIBBBBB', 13, b'IHDR', 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0)\n"
        "head = b'\\x89PNG\\r\\n\\x1a\\n' + sizes\n"
        "show(data={'image/png': base64.b64encode(head + bytes(100)).decode()})"
    ),
    "Markdown": "show(data={'text/markdown': '# a' + ' ' * 1_000_000 + 'b'})",
    "Markdown of stars": "show(data={'text/markdown': '*' * 200_000})",
    "Markdown of brackets": "show(data={'text/markdown': '[' * 60_000 + '](' * 60_000})",
    "Markdown of quotes": "show(data={'text/markdown': '> ' * 30_000 + 'a'})",
    "Markdown of code": "show(data={'text/markdown': '`' * 3_000 + ' `' * 60_000})",
    "HTML of depth": "show(data={'text/html': '<div>' * 60_000})",
    "HTML of open tags": "show(data={'text/html': '<' * 3_000_000})",
    "HTML of scripts": "show(data={'text/html': '<script>' * 300_000})",
    "HTML of comments": "show(data={'text/html': '<!--' * 800_000})",
    "HTML of tables": "show(data={'text/html': '<table>' + '<tr><td>1' * 60_000})",
    "HTML of Plotly": "show(data={'text/html': '<script>Plotly.newPlot(' * 60_000})",
    "LaTeX": "show(data={'text/latex': '$' + '{' * 60_000 + '}' * 60_000 + '$'})",
    "LaTeX of fractions": "show(data={'text/latex': '$' + '\\\\frac{1}{' * 5_000 + '1' + '}' * 5_000 + '$'})",
    "Plotly": "show(data={'application/vnd.plotly.v1+json': {'data': [{'y': list(range(150_000))}], 'layout': {}}})",
    "Plotly of traces": "show(data={'application/vnd.plotly.v1+json': {'data': [{'y': [1]}] * 8_000, 'layout': {}}})",
    "Vega": "show(data={'application/vnd.vegalite.v5+json': {'layer': [{'mark': 'bar'}] * 6_000}})",
    "JavaScript": "show(data={'application/javascript': 'a(' * 2_000_000})",
    "a MIME type of a megabyte": "show(data={'x' * 1_000_000: 'a'})",
    "50,000 MIME types": "show(data={f'text/x{n}': 'a' for n in range(50_000)})",
    "a MIME type with lines": "show(data={'text/x\\r\\nX-Evil: 1': 'a', 'text/plain': 'b'})",
    "a MIME type of slashes": "show(data={'/' * 100_000: 'a'})",
    "metadata": "show(data={'text/plain': 'a'}, metadata={f'm{n}': {'a': [n]} for n in range(60_000)})",
    "a title of 5 MB": "show(data={'text/html': 'a'}, metadata={'title': 't' * 5_000_000})",
    "values of wrong types": (
        "show(data={'text/plain': 5, 'image/png': [], 'text/html': {'a': None}, 'image/svg+xml': True})"
    ),
    "text that is no text": "show(data={'text/plain': '\\ud800' * 100_000})",
    "9,000 outputs": "for n in range(9_000): show(data={'text/plain': str(n)})",
    "5,000 updates": "h = display('a', display_id='d')\nfor n in range(5_000): display(n, display_id='d', update=True)",
    "2,000 ids": "for n in range(2_000): display(n, display_id='i' * 1_000 + str(n))",
    "an error of 5 MB": "raise type('E' * 100_000, (Exception,), {})('m' * 5_000_000)",
    "an error of depth": (
        "def f(n):\n    try: f(n - 1) if n else 1 / 0\n    except Exception as e: raise ValueError(n) from e\nf(150)"
    ),
    "a data frame": PANDAS + "pd.set_option('display.max_rows', None)\ndisplay(pd.DataFrame({'a': range(6_000)}))",
    "a wide data frame": PANDAS + "pd.set_option('display.max_columns', None)\ndisplay(pd.DataFrame([range(3_000)]))",
    "widgets with repeated children": (
        "from ipykernel.comm import Comm\n"
        "def model(**state): return Comm(target_name='jupyter.widget', data={'state': {'_model_name': 'VBoxModel', "
        "'_model_module': '@jupyter-widgets/controls', '_view_name': 'VBoxView', **state}, 'buffer_paths': []}, "
        "metadata={'version': '2.1.0'})\n"
        "child = model()\n"
        "for _ in range(12): child = model(children=[f'IPY_MODEL_{child.comm_id}'] * 10)\n"
        "view = {'version_major': 2, 'version_minor': 0, 'model_id': child.comm_id}\n"
        "show(data={'application/vnd.jupyter.widget-view+json': view})"
    ),
    "a widget with a large state": (
        "from ipykernel.comm import Comm\n"
        "Comm(target_name='jupyter.widget', data={'state': {'a': list(range(400_000))}}, metadata={'version': '2.1.0'})"
    ),
    "column types of 150,000": RECORD
    + "(OUT / 'a.parquet').write_bytes(b'PAR1')\n"
    + "for n in range(60): record(n, kind='dataset', file='a.parquet', name=f'd{n}', columnTypes=['string'] * 150_000)",
    "2,500 records": RECORD + "for n in range(2_500): record(n, kind='value', name=f'v{n}', value=n)",
    "values of 900 levels": RECORD + "record(1, kind='value', name='v', value=json.loads('[' * 900 + ']' * 900))",
    "a metric of 100,000 members": RECORD
    + "(OUT / 'a.pkl').write_bytes(b'a')\n"
    + "record(1, kind='model', file='a.pkl', name='m', metrics={f'm{n}': n for n in range(100_000)})",
    "a file with a long name": "open('f' * 250, 'w').write('a')\nopen('\\udcff\\n\\r', 'w').write('a')",
    "names of scraps": (
        "for n in range(3_000):\n"
        "    scrap = {'name': 'n' * 500 + str(n), 'data': n, 'encoder': 'json', 'version': 1}\n"
        "    show(data={'application/scrapbook.scrap.json+json': scrap})"
    ),
}


async def _display(attacker: Attacker, *, cell: str) -> None:
    notebook = await attacker.editor.create("md:# a" + " " * 2_200 + "b", SHOW + cell)
    options = {"generateReport": True, "saveIntermediateResults": True}
    execution = await attacker.run(notebook, outputOptions=options)
    if execution is not None:
        await attacker.viewer.get(f"notebook/{notebook['notebookId']}/value")


MEMBERS: dict[str, dict[str, Any]] = {
    "a package of a megabyte": {"packages": ["a" * 190_000]},
    "packages that contradict each other": {"packages": [f"numpy=={n}" for n in range(200)]},
    "an address of blanks": {"packages": ["a @ https://" + " " * 90_000]},
}


async def _prepare(attacker: Attacker, *, environment: dict[str, Any]) -> None:
    cells = [{"cellType": "code", "content": "1"}]
    body = {"notebookName": "an environment", "initialCells": cells, "environment": environment}
    status, notebook = await attacker.send("editor", "POST", "notebook", body)
    if status == 201:
        await attacker.run(notebook)


INPUTS = [
    *grouped("output", [Input(name, partial(_display, cell=cell)) for name, cell in CELLS.items()]),
    *grouped("environment", [Input(name, partial(_prepare, environment=members)) for name, members in MEMBERS.items()]),
]
