"""A Kinesis over HTTP for benchmarks, in a process of its own: `FakeKinesis` behind the service's JSON protocol.

It prints its port. Real local servers take several times as much of the machine as the clients that are measured.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from shardpack.testing import FakeKinesis
from shardpack.testing.kinesis import SystemClock


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kinesis = FakeKinesis(clock=SystemClock())

    def do_POST(self) -> None:
        """One call of the API."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        try:
            answer = getattr(self.kinesis, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())(**_parameters(body))
            status = 200
        except ClientError as error:
            answer, status = {"__type": error.response["Error"]["Code"], "message": str(error)}, 400
        answer.pop("ResponseMetadata", None)
        content = json.dumps(answer, default=_plain).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.kinesis.calls.clear()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _parameters(body: dict[str, Any]) -> dict[str, Any]:
    for record in (body, *body.get("Records", ())):
        if "Data" in record:
            record["Data"] = base64.b64decode(record["Data"])
    return body


def _plain(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else base64.b64encode(value).decode()


@contextmanager
def running() -> Iterator[str]:
    """The URL of such a server, which runs as long as the context."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, cwd=Path(__file__).parent) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def main() -> None:
    """Serve until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
