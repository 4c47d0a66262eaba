"""An engine on a fake Kinesis and a store in memory, whose calls are answered at once unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import shardpack as sp
from shardpack.aws.errors import error_of
from shardpack.aws.streams import ALL_SHARDS, list_shards
from shardpack.consumer import ConsumerConfig, Lease, Leases
from shardpack.consumer.core.actions import Action, DescribeStream, GetRecords, GetShardIterator, ListShards
from shardpack.consumer.core.engine import Engine
from shardpack.consumer.core.fleet.member import Member
from shardpack.consumer.core.holding.delivered import Delivered
from shardpack.consumer.shells.driving.calls import call_leases
from shardpack.consumer.start import Start
from shardpack.leases.fleet.states import HasFleet
from shardpack.testing import FakeKinesis, ManualClock

STREAM = {"StreamName": "s"}
START = 1_800_000_000.0


def shard(number: int) -> str:
    return f"shardId-{number:012}"


class Stream:
    """A stream "s" on a clock that stands still, and leases in memory."""

    def __init__(self, shards: int = 1) -> None:
        self.clock = ManualClock(START)
        self.kinesis = FakeKinesis(streams={"s": shards}, clock=self.clock)
        self.leases: Leases = sp.MemoryLeases()
        self.skew: dict[str, float] = {}  # how many seconds the clocks of workers are ahead

    @property
    def now(self) -> float:
        return self.clock.now() - START

    def put(self, *data: bytes, hash_key: int = 0) -> None:
        """Plain records."""
        for one in data:
            self.kinesis.put_record(**STREAM, PartitionKey="k", Data=one, ExplicitHashKey=str(hash_key))

    def put_aggregate(self, *data: bytes, hash_key: int = 0) -> None:
        blob = sp.encode([("k", one) for one in data])
        self.kinesis.put_record(**STREAM, PartitionKey="k", Data=blob, ExplicitHashKey=str(hash_key))

    def lease(self, number: int = 0) -> Lease:
        (lease,) = (lease for lease in self.leases.list() if lease.key == shard(number))
        return lease

    def first(self, number: int = 0) -> str:
        """A shard's first sequence number."""
        (numbers,) = (
            one["SequenceNumberRange"]
            for one in self.kinesis.list_shards(**STREAM)["Shards"]
            if one["ShardId"] == shard(number)
        )
        return str(numbers["StartingSequenceNumber"])

    def worker(self, name: str = "me", start: Any = "TRIM_HORIZON", **settings: Any) -> Worker:
        start_at = settings.pop("start_at", None)
        return Worker(self, name, ConsumerConfig(**settings), Start.of(start, start_at))


class Worker:
    """An engine, and its calls.

    Attributes:
        member: its part in a fleet.
        calls: (seconds, action) of every call made.
        fates: what is asked of each action before it is done: an answer to give instead, an exception to fail with, or
            None to go on.
        held_back: actions for which `holds_back` said so; `release` does them.
    """

    def __init__(self, stream: Stream, name: str, config: ConsumerConfig, start: Start) -> None:
        self.stream = stream
        self.name = name
        random, wall_clock = Random(name), START + stream.skew.get(name, 0.0)
        is_alone = not isinstance(stream.leases, HasFleet)
        self.member = Member(name, config, random, wall_clock_offset=wall_clock, is_alone=is_alone)
        self.engine = Engine("s", name, config, start, wall_clock_offset=START, random=random, member=self.member)
        self.calls: list[tuple[float, Action]] = []
        self.finished: dict[Any, Exception | None] = {}
        self.fate: Callable[[Action], Any] = lambda _: None
        self.holds_back: Callable[[Action], bool] = lambda _: False
        self.held_back: list[Action] = []

    def step(self) -> None:
        """Do what there is to do now, until there is nothing."""
        for _ in range(100):
            actions = self.engine.poll(self.stream.now)
            self.finished.update(self.engine.take_finished())
            if not actions:
                return
            for action in actions:
                self.calls.append((self.stream.now, action))
                if self.holds_back(action):
                    self.held_back.append(action)
                else:
                    self.do(action)
        raise AssertionError("it calls on and on")

    def release(self) -> None:
        held_back, self.held_back = self.held_back, []
        for action in held_back:
            self.do(action)
        self.step()

    def do(self, action: Action) -> None:
        answer = self.fate(action)
        if answer is None:
            try:
                answer = self.effect(action)
            except Exception as error:  # noqa: BLE001  # an answer like another
                answer = error
        if isinstance(answer, Exception):
            self.engine.failed(action, answer, error_of(answer)[0], self.stream.now)
        else:
            self.engine.answered(action, answer, self.stream.now)

    def effect(self, action: Action) -> Any:
        match action:
            case GetRecords():
                return self.stream.kinesis.get_records(ShardIterator=action.iterator, Limit=action.limit)
            case GetShardIterator():
                arguments: Mapping[str, Any] = {**STREAM, "ShardId": action.shard_id, **action.arguments}
                return self.stream.kinesis.get_shard_iterator(**arguments)["ShardIterator"]
            case ListShards():
                return list_shards(self.stream.kinesis, STREAM, ALL_SHARDS)
            case DescribeStream():
                return self.stream.kinesis.describe_stream_summary(**STREAM)["StreamDescriptionSummary"]
        return call_leases(self.stream.leases, action, self.stream.now)

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass from deadline to deadline."""
        until = self.stream.now + seconds
        self.step()
        while (deadline := self.engine.deadline(self.stream.now)) is not None and deadline <= until:
            assert deadline > self.stream.now, "it looks again and again"
            self.stream.clock.advance(deadline - self.stream.now + 1e-6)
            self.step()
        self.stream.clock.advance(max(0.0, until - self.stream.now))
        self.step()

    def batch(self, *, done: bool = True, checkpoint: bool = False) -> Delivered | None:
        """The next batch, with which the application is done at once."""
        delivered = self.engine.next_batch(self.stream.now)
        if delivered is not None:
            if checkpoint and delivered.hold.delivered is not None:
                self.engine.checkpoint(delivered.hold, delivered.hold.delivered, None)
            if done:
                self.engine.done(delivered.hold, stop=delivered.error is not None)
        self.step()
        return delivered

    def read(self, seconds: float = 0.0, *, checkpoint: bool = True) -> list[bytes]:
        """The payloads of what comes in so many seconds."""
        data: list[bytes] = []
        until = self.stream.now + seconds
        while True:
            while (delivered := self.batch(checkpoint=checkpoint)) is not None:
                data += [record.data for record in delivered.records]
            if self.stream.now >= until:
                return data
            self.run(min(0.2, until - self.stream.now))

    def times(self, kind: type, shard_id: str | None = None) -> list[float]:
        """When calls of a kind were made."""
        return [
            time
            for time, action in self.calls
            if isinstance(action, kind) and shard_id in (None, getattr(action, "shard_id", shard_id))
        ]

    @property
    def held(self) -> set[str]:
        return {hold.lease.key for hold in self.engine.holds}
