"""The source over any history of a stream: every record in exactly one batch, and batches the same when replayed."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

pytest.importorskip("pyarrow")
pytest.importorskip("botocore")
from mini_spark import Crash, MiniSpark, check_order

import shardpack as sp
from shardpack.consumer.core.shards import listed_shards
from shardpack.ranges.core.limits import Limits
from shardpack.ranges.core.offsets import Offset
from shardpack.testing import FakeKinesis, ManualClock

LIMITS = st.sampled_from(
    [
        *(Limits(), Limits(), Limits(rows=1), Limits(rows=7), Limits(size=1), Limits(size=500), Limits(time=2_000)),
        *(Limits(rows=3, time=700), Limits(rows=50, size=300)),
    ]
)


class Stuttering:
    """A client whose `GetRecords` now and then brings nothing though there is more, as Kinesis' own may."""

    def __init__(self, kinesis: FakeKinesis, seed: int) -> None:
        self._kinesis = kinesis
        self._random = random.Random(seed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kinesis, name)

    def get_records(self, **arguments: Any) -> Any:
        if self._random.random() < 0.2:
            return {"Records": [], "NextShardIterator": arguments["ShardIterator"], "MillisBehindLatest": 1000}
        return self._kinesis.get_records(**arguments)


class Simulation(RuleBasedStateMachine):
    """A stream that is written to, split, merged and read by a query that crashes."""

    @initialize(
        shards=st.integers(1, 3),
        start=st.sampled_from(["trim_horizon", "latest"]),
        before=st.integers(0, 6),
        seed=st.integers(0, 1000),
    )
    def begin(self, shards: int, start: str, before: int, seed: int) -> None:
        self.clock = ManualClock()
        self.kinesis = FakeKinesis(streams={"s": shards}, clock=self.clock)
        self.random = random.Random(seed)
        self.count = 0
        self.skipped: set[tuple[int, int]] = set()
        self.put(before, 1, 0.0)
        self.clock.advance(0.5)
        if start == "latest":  # what lies there before is not read
            self.skipped = {(int(r.sequence_number or 0), r.sub_sequence_number) for r in self.kinesis.user_records()}
        client = Stuttering(self.kinesis, seed)
        self.query = MiniSpark(client, self.clock, {"initialPosition": start})
        self.query.trigger()
        begun = Offset.from_json(json.loads(self.query.log[0])).shards.values()
        self.started = max(mark.time for mark in begun) / 1000 if start == "latest" else 0.0

    @rule(records=st.integers(1, 12), aggregate=st.integers(1, 5), late=st.sampled_from([0.0, 0.0, 0.4, 3.0]))
    def put(self, records: int, aggregate: int, late: float) -> None:
        """Put user records; `late`: the service gives them times so many seconds off, either way."""
        self.kinesis.clear_scripts()
        listed = self.kinesis.list_shards(StreamName="s")["Shards"]
        shards = [one for one in listed if "EndingSequenceNumber" not in one["SequenceNumberRange"]]
        data = [b"%d" % (self.count + nth) for nth in range(records)]
        self.count += records
        user_records = [(self.random.choice("abcdefgh"), one) for one in data]
        limits = sp.Limits(max_user_records=aggregate)
        for packed in sp.pack(user_records, by="shard", shard_map=sp.ShardMap(shards), limits=limits):
            told = self.kinesis.put_record(StreamName="s", **packed.entry)
            if late and hasattr(self, "query"):
                self._move(told["ShardId"], self.random.choice([-late, 0.0, late]))
            self.clock.advance(self.random.choice([0.0, 0.0, 0.001, 0.2]))

    def _move(self, shard_id: str, seconds: float) -> None:
        (shard,) = (one for one in self.kinesis._api.streams["s"].shards if one.shard_id == shard_id)
        arrival = shard.records[-1].arrival + seconds
        # What has a time before that of "latest" is not read.
        shard.records[-1] = dataclasses.replace(shard.records[-1], arrival=max(arrival, self.started))

    @rule(seconds=st.sampled_from([0.05, 0.5, 1.5, 20.0, 400.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(place=st.integers(0, 100))
    def split(self, place: int) -> None:
        open_shards = self.kinesis._api.streams["s"].open_shards
        if len(open_shards) < 6:
            self.kinesis.autoscale(open_shards[place % len(open_shards)].shard_id)

    @rule(place=st.integers(0, 100))
    def merge(self, place: int) -> None:
        open_shards = self.kinesis._api.streams["s"].open_shards
        if len(open_shards) > 1:
            one, other = open_shards[place % (len(open_shards) - 1) :][:2]
            self.kinesis.merge_shards(StreamName="s", ShardToMerge=one.shard_id, AdjacentShardToMerge=other.shard_id)

    @rule(limits=LIMITS, crash=st.sampled_from([None, None, None, "planned", "halfway", "done"]))
    def trigger(self, limits: Limits, crash: str | None) -> None:
        batch = self.query.committed
        is_replay = len(self.query.log) > batch
        try:
            self.query.trigger(limits, crash)
        except Crash:
            self.query.restart()
        if limits.rows is not None and not is_replay:
            assert len(self.query.batches.get(batch, ())) <= limits.rows

    @rule()
    def restart(self) -> None:
        self.query.restart()

    @rule(
        operation=st.sampled_from(["get_records", "get_shard_iterator", "list_shards", "describe_stream_summary"]),
        error=st.sampled_from(["ProvisionedThroughputExceededException", "InternalFailure", "ReadTimeoutError"]),
    )
    def fault(self, operation: str, error: str) -> None:
        self.kinesis.clear_scripts()
        self.kinesis.script(operation, error=error, times=2)

    @precondition(lambda self: hasattr(self, "query"))
    @invariant()
    def nothing_comes_twice(self) -> None:
        rows = self.query.rows()
        assert len({row[:3] for row in rows}) == len(rows)

    def teardown(self) -> None:
        if not hasattr(self, "query"):
            return
        self.kinesis.clear_scripts()
        for _ in range(4):  # of which a moment has to pass
            self.clock.advance(10)
            while self.query.trigger():
                pass
        stored = listed_shards(self.kinesis.list_shards(StreamName="s")["Shards"], "s")
        expected = {
            (one.shard_id, int(one.sequence_number or 0), one.sub_sequence_number, one.data)
            for one in sp.unpack(self.kinesis.records())
        }
        expected = {row for row in expected if (row[1], row[2]) not in self.skipped}
        rows = self.query.rows()
        assert set(rows) == expected
        assert len(rows) == len(expected)
        check_order(self.query.batches, stored)


TestSimulation = Simulation.TestCase
TestSimulation.settings = settings(stateful_step_count=30)
