"""Each way to make checksums, forced and compared in one run: AVX-512, AVX2, SSE2 or NEON, and none.

    python benchmarks/bench_paths.py [--quick]

Each way runs in a process of its own, because it is chosen once (SHARDPACK_NATIVE). All get the same user records, and
all must give the same aggregates, user records and columns, to the byte; else nothing is printed. What a way cannot do
on this machine is left out. Rounds go from one way to the next, and the best of each counts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

WAYS = ("avx512", "avx2", "sse2", "neon", "portable", "scalar")
JOBS = ("pack", "unpack", "to_table")
_BYTES = 20 * 1024 * 1024


def jobs(size: int) -> tuple[int, dict[str, Callable[[], object]], str]:
    """How many user records there are, the jobs, and a digest of all that they give."""
    import shardpack as sp
    from shardpack import arrow

    noise = random.Random(size)  # the same in each process
    records = [(f"user-{nth % 500:08}", noise.randbytes(size)) for nth in range(_BYTES // size)]
    source = [{"Data": packed.data, "SequenceNumber": str(nth)} for nth, packed in enumerate(sp.pack(records))]
    digest = hashlib.sha256(b"".join(packed.data for packed in sp.pack(records)))
    for record in sp.unpack(source):
        digest.update(repr(record).encode())
    for name in ("data", "partition_key"):
        digest.update(repr(arrow.to_table(source)[name].to_pylist()).encode())
    return (
        len(records),
        {
            "pack": lambda: deque(sp.pack(records), maxlen=0),
            "unpack": lambda: deque(sp.unpack(source), maxlen=0),
            "to_table": lambda: arrow.to_table(source),
        },
        digest.hexdigest(),
    )


def work(size: int) -> None:
    """In a process of its own: say what was made, then time each job whenever a line comes in."""
    count, those, digest = jobs(size)
    print(digest, flush=True)
    for _ in sys.stdin:
        taken = {}
        for name, job in those.items():
            start = time.process_time()
            job()
            taken[name] = (time.process_time() - start) / count * 1e9
        print(json.dumps(taken), flush=True)


def workers(size: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Those of the ways that this machine has."""
    for way in WAYS:
        environment: dict[str, Any] = {**os.environ, "SHARDPACK_NATIVE": way}
        known = [sys.executable, "-c", "import shardpack; shardpack.native"]
        if subprocess.run(known, env=environment, capture_output=True, check=False).returncode:
            continue
        command = [sys.executable, __file__, "--work", str(size)]
        yield way, subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def row(size: int, rounds: int) -> dict[str, dict[str, float]]:
    """The best times of each way, by job."""
    those = dict(workers(size))
    digests = {way: worker.stdout.readline() for way, worker in those.items() if worker.stdout}
    if len(set(digests.values())) != 1:
        sys.exit(f"the ways do not give the same: {digests}")
    best = {way: dict.fromkeys(JOBS, float("inf")) for way in those}
    for _ in range(rounds):
        for way, worker in those.items():
            if worker.stdin and worker.stdout:
                worker.stdin.write("\n")
                worker.stdin.flush()
                taken = json.loads(worker.stdout.readline())
                best[way] = {job: min(best[way][job], taken[job]) for job in JOBS}
    for worker in those.values():
        worker.communicate()
    return best


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description="Each way to make checksums, compared.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work)
        return
    print("CPU ns a user record, and times the first; all give the same, to the byte")
    for size in (100, 1000):
        best = row(size, 3 if arguments.quick else 9)
        first = next(iter(best.values()))
        for way, taken in best.items():
            cells = (f"{job} {taken[job]:6.0f} ({taken[job] / first[job]:.1f})" for job in JOBS)
            print(f"{size:>5,} B  {way:<8}", "   ".join(cells))


if __name__ == "__main__":
    main()
