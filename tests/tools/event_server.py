"""A server that pushes records over HTTP as Kinesis does, as event streams, and breaks them off as a script says.

It is a second opinion on `SubscribeToShard` beside the local servers: each frame is built here, byte by byte, after the
"Event stream" pages of AWS's documentation, and goes out in chunks of odd sizes, that neither begin nor end with it.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

from shardpack.testing import FakeKinesis

_EVENTS = 3  # of a subscription, before it ends
_STRING = 7  # the type of a header's value


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """A message of an event stream: its lengths, their checksum, headers, payload, the checksum of all."""
    head = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", _STRING, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    prelude += struct.pack("!I", zlib.crc32(prelude))
    message = prelude + head + payload
    return message + struct.pack("!I", zlib.crc32(message))


def event(kind: str, told: dict[str, Any]) -> bytes:
    """An event of a kind."""
    headers = {":message-type": "event", ":event-type": kind, ":content-type": "application/x-amz-json-1.1"}
    return frame(headers, json.dumps(told).encode())


def refusal(code: str) -> bytes:
    """An exception that comes as an event."""
    headers = {":message-type": "exception", ":exception-type": code, ":content-type": "application/x-amz-json-1.1"}
    return frame(headers, json.dumps({"message": "scripted"}).encode())


class EventServer(ThreadingHTTPServer):
    """Pushes what a FakeKinesis holds.

    Attributes:
        script: how each subscription ends, one after the other: ``"expires"`` as after five minutes, ``"resets"`` in
            the midst of an event, ``"stops"`` in the midst of an event without a reset, ``"refuses"`` with an
            exception as an event. When it is used up, subscriptions expire.
        ended: how those that were begun have ended.
        begun: the starting position of each.
    """

    daemon_threads = True

    def __init__(self, kinesis: FakeKinesis, script: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kinesis = kinesis
        self.script = script
        self.ended: list[str] = []
        self.begun: list[dict[str, Any]] = []
        self.random = Random(1)
        self.is_over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """Who reads may go away at any moment."""


@contextmanager
def serving(kinesis: FakeKinesis, script: list[str]) -> Iterator[EventServer]:
    """The server, while it runs."""
    with EventServer(kinesis, script) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.is_over.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: EventServer

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        call = self.headers["X-Amz-Target"].rpartition(".")[2]
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kinesis = self.server.kinesis
        if call == "SubscribeToShard":
            self._subscribe(asked)
        elif call == "DescribeStreamConsumer":
            arn = f"{asked['StreamARN']}/consumer/{asked['ConsumerName']}:1"
            self._answer({"ConsumerDescription": {"ConsumerStatus": "ACTIVE", "ConsumerARN": arn}})
        elif call == "DescribeStreamSummary":
            summary = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]
            self._answer({"StreamDescriptionSummary": {"StreamName": "s", "StreamARN": summary["StreamARN"]}})
        else:
            assert call == "ListShards", call
            self._answer({"Shards": kinesis.list_shards(StreamName="s")["Shards"]})

    def _answer(self, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _subscribe(self, asked: dict[str, Any]) -> None:
        server = self.server
        server.begun.append(asked["StartingPosition"])
        how = server.script.pop(0) if server.script else "expires"
        server.ended.append(how)
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.amazon.eventstream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._send(event("initial-response", {}))
        events = self._events(asked["ShardId"], asked["StartingPosition"])
        for _ in range(_EVENTS):
            self._send(next(events))
        if how == "refuses":
            self._send(refusal("InternalFailureException"))
        elif how in ("resets", "stops"):
            last = next(events)
            self._send(last[: len(last) // 2])
            if how == "resets":  # what is not acknowledged is thrown away, and the reader told so
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")

    def _events(self, shard_id: str, position: dict[str, Any]) -> Iterator[bytes]:
        names = {"Type": "ShardIteratorType", "SequenceNumber": "StartingSequenceNumber"}
        where = {names[name]: value for name, value in position.items()}
        kinesis = self.server.kinesis
        iterator = kinesis.get_shard_iterator(StreamName="s", ShardId=shard_id, **where)["ShardIterator"]
        last = position.get("SequenceNumber")
        while True:
            answer = kinesis.get_records(ShardIterator=iterator, Limit=2)
            iterator = answer["NextShardIterator"]
            records = [
                {
                    "SequenceNumber": record["SequenceNumber"],
                    "ApproximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
                    "Data": base64.b64encode(record["Data"]).decode(),
                    "PartitionKey": record["PartitionKey"],
                }
                for record in answer["Records"]
            ]
            last = records[-1]["SequenceNumber"] if records else last
            told = {"Records": records, "MillisBehindLatest": answer["MillisBehindLatest"]}
            yield event("SubscribeToShardEvent", told | {"ContinuationSequenceNumber": last or "0"})
            if not records:
                self.server.is_over.wait(0.01)

    def _send(self, data: bytes) -> None:
        """In chunks that have nothing to do with the frames."""
        while data:
            size = self.server.random.choice((1, 2, 3, 7, 13, 64))
            chunk, data = data[:size], data[size:]
            with suppress(OSError):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
