"""Whatever happens between producer and stream: what is acknowledged, a reader with the KCL's rule finds.

With ``ordering="key"`` it also lies in order: for each partition key, in put order, and in shards that form a path of
the lineage.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any, Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import shardpack as sp
from shardpack.limits import MAX_HASH_KEY
from shardpack.producer import Delivery, ProducerConfig
from shardpack.producer.core.actions import Action, DescribeStream, ListShards, PutRecords
from shardpack.producer.core.engine import Engine

THROTTLED = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"}
Fate = Literal["stored", "throttled", "some throttled", "refused", "response lost", "wrong count"]


class Stream:
    """Shards with their hash ranges, and what each of them stores."""

    def __init__(self) -> None:
        self.ranges = {"shard-0": sp.Shard("shard-0")}
        self.open = ["shard-0"]
        self.stored: dict[str, list[dict[str, Any]]] = {"shard-0": []}
        self.parents: dict[str, list[str]] = {"shard-0": []}
        self.sequence_number = 0

    def list_shards(self, *, with_closed: bool) -> list[dict[str, Any]]:
        return [
            {
                "ShardId": shard.shard_id,
                "HashKeyRange": {
                    "StartingHashKey": str(shard.starting_hash_key),
                    "EndingHashKey": str(shard.ending_hash_key),
                },
                "SequenceNumberRange": {} if shard.shard_id in self.open else {"EndingSequenceNumber": "1"},
                **dict(
                    zip(("ParentShardId", "AdjacentParentShardId"), self.parents[shard.shard_id], strict=False),
                ),
            }
            for shard in self.ranges.values()
            if with_closed or shard.shard_id in self.open
        ]

    def descends(self, shard_id: str, ancestor: str) -> bool:
        return shard_id == ancestor or any(self.descends(parent, ancestor) for parent in self.parents[shard_id])

    def replace(self, closed: list[str], starts: list[int], end: int) -> None:
        for shard_id in closed:
            self.open.remove(shard_id)
        for start, next_start in zip(starts, [*starts[1:], end + 1], strict=True):
            shard_id = f"shard-{len(self.ranges)}"
            self.ranges[shard_id] = sp.Shard(shard_id, start, next_start - 1)
            self.stored[shard_id] = []
            self.parents[shard_id] = closed
            self.open.append(shard_id)

    def put(self, entry: dict[str, Any]) -> dict[str, str]:
        hash_key = int(entry.get("ExplicitHashKey") or sp.hash_key(entry["PartitionKey"]))
        (shard_id,) = (one for one in self.open if hash_key in self.ranges[one])
        self.sequence_number += 1
        self.stored[shard_id].append({**entry, "SequenceNumber": str(self.sequence_number), "ShardId": shard_id})
        return {"ShardId": shard_id, "SequenceNumber": str(self.sequence_number)}

    def read(self) -> list[sp.ReceivedRecord]:
        """What a fleet of KCL workers delivers."""
        return [
            record
            for shard_id, records in self.stored.items()
            for record in sp.unpack(
                records, on_corrupt="kcl", hash_range=self.ranges[shard_id], out_of_range="drop_aggregate"
            )
        ]


class Simulation(RuleBasedStateMachine):
    hash_keys: Literal["pinned", "kpl"] = "pinned"
    routes: tuple[Literal["shard", "key", "any"], ...] = ("shard",)
    ordering: Literal["none", "key"] = "none"
    on_failure: Literal["continue", "halt_key"] = "continue"

    @initialize(
        drawn=st.data(),
        max_count=st.sampled_from([1, 2, 5, 1000]),
        connections=st.sampled_from([1, 3]),
        enabled=st.sampled_from([True, True, False]),
        shards=st.integers(1, 3),
        warm=st.booleans(),
    )
    def start(
        self, drawn: st.DataObject, max_count: int, connections: int, enabled: bool, shards: int, warm: bool
    ) -> None:
        config = ProducerConfig(
            aggregation_enabled=enabled,
            aggregation_max_count=max_count,
            max_connections=connections,
            hash_keys=self.hash_keys,
            route=drawn.draw(st.sampled_from(self.routes), "route"),
            ordering=self.ordering,
            on_failure=self.on_failure,
        )
        self.engine = Engine("stream", config, random=lambda: 0.5)
        self.stream = Stream()
        self.now = 0.0
        self.calls: list[Action] = []
        self.sent: dict[int, sp.UserRecord] = {}
        self.outcomes: dict[int, Delivery | sp.DeliveryError] = {}
        self.uncertain = False
        for _ in range(shards - 1):
            self.split(0, 5)
        if warm:
            self.step(0.0)
            while self.calls:
                self.answer(0, "stored")

    @rule(
        given=st.lists(
            st.tuples(st.integers(0, 9), st.sampled_from([0, 0, 10, 30_000, 60_000])), min_size=1, max_size=9
        ),
        own=st.none() | st.none() | st.integers(0, 3),
        together=st.booleans(),
    )
    def put(self, given: list[tuple[int, int]], own: int | None, together: bool) -> None:
        hash_key = None if own is None else str(MAX_HASH_KEY // 3 * own)
        first = len(self.sent)
        records = [
            sp.UserRecord(f"key-{key}", b"%d:" % number + b"x" * size, hash_key)
            for number, (key, size) in enumerate(given, first)
        ]
        self.sent.update(enumerate(records, first))
        if together:
            self.engine.put(records, first, self.now)
        else:
            for number, record in enumerate(records, first):
                self.engine.put([record], number, self.now)

    @rule()
    def flush(self) -> None:
        self.engine.flush(self.now)

    @rule(seconds=st.sampled_from([0.0, 0.02, 0.1, 0.1, 0.2, 1.0, 20.0]))
    def step(self, seconds: float) -> None:
        self.now += seconds
        for action in self.engine.poll(self.now):
            if isinstance(action, PutRecords):
                assert 1 <= len(action.request.records) <= 500
                assert action.request.size <= 5 * 2**20
            self.calls.append(action)
        for first, indices, outcomes in self.engine.take_finished():
            for index, outcome in zip(indices, outcomes, strict=True):
                assert first + index not in self.outcomes
                self.outcomes[first + index] = outcome

    @precondition(lambda self: self.calls)
    @rule(
        which=st.integers(0, 10),
        fate=st.sampled_from(
            ["stored", "stored", "stored", "throttled", "some throttled", "refused", "response lost", "wrong count"]
        ),
    )
    def answer(self, which: int, fate: Fate) -> None:
        action = self.calls.pop(which % len(self.calls))
        if isinstance(action, PutRecords):
            self.answer_put(action, fate)
        elif fate != "stored":
            self.engine.failed(action, "LimitExceededException", "slow down", self.now)
        elif isinstance(action, ListShards):
            self.engine.answered(action, self.stream.list_shards(with_closed=action.with_closed), self.now)
        elif isinstance(action, DescribeStream):
            self.engine.answered(action, {}, self.now)

    def answer_put(self, action: PutRecords, fate: Fate) -> None:
        entries = action.request.entries
        if fate == "refused":
            self.engine.failed(action, "InternalFailure", "", self.now)
            return
        results: list[dict[str, str]] = []
        for nth, entry in enumerate(entries):
            refuse = fate == "throttled" or (fate == "some throttled" and nth % 2 == 0)
            results.append(THROTTLED if refuse else self.stream.put(entry))
        if fate == "response lost":
            self.uncertain = True
            self.engine.failed(action, "ReadTimeoutError", "", self.now)
        elif fate == "wrong count":
            self.uncertain = True
            self.engine.answered(action, {"Records": results[1:]}, self.now)
        else:
            self.engine.answered(action, {"Records": results}, self.now)

    @rule(which=st.integers(0, 10), share=st.integers(1, 9))
    def split(self, which: int, share: int) -> None:
        shard = self.stream.ranges[self.stream.open[which % len(self.stream.open)]]
        start, end = shard.starting_hash_key, shard.ending_hash_key
        self.stream.replace([shard.shard_id], [start, start + (end - start) * share // 10 + 1], end)

    @precondition(lambda self: len(self.stream.open) > 1)
    @rule(which=st.integers(0, 10))
    def merge(self, which: int) -> None:
        shards = sorted(map(self.stream.ranges.__getitem__, self.stream.open), key=lambda one: one.starting_hash_key)
        left, right = shards[which % (len(shards) - 1) :][:2]
        self.stream.replace([left.shard_id, right.shard_id], [left.starting_hash_key], right.ending_hash_key)

    @invariant()
    def outstanding_is_what_is_not_settled(self) -> None:
        if hasattr(self, "engine"):
            unseen = len(self.sent) - len(self.outcomes)
            assert self.engine.outstanding_records <= unseen

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        for _ in range(200 + 10 * len(self.sent)):
            self.step(0.0)
            while self.calls:
                self.answer(0, "stored")
            if len(self.outcomes) == len(self.sent):
                break
            self.now = max(self.now, self.engine.deadline() or self.now)
        assert set(self.outcomes) == set(self.sent), "something hangs"
        assert self.engine.outstanding_records == self.engine.outstanding_bytes == 0
        self.check()

    def check(self) -> None:
        found = Counter(int(record.data.partition(b":")[0]) for record in self.stream.read())
        places = {
            (record.shard_id, record.position): (record.partition_key, record.data) for record in self.stream.read()
        }
        for number, outcome in self.outcomes.items():
            record = self.sent[number]
            if isinstance(outcome, Delivery):
                assert places[outcome.shard_id, outcome.position] == (record.partition_key, record.data)
                if not self.uncertain and self.hash_keys == "pinned":
                    assert found[number] == 1
            else:
                assert outcome.records == (record,)


class KplSimulation(Simulation):
    hash_keys = "kpl"


class RouteSimulation(Simulation):
    routes = ("any", "any", "key")


class KplByKeySimulation(KplSimulation):
    routes = ("key",)


class OrderedSimulation(Simulation):
    ordering = "key"

    def check(self) -> None:
        super().check()
        for numbers in self.numbers_of_each_key().values():
            acknowledged = [self.outcomes[number] for number in numbers]
            places = [(one.shard_id, one.position) for one in acknowledged if isinstance(one, Delivery)]
            assert self.is_in_order(places)
            firsts = self.first_places()
            assert self.is_in_order([firsts[number] for number in numbers if number in firsts])

    def numbers_of_each_key(self) -> dict[tuple[str, str | None], list[int]]:
        """An explicit hash key takes the partition key's place."""
        numbers: dict[tuple[str, str | None], list[int]] = {}
        for number, record in self.sent.items():
            own = record.explicit_hash_key
            numbers.setdefault((record.partition_key if own is None else "", own), []).append(number)
        return numbers

    def first_places(self) -> dict[int, tuple[str, sp.Position]]:
        """Where a reader finds each record first, whether it was acknowledged or not."""
        firsts: dict[int, tuple[str, sp.Position]] = {}
        for record in self.stream.read():
            number = int(record.data.partition(b":")[0])
            assert record.shard_id is not None
            assert record.position is not None
            place = record.shard_id, record.position
            firsts[number] = min(place, firsts.get(number, place), key=lambda one: one[1])
        return firsts

    def is_in_order(self, places: list[tuple[str, sp.Position]]) -> bool:
        return all(
            before[1] < after[1] and self.stream.descends(after[0], before[0]) for before, after in pairwise(places)
        )


class HaltingSimulation(OrderedSimulation):
    on_failure = "halt_key"

    def check(self) -> None:
        super().check()
        for numbers in self.numbers_of_each_key().values():
            failed = [isinstance(self.outcomes[number], sp.DeliveryError) for number in numbers]
            assert failed == sorted(failed), "a younger record was stored behind one that failed"


TestPinned = Simulation.TestCase
TestKpl = KplSimulation.TestCase
TestRoutes = RouteSimulation.TestCase
TestKplByKey = KplByKeySimulation.TestCase
TestOrdered = OrderedSimulation.TestCase
TestHalting = HaltingSimulation.TestCase
for case in (TestPinned, TestKpl, TestRoutes, TestKplByKey, TestOrdered, TestHalting):
    case.settings = settings(stateful_step_count=60)
