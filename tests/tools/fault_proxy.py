"""An HTTP proxy in front of a local Kinesis or DynamoDB that makes it go wrong as the real one does, and more often.

What the two have in common is here: resets, 500s, throttled calls, latency, counting, and which answers were lost
though the server had done what it was asked. What only one of them knows is its `Service` (fault_services.py). The
proxy runs in threads of the test's process: the work is the server's, and a test can steer and count directly.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from fault_calls import Answer, Call, LostAnswer

_SERVER_SECONDS = 60
_OWN_HEADERS = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding", "expect"})


@dataclass
class Faults:
    """What goes wrong, as shares of calls from 0 to 1 unless said otherwise. A test may change it at any time.

    Attributes:
        reset_before: the connection is reset, and the server has never seen the call.
        reset_after: the connection is reset when the server has done what it was asked.
        internal_failure: answered 500 without asking the server.
        throttle: refused as over some limit without asking the server.
        wrong_count: `PutRecords` answers one result too few or too many for what it stored.
        record_failure: share of a `PutRecords` call's records that fail alone, with `InternalFailure`.
        delay: seconds that each call waits before the server gets it.
        latency: most seconds that a call waits besides.
        latency_after: most seconds that an answer waits before the client gets it.
        stall: the answer waits for `stall_seconds`, which a client should not.
        operations: the operations that this concerns; None: all.
        at_most: how many more faults (latency aside) may strike; None: no end.
    """

    reset_before: float = 0.0
    reset_after: float = 0.0
    internal_failure: float = 0.0
    throttle: float = 0.0
    wrong_count: float = 0.0
    record_failure: float = 0.0
    delay: float = 0.0
    latency: float = 0.0
    latency_after: float = 0.0
    stall: float = 0.0
    stall_seconds: float = 10.0
    operations: frozenset[str] | None = None
    at_most: int | None = None

    def concerns(self, call: Call) -> bool:
        """Whether a call's operation is among those named."""
        return self.operations is None or call.operation in self.operations


class Service(Protocol):
    """What is particular to Kinesis or to DynamoDB."""

    internal_failure: str

    def throttling_codes(self, operation: str) -> tuple[str, ...]:
        """The errors by which the service refuses an operation over a limit."""

    def serve(self, call: Call, proxy: FaultProxy) -> Answer:
        """Have the server do it, within the service's limits."""


class ResetError(Exception):
    """The client's connection is to be reset."""


class ServerDownError(Exception):
    """The server does not listen."""


