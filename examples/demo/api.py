"""A small client of the REST API: one method a verb, errors as exceptions, uploads and downloads as streams."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

TIMEOUT = (5.0, 60.0)  # seconds to connect, and between two bytes; the API answers within 25 s
UPLOAD_TIMEOUT = (5.0, 600.0)  # the answer to an upload comes when the whole log has been read
CHUNK_BYTES = 256 * 1024
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Json = dict[str, Any]


class ApiError(Exception):
    """The API answered with a problem, or not at all; the text is meant for a person."""


@dataclass(frozen=True)
class ServerSentEvent:
    """One event of a stream: its number in the run, and its content."""

    id: str
    content: Json


class Api:
    """The calls of one project. Raises ApiError for everything that goes wrong."""

    def __init__(self, url: str, tenant: str, project: str, key: str) -> None:
        self.url = url.rstrip("/")
        self.base = f"{self.url}/api/{tenant}/{project}"
        self._session = requests.Session()
        self._session.trust_env = urlsplit(url).hostname not in LOOPBACK  # a proxy cannot reach this machine's loopback
        self._authorization = {"Authorization": f"Bearer {key}"}

    def get(self, path: str, **query: str | int) -> Json:
        """GET below the project; returns the JSON object."""
        return _object(self._send("GET", f"{self.base}/{path}", params=query))

    def post(self, path: str, body: Mapping[str, object]) -> Json:
        """POST with a JSON body and a key that makes a repetition harmless; returns the JSON object."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return _object(self._send("POST", f"{self.base}/{path}", json=body, headers=headers))

    def upload(self, path: str, file: Path, fields: Mapping[str, str], sent: Callable[[int], None]) -> Json:
        """POST a file as multipart/form-data without reading it into memory; `sent` is told the bytes of each piece."""
        boundary = uuid.uuid4().hex

        def body() -> Iterator[bytes]:
            for name, value in fields.items():
                yield f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            disposition = f'form-data; name="file"; filename="{_quotable(file.name)}"'
            kind = "Content-Type: application/octet-stream"
            yield f"--{boundary}\r\nContent-Disposition: {disposition}\r\n{kind}\r\n\r\n".encode()
            with file.open("rb") as handle:
                while piece := handle.read(CHUNK_BYTES):
                    yield piece
                    sent(len(piece))
            yield f"\r\n--{boundary}--\r\n".encode()

        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return _object(self._send("POST", f"{self.base}/{path}", data=body(), headers=headers, timeout=UPLOAD_TIMEOUT))

    def download(self, url: str, target: Path) -> int:
        """Saves what a link answers, or a path of the project; returns the number of bytes.

        Download links are signed: they need no header, and so the key is sent to the API alone.
        """
        own = not url.startswith(("http://", "https://"))
        response = self._send("GET", f"{self.base}/{url}" if own else url, stream=True, authorized=own)
        size = 0
        with response, target.open("wb") as handle:
            try:
                for piece in response.iter_content(CHUNK_BYTES):
                    size += handle.write(piece)
            except requests.RequestException as error:
                raise ApiError(f"the download of {target.name} broke off: {error}") from error
        return size

    def events(self, path: str, after: str) -> Iterator[ServerSentEvent]:
        """The events of a run from the one after `after` (empty: from the first) until the stream ends."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        with self._send("GET", f"{self.base}/{path}", stream=True, headers=headers) as response:
            number, data = "", list[str]()
            try:
                # Byte by byte: with larger pieces a short event would wait for the next one to fill them.
                for line in response.iter_lines(chunk_size=1):
                    name, _, value = line.decode().partition(":")
                    value = value.removeprefix(" ")
                    if name == "id":
                        number = value
                    elif name == "data":
                        data.append(value)
                    elif line == b"" and data:
                        yield ServerSentEvent(number, json.loads("\n".join(data)))
                        data = []
            except (requests.RequestException, ValueError) as error:
                raise ApiError(f"the event stream broke off: {error}") from error

    def _send(self, method: str, url: str, *, authorized: bool = True, **options: Any) -> requests.Response:
        headers = (self._authorization if authorized else {}) | options.pop("headers", {})
        options.setdefault("timeout", TIMEOUT)
        try:
            response = self._session.request(method, url, headers=headers, **options)
        except requests.ConnectionError as error:
            raise ApiError(f"nothing answers at {self.url}; is it up? Try: make up ({_cause(error)})") from error
        except requests.RequestException as error:
            raise ApiError(f"{method} {url}: {error}") from error
        if response.status_code >= 400:
            with response:
                raise ApiError(f"{method} {urlsplit(url).path}: {response.status_code}, {_problem(response)}")
        return response


def _object(response: requests.Response) -> Json:
    try:
        value = response.json()
    except ValueError as error:
        raise ApiError(f"{response.url} answered something that is not JSON: {response.text[:200]!r}") from error
    if not isinstance(value, dict):
        raise ApiError(f"{response.url} answered JSON that is not an object")
    return value


def _problem(response: requests.Response) -> str:
    """What a problem document says (RFC 9457), every validation error included."""
    try:
        problem = response.json()
        faults = "".join(f"\n  {fault['path']}: {fault['message']}" for fault in problem.get("errors") or [])
        return f"{problem.get('detail') or problem.get('title')}{faults}"
    except (ValueError, AttributeError, KeyError, TypeError):
        return response.text[:300]


def _cause(error: BaseException) -> str:
    """The innermost reason of a connection error; the outer ones only repeat it at length."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return str(reason or error).rpartition(": ")[2]


def _quotable(name: str) -> str:
    """A file name as it may stand in a Content-Disposition header (WHATWG HTML, multipart/form-data encoding)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
