"""Headers of what artifacts hands out."""

from __future__ import annotations

from urllib.parse import quote


def disposition(file_name: str, *, inline: bool = False) -> str:
    """The header that makes a browser save the answer under this name (RFC 6266), or show it."""
    plain = "".join(c if " " <= c < "\x7f" and c not in '"\\/' else "_" for c in file_name) or "download"
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"
