"""Whatever happens to the workers of a stream: every user record is handled, in order, parents before children.

Several engines share a fake stream and a real store of leases. Their calls take effect and are answered in any
order, fail before or after they took effect, or hang; workers are killed, fall asleep, shut down; the
stream splits and merges.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest
import servers
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

import shardpack as sp
from shardpack.aws.errors import error_of
from shardpack.aws.streams import ALL_SHARDS, list_shards
from shardpack.consumer import ConsumerConfig, Lease, Leases
from shardpack.consumer.core.actions import (
    Action,
    Checkpoint,
    CreateLease,
    DescribeStream,
    GetRecords,
    GetShardIterator,
    ListShards,
)
from shardpack.consumer.core.engine import Engine
from shardpack.consumer.core.holding.delivered import Delivered
from shardpack.consumer.shells.driving.calls import call_leases
from shardpack.consumer.start import Start
from shardpack.testing import FakeKinesis, ManualClock

STREAM = {"StreamName": "s"}
START = 1_800_000_000.0
FAILOVER = 10.0
MOST_CALLS_PER_SECOND = 60  # of one worker: five reads of each shard, its renewals, and looking around
Fate = Literal["answered", "refused", "answer lost"]


@dataclass(eq=False)
class Call:
    """A call under way: it may have taken effect, and its answer may have arrived."""

    worker: Worker
    action: Action
    began: float
    outcome: tuple[Any, Exception | None] | None = None


@dataclass(eq=False)
class Worker:
    """An engine with its application, which handles what it gets at once."""

    name: str
    engine: Engine
    in_hand: list[Delivered] = field(default_factory=list)
    tokens: dict[int, tuple[str, sp.Position]] = field(default_factory=dict)  # of checkpoints that are not settled
    asleep_until: float = 0.0
    closing: bool = False


class Simulation(RuleBasedStateMachine):
    rough = True

    def make_leases(self) -> Leases:
        return sp.MemoryLeases()

    @initialize(
        shards=st.integers(1, 3),
        batch_max_records=st.sampled_from([1, 3, 10_000]),
        max_records=st.sampled_from([1, 2, 10_000]),
        prefetch_max_bytes=st.sampled_from([1, 2**23]),
        names_children=st.booleans(),
        seed=st.integers(0, 2**16),
    )
    def begin(
        self,
        shards: int,
        batch_max_records: int,
        max_records: int,
        prefetch_max_bytes: int,
        names_children: bool,
        seed: int,
    ) -> None:
        self.config = ConsumerConfig(
            failover_time=FAILOVER,
            batch_max_records=batch_max_records,
            max_records=max_records,
            prefetch_max_bytes=prefetch_max_bytes,
        )
        self.names_children = names_children
        self.random = Random(seed)
        self.clock = ManualClock(START)
        self.kinesis = FakeKinesis(streams={"s": shards}, clock=self.clock)
        self.leases = self.make_leases()
        self.leases.prepare()
        self.workers: list[Worker] = []
        self.calls: list[Call] = []
        self.names = itertools.count()
        self.tokens = itertools.count()
        self.numbers = itertools.count()
        self.handled: Counter[tuple[str, sp.Position]] = Counter()
        self.history: defaultdict[str, list[sp.Position]] = defaultdict(list)
        self.created: set[str] = set()
        self.exactly_once = True
        self.had_hung_call = False
        self.repeated: set[str] = set()
        self.join()

    # The stream.

    @rule(
        keys=st.lists(st.integers(0, 9), min_size=1, max_size=6),
        packing=st.sampled_from(["plain", "pinned", "pinned", "kpl"]),
    )
    def put(self, keys: list[int], packing: Literal["plain", "pinned", "kpl"]) -> None:
        records = [(f"key-{key}", b"%d" % next(self.numbers)) for key in keys]
        if packing == "plain":
            for key, data in records:
                self.kinesis.put_record(**STREAM, PartitionKey=key, Data=data)
            return
        shard_map = sp.ShardMap([shard for shard in self.listing() if self.is_open(shard)])
        for packed in sp.pack(records, by="shard", shard_map=shard_map, hash_keys=packing):
            self.kinesis.put_record(**STREAM, **packed.entry)

    def listing(self) -> list[dict[str, Any]]:
        return list_shards(self.kinesis, STREAM, ALL_SHARDS)

    def is_open(self, shard: dict[str, Any]) -> bool:
        return "EndingSequenceNumber" not in shard["SequenceNumberRange"]

    def open_shards(self) -> list[dict[str, Any]]:
        shards = [shard for shard in self.listing() if self.is_open(shard)]
        return sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))

    @rule(which=st.integers(0, 10))
    def split(self, which: int) -> None:
        shards = self.open_shards()
        self.kinesis.autoscale(shards[which % len(shards)]["ShardId"])

    @precondition(lambda self: len(self.open_shards()) > 1)
    @rule(which=st.integers(0, 10))
    def merge(self, which: int) -> None:
        shards = self.open_shards()
        left, right = shards[which % (len(shards) - 1) :][:2]
        self.kinesis.merge_shards(**STREAM, ShardToMerge=left["ShardId"], AdjacentShardToMerge=right["ShardId"])

    # The workers.

    @precondition(lambda self: len(self.workers) < 4)
    @rule()
    def join(self) -> None:
        name = f"worker-{next(self.names)}"
        start = Start.of("TRIM_HORIZON", None)
        random = Random(self.random.random())
        self.workers.append(Worker(name, Engine("s", name, self.config, start, wall_clock_offset=START, random=random)))

    @precondition(lambda self: self.rough and self.workers)
    @rule(which=st.integers(0, 10))
    def kill(self, which: int) -> None:
        self.workers.pop(which % len(self.workers))  # its calls may still take effect
        self.exactly_once = False

    @precondition(lambda self: self.rough and self.workers)
    @rule(which=st.integers(0, 10), seconds=st.sampled_from([5.0, 15.0, 60.0]))
    def fall_asleep(self, which: int, seconds: float) -> None:
        self.workers[which % len(self.workers)].asleep_until = self.now + seconds

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 10))
    def shut_down(self, which: int) -> None:
        worker = self.workers[which % len(self.workers)]
        for hold in list(worker.engine.holds):
            if hold.delivered is not None:
                self.checkpoint_at(worker, hold, hold.delivered)
        for delivered in worker.in_hand:
            worker.engine.done(delivered.hold)
        worker.in_hand.clear()
        worker.engine.close()
        worker.closing = True

    @property
    def now(self) -> float:
        return self.clock.now() - START

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.3, 1.0, 1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.look()

    @precondition(lambda self: self.rough)
    @rule(seconds=st.sampled_from([15.0, 40.0, 400.0]))
    def jump(self, seconds: float) -> None:
        self.wait(seconds)

    def look(self) -> None:
        """Every worker that is awake looks at its engine."""
        for worker in list(self.workers):
            if worker.asleep_until > self.now:
                continue
            self.calls += [Call(worker, action, self.now) for action in worker.engine.poll(self.now)]
            assert worker.engine.poll(self.now) == []
            deadline = worker.engine.deadline(self.now)
            assert deadline is None or deadline > self.now, "it looks again and again, and finds nothing to do"
            has_calls = any(call.worker is worker for call in self.calls)
            assert deadline is not None or has_calls or worker.engine.is_closed, "it sleeps for ever"
            assert worker.engine.fatal is None
            for token, error in worker.engine.take_finished():
                shard_id, position = worker.tokens.pop(token)
                assert error is None or isinstance(error, sp.LeaseLostError)
                assert error is not None or max(self.history[shard_id], default=position) >= position
            if worker.engine.is_closed:
                assert not worker.tokens
                self.workers.remove(worker)

    # Their calls.

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 20))
    def take_effect(self, which: int) -> None:
        self.perform(self.calls[which % len(self.calls)])

    @precondition(lambda self: self.calls)
    @rule(
        which=st.integers(0, 20),
        fate=st.sampled_from(["answered", "answered", "answered", "answered", "refused", "answer lost"]),
    )
    def answer(self, which: int, fate: Fate) -> None:
        call = self.calls[which % len(self.calls)]
        if call.worker.asleep_until > self.now:
            return
        self.calls.remove(call)
        self.had_hung_call |= self.now - call.began > FAILOVER
        if fate == "answer lost" and not self.rough:
            fate = "refused"
        if fate != "refused" or call.outcome is not None:
            self.perform(call)
        answer, error = call.outcome or (None, None)
        if call.worker not in self.workers:
            return
        if fate != "answered" and error is None and (self.rough or answer is None):
            is_kinesis = isinstance(call.action, GetRecords | GetShardIterator | ListShards)
            code = "ProvisionedThroughputExceededException" if is_kinesis else "LeaseStoreError"
            call.worker.engine.failed(call.action, sp.LeaseStoreError("outage", retriable=True), code, self.now)
        elif error is not None:
            call.worker.engine.failed(call.action, error, error_of(error)[0], self.now)
        else:
            if answer is None and isinstance(call.action, Checkpoint):
                self.exactly_once = False  # the lease was lost
            call.worker.engine.answered(call.action, answer, self.now)

    @rule()
    def answer_all(self) -> None:
        for _ in range(3):
            for call in list(self.calls):
                self.answer(self.calls.index(call), "answered")
            self.look()

    def perform(self, call: Call) -> None:
        if call.outcome is not None:
            return
        self.had_hung_call |= self.now - call.began > FAILOVER
        try:
            call.outcome = (self.effect(call), None)
        except Exception as error:  # noqa: BLE001  # an answer like another
            call.outcome = (None, error)

    def effect(self, call: Call) -> Any:
        match action := call.action:
            case GetRecords():
                response = self.kinesis.get_records(ShardIterator=action.iterator, Limit=action.limit)
                return response if self.names_children else {k: v for k, v in response.items() if k != "ChildShards"}
            case GetShardIterator():
                arguments = {**STREAM, "ShardId": action.shard_id, **action.arguments}
                return self.kinesis.get_shard_iterator(**arguments)["ShardIterator"]
            case ListShards():
                return self.listing()
            case DescribeStream():
                return self.kinesis.describe_stream_summary(**STREAM)["StreamDescriptionSummary"]
        before = {lease.key: lease for lease in self.leases.list()}
        answer = call_leases(self.leases, action, self.now)
        if isinstance(action, CreateLease) and answer:
            self.check_creation(action.lease.key)
        if isinstance(action, Checkpoint) and answer is not None:
            self.check_checkpoint(before[action.lease.key], action)
        return answer

    def check_creation(self, shard_id: str) -> None:
        """A shard is not begun anew after its lease was deleted, unless an old call took effect very late."""
        if shard_id in self.created:
            assert self.had_hung_call, "a lease was deleted too early"
            self.repeated.add(shard_id)
            self.history[shard_id].clear()
            self.exactly_once = False
        self.created.add(shard_id)

    def check_checkpoint(self, before: Lease, action: Checkpoint) -> None:
        """Only the holder writes, and forwards."""
        assert (before.checkpoint_owner or before.owner) == (action.lease.checkpoint_owner or action.lease.owner)
        assert before.counter == action.lease.counter
        assert all(position <= action.position for position in self.history[before.key])
        self.history[before.key].append(action.position)

    # Their applications.

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 10), most=st.integers(1, 5))
    def take(self, which: int, most: int) -> None:
        worker = self.workers[which % len(self.workers)]
        if worker.asleep_until > self.now:
            return
        while most and (delivered := worker.engine.next_batch(self.now)) is not None:
            most -= 1
            self.handle(delivered)
            worker.in_hand.append(delivered)
        self.look()

    def handle(self, delivered: Delivered) -> None:
        assert delivered.error is None
        shard_id = delivered.hold.lease.key
        if not delivered.records:
            assert delivered.is_shard_end or delivered.shutdown_requested
            return
        self.check_parents(shard_id)
        expected = [record.position for record in self.user_records(shard_id)]
        for record in delivered.records:
            assert record.position is not None
            before = expected[: expected.index(record.position)]
            assert all(self.handled[shard_id, position] for position in before if position), "records were skipped"
            self.handled[shard_id, record.position] += 1

    def user_records(self, shard_id: str | None = None) -> list[sp.ReceivedRecord]:
        return list(sp.unpack(self.kinesis.records(shard_id)))

    def check_parents(self, shard_id: str) -> None:
        leases = {lease.key: lease for lease in self.leases.list()}
        (shard,) = (shard for shard in self.listing() if shard["ShardId"] == shard_id)
        for name in ("ParentShardId", "AdjacentParentShardId"):
            if (parent := shard.get(name)) is not None:
                done = parent not in leases or leases[parent].checkpoint == sp.Position.SHARD_END
                assert done or parent in self.repeated
                for record in self.user_records(parent):
                    assert record.position
                    assert self.handled[parent, record.position], "a child was begun before its parent was done"

    @precondition(lambda self: any(worker.in_hand for worker in self.workers))
    @rule(which=st.integers(0, 10), share=st.integers(1, 4))
    def checkpoint(self, which: int, share: int) -> None:
        worker, delivered = self.some_in_hand(which)
        if worker.asleep_until <= self.now and delivered.records:
            last = delivered.records[(len(delivered.records) * share - 1) // 4]
            assert last.position is not None
            if last.position >= delivered.hold.position or delivered.hold.is_ending:
                self.checkpoint_at(worker, delivered.hold, last.position)

    @precondition(lambda self: any(worker.in_hand for worker in self.workers))
    @rule(which=st.integers(0, 10), saves=st.booleans())
    def finish(self, which: int, saves: bool) -> None:
        worker, delivered = self.some_in_hand(which)
        if worker.asleep_until > self.now:
            return
        if saves and delivered.hold.delivered is not None:
            self.checkpoint_at(worker, delivered.hold, delivered.hold.delivered)
        worker.in_hand.remove(delivered)
        worker.engine.done(delivered.hold)

    def some_in_hand(self, which: int) -> tuple[Worker, Delivered]:
        pairs = [(worker, delivered) for worker in self.workers for delivered in worker.in_hand]
        return pairs[which % len(pairs)]

    def checkpoint_at(self, worker: Worker, hold: Any, position: sp.Position) -> None:
        token = next(self.tokens)
        worker.tokens[token] = (hold.lease.key, position)
        try:
            worker.engine.checkpoint(hold, position, token)
        except sp.LeaseLostError:
            del worker.tokens[token]
            self.exactly_once = False

    # In the end one healthy worker is left.

    def teardown(self) -> None:
        if not hasattr(self, "leases"):
            return
        for index in range(len(self.workers)):
            if self.rough:
                self.kill(0)
            else:
                self.shut_down(index)
        for call in self.calls if self.rough else []:
            self.perform(call)
        for _ in range(20):
            self.answer_all()
            self.clock.advance(0.5)
        assert not self.workers, "a clean shutdown hangs"
        self.calls.clear()
        self.join()
        self.run_until_all_is_done(self.workers[0])
        expected = {(str(record.shard_id), record.position) for record in self.user_records()}
        assert set(self.handled) == expected
        if self.exactly_once:
            assert set(self.handled.values()) <= {1}

    def run_until_all_is_done(self, worker: Worker) -> None:
        calls: Counter[int] = Counter()
        until = self.now + 300 + 40 * len(self.listing()) + len(self.handled)
        while self.now < until:
            for _ in range(50 + 20 * len(self.listing()) + len(self.handled)):
                self.look()
                if not self.calls:
                    break
                calls[int(self.now)] += len(self.calls)
                for call in list(self.calls):
                    self.answer(self.calls.index(call), "answered")
                while (delivered := worker.engine.next_batch(self.now)) is not None:
                    self.handle(delivered)
                    if delivered.hold.delivered is not None:
                        self.checkpoint_at(worker, delivered.hold, delivered.hold.delivered)
                    worker.engine.done(delivered.hold)
            else:
                raise AssertionError("it calls on and on")
            if self.is_all_done():
                break
            deadline = worker.engine.deadline(self.now)
            assert deadline is not None, "it sleeps for ever"
            self.clock.advance(max(0.001, deadline - self.now))
        assert self.is_all_done(), "something hangs"
        # A shard that is short may well be read to its end within a second, and its children too.
        most = MOST_CALLS_PER_SECOND + 20 * len(self.listing()) + 2 * len(self.handled)
        assert max(calls.values()) <= most, calls

    def is_all_done(self) -> bool:
        done = {lease.key: lease.checkpoint for lease in self.leases.list()}
        for shard in self.listing():
            shard_id = shard["ShardId"]
            records = self.user_records(shard_id)
            if shard_id not in self.created or not all(
                self.handled[shard_id, r.position] for r in records if r.position
            ):
                return False
            if not self.is_open(shard) and done.get(shard_id, sp.Position.SHARD_END) != sp.Position.SHARD_END:
                return False
        return True


class GentleSimulation(Simulation):
    """Nobody dies or sleeps, and what fails has not happened: then nothing is handled twice, unless it was stolen."""

    rough = False


class SQLiteSimulation(Simulation):
    def make_leases(self) -> Leases:
        self.folder = tempfile.TemporaryDirectory(prefix="shardpack-test-")
        return sp.SQLiteLeases(Path(self.folder.name) / "leases.db")

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            if hasattr(self, "folder"):
                self.folder.cleanup()


TestRough = Simulation.TestCase
TestGentle = GentleSimulation.TestCase
TestSQLite = SQLiteSimulation.TestCase
TestRough.settings = TestGentle.settings = settings(stateful_step_count=80)
TestSQLite.settings = settings(stateful_step_count=50, max_examples=max(10, settings().max_examples // 5))


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    pytest.importorskip("boto3")
    with servers.dynalite() as url:
        yield servers.client("dynamodb", url)


def test_on_dynamodb(dynamodb: Any) -> None:
    numbers = itertools.count()

    class DynamoDBSimulation(Simulation):
        def make_leases(self) -> Leases:
            return sp.DynamoDBLeases(f"leases-{next(numbers)}", client=dynamodb)

    short = settings(stateful_step_count=30, max_examples=max(5, settings().max_examples // 20))
    run_state_machine_as_test(DynamoDBSimulation, settings=short)
