"""A stand-in for every process of Atelier, so that the stack is tested for itself; copied into a checkout of its own.

It checks that it was given its settings, answers /readyz, and does the few calls that `make up` makes. The worker
starts a child in a session of its own, as a kernel would be.
"""

import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

DATASET = {"datasetId": "5f0c8d1e-0000-4000-8000-000000000001"}
KEY = "key-of-the-stub"


class Answers(http.server.BaseHTTPRequestHandler):
    """The API as far as `make up` needs it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/api/me" and self.headers.get("Authorization") != f"Bearer {KEY}":
            self.answer(401, {})
        else:
            self.answer(200, DATASET)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201 if b'name="file"' in body else 400, DATASET)

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Runs until SIGTERM."""
    if "create-key" in sys.argv:
        assert "--tenant" in sys.argv, sys.argv
        print(KEY)
        return
    if os.environ.get("STUB_FAILS") == os.environ["ATELIER_STACK"].partition(":")[2]:
        sys.exit("the stub was told to fail")
    for name in ("ATELIER_AMQP_URL", "ATELIER_INTERNAL_SECRET", "ATELIER_ARTIFACTS_URL", "ATELIER_OPS_BIND"):
        assert os.environ[name], name
    if sys.argv[-1] == "worker":
        assert pathlib.Path(os.environ["ATELIER_WORK_DIR"]).is_dir(), "ATELIER_WORK_DIR"
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    for name in ("ATELIER_OPS_BIND", "ATELIER_HTTP_BIND"):
        if name in os.environ:
            host, _, port = os.environ[name].rpartition(":")
            server = http.server.ThreadingHTTPServer((host, int(port)), Answers)
            threading.Thread(target=server.serve_forever).start()
    signal.pause()
