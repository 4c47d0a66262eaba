"""What a second thread gains: many aggregates packed and unpacked on one thread and on two, with a GIL or without.

    python benchmarks/bench_threads.py [--quick]

`make bench-threads` runs it under 3.14 and 3.14t, to compare. Each thread has a packer of its own. The numbers are
ratios in one run, of the best of several turns taken alternately: 2.0 is all that two idle cores can give.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable

import shardpack as sp

RECORDS = [(f"user-{n % 500}", b"%0100d" % n) for n in range(20_000)]


def pack() -> int:
    return sum(packed.user_record_count for packed in sp.pack(RECORDS))


def unpacker() -> Callable[[], int]:
    records = [
        {"Data": p.data, "PartitionKey": p.partition_key, "SequenceNumber": str(n)}
        for n, p in enumerate(sp.pack(RECORDS))
    ]
    return lambda: sum(1 for _ in sp.unpack(records))


def seconds(work: Callable[[], int], threads: int, turns: int) -> float:
    """For each thread to do that many turns, all at once."""
    counts: list[int] = []
    start = threading.Barrier(threads + 1)

    def run() -> None:
        start.wait()
        counts.extend(work() for _ in range(turns))

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    start.wait()
    before = time.perf_counter()
    for thread in running:
        thread.join()
    took = time.perf_counter() - before
    if counts != [len(RECORDS)] * threads * turns:
        raise SystemExit(f"some user records are missing: {counts}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description="What a second thread gains.")
    parser.add_argument("--quick", action="store_true")
    turns, rounds = (3, 3) if parser.parse_args().quick else (10, 7)
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"Python {sys.version.split()[0]}, GIL {'on' if gil else 'off'}, core {sp.native}")
    for name, work in (("pack", pack), ("unpack", unpacker())):
        both = [(seconds(work, 1, turns), seconds(work, 2, turns)) for _ in range(rounds)]
        one, two = (min(times) for times in zip(*both, strict=True))
        rate = len(RECORDS) * turns / one
        print(f"{name:8} one thread {rate:>12,.0f} user records/s, two threads {2 * one / two:.2f} times as many")


if __name__ == "__main__":
    main()
