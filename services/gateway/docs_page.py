"""`/docs`: the OpenAPI text as one plain page that needs no script, no font and no other host.

Swagger UI would be the usual choice, but the releases on PyPI do not read OpenAPI 3.1.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

from services.gateway import problems
from services.gateway.examples import BASE
from shared.errors import AtelierError

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; color: #1b1f24;
  background: #fff }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d0d7de }
details { border: 1px solid #d0d7de; border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer } code, pre { font: 13px/1.45 ui-monospace, monospace }
pre { background: #f6f8fa; padding: .8rem; overflow-x: auto; border-radius: 6px }
.method { display: inline-block; min-width: 4.5rem; font-weight: 600 } .muted { color: #57606a }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid #d0d7de; vertical-align: top }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117 } pre { background: #161b22 }
  details, td, th, h2 { border-color: #30363d } .muted { color: #8b949e } a { color: #58a6ff } }
"""

_Document = dict[str, Any]


def page(document: _Document) -> str:
    """The page for an OpenAPI document."""
    info = document["info"]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "head"  # as the GET beside it
    ]
    sections = "".join(
        f"<h2 id='{_anchor(tag['name'])}'>{escape(tag['name'])}</h2>"
        + "".join(_call(*item) for item in operations if tag["name"] in item[2]["tags"])
        for tag in document["tags"]
    )
    contents = " · ".join(f"<a href='#{_anchor(tag['name'])}'>{escape(tag['name'])}</a>" for tag in document["tags"])
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} API</h1><p class='muted'>Version {escape(info['version'])} · "
        "<a href='/openapi.json'>openapi.json</a> · <a href='/asyncapi.json'>asyncapi.json</a></p>"
        f"<p>{_inline(info['description'])}</p><p>{contents} · <a href='#errors'>Errors</a></p>"
        f"{sections}{_errors()}</body></html>"
    )


def _call(path: str, method: str, operation: _Document) -> str:
    parts = [f"<p>{_inline(operation['description'])}</p>", _parameters(operation), _curl(path, method, operation)]
    for status, answer in operation["responses"].items():
        for media_type, content in answer.get("content", {}).items():
            if "example" in content:
                parts.append(
                    f"<p>{status} <span class='muted'>{escape(media_type)}</span></p>{_code(content['example'])}"
                )
    refused = [status for status in operation["responses"] if status >= "400"]
    if refused:
        parts.append(f"<p class='muted'>Errors: {', '.join(refused)}</p>")
    return (
        f"<details id='{escape(operation['operationId'])}'><summary><span class='method'>{method.upper()}</span>"
        f"<code>{escape(path)}</code> <span class='muted'>{escape(operation['summary'])}</span></summary>"
        f"{''.join(parts)}</details>"
    )


def _parameters(operation: _Document) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(item['name'])}</code></td><td>{escape(item['in'])}</td>"
        f"<td>{escape(_type(item['schema']))}</td><td>{_inline(item.get('description', ''))}</td></tr>"
        for item in operation["parameters"]
        if item["in"] != "path"
    )
    return f"<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>{rows}</table>" if rows else ""


def _type(schema: _Document) -> str:
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    shown = []
    for option in options:
        if "enum" in option:
            shown.append(" | ".join(map(str, option["enum"])))
        elif "minimum" in option:
            shown.append(f"{option['type']} {option['minimum']} to {option['maximum']}")
        else:
            shown.append(option.get("type", "any"))
    text = ", ".join(shown)
    default = schema.get("default")
    return text if default is None else f"{text}, default {json.dumps(default)}"


def _curl(path: str, method: str, operation: _Document) -> str:
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", str(parameter["example"]))
    lines = [f"curl -X {method.upper()} {BASE}{path}"]
    if operation.get("security") != []:
        lines.append('-H "Authorization: Bearer $ATELIER_API_KEY"')
    body = operation.get("requestBody", {}).get("content", {})
    if "example" in body.get("application/json", {}) and method != "delete":
        shown = json.dumps(body["application/json"]["example"], indent=2, ensure_ascii=False).replace("'", "'\\''")
        lines += ["-H 'Content-Type: application/json'", f"-d '{shown}'"]
    for name, value in body.get("multipart/form-data", {}).get("example", {}).items():
        lines.append(f"-F {name}={'@your-file' if name == 'file' else json.dumps(value)}")
    return _code(" \\\n  ".join(lines))


def _code(example: Any) -> str:
    text = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
    return f"<pre><code>{escape(text)}</code></pre>"


def _errors() -> str:
    rows = "".join(
        f"<tr id='{error.kind}'><td>{kind.status}</td><td>{escape(kind.title)}</td>"
        f"<td>{_inline(kind.meaning)}</td></tr>"
        for error, kind in problems.KINDS.items()
        if error is not AtelierError
    )
    return f"<h2 id='errors'>Errors</h2><table><tr><th>Status</th><th>Title</th><th>Meaning</th></tr>{rows}</table>"


def _inline(text: str) -> str:
    """Plain text with `code` in it as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _anchor(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")
