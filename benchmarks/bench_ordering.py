"""How much of its shards' budget a producer uses at long round trips, with `ordering="key"` and without.

Producer -> fault proxy, which delays every call and allows each shard its 1 MiB a second -> a Kinesis in memory, in a
process of its own. As much is put as the shards take in `--seconds`. Every user record must be acknowledged, and with
order kept, those of each key must lie in put order.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, Literal

import boto3
from botocore.config import Config

import shardpack as sp
from kinesis_server import running
from shardpack.limits import MIB

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tools"))
from fault_proxy import FaultProxy, Faults
from fault_services import Kinesis

KEYS, SIZE, BATCH = 1000, 1000, 100
_DATA = b"x" * SIZE


def client_of(url: str) -> Any:
    """A client that does not try again by itself."""
    where = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    config = Config(retries={"total_max_attempts": 1}, max_pool_connections=32, read_timeout=60)
    return boto3.client("kinesis", endpoint_url=url, config=config, **where)


def run(
    url: str, ordering: Literal["none", "key"], delay: float, shards: int, seconds: float
) -> tuple[float, sp.ProducerStats]:
    """The share of the shards' budget that was used, and what the producer did."""
    name = f"{ordering}-{delay}"
    client_of(url).create_stream(StreamName=name, ShardCount=shards)
    with FaultProxy(url, Kinesis(), Faults(delay=delay)) as proxy:
        config = sp.ProducerConfig(ordering=ordering, record_ttl=3600, request_timeout=60)
        count = int(shards * MIB * seconds / SIZE) // BATCH * BATCH
        with sp.Producer(name, config, client=client_of(proxy.url)) as producer:
            producer.put("warm", b"up").result()
            started = time.monotonic()
            futures = [
                producer.put_many([(f"key-{(first + n) * 7919 % KEYS}", _DATA) for n in range(BATCH)])
                for first in range(0, count, BATCH)
            ]
            producer.flush()
            taken = time.monotonic() - started
        deliveries = [delivery for future in futures for delivery in future.result()]
        if ordering == "key":
            check(deliveries)
        # A bucket of one second's worth was full when it began.
        return (count * SIZE - shards * MIB) / (taken * shards * MIB), producer.stats()


def check(deliveries: list[sp.Delivery]) -> None:
    """Each key's records lie in put order in one shard."""
    latest: dict[str, tuple[str, Any]] = {}
    for number, delivery in enumerate(deliveries):
        key = f"key-{number * 7919 % KEYS}"
        shard_id, position = latest.get(key, (delivery.shard_id, None))
        if shard_id != delivery.shard_id or (position is not None and position >= delivery.position):
            raise SystemExit(f"the record {number} of {key} is out of order")
        latest[key] = delivery.shard_id, delivery.position


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="worth of the shards' budget to put")
    parser.add_argument("--round-trips", type=float, nargs="+", default=[20, 100, 500], help="milliseconds")
    arguments = parser.parse_args()
    print(f"{arguments.shards} shards, {KEYS:,} keys, user records of {SIZE:,} bytes")
    print("round trip   ordered   unordered   ratio   calls      attempts that were throttled")
    with running() as url:
        for milliseconds in arguments.round_trips:
            shares, calls, throttled = [], [], []
            for ordering in ("key", "none"):
                share, stats = run(url, ordering, milliseconds / 1000, arguments.shards, arguments.seconds)
                shares.append(share)
                calls.append(stats.request_time.count)
                throttled.append(stats.all_errors)
            print(
                f"{milliseconds:7.0f} ms {shares[0]:9.0%} {shares[1]:11.0%} {shares[0] / shares[1]:7.2f}"
                f"   {calls[0]:,} / {calls[1]:,}   {throttled[0]:,} / {throttled[1]:,}",
                flush=True,
            )


if __name__ == "__main__":
    main()
