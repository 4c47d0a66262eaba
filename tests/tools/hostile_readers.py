"""What every reader makes of a hostile Kinesis record, and what it costs: run as a program, it prints a table.

    python tests/tools/hostile_readers.py [READER ...] [--size BYTES] [--most TIMES]

Each blob is read in a process of its own, forked when everything is loaded. The cost is the processor's time for the
fastest of several runs, and the memory by which the first of them made the process grow. With --most it ends with 1 if
one took more than so many times the time of a sound one, also when measured again.
"""

from __future__ import annotations

import argparse
import base64
import gc
import json
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pyarrow as pa
from hostile_corpus import blobs, sound

import shardpack as sp
from shardpack import arrow, aws_lambda, firehose
from shardpack.wire import pure_core as _pure

Read = Callable[[bytes], object]
RUNS = 3


class Cost(NamedTuple):
    """Of reading one blob: seconds of the processor, and bytes of memory at most."""

    seconds: float
    memory: int


def objects(blob: bytes) -> None:
    deque(sp.unpack({"Data": blob, "SequenceNumber": "1"}), maxlen=0)


def objects_as_the_kcl(blob: bytes) -> None:
    options: dict[str, Any] = {"on_corrupt": "kcl", "hash_range": (0, 2**128 - 1), "out_of_range": "drop_aggregate"}
    deque(sp.unpack({"Data": blob}, **options), maxlen=0)


def objects_in_range(blob: bytes) -> None:
    deque(sp.unpack({"Data": blob}, hash_range=(0, 2**128 - 1), out_of_range="drop_record"), maxlen=0)


def columns(blob: bytes) -> None:
    arrow.to_table([{"Data": blob, "SequenceNumber": "1", "ShardId": "shardId-000000000000"}])


def column_views(blob: bytes) -> None:
    batch = pa.RecordBatch.from_pydict({"data": pa.array([blob] * 2, pa.binary())})
    deque(arrow.unpack_batches(batch, views=True, threads=2), maxlen=0)


def lambda_event(blob: bytes) -> None:
    record = {
        "eventID": "shardId-000000000000:1",
        "kinesis": {"data": base64.b64encode(blob).decode(), "sequenceNumber": "1", "partitionKey": "k"},
    }
    aws_lambda.process({"Records": [record]}, lambda _record: None)


def firehose_event(blob: bytes) -> None:
    record = {"recordId": "1", "data": base64.b64encode(blob).decode()}
    firehose.transform({"records": [record]}, lambda record: record.data)


def command_line(blob: bytes) -> None:
    from shardpack.cli import app

    with tempfile.NamedTemporaryFile() as file, Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        file.write(json.dumps({"Data": base64.b64encode(blob).decode(), "SequenceNumber": "1"}).encode())
        file.flush()
        before = sys.argv, sys.stdout, sys.stderr
        sys.argv, sys.stdout, sys.stderr = ["shardpack", "unpack", file.name], nowhere, nowhere
        try:
            app.run()
        except SystemExit:
            pass
        finally:
            sys.argv, sys.stdout, sys.stderr = before


def pure_core(blob: bytes) -> None:
    for aggregate in _pure.read_ahead([blob]):
        if aggregate is not None:
            deque(chain.from_iterable(aggregate.received("1", None, None)), maxlen=0)


READERS: Mapping[str, Read] = {
    "objects": objects,
    "objects, hash range": objects_in_range,
    "objects, as the KCL": objects_as_the_kcl,
    "columns": columns,
    "columns, views": column_views,
    "Lambda": lambda_event,
    "Firehose": firehose_event,
    "command line": command_line,
    "pure core": pure_core,
}


def cost(read: Read, blob: bytes, runs: int = RUNS) -> Cost:
    """Measured in a process of its own, in which Python collects no garbage that it found there."""
    (told,) = _in_a_process(lambda: [_measured(read, blob, _memory("VmRSS"), runs)])
    return told


def costs_in_turn(read: Read, blobs: Mapping[str, bytes]) -> dict[str, Cost]:
    """Each read once, in one process for all: the memory is the most that any has taken until then."""

    def work() -> list[Cost]:
        before = _memory("VmRSS")
        return [_measured(read, blob, before, 1) for blob in blobs.values()]

    return dict(zip(blobs, _in_a_process(work), strict=True))


