"""What the number of shards costs: how full aggregates are, and CPU per user record, by route.

    python benchmarks/bench_shards.py [--records N]

A producer's engine gets the user records of a second in steps of a tenth, and each of its calls is answered at once. It
is checked that every user record is delivered. `Packer` by shard is measured beside it.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Iterable
from typing import Any

import shardpack as sp
from shardpack.limits import MAX_HASH_KEY
from shardpack.producer import ProducerConfig
from shardpack.producer.core.actions import DescribeStream, ListShards, PutRecords
from shardpack.producer.core.engine import Engine

_SHARDS = (1, 8, 1000, 10_000)
_MORE_SHARDS = (*_SHARDS, 50_000)
_BYTES = 100
_KEYS = 5000
_STEPS = 10


def listed(count: int) -> list[dict[str, Any]]:
    """So many equal shards, as `ListShards` gives them."""
    bounds = [(MAX_HASH_KEY + 1) * nth // count for nth in range(count + 1)]
    return [
        {
            "ShardId": f"shardId-{nth:012}",
            "HashKeyRange": {"StartingHashKey": str(bounds[nth]), "EndingHashKey": str(bounds[nth + 1] - 1)},
        }
        for nth in range(count)
    ]


def user_records(count: int) -> list[sp.UserRecord]:
    """Always the same."""
    return [sp.UserRecord(f"user-{nth * 7919 % _KEYS}", bytes(_BYTES)) for nth in range(count)]


class Driven:
    """An engine whose calls are answered at once."""

    def __init__(self, shards: list[dict[str, Any]], route: Any) -> None:
        self.engine = Engine("bench", ProducerConfig(route=route, rate_limit=100_000))
        self.delivered = 0
        self.counts: list[int] = []
        self.now = 0.0
        for action in self.engine.poll(self.now):
            answer: Any = shards if isinstance(action, ListShards) else {}
            assert isinstance(action, ListShards | DescribeStream)
            self.engine.answered(action, answer, self.now)

    def put(self, records: list[sp.UserRecord]) -> None:
        """As `put_many`, and all that is due after it."""
        self.engine.put(records, None, self.now)
        self.step(0.1)

    def step(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds
        while puts := [action for action in self.engine.poll(self.now) if isinstance(action, PutRecords)]:
            for put in puts:
                results = [{"ShardId": one.shard_id, "SequenceNumber": "1"} for one in put.request.records]
                self.counts += [one.user_record_count for one in put.request.records]
                self.engine.answered(put, {"Records": results}, self.now)
        for _, _, outcomes in self.engine.take_finished():
            self.delivered += sum(isinstance(outcome, tuple) for outcome in outcomes)


def of_producer(shards: int, route: str, records: list[sp.UserRecord]) -> tuple[float, float, float]:
    """User records in an aggregate, microseconds for each, and bytes of memory for each shard at the start."""
    given = listed(shards)
    tracemalloc.start()
    driven = Driven(given, route)
    memory = tracemalloc.get_traced_memory()[0] / shards
    tracemalloc.stop()
    step = len(records) // _STEPS
    batches = [records[start : start + step] for start in range(0, step * _STEPS, step)]
    started = time.process_time()
    for batch in batches:
        driven.put(batch)
    driven.engine.flush(driven.now)
    driven.step(1.0)
    seconds = time.process_time() - started
    assert driven.delivered == step * _STEPS, (driven.delivered, step * _STEPS)
    return sum(driven.counts) / len(driven.counts), seconds / driven.delivered * 1e6, memory


def of_packer(shards: int, records: list[sp.UserRecord]) -> tuple[float, float]:
    """Microseconds of `Packer.add` for each user record, and once for each shard, with the first one."""
    packer = sp.Packer(shard_map=sp.ShardMap(listed(shards)), limits=sp.Limits.kpl())
    started = time.process_time()
    packed = packer.add(*records[0])
    once = time.process_time() - started
    started = time.process_time()
    for record in records:
        packed += packer.add(*record)
    seconds = time.process_time() - started
    packed += packer.flush()
    assert sum(one.user_record_count for one in packed) == len(records) + 1
    return seconds / len(records) * 1e6, once / shards * 1e6


def table(rows: Iterable[tuple[str, ...]]) -> None:
    """Columns that stand under each other."""
    for row in rows:
        print("".join(f"{cell:>22}" for cell in row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=50_000)
    records = user_records(parser.parse_args().records)
    rows = [("route", "shards", "user records in each", "us a user record", "x of 1 shard", "bytes a shard")]
    for route in ("shard", "any"):
        first = 0.0
        for shards in _SHARDS:
            each, cost, memory = min((of_producer(shards, route, records) for _ in range(2)), key=lambda one: one[1])
            first = first or cost
            rows.append((route, f"{shards:,}", f"{each:,.1f}", f"{cost:.2f}", f"{cost / first:.2f}", f"{memory:,.0f}"))
    table(rows)
    print()
    of_adding = [("Packer.add by", "shards", "us a user record", "x of 1 shard", "us once a shard")]
    first = 0.0
    for shards in _MORE_SHARDS:
        cost, once = min(of_packer(shards, records) for _ in range(3))
        first = first or cost
        of_adding.append(("shard", f"{shards:,}", f"{cost:.2f}", f"{cost / first:.2f}", f"{once:.2f}"))
    table(of_adding)


if __name__ == "__main__":
    main()
