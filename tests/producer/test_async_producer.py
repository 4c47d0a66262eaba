"""The producer for asyncio: against a real local server, and against a client of our own where a call must go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import servers
from producer_client import Client as ThreadsClient
from producer_client import read_all

import shardpack as sp


class Client:
    """`test_producer.Client`, awaited; `go` lets calls pass."""

    def __init__(self, answer: Callable[[int, list[dict[str, Any]]], dict[str, Any] | None] | None = None) -> None:
        self.inner = ThreadsClient(answer)
        self.go = asyncio.Event()
        self.go.set()

    async def list_shards(self, **arguments: Any) -> dict[str, Any]:
        return self.inner.list_shards(**arguments)

    async def describe_stream_summary(self, **arguments: Any) -> dict[str, Any]:
        return self.inner.describe_stream_summary(**arguments)

    async def put_records(self, **arguments: Any) -> dict[str, Any]:
        await self.go.wait()
        return self.inner.put_records(**arguments)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main()

    asyncio.run(bounded())


@pytest.fixture(scope="module")
def kinesis() -> Iterator[tuple[Any, str]]:
    pytest.importorskip("aiobotocore")
    with servers.ministack() as url:
        yield servers.client("kinesis", url), url


@pytest.mark.usefixtures("aws_credentials")
def test_every_record_is_found_where_its_delivery_says(kinesis: tuple[Any, str]) -> None:
    client, url = kinesis
    client.create_stream(StreamName="async", ShardCount=4)
    client.get_waiter("stream_exists").wait(StreamName="async", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    deliveries = {}

    async def main() -> None:
        async with sp.AsyncProducer("async", region_name="us-east-1", endpoint_url=url) as producer:
            # The first puts come from tasks that end long before the producer does.
            futures = await asyncio.gather(*(producer.put(f"k{n % 50}", b"%d" % n) for n in range(2000)))
        for n, future in enumerate(futures):
            deliveries[b"%d" % n] = await future

    run(main)

    found = {record.data: (shard_id, record.position) for shard_id, record in read_all(client, "async")}
    assert found == {data: (delivery.shard_id, delivery.position) for data, delivery in deliveries.items()}


def test_flush_returns_when_all_before_it_is_settled() -> None:
    async def main() -> None:
        client = Client()
        async with sp.AsyncProducer("s", sp.ProducerConfig(record_max_buffered_time=60), client=client) as producer:
            await producer.flush()
            futures = [await producer.put("k", b"%d" % n) for n in range(1000)]
            await producer.flush()
            assert all(future.done() for future in futures)
        assert client.inner.received() == [b"%d" % n for n in range(1000)]

    run(main)


def test_leaving_with_work_in_flight_loses_nothing() -> None:
    throttled = {"ErrorCode": "ProvisionedThroughputExceededException"}

    async def main() -> None:
        client = Client(lambda call, records: {"Records": [throttled for _ in records]} if call % 2 else None)
        async with sp.AsyncProducer("s", sp.ProducerConfig(aggregation_max_count=100), client=client) as producer:
            futures = [await producer.put(f"k{n}", b"%d" % n) for n in range(500)]
        assert sorted(client.inner.received()) == sorted(b"%d" % n for n in range(500))
        assert all(future.result().sequence_number for future in futures)

    run(main)


def test_put_waits_when_there_is_no_room_and_its_cancellation_is_its_own() -> None:
    async def main() -> None:
        client = Client()
        client.go.clear()
        async with sp.AsyncProducer("s", sp.ProducerConfig(max_outstanding_records=10), client=client) as producer:
            for n in range(10):
                await producer.put("k", b"%d" % n)
            with pytest.raises(sp.BufferFullError):
                await producer.put("k", b"refused", block=False)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await producer.put("k", b"cancelled")
            waiting = asyncio.create_task(producer.put("k", b"last"))
            await asyncio.sleep(0)
            client.go.set()
            await (await waiting)
        assert sorted(client.inner.received()) == [*(b"%d" % n for n in range(10)), b"last"]

    run(main)


def test_a_cancelled_flush_leaves_everything_on_its_way() -> None:
    async def main() -> None:
        client = Client()
        client.go.clear()
        async with sp.AsyncProducer("s", client=client) as producer:
            future = await producer.put("k", b"data")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await producer.flush()
            client.go.set()
            assert (await future).sequence_number == "1"

    run(main)


def test_a_cancelled_close_fails_what_is_left_and_ends_its_calls() -> None:
    async def main() -> None:
        client = Client()
        client.go.clear()
        producer = sp.AsyncProducer("s", client=client)
        future = await producer.put("k", b"data")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await producer.close()
        error = future.exception()
        assert isinstance(error, sp.DeliveryError)
        assert error.records == (sp.UserRecord("k", b"data"),)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        with pytest.raises(RuntimeError, match="closed"):
            await producer.put("k", b"data")
        await producer.close()

    run(main)


def test_bad_input_is_refused_and_disturbs_nothing() -> None:
    async def main() -> None:
        client = Client()
        async with sp.AsyncProducer("s", client=client) as producer:
            await producer.put("k", b"good")
            with pytest.raises(sp.InvalidRecordError):
                await producer.put("k", "text")  # type: ignore[arg-type]
            with pytest.raises(sp.InvalidRecordError):
                await producer.put("", b"")
        assert client.inner.received() == [b"good"]

    run(main)


def test_another_event_loop_is_refused() -> None:
    producer = sp.AsyncProducer("s", client=Client())

    async def first() -> None:
        await (await producer.put("k", b"data"))

    async def second() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            await producer.put("k", b"data")

    run(first)
    run(second)


def test_an_error_of_its_own_reaches_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        producer = sp.AsyncProducer("s", client=Client())
        first = await producer.put("k", b"1")
        monkeypatch.setattr(producer._work.engine, "put", lambda *_arguments, **_more: 1 / 0)
        second = await producer.put_many([("k", b"2"), ("k", b"3")])
        await producer.close()
        assert isinstance(first.exception(), sp.DeliveryError)
        assert isinstance(second.exception(), sp.BatchDeliveryError)
        with pytest.raises(RuntimeError, match="closed"):
            await producer.put("k", b"4")

    run(main)


def test_a_cancelled_future_harms_nobody() -> None:
    async def main() -> None:
        async with sp.AsyncProducer("s", client=Client()) as producer:
            (await producer.put("k", b"1")).cancel()
            second = await producer.put("k", b"2")
        assert second.result().sub_sequence_number == 1

    run(main)


def test_many_at_once() -> None:
    async def main() -> None:
        client = Client(lambda call, _records: None if call > 1 else {"Records": []})
        config = sp.ProducerConfig(max_outstanding_records=10, collection_max_count=1, aggregation_max_count=3)
        async with sp.AsyncProducer("s", config, client=client) as producer:
            assert await (await producer.put_many([])) == []
            client.go.clear()
            some = await producer.put_many([("k", b"%d" % n) for n in range(6)])
            with pytest.raises(sp.BufferFullError):
                await producer.put_many([("k", b"")] * 5, block=False)
            with pytest.raises(sp.InvalidRecordError):
                await producer.put_many([("k", b"good"), ("", b"bad")])
            client.go.set()
            rest = await producer.put_many((f"k{n}", b"%d" % n) for n in range(6, 20))
            assert len(await rest) == 14
            with pytest.raises(sp.BatchDeliveryError) as raised:
                await some
        assert [isinstance(outcome, sp.Delivery) for outcome in raised.value.outcomes].count(True) == 3
        assert sorted(map(int, client.inner.received())) == sorted(
            {*range(20)} - {int(record.data) for record in raised.value.records}
        )

    run(main)
