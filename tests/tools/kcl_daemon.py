"""The KCL's MultiLangDaemon as it talks to one process, for tests of `shardpack.multilang`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import shardpack as sp
from shardpack.consumer.core.handling import Policy
from shardpack.multilang import RecordProcessor
from shardpack.multilang.conversation import Conversation
from shardpack.multilang.handlers import HandlerProcessor

SHARD = "shardId-000000000007"


class Daemon:
    """The other end, for one shard: it holds the order of the protocol, and checkpoints as the KCL does.

    Args:
        positions: of the user records in the shard, in order.
        sizes: how many of them go into each batch; then the shard ends.
        errors: the answers to the first checkpoints; None: it is recorded.
    """

    def __init__(
        self, positions: Sequence[sp.Position], sizes: Sequence[int], errors: Sequence[str | None] = ()
    ) -> None:
        self.positions = list(positions)
        self.sizes = sizes
        self.errors = list(errors)
        self.checkpoint = sp.Position.TRIM_HORIZON
        self.checkpoints: list[sp.Position] = []
        self.answers: list[dict[str, Any]] = []
        self.said: list[dict[str, Any]] = []
        self.largest = sp.Position.TRIM_HORIZON

    def lines(self) -> Iterator[bytes]:
        """What it says to a process that begins, in order, each answered before the next."""
        yield from self.batches([*self.sizes, len(self.positions)])
        self.largest = sp.Position.SHARD_END
        yield from self.ask(action="shardEnded")
        assert self.checkpoint == sp.Position.SHARD_END, "the children are never begun"

    def until_killed(self, sizes: Sequence[int]) -> Iterator[bytes]:
        """What it says until it is killed, after so many batches."""
        yield from self.batches(sizes)

    def until_asked_to_stop(self, sizes: Sequence[int]) -> Iterator[bytes]:
        """What it says until it is told to stop, after so many batches."""
        yield from self.batches(sizes)
        yield from self.ask(action="shutdownRequested")
        yield from self.ask(action="leaseLost")

    def begin(self, *messages: dict[str, Any]) -> Iterator[bytes]:
        """What it says when it has these messages for a process without records."""
        for message in [self._initialize(), *messages]:
            yield from self.ask(**message)

    def _initialize(self) -> dict[str, Any]:
        return {
            "action": "initialize",
            "shardId": SHARD,
            "sequenceNumber": self.checkpoint.sequence_number,
            "subSequenceNumber": self.checkpoint.sub_sequence_number,
        }

    def batches(self, sizes: Sequence[int]) -> Iterator[bytes]:
        """The beginning, and batches of what is not checkpointed yet."""
        left = [position for position in self.positions if position > self.checkpoint]
        self.largest = self.checkpoint
        yield from self.ask(**self._initialize())
        for size in sizes:
            batch, left = left[:size], left[size:]
            if batch:
                self.largest = batch[-1]
            yield from self.ask(
                action="processRecords", records=[as_json(position) for position in batch], millisBehindLatest=5
            )

    def ask(self, **message: Any) -> Iterator[bytes]:
        yield json.dumps(message, ensure_ascii=False).encode() + b"\n"
        while True:
            said = self.said.pop(0)
            assert not self.said, "it said two things at once"
            if said["action"] == "status":
                assert said["responseFor"] == message["action"]
                return
            yield json.dumps(self.record(said, message["action"])).encode() + b"\n"

    def record(self, said: dict[str, Any], during: str) -> dict[str, Any]:
        """The answer to a checkpoint, as MultiLangProtocol and RecordProcessorCheckpointer of the KCL give it."""
        assert said["action"] == "checkpoint"
        number, sub = said["sequenceNumber"], said["subSequenceNumber"]
        position = self.largest if number is None else sp.Position(number, sub or 0)
        error = self.errors.pop(0) if self.errors else None
        assert during not in ("initialize", "leaseLost"), "no checkpointer: InvalidStateException"
        if error is None and not self.checkpoint <= position <= self.largest:
            error = "IllegalArgumentException"
        if error is None:
            self.checkpoint = position
            self.checkpoints.append(position)
        return {"action": "checkpoint", "sequenceNumber": number, "subSequenceNumber": sub, "error": error}

    def say(self, line: bytes) -> None:
        assert line.endswith(b"\n")
        self.said.append(json.loads(line))


def as_json(position: sp.Position) -> dict[str, Any]:
    return {
        "action": "record",
        "data": base64.b64encode(repr(position).encode()).decode(),
        "partitionKey": "user-\u00e9",
        "sequenceNumber": position.sequence_number,
        "subSequenceNumber": position.sub_sequence_number,
        "approximateArrivalTimestamp": 1_700_000_000_123,
    }


def handler_processor(
    handler: Callable[[Any], object],
    *,
    each: bool = False,
    divert: Callable[[Any, Exception], object] | None = None,
    max_attempts: int = 1,
    sleep: Callable[[float], object] = lambda _: None,
) -> RecordProcessor:
    """What `run` or `run_each` makes of a handler."""
    policy = Policy(each, 1, "stop" if divert is None else "divert", max_attempts, divert is not None)
    return HandlerProcessor(policy, handler, divert, sleep)


def converse(processor: RecordProcessor, daemon: Daemon, lines: Iterator[bytes] | None = None) -> list[float]:
    """One process of the daemon's, in memory; how long its checkpoints have slept."""
    slept: list[float] = []
    Conversation(processor, daemon.lines() if lines is None else lines, daemon.say, slept.append).until_the_end()
    return slept


def in_aggregates(sizes: Sequence[int]) -> list[sp.Position]:
    return [sp.Position(str(100 + number), sub) for number, size in enumerate(sizes) for sub in range(size)]
