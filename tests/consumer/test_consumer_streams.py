"""Several streams read by one consumer, whose leases are those of a multi-stream application of the KCL."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import servers
from consumer_setup import until

import shardpack as sp
from shardpack.consumer import Lease
from shardpack.consumer.reading.directory import Directory, checked_names
from shardpack.consumer.reading.streams import AsyncManyStreams, GoneError, ManyStreams
from shardpack.leases.items import item_of, lease_of
from shardpack.testing import AsyncFakeKinesis, FakeKinesis, ManualClock, SystemClock

ARN = "arn:aws:kinesis:eu-west-1:"
CONFIG = sp.ConsumerConfig(failover_time=1, shard_sync_interval=1, idle_time_between_reads=0.2)


def fake(**streams: int) -> FakeKinesis:
    return FakeKinesis(streams=streams, clock=SystemClock())


def put(kinesis: FakeKinesis, stream: str, *data: bytes) -> None:
    for number, one in enumerate(data):
        kinesis.put_record(StreamName=stream, PartitionKey=f"key-{number}", Data=sp.encode([(f"key-{number}", one)]))


def read(consumer: sp.Consumer, is_enough: Callable[[list[tuple[str, bytes]]], bool]) -> list[tuple[str, bytes]]:
    seen: list[tuple[str, bytes]] = []
    deadline = time.monotonic() + 30
    while not is_enough(seen):
        assert time.monotonic() < deadline, seen
        batch = consumer.next_batch(0.2)
        if batch is not None:
            assert all(record.shard_id == batch.shard_id for record in batch)
            assert batch.shard_id.startswith("shardId-")
            seen += [(batch.stream_name, record.data) for record in batch]
            batch.checkpoint()
    return seen


def consumer(kinesis: Any, streams: Any, leases: Any = None, **arguments: Any) -> sp.Consumer:
    config = arguments.pop("config", CONFIG)
    return sp.Consumer(leases=leases or sp.MemoryLeases(), streams=streams, client=kinesis, config=config, **arguments)


def test_each_stream_is_read_whole() -> None:
    kinesis, leases = fake(clicks=2, orders=3), sp.MemoryLeases()
    put(kinesis, "clicks", *(b"c%d" % n for n in range(10)))
    put(kinesis, "orders", *(b"o%d" % n for n in range(10)))
    with consumer(kinesis, ["clicks", "orders"], leases) as reading:
        seen = read(reading, lambda seen: len(seen) >= 20)
    wanted = [("clicks", b"c%d" % n) for n in range(10)] + [("orders", b"o%d" % n) for n in range(10)]
    assert sorted(seen) == sorted(wanted)

    keys = sorted(lease.key for lease in leases.list())
    summary = kinesis.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]
    account = summary["StreamARN"].split(":")[4]
    epoch = int(summary["StreamCreationTimestamp"].timestamp())
    assert keys[:2] == [f"{account}:clicks:{epoch}:shardId-{n:012}" for n in range(2)]
    assert len(keys) == 5

    put(kinesis, "orders", b"later")
    with consumer(kinesis, ["clicks", "orders"], leases) as reading:
        assert read(reading, bool) == [("orders", b"later")]


def test_an_iterator_of_names_is_read_once() -> None:
    kinesis = fake(clicks=1, orders=1)
    put(kinesis, "orders", b"1")
    with consumer(kinesis, (name for name in ("clicks", "orders"))) as reading:
        assert read(reading, bool) == [("orders", b"1")]


@pytest.mark.parametrize("found", [5, None, "clicks", [5], [["clicks"]]])
def test_a_function_that_finds_no_streams_is_told_what_to_give(found: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"give a list of names|give the stream's name"):
        Directory(lambda: found).names()


def test_children_follow_their_parents_in_each_stream() -> None:
    kinesis, leases = fake(clicks=1, orders=1), sp.MemoryLeases()
    for stream in ("clicks", "orders"):
        put(kinesis, stream, b"before")
        kinesis.autoscale("shardId-000000000000", stream_name=stream)
        put(kinesis, stream, b"after")
    with consumer(kinesis, ["clicks", "orders"], leases) as reading:
        seen = read(reading, lambda seen: len(seen) >= 4)
        assert sorted(seen, key=lambda one: one[0]) == [
            ("clicks", b"before"),
            ("clicks", b"after"),
            ("orders", b"before"),
            ("orders", b"after"),
        ]
        parents = {lease.parents for lease in leases.list() if lease.parents}
        assert all(parent.endswith(":shardId-000000000000") for lease in parents for parent in lease)


class Names:
    """What is found, and how often it was looked for."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.looked = 0

    def __call__(self) -> Iterable[str]:
        self.looked += 1
        return self.names

    def become(self, *names: str) -> None:
        """Return when it was found that these are there."""
        self.names = names
        looked = self.looked
        until(lambda: self.looked >= looked + 2)  # by then the first look has come to its end


