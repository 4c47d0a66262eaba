"""Consumers, on aggregated user records from the same server: user records per second of their process' CPU time.

Each contender runs in a process of its own, in turn, several times; its best time counts, less what it takes to read a
stream of a few records: so the making of the client, imports and connections do not count. What it has read must be
what was put, no record more and none less.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import boto3
import xxhash
from rich.console import Console
from rich.table import Table

import kinesis_server
import shardpack as sp

STREAM, FEW_STREAM = "bench", "bench-few"
FEW = 40  # user records, some in each shard
SHARDS = 4
CONTENDERS = ("Consumer", "AsyncConsumer", "async-kinesis", "boto3 and aws_kinesis_agg")


def user_records(count: int, size: int) -> Iterator[tuple[str, bytes]]:
    """As login events are: ASCII, a few hundred users."""
    filler = b"x" * size
    for number in range(count):
        yield f"user-{number % 500}", (b"%d:" % number + filler)[:size]


def fingerprint(payloads: list[bytes]) -> list[int]:
    """Of user records in any order."""
    return [len(payloads), sum(map(xxhash.xxh64_intdigest, payloads)) % 2**64]


def fill(url: str, stream: str, count: int, size: int) -> list[int]:
    """Put the user records, aggregated as the KPL does by default; their fingerprint."""
    client = boto3.client("kinesis", endpoint_url=url)
    client.create_stream(StreamName=stream, ShardCount=SHARDS)
    shards = sp.ShardMap(client.list_shards(StreamName=stream)["Shards"])
    packed = sp.pack(user_records(count, size), by="shard", shard_map=shards, limits=sp.Limits.kpl())
    for request in sp.put_requests(packed):
        assert client.put_records(StreamName=stream, Records=request.entries)["FailedRecordCount"] == 0
    return fingerprint([data for _, data in user_records(count, size)])


def with_consumer(url: str, stream: str, count: int) -> list[bytes]:
    """shardpack, batch by batch, each checkpointed."""
    seen: list[bytes] = []
    with sp.Consumer(stream, leases=sp.MemoryLeases(), endpoint_url=url) as consumer:
        for batch in consumer:
            seen += [record.data for record in batch]
            batch.checkpoint()
            if len(seen) >= count:
                return seen
    raise AssertionError("unreachable")


def with_async_consumer(url: str, stream: str, count: int) -> list[bytes]:
    """The same for asyncio."""

    async def read() -> list[bytes]:
        seen: list[bytes] = []
        async with sp.AsyncConsumer(stream, leases=sp.MemoryLeases(), endpoint_url=url) as consumer:
            async for batch in consumer:
                seen += [record.data for record in batch]
                await batch.checkpoint()
                if len(seen) >= count:
                    return seen
        raise AssertionError("unreachable")

    return asyncio.run(read())


def with_async_kinesis(url: str, stream: str, count: int) -> list[bytes]:
    """Its README's loop, with its processor for the KPL's format."""
    from kinesis import Consumer
    from kinesis.processors import KPLStringProcessor

    async def read() -> list[bytes]:
        seen: list[bytes] = []
        async with Consumer(
            stream_name=stream,
            endpoint_url=url,
            region_name="us-east-1",
            processor=KPLStringProcessor(),
            shard_fetch_rate=5,
            use_list_shards=True,
        ) as consumer:
            while len(seen) < count:
                async for item in consumer:  # ends when nothing has come for a while
                    seen.append(item.encode())  # noqa: PERF401  # as an application would
        return seen

    return asyncio.run(read())


def with_boto3(url: str, stream: str, count: int) -> list[bytes]:
    """What one writes by hand, without leases, checkpoints or threads."""
    path = list(sys.path)
    from aws_kinesis_agg.deaggregator import iter_deaggregate_records

    sys.path[:] = path
    client = boto3.client("kinesis", endpoint_url=url)
    seen: list[bytes] = []
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        where: dict[str, Any] = {"StreamName": stream, "ShardId": shard["ShardId"]}
        iterator = client.get_shard_iterator(**where, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        while records := (page := client.get_records(ShardIterator=iterator))["Records"]:
            unpacked = iter_deaggregate_records(records, "Boto3")
            seen += [base64.b64decode(record["kinesis"]["data"]) for record in unpacked]
            iterator = page["NextShardIterator"]
    assert len(seen) >= count
    return seen


READERS: dict[str, Callable[[str, str, int], list[bytes]]] = dict(
    zip(CONTENDERS, (with_consumer, with_async_consumer, with_async_kinesis, with_boto3), strict=True)
)


def contend(name: str, url: str, stream: str, count: int) -> None:
    """Read everything as one contender, and print what it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    seen = READERS[name](url, stream, count)
    took = time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps({"cpu": took[0], "wall": took[1], "fingerprint": fingerprint(seen)}))


def run(name: str, url: str, stream: str, count: int, expected: list[int]) -> tuple[float, float]:
    """CPU and wall seconds of a contender in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--contender", name, url, stream, "--records", str(count)]
    done = json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])
    assert done["fingerprint"] == expected, f"{name} has read something else than was put"
    return done["cpu"], done["wall"]


def measure(count: int, size: int, rounds: int) -> dict[str, tuple[float, float]]:
    """The best CPU seconds of each contender without what a few records take, and its best wall seconds."""
    every: dict[str, list[tuple[float, float, float]]] = {name: [] for name in CONTENDERS}
    with kinesis_server.running() as url:
        all_of_them, few = fill(url, STREAM, count, size), fill(url, FEW_STREAM, FEW, size)
        for _ in range(rounds):
            for name in CONTENDERS:
                every[name].append(
                    (*run(name, url, STREAM, count, all_of_them), run(name, url, FEW_STREAM, FEW, few)[0])
                )
    return {
        name: (min(cpu for cpu, _, _ in runs) - min(start for _, _, start in runs), min(wall for _, wall, _ in runs))
        for name, runs in every.items()
    }


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description="Consumers on aggregated user records.")
    parser.add_argument("--quick", action="store_true", help="100 bytes only, and fewer records and rounds")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument(
        "--contender", nargs=3, metavar=("NAME", "URL", "STREAM"), help="for the processes that this one starts"
    )
    arguments = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    if arguments.contender:
        name, url, stream = arguments.contender
        contend(name, url, stream, arguments.records)
        return
    count, rounds = (20_000, 1) if arguments.quick else (arguments.records, 3)
    peers = ", ".join(f"{name} {version(name)}" for name in ("async-kinesis", "aws-kinesis-agg", "boto3"))
    for size in (100,) if arguments.quick else (100, 1000):
        best = measure(count, size, rounds)
        ours = best[CONTENDERS[0]][0]
        table = Table("consumer", title=f"{count:,} user records of {size:,} bytes ({peers})", title_justify="left")
        for column in ("records per CPU second", "CPU µs a record", "wall s", "CPU time, Consumer = 1"):
            table.add_column(column, justify="right")
        for name, (cpu, wall) in best.items():
            if min(cpu, ours) > 0:
                told = f"{count / cpu:,.0f}", f"{cpu / count * 1e6:.2f}", f"{wall:.1f}", f"{cpu / ours:.1f}"
            else:  # so few records take less than a start varies by
                told = "too few to tell", "", f"{wall:.1f}", ""
            table.add_row(name, *told)
        Console().print(table)


if __name__ == "__main__":
    main()