def _measured(read: Read, blob: bytes, before: int, runs: int) -> Cost:
    seconds = [_timed(read, blob)]
    grew = _memory("VmHWM") - before
    seconds += [_timed(read, blob) for _ in range(runs - 1)]
    return Cost(min(seconds), max(grew, 0))


def _in_a_process(work: Callable[[], list[Cost]]) -> list[Cost]:
    gc.freeze()
    come, go = os.pipe()
    child = os.fork()
    if child == 0:
        answer: dict[str, object] = {"error": "it ended"}
        try:
            answer = {"costs": work()}
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is told
            answer = {"error": f"{type(error).__name__}: {error}"}
        finally:
            os.write(go, json.dumps(answer).encode())
            os._exit(0)
    gc.unfreeze()
    os.close(go)
    with os.fdopen(come, "rb") as pipe:
        told = json.loads(pipe.read())
    os.waitpid(child, 0)
    if "error" in told:
        raise AssertionError(told["error"])
    return [Cost(*one) for one in told["costs"]]


def calls(read: Read, blob: bytes) -> int:
    """How many calls Python sees, of its own functions and of others; collecting garbage is no part of it."""
    count = 0
    collects = gc.isenabled()

    def see(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    gc.disable()
    sys.setprofile(see)
    try:
        read(blob)
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
    return count


def _timed(read: Read, blob: bytes) -> float:
    start = time.process_time()
    read(blob)
    return time.process_time() - start


def _memory(line: str) -> int:
    with Path("/proc/self/status").open(encoding="ascii") as status:
        return next(int(text.split()[1]) * 1024 for text in status if text.startswith(line))


def ratios(name: str, size: int, runs: int) -> tuple[Cost, list[Row]]:
    """What the sound one costs, and how many times that each hostile one takes; the dearest first."""
    read = READERS[name]
    measure = cost(read, sound(size), runs)
    rows = []
    for title, blob in blobs(size).items():
        one = cost(read, blob, runs)
        rows.append(Row(one.seconds / measure.seconds, one.memory / max(measure.memory, 1), title))
    return measure, sorted(rows, reverse=True)


class Row(NamedTuple):
    """A hostile record beside the sound one."""

    seconds: float
    memory: float
    title: str

    def is_within(self, most: float) -> bool:
        return self.seconds <= most  # memory is a test's: what it takes a small heap to grow says little in times


def main() -> int:
    """Print what each costs beside the sound one; 1 if one costs too much."""
    parser = argparse.ArgumentParser()
    parser.add_argument("reader", nargs="*", help="some of: " + ", ".join(READERS))
    parser.add_argument("--size", type=int, default=128 * 1024)
    parser.add_argument("--all", action="store_true", help="every blob, not only the worst")
    parser.add_argument("--most", type=float, default=float("inf"), help="times the time of a sound one")
    arguments = parser.parse_args()
    size, is_dear = arguments.size, False
    print(f"{size:,} bytes, Python {sys.version.split()[0]}, {sp.native} core")
    for name in arguments.reader or READERS:
        READERS[name](sound(1000))  # loads everything
        measure, rows = ratios(name, size, RUNS)
        for runs in (3 * RUNS, 9 * RUNS):  # a busy machine disturbs a few runs, and never makes one faster
            if all(row.is_within(arguments.most) for row in rows):
                break
            measure, rows = ratios(name, size, runs)
        is_dear |= not all(row.is_within(arguments.most) for row in rows)
        per_byte = f"{measure.seconds / size * 1e9:.0f} ns and {measure.memory / size:.0f} bytes a byte"
        took = f"{measure.seconds * 1e3:.1f} ms, {measure.memory / 2**20:.1f} MiB"
        print(f"\n{name}: the sound one takes {took}: {per_byte}")
        worst = rows if arguments.all else [row for row in rows if not row.is_within(3)] or rows[:3]
        for row in worst:
            print(f"  {row.seconds:6.1f} x time {row.memory:6.1f} x memory  {row.title}", flush=True)
    return int(is_dear)


if __name__ == "__main__":
    sys.exit(main())