def nothing_comes(reading: sp.Consumer, streams: int) -> None:
    """Until so many shards are read to their latest."""

    def is_read() -> bool:
        assert reading.next_batch(0.1) is None
        behind = reading.millis_behind_latest
        return len(behind) == streams and None not in behind.values()

    until(is_read)


def test_streams_come_and_go_while_it_runs() -> None:
    kinesis, leases, names = fake(clicks=1), sp.MemoryLeases(), Names("clicks")
    put(kinesis, "clicks", b"before")
    with consumer(kinesis, names, leases, start="LATEST") as reading:
        nothing_comes(reading, streams=1)
        put(kinesis, "clicks", b"1")
        assert read(reading, bool) == [("clicks", b"1")]

        kinesis.create_stream(StreamName="orders", ShardCount=1)
        put(kinesis, "orders", b"before")
        names.become("clicks", "orders")
        nothing_comes(reading, streams=2)
        put(kinesis, "orders", b"2")
        assert read(reading, bool) == [("orders", b"2")]

        names.become("orders")
        put(kinesis, "clicks", b"3")
        assert reading.next_batch(0.5) is None
        assert all(lease.checkpoint != sp.Position.SHARD_END for lease in leases.list())
        names.become("clicks", "orders")
        assert read(reading, bool) == [("clicks", b"3")]


def test_one_that_is_missing_does_not_hold_up_the_others(caplog: pytest.LogCaptureFixture) -> None:
    kinesis = fake(clicks=1)
    put(kinesis, "clicks", b"1")
    with caplog.at_level(logging.WARNING), consumer(kinesis, ["clicks", "missing"]) as reading:
        assert read(reading, bool) == [("clicks", b"1")]
        assert reading.next_batch(1.5) is None  # it has looked again
    (warning,) = (record.getMessage() for record in caplog.records if "missing" in record.getMessage())
    assert "cannot be listed, the other streams are read on" in warning


def test_where_all_are_missing_it_says_so() -> None:
    with consumer(fake(), ["missing"]) as reading, pytest.raises(Exception, match="missing"):
        reading.next_batch(30)


def test_one_that_was_made_again_begins_anew() -> None:
    kinesis, leases = fake(clicks=1, orders=1), sp.MemoryLeases()
    put(kinesis, "clicks", b"1")
    with consumer(kinesis, ["clicks", "orders"], leases) as reading:
        assert read(reading, bool) == [("clicks", b"1")]
        kinesis.delete_stream(StreamName="clicks")
        time.sleep(1.1)  # two streams of one second have one name in the KCL's table
        kinesis.create_stream(StreamName="clicks", ShardCount=1)
        put(kinesis, "clicks", b"2")
        assert read(reading, bool) == [("clicks", b"2")]


