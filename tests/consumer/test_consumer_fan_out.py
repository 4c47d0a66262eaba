"""Enhanced fan-out: no gap and no double when a subscription ends, whatever ends it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import event_server
import pytest
import servers
from pushing import Pushing

import shardpack as sp
from shardpack.consumer.reading.fan_out import FanOut, _ExpiredError
from shardpack.testing import AsyncFakeKinesis, FakeKinesis

SHARD = "shardId-000000000000"
ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"


def stream_of(count: int) -> FakeKinesis:
    kinesis = FakeKinesis(streams={"s": 1})
    for number in range(count):
        kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"%d" % number)
    return kinesis


def consumer(client: Any, leases: sp.MemoryLeases | None = None, **settings: Any) -> sp.Consumer:
    config = sp.ConsumerConfig(failover_time=1)
    return sp.Consumer("s", leases=leases or sp.MemoryLeases(), config=config, client=client, fan_out="app", **settings)


def read(reading: sp.Consumer, until: Callable[[list[bytes]], bool], seconds: float = 30) -> list[bytes]:
    seen: list[bytes] = []
    deadline = time.monotonic() + seconds
    while not until(seen):
        assert time.monotonic() < deadline, seen
        batch = reading.next_batch(1)
        if batch is not None:
            seen += [record.data for record in batch]
            batch.checkpoint()
    return seen


@pytest.mark.parametrize("ends_with", [None, "raise", "InternalFailureException"])
def test_no_gap_and_no_double_when_subscriptions_end(ends_with: str | None) -> None:
    client = Pushing(stream_of(10), ends_with=ends_with)
    with consumer(client) as reading:
        seen = read(reading, lambda seen: len(seen) >= 10)
    assert seen == [b"%d" % number for number in range(10)]
    assert client.registered == ["app"]
    assert client.subscribed[0] == {"Type": "TRIM_HORIZON"}
    assert len(client.subscribed) >= 4
    assert all(position["Type"] == "AFTER_SEQUENCE_NUMBER" for position in client.subscribed[1:])


@pytest.mark.parametrize("ends_with", ["ResourceInUseException", "InternalFailureException"])
def test_two_applications_of_one_name_are_told_once(ends_with: str, caplog: pytest.LogCaptureFixture) -> None:
    client = Pushing(stream_of(12), events=2, ends_with=ends_with)
    with caplog.at_level(logging.ERROR), consumer(client) as reading:
        read(reading, lambda seen: len(seen) >= 12)
    told = [record.getMessage() for record in caplog.records if "another application" in record.getMessage()]
    assert len(told) == (ends_with == "ResourceInUseException")
    assert all("as the stream consumer app" in message for message in told)


def test_it_resumes_inside_an_aggregate() -> None:
    kinesis = FakeKinesis(streams={"s": 1})
    kinesis.put_record(StreamName="s", PartitionKey="a", Data=sp.encode([("k", b"%d" % n) for n in range(6)]))
    leases = sp.MemoryLeases()
    with consumer(Pushing(kinesis), leases) as reading:
        batch = reading.next_batch(10)
        assert batch is not None
        batch.checkpoint(batch[2])
    with consumer(Pushing(kinesis), leases) as reading:
        assert read(reading, lambda seen: b"5" in seen) == [b"3", b"4", b"5"]


def test_children_follow_their_parent() -> None:
    kinesis = stream_of(3)
    kinesis.autoscale(SHARD)
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"3")
    with consumer(Pushing(kinesis)) as reading:
        assert read(reading, lambda seen: len(seen) >= 4) == [b"0", b"1", b"2", b"3"]


def test_a_subscription_in_use_is_waited_for() -> None:
    client = Pushing(stream_of(3))
    client.refuse["subscribe_to_shard"] = ["ResourceInUseException"] * 2
    with consumer(client) as reading:
        assert read(reading, lambda seen: len(seen) >= 3) == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("describe_stream_consumer", "AccessDeniedException"),
        ("register_stream_consumer", "LimitExceededException"),
        ("subscribe_to_shard", "AccessDeniedException"),
    ],
)
def test_where_it_is_not_allowed_it_says_so_once_and_polls(
    call: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = Pushing(stream_of(5))
    client.refuse[call] = [code] * 100
    with caplog.at_level(logging.WARNING), consumer(client) as reading:
        assert read(reading, lambda seen: len(seen) >= 5) == [b"%d" % number for number in range(5)]
    (warning,) = (record.getMessage() for record in caplog.records if "fan-out" in record.getMessage())
    assert code in warning
    assert "reading by GetRecords instead" in warning


def test_latest_begins_with_what_comes() -> None:
    kinesis = stream_of(3)
    client = Pushing(kinesis, events=1000)
    with consumer(client, start="LATEST") as reading:
        assert reading.next_batch(1) is None
        kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"new")
        assert read(reading, bool) == [b"new"]


def test_what_is_not_asked_for_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from shardpack.consumer.reading import fan_out

    monkeypatch.setattr(fan_out, "_MOST_WAITING", 10)
    client = Pushing(stream_of(100), events=1000)
    pushed = FanOut(client, {"StreamName": "s"}, "app")
    where = {"StreamName": "s", "ShardId": SHARD, "ShardIteratorType": "TRIM_HORIZON"}
    token = pushed.get_shard_iterator(**where)["ShardIterator"]
    pushed.get_records(ShardIterator=token)
    time.sleep(0.3)
    assert threading.active_count() >= 2
    (subscription,) = pushed._subscriptions.values()
    assert len(subscription._events) < 20
    pushed.close()
    deadline = time.monotonic() + 5
    while subscription._reading is not None:
        assert time.monotonic() < deadline, "its thread goes on"
        time.sleep(0.01)


def test_it_goes_on_when_the_system_has_threads_again(monkeypatch: pytest.MonkeyPatch) -> None:
    start, failures = threading.Thread.start, [RuntimeError("can't start new thread")]

    def start_later(thread: threading.Thread) -> None:
        if thread.name.startswith("fan-out") and failures:
            raise failures.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_later)
    with consumer(Pushing(stream_of(3))) as reading:
        assert read(reading, lambda seen: len(seen) == 3) == [b"0", b"1", b"2"]
    assert not failures


def test_who_does_not_ask_does_not_subscribe_again() -> None:
    client = Pushing(stream_of(10), events=2)
    pushed = FanOut(client, {"StreamName": "s"}, "app")
    where = {"StreamName": "s", "ShardId": SHARD, "ShardIteratorType": "TRIM_HORIZON"}
    token = pushed.get_shard_iterator(**where)["ShardIterator"]
    pushed.get_records(ShardIterator=token)
    time.sleep(0.3)
    assert len(client.subscribed) == 1
    other = pushed.get_shard_iterator(**where)["ShardIterator"]
    with pytest.raises(_ExpiredError) as caught:
        pushed.get_records(ShardIterator=token)
    assert caught.value.response["Error"]["Code"] == "ExpiredIteratorException"
    assert pushed.get_records(ShardIterator=other)["NextShardIterator"] == other


def test_on_a_real_server() -> None:
    pytest.importorskip("boto3")
    with servers.ministack() as url:
        client = servers.client("kinesis", url)
        servers.create_stream(client, "clicks", 2)
        shards = sp.ShardMap(client.list_shards(StreamName="clicks")["Shards"])

        def put(first: int) -> None:
            records = [(f"k{n % 7}", b"%d" % n) for n in range(first, first + 100)]
            for request in sp.put_requests(sp.pack(records, shard_map=shards, limits=sp.Limits(500))):
                assert request.retry(client.put_records(StreamName="clicks", Records=request.entries)) is None

        put(0)
        config = sp.ConsumerConfig(failover_time=1)
        with sp.Consumer("clicks", leases=sp.MemoryLeases(), config=config, client=client, fan_out="app") as reading:
            seen = read(reading, lambda seen: len(seen) >= 100)
            put(100)
            seen += read(reading, lambda more: len(more) >= 100)
        assert sorted(map(int, seen)) == list(range(200))
        arn = client.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]["StreamARN"]
        (registered,) = client.list_stream_consumers(StreamARN=arn)["Consumers"]
        assert registered["ConsumerName"] == "app"


async def read_async(reading: sp.AsyncConsumer, until: Callable[[list[bytes]], bool]) -> list[bytes]:
    seen: list[bytes] = []
    async with asyncio.timeout(30):
        while not until(seen):
            batch = await reading.next_batch()
            assert batch is not None
            seen += [record.data for record in batch]
            await batch.checkpoint()
    return seen


def async_consumer(client: Pushing, leases: sp.MemoryLeases | None = None) -> sp.AsyncConsumer:
    return sp.AsyncConsumer(
        "s",
        leases=leases or sp.MemoryLeases(),
        config=sp.ConsumerConfig(failover_time=1),
        client=AsyncFakeKinesis(client._kinesis),
        fan_out="app",
        fan_out_client=client,
    )


class TestAsync:
    @pytest.mark.parametrize("ends_with", [None, "raise", "InternalFailureException"])
    def test_no_gap_and_no_double_when_subscriptions_end(self, ends_with: str | None) -> None:
        client = Pushing(stream_of(10), ends_with=ends_with)

        async def main() -> list[bytes]:
            async with async_consumer(client) as reading:
                return await read_async(reading, lambda seen: len(seen) >= 10)

        assert asyncio.run(main()) == [b"%d" % number for number in range(10)]
        assert client.registered == ["app"]
        assert len(client.subscribed) >= 4

    def test_children_follow_their_parent_and_a_successor_goes_on(self) -> None:
        kinesis, leases = stream_of(3), sp.MemoryLeases()
        kinesis.autoscale(SHARD)
        kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"3")

        async def main(count: int) -> list[bytes]:
            async with async_consumer(Pushing(kinesis), leases) as reading:
                return await read_async(reading, lambda seen: len(seen) >= count)

        assert asyncio.run(main(4)) == [b"0", b"1", b"2", b"3"]
        kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"4")
        assert asyncio.run(main(1)) == [b"4"]

    def test_where_it_is_not_allowed_it_polls(self, caplog: pytest.LogCaptureFixture) -> None:
        client = Pushing(stream_of(5))
        client.refuse["subscribe_to_shard"] = ["AccessDeniedException"] * 100

        async def main() -> list[bytes]:
            async with async_consumer(client) as reading:
                return await read_async(reading, lambda seen: len(seen) >= 5)

        with caplog.at_level(logging.WARNING):
            assert asyncio.run(main()) == [b"%d" % number for number in range(5)]
        assert "reading by GetRecords instead" in caplog.text

    def test_closing_ends_its_threads(self) -> None:
        before = set(threading.enumerate())

        async def main() -> None:
            async with async_consumer(Pushing(stream_of(3), events=100_000)) as reading:
                await read_async(reading, lambda seen: len(seen) >= 3)
                assert any(thread.name.startswith("fan-out") for thread in threading.enumerate())

        asyncio.run(main())
        deadline = time.monotonic() + 10
        while any(thread.name.startswith("fan-out") for thread in set(threading.enumerate()) - before):
            assert time.monotonic() < deadline, "its threads go on"
            time.sleep(0.01)


class TestOverHTTP:
    """Against a server of our own that builds each frame by hand, and breaks subscriptions off as Kinesis may."""

    NUMBERS = tuple(b"%d" % number for number in range(40))
    SCRIPT = ("expires", "resets", "stops", "refuses", "resets", "expires")

    def test_each_record_once_and_in_order_however_subscriptions_end(self) -> None:
        boto3 = pytest.importorskip("boto3")
        kinesis = FakeKinesis(streams={"s": 1})
        for number in self.NUMBERS:
            kinesis.put_record(StreamName="s", PartitionKey="k", Data=number)
        read: list[bytes] = []
        with event_server.serving(kinesis, list(self.SCRIPT)) as server:
            client = boto3.client(
                "kinesis",
                endpoint_url=server.url,
                region_name="us-east-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
            with sp.Consumer("s", leases=sp.MemoryLeases(), client=client, fan_out="app") as consumer:
                while len(read) < len(self.NUMBERS):
                    batch = consumer.next_batch(30)
                    assert batch is not None, (read, server.ended)
                    read += [record.data for record in batch]
                    batch.checkpoint()
        assert read == list(self.NUMBERS)
        assert tuple(server.ended[: len(self.SCRIPT)]) == self.SCRIPT
        assert server.begun[0] == {"Type": "TRIM_HORIZON"}
        after = [int(position["SequenceNumber"]) for position in server.begun[1:]]
        assert after == sorted(after), "each goes on where the one before has come to"
