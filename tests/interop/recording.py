"""A TLS proxy in front of a local Kinesis: the KPL insists on TLS, and what it sends is what the tests are about."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from servers import NODE

CERTIFICATE = NODE / "node_modules" / "kinesalite" / "ssl"


class Put(NamedTuple):
    """An entry of a `PutRecords` call that was stored, and where."""

    data: bytes
    partition_key: str
    explicit_hash_key: str | None
    shard_id: str
    sequence_number: str


class RecordingProxy:
    """Forwards to a server and keeps what was put.

    Args:
        url: the server, which speaks plain HTTP.
    """

    def __init__(self, url: str) -> None:
        self.puts: list[Put] = []
        self._lock = threading.Lock()
        self._upstream = urlsplit(url).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                proxy.answer(self)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._listener.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE / "server-crt.pem", CERTIFICATE / "server-key.pem")
        self._listener.socket = context.wrap_socket(
            self._listener.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port: int = self._listener.server_address[1]
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.shutdown()
        self._thread.join()
        self._listener.socket.close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Hand one call on, and its answer back."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        upstream = HTTPConnection(self._upstream, timeout=60)
        try:
            upstream.request(handler.command, handler.path, body, dict(handler.headers))
            response = upstream.getresponse()
            answer = response.read()
        finally:
            upstream.close()
        if handler.headers.get("X-Amz-Target", "").endswith(".PutRecords") and response.status == 200:
            self._keep(json.loads(body)["Records"], json.loads(answer)["Records"])
        handler.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "content-length", "transfer-encoding", "date", "server"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def _keep(self, entries: list[dict[str, str]], results: list[dict[str, str]]) -> None:
        puts = [
            Put(
                base64.b64decode(entry["Data"]),
                entry["PartitionKey"],
                entry.get("ExplicitHashKey"),
                result["ShardId"],
                result["SequenceNumber"],
            )
            for entry, result in zip(entries, results, strict=True)
            if "SequenceNumber" in result
        ]
        with self._lock:
            self.puts += puts
