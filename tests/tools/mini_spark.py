"""What Spark does with a streaming source, as far as it matters for what is read: offsets, batches, commits, crashes.

By Spark's ``MicroBatchExecution``: a batch's end is written down before the batch is run; a batch that was not
committed is run again after a restart, with the same offsets. The initial offset is not kept, so it is asked for again
when the first batch is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import shardpack as sp
from shardpack.consumer.core.shards import ListedShard
from shardpack.ranges.core.limits import Limits
from shardpack.ranges.core.marks import Mark
from shardpack.ranges.core.offsets import Offset
from shardpack.ranges.core.options import SourceOptions
from shardpack.ranges.core.ranges import Range
from shardpack.ranges.shells.clients import Caller
from shardpack.ranges.shells.driver import NO_LIMITS, Driver
from shardpack.ranges.shells.stream import KinesisStream
from shardpack.ranges.shells.tasks import RangeReader
from shardpack.spark.core.options import source_options
from shardpack.spark.core.rows import COLUMNS, Rows
from shardpack.testing import FakeKinesis, ManualClock

Row = tuple[str, int, int, bytes]
"""Shard, sequence number, sub-sequence number, data."""


class Crash(Exception):  # noqa: N818  # no error: what a test orders
    """The driver or a task ends here."""


def no_leases(options: SourceOptions, now: int) -> dict[str, Mark]:
    raise AssertionError(f"nobody has asked for leases: {options} {now}")


class MiniSpark:
    """A query over a stream "s" of a fake Kinesis, with a checkpoint and a sink that remembers each batch."""

    def __init__(
        self,
        client: Any,
        clock: Any,
        given: dict[str, str] | None = None,
        marks_of_leases: Callable[[SourceOptions, int], dict[str, Mark]] = no_leases,
        *,
        page: int = 5,
    ) -> None:
        self.client = client
        self.page = page
        self.clock = clock
        self.options = source_options({"streamName": "s", **(given or {})}, is_stream=True)
        self.marks_of_leases = marks_of_leases
        self.log: list[str] = []
        self.committed = 0
        self.batches: dict[int, list[Row]] = {}
        self.replayed = 0
        self.driver = self.restart()

    def restart(self) -> Driver:
        """A new driver, which knows what is in the checkpoint alone."""
        call = Caller(self.options.connection, self.client, sleep=self.clock.wait)
        stream = KinesisStream(call, "s", max_records=self.page, clock=self.clock.now, sleep=self.clock.wait)
        self.stream = stream
        self.driver = Driver(
            stream, self.options, self.marks_of_leases, workers=1, clock=self.clock.now, sleep=self.clock.wait
        )
        return self.driver

    def start_of(self, batch: int) -> Offset:
        if batch:
            return Offset.from_json(json.loads(self.log[batch - 1]))
        return Offset.from_json(json.loads(json.dumps(self.driver.initial(self.options.initial).as_json())))

    def trigger(self, limits: Limits = NO_LIMITS, crash: str | None = None) -> bool:
        """Run a batch, if there is something to read; whether there was. `crash`: planned, halfway or done."""
        batch = self.committed
        start = self.start_of(batch)
        if len(self.log) == batch:
            end = json.dumps(self.driver.next(start, limits).as_json())
            if batch and end == self.log[batch - 1]:
                return False
            self.log.append(end)
            self.planned(batch)
            if crash == "planned":
                raise Crash
        ranges = self.driver.plan(start, Offset.from_json(json.loads(self.log[batch])))
        rows = self.run(ranges, crash == "halfway")
        self.keep(batch, rows)
        if crash == "done":
            raise Crash
        self.committed += 1
        return True

    def planned(self, batch: int) -> None:
        """The end of a batch has been written down."""

    def run(self, ranges: Iterable[Range], is_halfway: bool = False) -> list[Row]:
        rows: list[Row] = []
        for one in ranges:
            call = Caller(self.options.connection, self.client, sleep=self.clock.wait)
            rows_of = Rows("s", [*COLUMNS], self.options.on_corrupt).of
            reader = RangeReader(call, self.options, rows_of, clock=self.clock.now, sleep=self.clock.wait)
            for found in reader.read(one):
                told = zip(*(found[name].to_pylist() for name in NAMES), strict=True)
                rows += [(shard, int(number), sub, data) for shard, number, sub, data in told]
                if is_halfway:
                    raise Crash
        return rows

    def keep(self, batch: int, rows: list[Row]) -> None:
        """What a batch reads is the same whenever it is run."""
        if batch in self.batches:
            assert self.batches[batch] == rows, f"batch {batch} was {self.batches[batch]} and is {rows}"
            self.replayed += 1
        self.batches[batch] = rows

    def rows(self) -> list[Row]:
        return [row for batch in range(self.committed) for row in self.batches[batch]]


class Setting:
    """A stream "s" with a clock that stands still, and queries of it."""

    def __init__(self, shards: int = 2) -> None:
        self.clock = ManualClock()
        self.kinesis = FakeKinesis(streams={"s": shards}, clock=self.clock)
        self.count = 0

    def put(self, records: int, aggregate: int = 1, *, passes: float = 0.0) -> None:
        listed = self.kinesis.list_shards(StreamName="s")["Shards"]
        shards = [one for one in listed if "EndingSequenceNumber" not in one["SequenceNumberRange"]]
        data = [(f"key-{nth}", b"%d" % nth) for nth in range(self.count, self.count + records)]
        self.count += records
        limits = sp.Limits(max_user_records=aggregate)
        for packed in sp.pack(data, by="shard", shard_map=sp.ShardMap(shards), limits=limits):
            self.kinesis.put_record(StreamName="s", **packed.entry)
            self.clock.advance(passes)

    def query(self, **given: str) -> MiniSpark:
        return MiniSpark(self.kinesis, self.clock, given, page=1000)

    def all(self) -> set[bytes]:
        return {record.data for record in sp.unpack(self.kinesis.records())}


NAMES = ("shardId", "sequenceNumber", "subSequenceNumber", "data")


def check_order(batches: dict[int, list[Row]], shards: dict[str, ListedShard]) -> None:
    """Each shard's rows come in its order, and a child's in later batches than its parents'."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    positions: dict[str, tuple[int, int]] = {}
    for batch, rows in sorted(batches.items()):
        for shard, number, sub, _ in rows:
            assert positions.get(shard, (0, -1)) < (number, sub)
            positions[shard] = number, sub
            first.setdefault(shard, batch)
            last[shard] = batch
    for key, one in shards.items():
        for parent in one.parents:
            assert last.get(parent, -1) < first.get(key, len(batches) + 1), (parent, key)
