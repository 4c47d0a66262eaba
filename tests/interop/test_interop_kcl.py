"""The KCL's own worker reads what `Producer` puts while shards split and merge, and shares our lease tables."""

from __future__ import annotations

import base64
import functools
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

import kinesis_calls
import pytest
import servers
from aws_kinesis_agg import aggregator
from java_programs import versions
from kcl_application import KclApplication, kcl_application, table_of_ours
from stream_check import Resharder

import shardpack as sp

RECORDS = int(os.environ.get("INTEROP_RECORDS", "4000"))


@pytest.fixture(scope="module")
def kinesis() -> Iterator[str]:
    with servers.kinesis_local() as url:
        yield url


def numbers(application: KclApplication) -> Counter[int]:
    """How often the KCL has delivered each user record, by the number that its data begins with."""
    found = (base64.b64decode(event["data"]) for event in application.of_kind("record"))
    return Counter(int(data.partition(b":")[0]) for data in found)


Enough = Callable[[], bool]


def user_records(is_enough: Enough) -> Iterator[tuple[str, bytes]]:
    """`RECORDS` user records with 500 keys, about 270 a second, and more until it is enough."""
    for number in range(20 * RECORDS):
        if number >= RECORDS and is_enough():
            return
        yield f"user-{number % 500}", b"%d:%s" % (number, bytes(40))
        if number % 40 == 39:
            time.sleep(0.15)


def put_with_shardpack(
    client: Any, stream: str, is_enough: Enough = lambda: True, *, hash_keys: Literal["pinned", "kpl"]
) -> set[int]:
    """The numbers of the user records that `Producer` says have been delivered."""
    config = sp.ProducerConfig(hash_keys=hash_keys, aggregation_max_size=2000, record_max_buffered_time=0.05)
    with sp.Producer(stream, config, client=client) as producer:
        futures = [producer.put(key, data) for key, data in user_records(is_enough)]
        producer.flush(60)
    return {number for number, future in enumerate(futures) if future.exception(0) is None}


def put_as_advised(client: Any, stream: str, is_enough: Enough) -> set[int]:
    """The numbers of the user records that Kinesis has taken, from one aggregator of awslabs' for each shard.

    So advises potential_data_loss.md of awslabs/kinesis-aggregation. The shards are listed every other second.
    """
    taken: set[int] = set()
    by_shard: dict[str, aggregator.RecordAggregator] = {}

    def flush() -> None:
        for one in by_shard.values():
            if (aggregate := one.clear_and_get()) is None:
                continue
            key, hash_key, data = aggregate.get_contents()
            client.put_record(StreamName=stream, PartitionKey=key, ExplicitHashKey=hash_key, Data=data)
            taken.update(int(record.data.partition(b":")[0]) for record in sp.unpack({"Data": data}))

    listed = -math.inf
    for number, (key, data) in enumerate(user_records(is_enough)):
        if time.monotonic() - listed > 2:
            flush()
            shards, listed = sp.ShardMap(kinesis_calls.shards(client, stream)), time.monotonic()
            by_shard = {shard.shard_id: aggregator.RecordAggregator() for shard in shards.shards}
        hash_key = sp.hash_key(key)
        by_shard[shards.shard_for(hash_key).shard_id].add_user_record(key, data, str(hash_key))
        if number % 40 == 39:
            flush()
    flush()
    return taken


def wait_until_read(application: KclApplication, client: Any, stream: str) -> None:
    """Return when the KCL has ended each shard that is closed, begun the others, and then given nothing more."""
    listed = kinesis_calls.shards(client, stream)
    is_closed = {shard["ShardId"]: "EndingSequenceNumber" in shard["SequenceNumberRange"] for shard in listed}

    def is_read() -> bool:
        ended = {event["shard"] for event in application.of_kind("ended")}
        begun = {event["shard"] for event in application.of_kind("initialized")}
        return all(shard in (ended if closed else begun) for shard, closed in is_closed.items())

    application.wait_until(is_read, "end of all shards")
    application.wait_until_idle(seconds=4)


PUT: dict[str, Callable[[Any, str, Enough], set[int]]] = {
    "pinned": functools.partial(put_with_shardpack, hash_keys="pinned"),
    "kpl": functools.partial(put_with_shardpack, hash_keys="kpl"),
    "as advised": put_as_advised,
}


@pytest.mark.parametrize("how", PUT)
def test_the_kcl_reads_what_is_put_while_shards_split_and_merge(how: str, kinesis: str, dynamodb: str) -> None:
    client = servers.client("kinesis", kinesis)
    stream = f"to-kcl-{how.replace(' ', '-')}"
    servers.create_stream(client, stream, 2)
    table_of_ours(dynamodb, stream)
    with kcl_application(kinesis, dynamodb, stream, stream) as application:
        application.wait_until(lambda: len(application.of_kind("initialized")) == 2, "two shards begun")
        with Resharder(client, stream, pause=1) as resharder:
            counts = resharder.counts
            acknowledged = PUT[how](client, stream, lambda: bool(counts["splits"] and counts["merges"]))
        wait_until_read(application, client, stream)
        seen = numbers(application)
        application.stop()
    lost = acknowledged - seen.keys()
    told = {
        "acknowledged": len(acknowledged),
        "lost": len(lost),
        "delivered twice": seen.total() - len(seen),
        **resharder.counts,
    }
    print(f"\nto KCL {versions()['kcl']}, {how}: {told}")
    assert len(acknowledged) > RECORDS * 0.9
    assert resharder.counts["splits"]
    assert resharder.counts["merges"]
    assert bool(lost) == (how == "as advised")


