"""Producers, into the same server: user records per second of their process' CPU time.

Each contender runs in a process of its own with a stream of its own, in turn, several times; its best time counts.
Imports and the making of the client do not. Afterwards the stream must hold what was put, no record more and none less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import islice
from typing import Any

import boto3
from rich.console import Console
from rich.table import Table

import kinesis_server
import shardpack as sp
from bench_consumer import fingerprint, user_records

SHARDS = 16  # so that no shard's budget is what is measured
CONTENDERS = (
    "Producer",
    "Producer.put_many, of 500",
    "AsyncProducer",
    "aiokpl",
    "aiokpl, its SyncProducer",
    "async-kinesis",
    "boto3, 500 a call",
)


def with_producer(url: str, stream: str, count: int, size: int) -> None:
    """shardpack; every delivery is looked at."""
    with sp.Producer(stream, endpoint_url=url) as producer:
        futures = [producer.put(key, data) for key, data in user_records(count, size)]
    assert all(future.result().sequence_number for future in futures)


def with_put_many(url: str, stream: str, count: int, size: int) -> None:
    """The same in batches, as they may come from a file or a queue; one future each."""
    records = user_records(count, size)
    with sp.Producer(stream, endpoint_url=url) as producer:
        futures = [producer.put_many(batch) for batch in iter(lambda: list(islice(records, 500)), [])]
    assert all(delivery.sequence_number for future in futures for delivery in future.result())


def with_async_producer(url: str, stream: str, count: int, size: int) -> None:
    """The same for asyncio."""

    async def put() -> None:
        async with sp.AsyncProducer(stream, endpoint_url=url) as producer:
            futures = [await producer.put(key, data) for key, data in user_records(count, size)]
            assert all([(await future).sequence_number for future in futures])

    asyncio.run(put())


def with_aiokpl(url: str, stream: str, count: int, size: int) -> None:
    """Its README's loop."""
    import aiokpl

    async def put() -> None:
        config = aiokpl.Config(region="us-east-1", endpoint_url=url)
        async with aiokpl.Producer(config) as producer:
            outcomes = [
                await producer.put_record(stream=stream, partition_key=key, data=data)
                for key, data in user_records(count, size)
            ]
            await producer.flush()
            assert all([(await outcome.wait()).success for outcome in outcomes])

    asyncio.run(put())


def with_sync_aiokpl(url: str, stream: str, count: int, size: int) -> None:
    """Its producer for threads."""
    import aiokpl

    with aiokpl.SyncProducer(aiokpl.Config(region="us-east-1", endpoint_url=url)) as producer:
        outcomes = [
            producer.put_record(stream=stream, partition_key=key, data=data) for key, data in user_records(count, size)
        ]
        producer.flush()
        assert all(outcome.wait().success for outcome in outcomes)


def with_async_kinesis(url: str, stream: str, count: int, size: int) -> None:
    """Its README's loop, with its processor for the KPL's format, which takes no partition keys and has no outcomes."""
    from kinesis import Producer
    from kinesis.processors import KPLStringProcessor

    async def put() -> None:
        async with Producer(
            stream_name=stream,
            endpoint_url=url,
            region_name="us-east-1",
            processor=KPLStringProcessor(),
            use_list_shards=True,
        ) as producer:
            for _, data in user_records(count, size):
                await producer.put(data.decode())

    asyncio.run(put())


def with_boto3(url: str, stream: str, count: int, size: int) -> None:
    """What one writes by hand, without aggregation."""
    client = boto3.client("kinesis", endpoint_url=url)
    records = user_records(count, size)
    while batch := list(islice(records, 500)):
        entries = [{"PartitionKey": key, "Data": data} for key, data in batch]
        assert client.put_records(StreamName=stream, Records=entries)["FailedRecordCount"] == 0


WRITERS: dict[str, Callable[[str, str, int, int], None]] = dict(
    zip(
        CONTENDERS,
        (
            with_producer,
            with_put_many,
            with_async_producer,
            with_aiokpl,
            with_sync_aiokpl,
            with_async_kinesis,
            with_boto3,
        ),
        strict=True,
    )
)


def contend(name: str, url: str, stream: str, count: int, size: int) -> None:
    """Put everything as one contender, and print what it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    WRITERS[name](url, stream, count, size)
    print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]))


def stored(client: Any, stream: str) -> list[bytes]:
    """Every user record's data in a stream."""
    out: list[bytes] = []
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        where = {"StreamName": stream, "ShardId": shard["ShardId"]}
        iterator = client.get_shard_iterator(**where, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        while (page := client.get_records(ShardIterator=iterator))["Records"]:
            out += [record.data for record in sp.unpack(page)]
            iterator = page["NextShardIterator"]
    return out


def measure(count: int, size: int, rounds: int) -> dict[str, tuple[float, float]]:
    """The best CPU and wall seconds of each contender."""
    best: dict[str, tuple[float, float]] = {}
    expected = fingerprint([data for _, data in user_records(count, size)])
    with kinesis_server.running() as url:
        client = boto3.client("kinesis", endpoint_url=url)
        for number in range(rounds):
            for name in CONTENDERS:
                stream = f"bench-{number}"
                client.create_stream(StreamName=stream, ShardCount=SHARDS)
                command = [sys.executable, "-W", "ignore", __file__, "--contender", name, url, stream]
                command += ["--records", str(count), "--size", str(size)]
                done = subprocess.run(command, check=True, capture_output=True).stdout
                cpu, wall = json.loads(done.splitlines()[-1])
                assert fingerprint(stored(client, stream)) == expected, f"{name} has not stored what was put"
                client.delete_stream(StreamName=stream)
                best[name] = min(best.get(name, (float("inf"), 0.0)), (cpu, wall))
    return best


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description="Producers of small user records.")
    parser.add_argument("--quick", action="store_true", help="100 bytes only, and fewer records and rounds")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=100, help=argparse.SUPPRESS)
    parser.add_argument(
        "--contender", nargs=3, metavar=("NAME", "URL", "STREAM"), help="for processes that this starts"
    )
    arguments = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    if arguments.contender:
        name, url, stream = arguments.contender
        contend(name, url, stream, arguments.records, arguments.size)
        return
    count, rounds = (5_000, 1) if arguments.quick else (arguments.records, 3)
    peers = ", ".join(f"{name} {version(name)}" for name in ("aiokpl", "async-kinesis", "boto3"))
    for size in (100,) if arguments.quick else (100, 1000):
        best = measure(count, size, rounds)
        ours = best[CONTENDERS[0]][0]
        table = Table("producer", title=f"{count:,} user records of {size:,} bytes ({peers})", title_justify="left")
        for column in ("records per CPU second", "CPU µs a record", "wall s", "CPU time, Producer = 1"):
            table.add_column(column, justify="right")
        for name, (cpu, wall) in best.items():
            table.add_row(name, f"{count / cpu:,.0f}", f"{cpu / count * 1e6:.2f}", f"{wall:.1f}", f"{cpu / ours:.1f}")
        Console().print(table)


if __name__ == "__main__":
    main()