def test_two_workers_share_all_shards() -> None:
    kinesis, leases = fake(**{f"s{n}": 1 for n in range(6)}), sp.MemoryLeases()
    names = [f"s{n}" for n in range(6)]
    with consumer(kinesis, names, leases, worker_id="a") as one, consumer(kinesis, names, leases, worker_id="b") as two:

        def are_shared() -> bool:
            for worker in (one, two):
                worker.next_batch(0.02)
            owners = [lease.owner for lease in leases.list() if lease.checkpoint_owner is None]
            return owners.count("a") == owners.count("b") == 3

        until(are_shared)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "give the name of a stream"),
        ({"stream_name": "a", "streams": ["b"]}, ValueError, "both given"),
        ({"streams": []}, ValueError, "streams is empty"),
        ({"streams": "clicks"}, TypeError, "one name; give a list"),
        ({"streams": [""]}, ValueError, "stream"),
        ({"streams": b"clicks"}, TypeError, "one name; give a list"),
        ({"streams": 5}, TypeError, "streams is 5, of type int; give a list of names, or a function"),
        ({"streams": [["clicks"]]}, TypeError, "stream_name is .*of type list; give the stream's name"),
        ({"streams": ["a"], "fan_out": "app"}, ValueError, "fan_out reads one stream"),
    ],
)
@pytest.mark.parametrize("kind", [sp.Consumer, sp.AsyncConsumer])
def test_wrong_streams_are_refused(kind: Any, arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        kind(leases=sp.MemoryLeases(), **arguments)


def test_an_item_is_as_the_kcl_writes_it() -> None:
    """KCL: DynamoDBMultiStreamLeaseSerializer, and HierarchicalShardSyncer.newKCLMultiStreamLease."""
    stream = "123456789012:clicks:1700000000"
    lease = Lease(f"{stream}:shardId-2", parents=(f"{stream}:shardId-0", f"{stream}:shardId-1"))
    item = item_of(lease)
    assert item["leaseKey"] == {"S": f"{stream}:shardId-2"}
    assert item["streamName"] == {"S": stream}
    assert item["shardId"] == {"S": "shardId-2"}
    assert item["parentShardId"] == {"SS": ("shardId-0", "shardId-1")}
    assert lease_of(item) == lease
    alone = item_of(Lease("shardId-2", parents=("shardId-0",)))
    assert alone.keys().isdisjoint({"streamName", "shardId"})


def test_a_function_that_fails_is_asked_again() -> None:
    kinesis = fake(clicks=1)
    put(kinesis, "clicks", b"1")
    asked: list[int] = []

    def find() -> Iterable[str]:
        asked.append(1)
        if len(asked) < 3:
            raise ConnectionError("the catalog does not answer")
        return ["clicks"]

    with consumer(kinesis, find) as reading:
        assert read(reading, bool) == [("clicks", b"1")]


def test_a_function_that_fails_for_long_is_told_each_time_and_shows_in_the_health(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kinesis, errors = fake(clicks=1), list[Exception]()
    failures: list[Exception] = [RuntimeError("no catalog"), KeyError("x"), TypeError(), ConnectionError("away")]

    def find() -> Any:
        if errors:
            raise errors[-1]
        return ["clicks"]

    many = Directory(find)
    with consumer(kinesis, find) as reading:
        put(kinesis, "clicks", b"1")
        assert read(reading, bool) == [("clicks", b"1")]
        errors += failures  # a mistake of the application's does not end what is read already
        until(lambda: not reading.is_healthy())
        put(kinesis, "clicks", b"2")
        assert read(reading, bool) == [("clicks", b"2")]
        errors.clear()
        until(reading.is_healthy)
    assert [one for one in caplog.messages if "ConnectionError: away); the streams stay as they were" in one]
    caplog.clear()

    assert many.names() == ["clicks"]
    for number, error in enumerate(failures, 1):
        assert many.is_well == (number <= 3)
        errors[:] = [error]
        assert many.names() == ["clicks"]
        assert f"has failed {number} times in a row ({type(error).__name__}" in caplog.messages[-1]
    errors.clear()
    many = Directory(lambda: found)
    found: Any = ["clicks", "orders"]
    assert many.names() == ["clicks", "orders"]
    found = [["no name"]]
    assert many.names() == ["clicks", "orders"]
    assert "TypeError" in caplog.messages[-1]


@pytest.mark.parametrize("wrong", ["clicks", [""], RuntimeError("no catalog"), None])
def test_a_function_that_never_gives_streams_ends_the_consumer(wrong: Any) -> None:
    def find() -> Any:
        if isinstance(wrong, Exception):
            raise wrong
        return wrong

    with consumer(fake(clicks=1), find) as reading:
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            reading.next_batch(30)
        assert not reading.is_healthy()


def test_an_iterator_of_a_stream_that_rests_gives_nothing() -> None:
    kinesis, names = fake(clicks=1, orders=1), ["clicks", "orders"]
    put(kinesis, "clicks", b"1")
    many = ManyStreams(kinesis, Directory(lambda: names))
    key = next(one["ShardId"] for one in many.list_shards()["Shards"] if ":clicks:" in one["ShardId"])
    names = ["orders"]
    many.list_shards()
    resting = many.get_shard_iterator(ShardId=key, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    answer = many.get_records(ShardIterator=resting)
    assert answer == {"Records": [], "NextShardIterator": resting, "MillisBehindLatest": 0, "Rests": True}
    names = ["clicks"]
    many.list_shards()
    with pytest.raises(GoneError) as caught:
        many.get_records(ShardIterator=resting)
    assert caught.value.response["Error"]["Code"] == "ExpiredIteratorException"
    again = many.get_shard_iterator(ShardId=key, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    assert len(many.get_records(ShardIterator=again)["Records"]) == 1


EXAMPLES = re.findall(
    r"^```python\n(.*?)^```$",
    (Path(__file__).parents[2] / "docs/several-streams.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)


@pytest.mark.usefixtures("aws_credentials")
def test_the_examples_on_a_real_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3 = pytest.importorskip("boto3")
    script = tmp_path / "example.py"
    script.write_text(EXAMPLES[0], encoding="utf-8")
    with servers.kinesalite() as url:
        client = servers.client("kinesis", url)
        for name in ("clicks", "orders", "shop-1"):
            servers.create_stream(client, name, 1)
            client.put_record(StreamName=name, PartitionKey="k", Data=sp.encode([("k", name.encode())]))
        monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", url)
        process = subprocess.Popen([sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert {process.stdout.readline() for _ in range(2)} == {"clicks b'clicks'\n", "orders b'orders'\n"}
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == ""
        assert process.returncode == 0

        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        namespace: dict[str, Any] = {}
        exec(compile(EXAMPLES[1], "docs/several-streams.md", "exec"), namespace)
        with sp.Consumer(leases=sp.MemoryLeases(), streams=namespace["find"], client=client) as reading:
            assert read(reading, bool) == [("shop-1", b"shop-1")]


def test_with_asyncio() -> None:
    kinesis = fake(clicks=2, orders=1)
    put(kinesis, "clicks", *(b"c%d" % n for n in range(10)))
    put(kinesis, "orders", *(b"o%d" % n for n in range(10)))
    seen: list[tuple[str, bytes]] = []

    async def main() -> None:
        async with (
            asyncio.timeout(30),
            sp.AsyncConsumer(
                leases=sp.MemoryLeases(),
                streams=["clicks", "orders", "missing"],
                client=AsyncFakeKinesis(kinesis),
                config=CONFIG,
            ) as reading,
        ):
            async for batch in reading:
                seen.extend((batch.stream_name, record.data) for record in batch)
                await batch.checkpoint()
                if len(seen) >= 20:
                    reading.stop()

    asyncio.run(main())
    wanted = [("clicks", b"c%d" % n) for n in range(10)] + [("orders", b"o%d" % n) for n in range(10)]
    assert sorted(seen) == sorted(wanted)


class DeniedError(Exception):
    """As boto3 raises it, but for its class."""

    response: ClassVar = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}


class TwoAccounts:
    """A client of one account that may read a stream of another.

    Attributes:
        asked: how calls for records have named streams.
    """

    def __init__(self, own: FakeKinesis, others: FakeKinesis, *, may_ask: bool) -> None:
        self.asked: set[str] = set()
        self.meta = own.meta
        self._own, self._others, self._may_ask = own, others, may_ask

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            if operation == "describe_stream_summary" and not self._may_ask:
                raise DeniedError
            arn = arguments.get("StreamARN", "")
            if operation == "get_shard_iterator":
                self.asked.add(arn or arguments["StreamName"])
            if ":210987654321:" not in arn:
                is_page = operation == "get_records" and self.asked != {"clicks"}
                return getattr(self._others if is_page else self._own, operation)(**arguments)
            arguments["StreamARN"] = arn.replace("210987654321", "123456789012")
            return getattr(self._others, operation)(**arguments)

        return call


class AwaitedCalls:
    """The same for asyncio."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.meta = client.meta

    def __getattr__(self, operation: str) -> Any:
        async def call(**arguments: Any) -> Any:
            return getattr(self._client, operation)(**arguments)

        return call


class TestAnEpochOfSomebodysOwn:
    """An application of the KCL names its streams with any epoch, such as the 12345 of AWS's examples."""

    def read_by_java(self, kinesis: FakeKinesis) -> sp.MemoryLeases:
        """What such an application leaves behind."""
        leases = sp.MemoryLeases()
        with consumer(kinesis, ["clicks"], leases) as reading:
            read(reading, lambda seen: len(seen) == 2)
        (lease,) = leases.list()
        assert leases.delete(lease)
        account = lease.key.partition(":")[0]
        assert leases.create(replace(lease, key=f"{account}:clicks:12345:shardId-000000000000", origin=None))
        return leases

    def test_a_stream_named_as_the_kcl_names_it_goes_on_from_its_leases(self) -> None:
        kinesis = fake(clicks=1, orders=1)
        put(kinesis, "clicks", b"c0", b"c1")
        leases = self.read_by_java(kinesis)
        (key,) = (lease.key for lease in leases.list())
        put(kinesis, "clicks", b"c2")
        put(kinesis, "orders", b"o0")
        kinesis.autoscale("shardId-000000000000", stream_name="clicks")
        put(kinesis, "clicks", b"c3")
        with consumer(kinesis, [key.rpartition(":")[0], "orders"], leases) as reading:
            seen = read(reading, lambda seen: len(seen) >= 3)
        assert sorted(seen) == [("clicks", b"c2"), ("clicks", b"c3"), ("orders", b"o0")]
        assert {lease.key.split(":")[2] for lease in leases.list() if ":clicks:" in lease.key} == {"12345"}

    def test_its_leases_are_not_passed_over_without_a_word(self) -> None:
        kinesis = fake(clicks=1)
        put(kinesis, "clicks", b"c0", b"c1")
        leases = self.read_by_java(kinesis)
        (key,) = (lease.key for lease in leases.list())
        with (
            consumer(kinesis, ["clicks"], leases) as reading,
            pytest.raises(sp.LeaseStoreError, match=re.escape(f"streams=[{key.rpartition(':')[0]!r}]")),
        ):
            read(reading, bool)
        assert [lease.key for lease in leases.list()] == [key]

    @pytest.mark.parametrize("namesakes", [1, 0])
    @pytest.mark.parametrize("may_ask", [True, False])
    def test_a_stream_of_another_account_is_asked_for_by_its_arn(self, namesakes: int, may_ask: bool) -> None:
        """By its name, the stream of that name in one's own account would be read."""
        own, others = fake(**{"clicks": 1} if namesakes else {}), fake(clicks=1)
        if namesakes:
            put(own, "clicks", b"own")
        put(others, "clicks", b"other's")
        client = TwoAccounts(own, others, may_ask=may_ask)
        with consumer(client, ["210987654321:clicks:12345"]) as reading:
            assert read(reading, bool) == [("clicks", b"other's")]
        assert client.asked == {"arn:aws:kinesis:us-east-1:210987654321:stream/clicks"}

        async def main() -> None:
            client = TwoAccounts(own, others, may_ask=may_ask)
            many = AsyncManyStreams(AwaitedCalls(client), Directory(lambda: ["210987654321:clicks:12345"]))
            (shard,) = (await many.list_shards())["Shards"]
            assert shard["ShardId"] == "210987654321:clicks:12345:shardId-000000000000"
            await many.get_shard_iterator(ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
            assert client.asked == {"arn:aws:kinesis:us-east-1:210987654321:stream/clicks"}

        asyncio.run(main())

    def test_whose_the_streams_are_is_asked_once_and_not_of_each(self) -> None:
        """Kinesis answers 20 such questions a second in an account."""
        own = fake(clicks=1, orders=1, visits=1)
        asked: list[Any] = []
        describe = own.describe_stream_summary

        def counted(**stream: Any) -> Any:
            asked.append(stream)
            return describe(**stream)

        own.describe_stream_summary = counted  # type: ignore[method-assign]
        names = ["123456789012:clicks:1", "123456789012:orders:1", "210987654321:visits:1", "123456789012:visits:1"]
        directory = Directory(lambda: names)
        many = ManyStreams(own, directory)
        assert len(many.list_shards()["Shards"]) == 3  # the other account's is not there
        assert asked == [{"StreamName": "clicks"}]
        arn = "arn:aws:kinesis:us-east-1:210987654321:stream/visits"
        wanted = [{"StreamName": "clicks"}, {"StreamName": "orders"}, {"StreamARN": arn}, {"StreamName": "visits"}]
        assert [directory.call_of(name) for name in names] == wanted

        async def main() -> None:
            directory = Directory(lambda: names)
            await AsyncManyStreams(AwaitedCalls(own), directory).list_shards()
            assert len(asked) == 2
            assert [directory.call_of(name) for name in names] == wanted

        asyncio.run(main())

    def test_those_of_a_stream_that_is_no_more_are_left_alone(self) -> None:
        old = fake(clicks=1)
        put(old, "clicks", b"c0", b"c1")
        leases = self.read_by_java(old)
        kinesis = FakeKinesis(streams={"clicks": 1}, clock=ManualClock(time.time() + 3600))
        put(kinesis, "clicks", b"new")
        with consumer(kinesis, ["clicks"], leases) as reading:
            assert read(reading, bool) == [("clicks", b"new")]

    @pytest.mark.parametrize(
        "names",
        [
            ["1:clicks:5", "clicks"],
            ["1:clicks:5", "clicks", "2:clicks:5"],
            ["1:clicks:5", "1:clicks:6"],
            [f"{ARN}1:stream/clicks", "1:clicks:5"],
        ],
        ids=["name", "name and accounts", "epochs", "ARN"],
    )
    def test_one_stream_in_two_ways_is_refused(self, names: list[str]) -> None:
        for given in (names, names[::-1]):
            with pytest.raises(ValueError, match=r"names the stream '[0-9:]*clicks' in two ways"):
                consumer(fake(clicks=1), given)

    def test_streams_of_two_accounts_may_have_one_name(self) -> None:
        names = [f"{ARN}2:stream/clicks", "1:clicks:5", f"{ARN}3:stream/clicks", "4:clicks:5", "5:clicks:6"]
        assert checked_names(names) == names
