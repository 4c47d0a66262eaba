"""Threads that share one producer: nothing is lost, doubled or mixed up, with a GIL and without."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

import shardpack as sp
from shardpack.testing import FakeKinesis

THREADS, ROUNDS = 5, 40


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    """Where there is a GIL, it changes hands a thousand times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work: Callable[[int], None]) -> None:
    """Each thread's number to the work, all at once; what one of them raises is raised here."""
    errors: list[BaseException] = []
    start = threading.Barrier(THREADS)

    def guarded(number: int) -> None:
        try:
            start.wait(600)
            work(number)
        except BaseException as error:  # noqa: BLE001  # it is raised again below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


@pytest.mark.parametrize("hash_keys", ["pinned", "kpl"])
def test_puts_batches_flushes_and_looks_at_once(hash_keys: str) -> None:
    kinesis = FakeKinesis(streams={"s": 3})
    config = sp.ProducerConfig(
        hash_keys="kpl" if hash_keys == "kpl" else "pinned",
        aggregation_max_count=7,
        collection_max_count=5,
        max_outstanding_records=150,
        record_max_buffered_time=0.01,
        record_ttl=600,
    )
    singles: dict[bytes, Future[sp.Delivery]] = {}
    batches: dict[bytes, Future[list[sp.Delivery]]] = {}
    with sp.Producer("s", config, client=kinesis) as producer:

        def work(number: int) -> None:
            for turn in range(ROUNDS):
                data = b"%d %d" % (number, turn)
                singles[data] = producer.put(f"k{turn % 9}", data)
                batches[data] = producer.put_many([(f"k{n}", b"%b %d" % (data, n)) for n in range(3)])
                if turn % 20 == number:
                    producer.flush(600)
                assert producer.stats().user_records_put >= 0

        in_threads(work)

    expected = [*singles, *(b"%b %d" % (data, n) for data in batches for n in range(3))]
    stored = {(record.position, record.shard_id): record.data for record in kinesis.user_records()}
    assert Counter(stored.values()) == Counter(expected)
    for data, future in singles.items():
        delivery = future.result(0)
        assert stored[delivery.position, delivery.shard_id] == data
    for data, many in batches.items():
        found = [stored[delivery.position, delivery.shard_id] for delivery in many.result(0)]
        assert found == [b"%b %d" % (data, n) for n in range(3)]


def test_one_closes_while_the_others_put() -> None:
    kinesis = FakeKinesis(streams={"s": 1})
    producer = sp.Producer("s", client=kinesis)
    taken: list[tuple[bytes, Future[sp.Delivery]]] = []
    refused = threading.Event()

    def work(number: int) -> None:
        for turn in range(10_000):
            data = b"%d %d" % (number, turn)
            if number == 0 and turn == 50:
                producer.close(600)
                return
            try:
                taken.append((data, producer.put("k", data)))
            except RuntimeError:
                refused.set()
                return

    in_threads(work)

    assert refused.is_set()
    # What looked before `close` and came after it is told by its future; there is no third way.
    late = [data for data, future in taken if future.exception(0) is not None]
    assert all(isinstance(future.exception(0), sp.DeliveryError | None) for _, future in taken)
    stored = Counter(record.data for record in kinesis.user_records())
    assert stored + Counter(late) == Counter(data for data, _ in taken)
    assert len(late) < THREADS


def test_a_count_that_threads_have_lost_to_each_other_is_found_again() -> None:
    """Without a GIL, two additions at once may count as one; `max_outstanding_records` must go on holding."""
    kinesis = FakeKinesis(streams={"s": 1})
    config = sp.ProducerConfig(max_outstanding_records=10, record_max_buffered_time=60, record_ttl=600)
    with sp.Producer("s", config, client=kinesis) as producer:
        producer.put("k", b"first").done()
        producer.flush()
        producer._worker._sent_records -= 7
        producer._worker._sent_bytes -= 70
        producer.put("k", b"second")
        producer.flush()  # the thread has looked

        for number in range(10):
            producer.put("k", b"%d" % number, block=False)
        with pytest.raises(sp.BufferFullError):
            producer.put("k", b"one too many", block=False)