@pytest.fixture
def half_read(request: pytest.FixtureRequest, kinesis: str, dynamodb: str) -> tuple[str, sp.DynamoDBLeases]:
    """A stream of two shards, with 200 user records in aggregates of about ten, and an empty lease table."""
    stream = request.node.name.replace("_", "-")[:60]
    client = servers.client("kinesis", kinesis)
    servers.create_stream(client, stream, 2)
    shards = sp.ShardMap(client.list_shards(StreamName=stream)["Shards"])
    records = [(f"user-{number % 20}", b"%d:" % number) for number in range(200)]
    for put in sp.put_requests(sp.pack(records, shard_map=shards, limits=sp.Limits(200))):
        assert put.retry(client.put_records(StreamName=stream, Records=put.entries)) is None
    return stream, table_of_ours(dynamodb, stream)


def read_with_us(
    stream: str, leases: sp.DynamoDBLeases, client: Any, *, count: int, most_of_a_shard: int = 10_000
) -> list[int]:
    """What a `Consumer` is given, until it has so many user records, and no more for a second."""
    seen: list[int] = []
    of_shard: Counter[str] = Counter()
    config = sp.ConsumerConfig(failover_time=3, batch_max_records=most_of_a_shard)
    deadline = time.monotonic() + 60
    with sp.Consumer(stream, leases=leases, config=config, client=client, worker_id="python") as consumer:
        while time.monotonic() < deadline:
            batch = consumer.next_batch(1)
            if batch is None and len(seen) >= count:
                break
            if batch is None or of_shard[batch.shard_id] >= most_of_a_shard:
                continue
            seen += [int(record.data.partition(b":")[0]) for record in batch]
            of_shard[batch.shard_id] += len(batch)
            batch.checkpoint()
    return seen


def test_we_go_on_where_the_kcl_stopped(half_read: tuple[str, sp.DynamoDBLeases], kinesis: str, dynamodb: str) -> None:
    stream, leases = half_read
    with kcl_application(kinesis, dynamodb, stream, stream, stopAfter=37) as application:
        application.wait_until(lambda: len(application.of_kind("checkpointed")) == 2, "two checkpoints")
        application.stop()
        theirs = numbers(application)
    assert theirs.total() == 74
    assert any(lease.checkpoint.sub_sequence_number for lease in leases.list()), "no checkpoint is inside an aggregate"

    ours = read_with_us(stream, leases, servers.client("kinesis", kinesis), count=126)
    assert sorted([*theirs.elements(), *ours]) == list(range(200))


def test_the_kcl_goes_on_where_we_stopped(
    half_read: tuple[str, sp.DynamoDBLeases], kinesis: str, dynamodb: str
) -> None:
    stream, leases = half_read
    ours = read_with_us(stream, leases, servers.client("kinesis", kinesis), count=74, most_of_a_shard=37)
    released, left = leases.list()
    assert leases.take(left, "a python worker that was killed") is not None
    assert released.owner is None
    assert any(lease.checkpoint.sub_sequence_number for lease in leases.list()), "no checkpoint is inside an aggregate"

    with kcl_application(kinesis, dynamodb, stream, stream) as application:
        application.wait_until(lambda: numbers(application).total() >= 200 - len(ours), "the rest")
        application.wait_until_idle(seconds=3)
        theirs = numbers(application)
        application.stop()
    assert sorted([*theirs.elements(), *ours]) == list(range(200))


def test_both_share_the_shards_of_one_application(kinesis: str, dynamodb: str) -> None:
    client, stream = servers.client("kinesis", kinesis), "shared-application"
    servers.create_stream(client, stream, 4)
    leases = table_of_ours(dynamodb, stream)
    ours: Counter[int] = Counter()

    def handle(batch: sp.Batch) -> None:
        ours.update(int(record.data.partition(b":")[0]) for record in batch)

    with kcl_application(kinesis, dynamodb, stream, stream, strategy="LEASE_COUNT_BASED") as application:
        application.wait_until(lambda: len(application.of_kind("initialized")) == 4, "all shards begun by Java")
        with sp.Consumer(
            stream, leases=leases, config=sp.ConsumerConfig(failover_time=3), client=client, worker_id="python"
        ) as consumer:
            thread = threading.Thread(target=consumer.run, args=(handle,))
            thread.start()

            def is_even() -> bool:
                return Counter(lease.owner for lease in leases.list()) == {"java": 2, "python": 2}

            together = put_with_shardpack(client, stream, lambda: bool(ours) and is_even(), hash_keys="pinned")
            application.wait_until(is_even, "two leases each")
            consumer.stop()
            thread.join()
        application.wait_until(lambda: {lease.owner for lease in leases.list()} == {"java"}, "all leases with Java")
        application.wait_until(lambda: together <= ours.keys() | numbers(application).keys(), "all records")
        theirs = numbers(application)
        application.stop()
    twice = sum((ours + theirs).values()) - len(together)
    print(f"\nKCL {versions()['kcl']} and us: {len(together)} records, {len(ours)} by us, {twice} twice")
    assert ours
    assert theirs
