"""What a user record costs, from few to very many: keys, bytes, and user records in an aggregate.

    python benchmarks/bench_scale.py [--quick]

Each line changes one thing and leaves the others. CPU time, the best of some rounds, and the same divided by what the
bytes alone cost (a copy and `hashlib.md5` of the aggregates), so that a cost that grows faster than its input shows.
Before anything is timed, what comes out must be what went in.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator

import shardpack as sp
from shardpack import arrow

_BYTES = 16 * 1024 * 1024
_MOST = 1_000_000  # user records


def records_of(count: int, size: int, keys: int) -> list[tuple[str, bytes]]:
    """User records in random order of their keys."""
    noise = random.Random(1)
    data = noise.randbytes(size + 4096)
    return [(f"user-{noise.randrange(keys):08}", data[nth % 4096 : nth % 4096 + size]) for nth in range(count)]


def shapes(quick: bool) -> Iterator[tuple[str, int, int, int, int]]:
    """What changes, user records, bytes of each, keys, and most user records in an aggregate (0: as many as fit)."""
    most = _MOST // 10 if quick else _MOST
    for power in range(7):
        keys = 10**power
        if keys <= most:
            yield f"{keys:>9,} keys", max(keys, most // 10), 20, keys, 0
    for size in (10, 100, 1000, 10_000, 100_000, 1_000_000):
        yield f"{size:>9,} B", max(2, min(most, _BYTES // size)), size, 100, 0
    for together in (1, 10, 100, 1000, 10_000, 100_000):
        yield f"{together:>9,} in an aggregate", max(together, most // 10), 5, 1, together


def best_of(job: Callable[[], object], rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        job()
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    """Check, time, print."""
    parser = argparse.ArgumentParser(description="What a user record costs, from few to very many.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the user records, and fewer rounds")
    quick = parser.parse_args().quick
    print(f"ns a user record, and times MD5 and a copy of the aggregates ({sp.native} core)")
    for name, count, size, keys, together in shapes(quick):
        taken, floor = timed(records_of(count, size, keys), together, rounds=2 if quick else 5)
        cells = (f"{job} {took / count * 1e9:9,.0f} ({took / floor:5.1f})" for job, took in taken.items())
        print(f"{name:<28}", "  ".join(cells))


def timed(records: list[tuple[str, bytes]], together: int, rounds: int) -> tuple[dict[str, float], float]:
    """The time of each job, and what the bytes alone cost."""
    limits = sp.Limits(max_record_bytes=2 * 1024 * 1024, max_user_records=together or None)
    packed = list(sp.pack(records, limits=limits))
    source = [{"Data": one.data, "PartitionKey": one.partition_key} for one in packed]
    if [(one.partition_key, one.data) for one in sp.unpack(source)] != records:
        sys.exit("something other came out than went in; nothing was timed")
    blobs = [one.data for one in packed]
    floor = best_of(lambda: (b"".join(blobs), [hashlib.md5(blob).digest() for blob in blobs]), rounds)
    jobs: dict[str, Callable[[], object]] = {
        "pack": lambda: deque(sp.pack(records, limits=limits), maxlen=0),
        "unpack": lambda: deque(sp.unpack(source), maxlen=0),
        "to_table": lambda: arrow.to_table(source),
    }
    return {name: best_of(job, rounds) for name, job in jobs.items()}, floor


if __name__ == "__main__":
    main()
