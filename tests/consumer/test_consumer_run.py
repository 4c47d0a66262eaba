"""`Consumer.run` and `run_each`: shards side by side, one batch of each at a time, and what follows failures."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from consumer_setup import (
    NUMBERS,
    StoreInTrouble,
    _nothing_hangs_or_is_left,
    consumer,
    fake,
    in_thread,
    lease_of,
    payloads,
    put,
    until,
)

import shardpack as sp
from shardpack.consumer import Batch

__all__ = ["_nothing_hangs_or_is_left"]

POISON = b"42"


class PoisonError(ValueError):
    pass


class Collected:
    """A handler that keeps what it is given, and stops the consumer at a number of records."""

    def __init__(self, stop_at: int = len(NUMBERS)) -> None:
        self.seen: defaultdict[str, list[bytes]] = defaultdict(list)
        self.tried: Counter[bytes] = Counter()
        self.diverted: list[tuple[bytes, Exception]] = []
        self.reading: sp.Consumer | None = None
        self.is_poisoned: Callable[[bytes], bool] = lambda _: False
        self._stop_at = stop_at
        self._lock = threading.Lock()
        self._busy: set[str] = set()

    def batch(self, batch: Batch) -> None:
        with self._lock:
            assert batch.shard_id not in self._busy, "two batches of a shard at a time"
            self._busy.add(batch.shard_id)
        try:
            for record in batch:
                self.record(record)
        finally:
            with self._lock:
                self._busy.discard(batch.shard_id)

    def record(self, record: sp.ReceivedRecord) -> None:
        with self._lock:
            self.tried[record.data] += 1
            if self.is_poisoned(record.data):
                raise PoisonError(record.data.decode())
            self.seen[str(record.shard_id)].append(record.data)
        self._stop_if_complete()

    def divert(self, record: sp.ReceivedRecord, error: Exception) -> None:
        self.diverted.append((record.data, error))
        self._stop_if_complete()

    def _stop_if_complete(self) -> None:
        if len({data for seen in self.seen.values() for data in seen}) + len(self.diverted) >= self._stop_at:
            assert self.reading is not None
            self.reading.stop()

    @property
    def all(self) -> list[bytes]:
        return [data for seen in self.seen.values() for data in seen]


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("method", ["run", "run_each"])
def test_every_record_in_the_order_of_its_shard_and_checkpointed(workers: int, method: str) -> None:
    leases, collected = sp.MemoryLeases(), Collected()
    kinesis = fake(4, *NUMBERS, aggregate=7)
    with consumer(kinesis, leases, config=sp.ConsumerConfig(batch_max_records=5)) as reading:
        collected.reading = reading
        getattr(reading, method)(collected.batch if method == "run" else collected.record, workers=workers)
    assert sorted(collected.all) == sorted(NUMBERS)
    assert all(seen == sorted(seen, key=int) for seen in collected.seen.values())
    for shard_id, seen in collected.seen.items():
        (last,) = (record for record in kinesis.user_records(shard_id) if record.data == seen[-1])
        assert lease_of(leases, int(shard_id[-1])).checkpoint == last.position


def test_shards_are_handled_side_by_side() -> None:
    together = threading.Barrier(3, timeout=30)
    with consumer(fake(3, *NUMBERS)) as reading:

        def handle(_: Batch) -> None:
            together.wait()
            reading.stop()

        reading.run(handle, workers=3)


def test_a_pool_of_three_handles_twenty_shards_and_never_more_than_three_at_a_time() -> None:
    lock, inside, most, seen = threading.Lock(), 0, 0, set[str]()
    with consumer(fake(20, *(b"%d" % n for n in range(400)))) as reading:

        def handle(batch: Batch) -> None:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.002)
            with lock:
                inside -= 1
                seen.add(batch.shard_id)
                if len(seen) == 20:
                    reading.stop()

        reading.run(handle, workers=3)
    assert len(seen) == 20
    assert most <= 3


def test_children_follow_their_parents() -> None:
    kinesis, collected = fake(1, *NUMBERS[:50]), Collected()
    kinesis.autoscale("shardId-000000000000")
    put(kinesis, *NUMBERS[50:])
    leases = sp.MemoryLeases()
    with consumer(kinesis, leases) as reading:
        collected.reading = reading
        reading.run(collected.batch, workers=3)
    assert collected.all[:50] == NUMBERS[:50]
    assert lease_of(leases).checkpoint == sp.Position.SHARD_END


class TestStop:
    def test_a_failure_stops_its_shard_at_the_record_and_no_other(self) -> None:
        kinesis, leases = fake(2, *NUMBERS), sp.MemoryLeases()
        shards = [[r.data for r in kinesis.user_records(f"shardId-00000000000{n}")] for n in (0, 1)]
        poisoned, healthy = shards if POISON in shards[0] else reversed(shards)
        before = poisoned[: poisoned.index(POISON)]
        collected = Collected(len(before) + len(healthy) + 1)
        collected.is_poisoned = lambda data: data == POISON
        with consumer(kinesis, leases) as reading:
            collected.reading = reading

            def stop_later() -> None:
                until(lambda: len(collected.all) == len(before + healthy) and collected.tried[POISON])
                reading.stop()

            thread = in_thread(stop_later)
            with pytest.raises(ExceptionGroup, match="1 shard was stopped") as caught:
                reading.run_each(collected.record, workers=2)
            thread.join()
        assert sorted(collected.all) == sorted(before + healthy)
        (error,) = caught.value.exceptions
        assert isinstance(error, PoisonError)
        (stopped,) = (r for r in kinesis.user_records() if r.data == POISON)
        assert f"at {stopped.position} of {stopped.shard_id}" in error.__notes__
        lease = lease_of(leases, int(str(stopped.shard_id)[-1]))
        (last,) = (r for r in kinesis.user_records() if r.data == before[-1])
        assert lease.checkpoint == last.position
        with consumer(kinesis, leases) as reading:
            first, second = payloads(reading.next_batch()), reading.next_batch(timeout=0.2)
        assert first[0] == POISON  # where it stopped
        assert second is None

    def test_it_ends_when_every_shard_has_stopped(self) -> None:
        collected = Collected()
        collected.is_poisoned = lambda _: True
        with consumer(fake(1, *NUMBERS)) as reading, pytest.raises(ExceptionGroup):
            reading.run(collected.batch, workers=2)
        assert collected.tried == {b"0": 1}

    def test_retries_give_the_rest_again(self) -> None:
        collected = Collected()
        collected.is_poisoned = lambda data: data == POISON and collected.tried[POISON] < 3
        leases = sp.MemoryLeases()
        with consumer(fake(1, *NUMBERS), leases) as reading:
            collected.reading = reading
            reading.run(collected.batch, max_attempts=3)
        assert collected.all == [*NUMBERS[:42], *NUMBERS[:42], *NUMBERS]
        assert lease_of(leases).checkpoint.sub_sequence_number == 99

    def test_what_the_handler_checkpointed_itself_is_not_given_again(self) -> None:
        collected = Collected()
        collected.is_poisoned = lambda data: data == POISON and collected.tried[POISON] < 3

        def handle(batch: Batch) -> None:
            for record in batch:
                collected.record(record)
                batch.checkpoint()

        with consumer(fake(1, *NUMBERS)) as reading:
            collected.reading = reading
            reading.run(handle, max_attempts=3)
        assert collected.all == NUMBERS
        assert collected.tried[POISON] == 3

    def test_one_record_is_tried_so_many_times(self) -> None:
        collected = Collected()
        collected.is_poisoned = lambda data: data == POISON
        with consumer(fake(1, *NUMBERS)) as reading, pytest.raises(ExceptionGroup):
            reading.run_each(collected.record, max_attempts=3)
        assert collected.tried[POISON] == 3
        assert collected.all == NUMBERS[:42]

    def test_stop_during_the_wait_before_another_attempt(self) -> None:
        collected, leases = Collected(), sp.MemoryLeases()
        collected.is_poisoned = lambda data: data == POISON
        with consumer(fake(1, *NUMBERS), leases) as reading:
            threading.Timer(0.3, reading.stop).start()
            reading.run_each(collected.record, max_attempts=10**6)
        assert lease_of(leases).checkpoint.sub_sequence_number == 41

    def test_a_corrupt_record_stops_its_shard(self) -> None:
        kinesis = fake(1, *NUMBERS)
        blob = sp.encode([("k", b"good")])
        kinesis.put_record(StreamName="s", PartitionKey="k", Data=blob[:-1] + b"?")
        collected, leases = Collected(101), sp.MemoryLeases()
        config = sp.ConsumerConfig(on_corrupt="raise")
        with consumer(kinesis, leases, config=config) as reading, pytest.raises(ExceptionGroup) as caught:
            reading.run(collected.batch)
        assert isinstance(caught.value.exceptions[0], sp.ChecksumMismatchError)
        assert collected.all == NUMBERS
        assert lease_of(leases).checkpoint.sub_sequence_number == 99

    def test_what_is_no_exception_of_an_application_ends_the_run(self) -> None:
        def handle(_: Batch) -> None:
            raise SystemExit(3)

        with consumer(fake(1, *NUMBERS)) as reading, pytest.raises(SystemExit):
            reading.run(handle, workers=2)


class TestDivert:
    @pytest.mark.parametrize("method", ["run", "run_each"])
    def test_poison_is_tried_and_diverted_with_its_error(self, method: str) -> None:
        collected, leases = Collected(), sp.MemoryLeases()
        collected.is_poisoned = lambda data: int(data) % 10 == 5
        with consumer(fake(1, *NUMBERS), leases) as reading:
            collected.reading = reading
            handler: Any = collected.batch if method == "run" else collected.record
            getattr(reading, method)(handler, on_failure="divert", divert=collected.divert, max_attempts=2)
        assert [data for data, _ in collected.diverted] == [b"%d5" % n if n else b"5" for n in range(10)]
        assert all(str(error) == data.decode() for data, error in collected.diverted)
        assert sorted(set(collected.all)) == sorted(data for data in NUMBERS if int(data) % 10 != 5)
        assert lease_of(leases).checkpoint.sub_sequence_number == 99
        if method == "run_each":
            assert set(collected.tried.values()) == {1, 2}

    def test_a_divert_that_raises_stops_the_shard(self) -> None:
        collected, leases = Collected(), sp.MemoryLeases()
        collected.is_poisoned = lambda data: data == POISON

        def divert(*_: Any) -> None:
            raise OSError("queue is down")

        with consumer(fake(1, *NUMBERS), leases) as reading, pytest.raises(ExceptionGroup) as caught:
            reading.run_each(collected.record, on_failure="divert", divert=divert)
        assert isinstance(caught.value.exceptions[0], OSError)
        assert collected.all == NUMBERS[:42]
        assert lease_of(leases).checkpoint.sub_sequence_number == 41


class TestLost:
    def test_a_batch_of_another_workers_is_dropped_and_the_run_goes_on(self) -> None:
        kinesis, leases = fake(2, *NUMBERS), sp.MemoryLeases()
        lost: list[str] = []
        seen: list[bytes] = []
        with consumer(kinesis, leases) as reading:

            def handle(batch: Batch) -> None:
                if not lost:
                    assert leases.take(lease_of(leases, int(batch.shard_id[-1])), "thief")
                    lost.append(batch.shard_id)
                    batch.checkpoint()
                    raise AssertionError("not reached")
                seen.extend(record.data for record in batch)
                reading.stop()

            reading.run(handle)
        (other,) = {"shardId-000000000000", "shardId-000000000001"} - set(lost)
        assert seen == [record.data for record in kinesis.user_records(other)]
        assert lease_of(leases, int(lost[0][-1])).checkpoint == sp.Position.TRIM_HORIZON

    def test_an_outage_of_the_store_is_waited_out_by_the_next_checkpoint(self) -> None:
        leases, collected = StoreInTrouble(), Collected()
        config = sp.ConsumerConfig(batch_max_records=10)
        with consumer(fake(1, *NUMBERS), leases, config=config) as reading:
            collected.reading = reading
            leases.errors = {"checkpoint": sp.LeaseStoreError("outage", retriable=True)}
            reading.run(collected.batch)
            leases.errors = {}
        assert collected.all == NUMBERS
        assert lease_of(leases).checkpoint.sub_sequence_number == 99

    def test_what_the_store_refuses_for_good_ends_the_run(self) -> None:
        leases = StoreInTrouble(checkpoint=sp.LeaseStoreError("denied", retriable=False))
        with consumer(fake(1, *NUMBERS), leases) as reading, pytest.raises(sp.LeaseStoreError, match="denied"):
            reading.run(Collected(101).batch, workers=2)


def test_why_it_cannot_go_on_is_not_hidden_by_a_shard_that_stopped_before() -> None:
    leases = StoreInTrouble()
    config = sp.ConsumerConfig(failover_time=1)
    denied = sp.LeaseStoreError("denied", retriable=False)
    with consumer(fake(2, *NUMBERS), leases, config=config) as reading:
        calls = itertools.count()

        def handle(_: Batch) -> None:
            if next(calls):
                leases.errors = {"renew": denied}
                raise PoisonError("cannot")

        with pytest.raises(sp.LeaseStoreError, match="denied") as caught:
            reading.run(handle)
    assert isinstance(caught.value.__cause__, ExceptionGroup)


def test_run_refuses_settings_that_make_no_sense() -> None:
    with consumer(fake(1)) as reading:
        with pytest.raises(ValueError, match="go together"):
            reading.run(print, on_failure="divert")
        with pytest.raises(ValueError, match="workers is 0"):
            reading.run_each(print, workers=0)


def test_run_again_after_stop_returns_at_once() -> None:
    with consumer(fake(1, *NUMBERS)) as reading:
        reading.stop()
        reading.run(print)