class FaultProxy:
    """The proxy; listens while it is entered.

    Args:
        upstream: the server's URL; it may go and come back meanwhile.
        service: whose calls these are.
        faults: what goes wrong at first.
        seed: for the dice.
        patience: seconds after which a client may have stopped to wait; such answers count as lost, and are sent.

    Attributes:
        faults: what goes wrong now.
        counts: how many faults of each kind there were: the names of `Faults`, and those of `LostAnswer` and `Service`.
        calls: how many calls of each operation came in.
        lost: answers that did not reach the client.
    """

    def __init__(
        self,
        upstream: str,
        service: Service,
        faults: Faults | None = None,
        *,
        seed: int = 0,
        patience: float = float("inf"),
    ) -> None:
        parts = urlsplit(upstream)
        self._server_address = parts.hostname or "", parts.port or 80
        self.service = service
        self.patience = patience
        self.faults = faults or Faults()
        self.counts: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.lost: list[LostAnswer] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._under_way = 0
        self._idle = threading.Condition()
        self._listener = _Listener(("127.0.0.1", 0), _Handler, self)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), name="fault-proxy")

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self._listener.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.wait_until_idle()
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()
        self._listener.hang_up()
        if error[0] is None and self._listener.errors:
            raise RuntimeError("the proxy itself has failed") from self._listener.errors[0]

    def wait_until_idle(self) -> None:
        """Return when no call is under way, so that `lost` is complete for the clients that have given up."""
        with self._idle:
            assert self._idle.wait_for(lambda: not self._under_way, _SERVER_SECONDS), "calls without an end"

    # For services.

    def strikes(self, fault: str, call: Call) -> bool:
        """Whether a fault of `Faults` happens now; then it is counted."""
        faults = self.faults
        share = getattr(faults, fault)
        if not share or not faults.concerns(call):
            return False
        with self._lock:
            if faults.at_most == 0 or self._random.random() >= share:
                return False
            if faults.at_most is not None:
                faults.at_most -= 1
            self.counts[fault] += 1
            return True

    def count(self, kind: str) -> None:
        """Count a fault that is not one of `Faults`."""
        with self._lock:
            self.counts[kind] += 1

    def lose(self, call: Call, kind: str) -> None:
        """The client does not learn, or not rightly, what the server did."""
        if call.forwarded is not None:
            call.is_lost = True
            with self._lock:
                self.lost.append(LostAnswer(kind, call.operation, call.forwarded))

    def forward(self, call: Call, arguments: dict[str, Any] | None = None) -> Answer:
        """Have the server do it, with other arguments than the client's if there are some.

        Raises:
            ServerDownError: it was not asked.
            ResetError: it died meanwhile.
        """
        call.forwarded = call.arguments if arguments is None else arguments
        try:
            body = call.body if arguments is None else json.dumps(arguments).encode()
            answer = self.ask(call, call.operation, body)
        except ServerDownError:
            call.forwarded = None
            raise
        except ResetError:
            self.count("server_lost")
            self.lose(call, "server_lost")
            raise
        if answer.status != 200:
            call.forwarded = None
        return answer

    def ask(self, call: Call, operation: str, body: bytes) -> Answer:
        """Ask the server something, on behalf of a call.

        Raises:
            ServerDownError: it does not listen.
            ResetError: it died meanwhile.
        """
        # A connection for each: a kept one may be closed by the server at any moment, and who then asks again stores
        # twice.
        connection = HTTPConnection(*self._server_address, timeout=_SERVER_SECONDS)
        try:
            try:
                connection.connect()
            except OSError as error:
                raise ServerDownError from error
            headers = dict(call.headers) | {"X-Amz-Target": f"{call.prefix}.{operation}", "Connection": "close"}
            connection.request("POST", "/", body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read(), response.getheader("x-amzn-requestid") or "")
        except (HTTPException, OSError) as error:
            raise ResetError from error
        finally:
            connection.close()

    # For the handler.

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """While a call is."""
        with self._idle:
            self._under_way += 1
        try:
            yield
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()

    def handle(self, call: Call) -> Answer:
        """What the client gets.

        Raises:
            ResetError: nothing but a reset.
        """
        with self._lock:
            self.calls[call.operation] += 1
        if self.faults.delay and self.faults.concerns(call):
            time.sleep(self.faults.delay)
        self._wait(self.faults.latency, call)
        if self.strikes("reset_before", call):
            raise ResetError
        if self.strikes("internal_failure", call):
            return Answer.error(500, self.service.internal_failure, "injected by the test")
        if self.strikes("throttle", call):
            code = self._random.choice(self.service.throttling_codes(call.operation))
            return Answer.error(400, code, "Rate exceeded (injected by the test)")
        try:
            answer = self.service.serve(call, self)
        except ServerDownError:
            self.count("server_down")
            return Answer.error(503, "ServiceUnavailable", "the local server is down")
        if self.strikes("reset_after", call):
            self.lose(call, "reset_after")
            raise ResetError
        if self.strikes("stall", call):
            time.sleep(self.faults.stall_seconds)
        self._wait(self.faults.latency_after, call)
        return answer

    def _wait(self, most: float, call: Call) -> None:
        if most and self.faults.concerns(call):
            time.sleep(self._random.uniform(0, most))


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], proxy: FaultProxy) -> None:
        super().__init__(address, handler)
        self.proxy = proxy
        self.errors: list[BaseException] = []
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._sockets.discard(request)
        self.close_request(request)  # without the base class' polite FIN, which would come before a reset

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.errors.append(error)
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """End the connections that clients keep open."""
        with self._lock:
            for connection in self._sockets:
                with suppress(OSError):  # gone already
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # header and body in one piece
    server: _Listener
    _answered: Call | None = None

    def finish(self) -> None:
        """The connection has ended: nobody knows whether its last answer was read.

        A client on a busy machine may have waited for long before the proxy saw the call, and has hung up meanwhile.
        """
        with suppress(OSError):
            super().finish()
        if self._answered is not None and not self._answered.is_lost:
            self.server.proxy.lose(self._answered, "last")

    def do_POST(self) -> None:
        with self.server.proxy.under_way():
            self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        prefix, _, operation = self.headers.get("X-Amz-Target", "").partition(".")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN_HEADERS}
        call = Call(headers, prefix, operation, body, json.loads(body or b"{}"))
        proxy, started = self.server.proxy, time.monotonic()
        self._answered = None  # who asks for more has read what it was told
        try:
            answer = proxy.handle(call)
        except ResetError:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        if self._client_is_gone():
            proxy.count("client_gone")
            proxy.lose(call, "client_gone")
            return  # reading the next call will end the connection
        if time.monotonic() - started > proxy.patience:
            proxy.count("late")
            proxy.lose(call, "late")
        self.send_response(answer.status)
        self.send_header("Content-Type", self.headers.get("Content-Type", "application/x-amz-json-1.1"))
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("x-amzn-RequestId", answer.request_id)
        self.end_headers()
        self._answered = call
        self.wfile.write(answer.body)
        self.wfile.flush()

    def _client_is_gone(self) -> bool:
        # A client that waits for an answer sends nothing, so that what there is to read is the end.
        self.connection.setblocking(False)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.setblocking(True)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""
