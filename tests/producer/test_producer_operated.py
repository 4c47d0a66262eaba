"""What whoever operates a producer sees: its health, what closing it left, and how much memory it takes."""

from __future__ import annotations

import asyncio
import gc
import sysconfig
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from driven_engine import ONE, THROTTLED, Driven
from producer_client import Client

import shardpack as sp
from shardpack.producer.shells import async_producer


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Held(Client):
    """Answers `PutRecords` only when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()
        self.is_asked = threading.Event()

    def put_records(self, **request: Any) -> dict[str, Any]:
        self.is_asked.set()
        self.may_answer.wait(60)
        return super().put_records(**request)


@contextmanager
def held() -> Iterator[Held]:
    client = Held()
    try:
        yield client
    finally:
        client.may_answer.set()


NOW = sp.ProducerConfig(record_max_buffered_time=0.0)


def test_closing_with_a_deadline_returns_what_was_not_delivered() -> None:
    with held() as client:
        producer = sp.Producer("s", NOW, client=client)
        single = producer.put("a", b"1")
        client.is_asked.wait(60)
        batch = producer.put_many([("b", b"2"), ("c", b"3", "7")])
        left = producer.close(0.05)

        assert left == [sp.UserRecord("a", b"1"), sp.UserRecord("b", b"2"), sp.UserRecord("c", b"3", "7")]
        for future in (single, batch):
            with pytest.raises(sp.DeliveryError, match="was closed before"):
                future.result(0)
        assert producer.close() == left


def test_closing_in_time_returns_nothing() -> None:
    refused = {"Records": [{"ErrorCode": "InternalFailure", "ErrorMessage": "no"}]}
    client = Client(lambda call, _records: refused if call == 1 else None)
    producer = sp.Producer("s", NOW, client=client)
    producer.put("a", b"1")
    assert producer.close(60) == []
    assert sp.Producer("s", client=client).close() == []


def test_what_had_failed_before_is_not_left() -> None:
    client = Client(lambda _call, _records: {"Records": [{"ErrorCode": "InternalFailure", "ErrorMessage": "no"}]})
    producer = sp.Producer("s", sp.ProducerConfig(record_ttl=0.2), client=client)
    failed = producer.put("a", b"1")
    assert producer.close(60) == []
    assert isinstance(failed.exception(0), sp.DeliveryError)


def test_closing_an_async_producer_returns_what_was_not_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def close_early() -> list[sp.UserRecord]:
        async def never(*_: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(async_producer, "call_async", never)
        producer = sp.AsyncProducer("s", NOW, client=object())
        puts: list[asyncio.Future[Any]] = [await producer.put("a", b"1"), await producer.put_many([("b", b"2")])]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await producer.close()
        assert all(isinstance(one.exception(), sp.DeliveryError) for one in puts)
        assert not producer.is_healthy()
        return await producer.close()

    assert asyncio.run(close_early()) == [sp.UserRecord("a", b"1"), sp.UserRecord("b", b"2")]


def test_healthy_while_what_is_put_is_delivered() -> None:
    with held() as client:
        producer = sp.Producer("s", NOW, client=client)
        assert producer.is_healthy(0.0)  # nothing waits
        future = producer.put("a", b"1")
        client.is_asked.wait(60)
        until(lambda: not producer.is_healthy(0.01))
        assert producer.is_healthy(60)
        client.may_answer.set()
        future.result(60)
        assert producer.is_healthy(0.01)
        producer.close()
        assert not producer.is_healthy(60)


def test_not_healthy_while_a_callback_keeps_its_thread() -> None:
    runs, release = threading.Event(), threading.Event()

    def callback(_future: object) -> None:
        runs.set()
        release.wait(60)

    with held() as client, sp.Producer("s", NOW, client=client) as producer:
        producer.put("a", b"1").add_done_callback(callback)
        client.may_answer.set()
        runs.wait(60)
        producer.put("a", b"2")
        until(lambda: not producer.is_healthy(0.05))
        release.set()
        until(lambda: producer.is_healthy(0.05))


def test_a_stream_that_takes_nothing_is_not_healthy_when_its_records_have_expired() -> None:
    driven = Driven(ONE, record_ttl=10.0)
    driven.put(1)
    driven.failed(driven.until_put(), THROTTLED)
    driven.now = 111.0
    driven.poll()
    assert driven.error(1).attempts[-1].error_code == "Expired"
    assert driven.engine.is_stuck(131.0, 30.0)
    assert not driven.engine.is_stuck(129.0, 30.0)

    driven.put(2)
    driven.stored(driven.until_put())
    assert not driven.engine.is_stuck(1000.0, 30.0)


def test_a_record_that_the_service_refuses_for_good_is_no_illness() -> None:
    driven = Driven(ONE)
    driven.put(1)
    driven.failed(driven.until_put(), "ValidationException")
    assert not driven.error(1).retriable
    assert not driven.engine.is_stuck(1000.0, 30.0)


def test_a_wrong_while_is_refused() -> None:
    producer = sp.Producer("s", client=Client())
    with pytest.raises(TypeError, match="within is '1'"):
        producer.is_healthy("1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="within is nan"):
        producer.is_healthy(float("nan"))


def test_fill_is_seen_in_user_records_and_bytes() -> None:
    client = Client()
    with sp.Producer("s", client=client) as producer:
        producer.put_many([("a", b"1" * 100)] * 10)
        producer.flush()
        stats = producer.stats()
    (stored,) = client.stored
    assert stats.user_records_per_kinesis_record.maximum == 10
    assert stats.data_per_kinesis_record.maximum == stats.data_per_kinesis_record.total == len(stored["Data"])


# Without a GIL, each object that the garbage collector does not know takes 16 bytes more, and some are freed later.
LARGER_OBJECTS = 200 if sysconfig.get_config_var("Py_GIL_DISABLED") else 0


@pytest.mark.parametrize(("many", "bound"), [(False, 2 * 100 + 450), (True, 2 * 100 + 260)])
def test_memory_of_what_is_outstanding(*, many: bool, bound: int) -> None:
    """As docs/producer.md states it: the data twice, once of them in the aggregate, and some objects."""
    count = 20_000
    config = sp.ProducerConfig(record_ttl=600, max_outstanding_records=10 * count)
    keys = [f"key-{n}" for n in range(1000)]
    with held() as client:
        producer = sp.Producer("s", config, client=client)
        producer.put("a", b"1")
        client.is_asked.wait(60)
        gc.collect()
        tracemalloc.start()
        try:
            futures: list[object] = []
            for first in range(0, count, 500):
                records = [(keys[n % 1000], b"%d" % n + b"x" * 95) for n in range(first, first + 500)]
                futures += [producer.put_many(records)] if many else [producer.put(*record) for record in records]
            del records
            producer.stats()
            until(lambda: producer.stats().user_records_data_pending)
            gc.collect()
            taken = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert producer.outstanding_records() == count + 1
        assert taken / count < bound + LARGER_OBJECTS
        producer.close(0)
