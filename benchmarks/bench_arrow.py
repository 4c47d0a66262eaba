"""User records into Arrow columns: shardpack against Python objects, and against plain loops on protobuf's parser.

    make bench-arrow                    50 to 10,000 bytes, few and many keys
    make bench-arrow ARGS=--quick       100 bytes only, fewer rounds

Besides: what columns cost with views, with two threads (by the clock), and from a response with bytes objects; and what
columns cost to pack.

Every contender gets the same record batch of Kinesis records, aggregates of nearly 1 MiB as `shardpack.pack` makes
them, and checks their MD5. "upb loop, all columns" makes the columns that shardpack makes, "upb loop, two columns" only
partition key and data. "MD5 alone" is the floor of every reader that checks one record after the other. Before anything
is timed, what each gives must be what went in. What comes out is dropped as it comes. Rounds are interleaved; times are
those of the processor, and the median counts.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import statistics
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table

import shardpack as sp
from shardpack import arrow
from shardpack.arrow._pack import _parts
from shardpack.arrow._unpack import record_batches
from shardpack.packing.columnar import ColumnPacker
from shardpack.wire._generated.kpl_pb2 import AggregatedRecord
from shardpack.wire.backend import backend

_BYTES = 16 * 1024 * 1024
_LIMIT = 1024 * 1024
_MAGIC = b"\xf3\x89\x9a\xc2"

UserRecords = list[tuple[str, bytes]]


def into_columns(batch: Any) -> Iterator[Any]:
    return arrow.unpack_batches([batch])


def into_objects(batch: Any) -> Iterator[sp.ReceivedRecord]:
    return sp.unpack(_entries(batch))


def objects_into_columns(batch: Any) -> Iterator[Any]:
    names = sp.ReceivedRecord._fields[:-1]
    types = [arrow.SCHEMA.field(name).type for name in names]
    for entry in _entries(batch):
        columns = zip(*sp.unpack(entry), strict=True)
        yield pa.RecordBatch.from_arrays(
            [pa.array(column, kind) for column, kind in zip(columns, types, strict=False)], names=names
        )


def upb_all_columns(batch: Any) -> Iterator[Any]:
    return (_upb_all_columns(*row) for row in _verified(batch))


def _upb_all_columns(message: AggregatedRecord, sequence_number: str, shard_id: str, time: Any) -> Any:
    key_table = [key.decode() for key in message.partition_key_table]
    explicit_table = [key.decode() for key in message.explicit_hash_key_table]
    indices: list[int] = []
    explicit: list[str | None] = []
    data: list[bytes] = []
    for record in message.records:
        indices.append(record.partition_key_index)
        has = record.HasField("explicit_hash_key_index")
        explicit.append(explicit_table[record.explicit_hash_key_index] if has else None)
        data.append(record.data)
    count = len(data)
    columns = [
        pa.repeat(shard_id, count),
        pa.repeat(sequence_number, count),
        pa.array(range(count), pa.uint32()),
        pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(key_table)),
        pa.array(explicit, pa.string()),
        pa.array(data, pa.binary()),
        pa.repeat(pa.scalar(time, pa.timestamp("ms", "UTC")), count),
        pa.repeat(True, count),
    ]
    return pa.RecordBatch.from_arrays(columns, names=arrow.SCHEMA.names[:-1])


def upb_two_columns(batch: Any) -> Iterator[Any]:
    for message, *_ in _verified(batch):
        key_table = [key.decode() for key in message.partition_key_table]
        keys, data = [], []
        for record in message.records:
            keys.append(key_table[record.partition_key_index])
            data.append(record.data)
        yield pa.RecordBatch.from_arrays([pa.array(keys), pa.array(data, pa.binary())], names=["partition_key", "data"])


def md5_alone(batch: Any) -> Iterator[None]:
    for value in batch["data"]:
        view = memoryview(value.as_buffer()).cast("B")
        if hashlib.md5(view[4:-16]).digest() != view[-16:]:
            sys.exit("an aggregate is not sound; nothing was timed")
        yield


def _entries(batch: Any) -> list[dict[str, Any]]:
    columns = [batch[name].to_pylist() for name in ("data", "sequence_number", "shard_id")]
    return [
        {"Data": data, "SequenceNumber": sequence_number, "ShardId": shard_id}
        for data, sequence_number, shard_id in zip(*columns, strict=True)
    ]


def _verified(batch: Any) -> Iterator[tuple[AggregatedRecord, str, str, Any]]:
    names = ("data", "sequence_number", "shard_id", "approximate_arrival_timestamp")
    for blob, *rest in zip(*(batch[name].to_pylist() for name in names), strict=True):
        body = blob[4:-16]
        if blob[:4] != _MAGIC or hashlib.md5(body).digest() != blob[-16:]:
            raise ValueError("not an aggregate")
        yield AggregatedRecord.FromString(body), *rest


CONTENDERS: dict[str, Callable[[Any], Iterator[Any]]] = {
    "shardpack into columns": into_columns,
    "shardpack into objects": into_objects,
    "objects into columns": objects_into_columns,
    "upb loop, all columns": upb_all_columns,
    "upb loop, two columns": upb_two_columns,
    "MD5 alone": md5_alone,
}


def main() -> int:
    """Check, time, print."""
    parser = argparse.ArgumentParser(description="User records into Arrow columns.")
    parser.add_argument("--quick", action="store_true", help="100 bytes only, and fewer rounds")
    quick = parser.parse_args().quick
    console = Console(width=150)
    console.print(
        f"Python {sys.version.split()[0]}, shardpack {sp.__version__} ({sp.native} core), pyarrow {pa.__version__}"
    )
    table = Table("user records", *CONTENDERS, title="Million user records a second", title_justify="left")
    for size in [100] if quick else [50, 100, 1000, 10_000]:
        for keys in (1, 500, None):
            name = f"{size:,} B, {'distinct keys' if keys is None else f'{keys} key' + 's' * (keys > 1)}"
            table.add_row(name, *_row(size, keys, rounds=5 if quick else 15))
    console.print(table)
    console.print("(in brackets: how many times as fast shardpack is into columns)")
    bounded = [100] if quick else [100, 1000]
    limits = Table("500 keys", title="What bounds it: ns a user record", title_justify="left")
    for size in bounded:
        limits.add_column(f"{size:,} B", justify="right")
    for row in zip(LIMITS, *(_limits(size, rounds=5 if quick else 15) for size in bounded), strict=True):
        limits.add_row(*row)
    console.print(limits)
    console.print("(CPU time; by the clock where threads are named)")
    return 0


LIMITS = (
    "limit, iterated",
    "verified and read",
    "copied",
    "objects",
    "to_table of a response",
    "batches",
    "batches, views",
    "one thread",
    "two threads",
    "pack objects",
    "pack columns",
    "pack columns, no batches",
    "hashlib.md5",
)


def _limits(size: int, rounds: int) -> list[str]:
    """Jobs on the same user records, and what Python and memory themselves cost."""
    count = 2 * _BYTES // size  # two groups, for two threads
    records = [(f"user-{nth % 500:08}", os.urandom(size)) for nth in range(count)]
    batch = _batch(records)
    response = {"Records": _entries(batch)}
    blobs = [entry["Data"] for entry in response["Records"]]
    flat = b"".join(data for _, data in records)
    table = pa.table({name: [record[nth] for record in records] for nth, name in enumerate(("partition_key", "data"))})
    if _pairs([arrow.to_table(response, views=True)]) != records or (
        _pairs(list(sp.unpack(sp.PackedRecord(**row) for one in arrow.pack_batches(table) for row in one.to_pylist())))
        != records
    ):
        sys.exit("shardpack gives something other than what went in; nothing was timed")
    names = ("partition_key", "data", "explicit_hash_key")
    clocks = {"one thread": time.perf_counter, "two threads": time.perf_counter}
    jobs: dict[str, Callable[[], object]] = {
        "limit, iterated": lambda: deque(struct.iter_unpack(f"{size}s", flat), maxlen=0),
        "verified and read": lambda: deque(backend().read_ahead(blobs), maxlen=0),
        "copied": lambda: b"".join(blobs),
        "objects": lambda: deque(sp.unpack(response), maxlen=0),
        "to_table of a response": lambda: arrow.to_table(response),
        "batches": lambda: deque(arrow.unpack_batches(batch), maxlen=0),
        "batches, views": lambda: deque(arrow.unpack_batches(batch, views=True), maxlen=0),
        "one thread": lambda: deque(arrow.unpack_batches(batch), maxlen=0),
        "two threads": lambda: deque(arrow.unpack_batches(batch, threads=2), maxlen=0),
        "pack objects": lambda: deque(sp.pack(records), maxlen=0),
        "pack columns": lambda: deque(arrow.pack_batches(table), maxlen=0),
        "pack columns, no batches": lambda: deque(
            ColumnPacker().pack_columns(_parts(record_batches(table), *names)), 0
        ),
        "hashlib.md5": lambda: [hashlib.md5(blob).digest() for blob in blobs],
    }
    best = dict.fromkeys(jobs, float("inf"))
    for _ in range(rounds):
        for name, job in jobs.items():
            clock = clocks.get(name, time.process_time)
            gc.collect()
            start = clock()
            job()
            best[name] = min(best[name], (clock() - start) / count * 1e9)
    return [f"{best[name]:,.0f}" for name in LIMITS]


def _row(size: int, keys: int | None, rounds: int) -> list[str]:
    count = min(100_000, _BYTES // size)
    records = [(f"user-{nth % (keys or count):08}", os.urandom(size)) for nth in range(count)]
    batch = _batch(records)
    for name, contender in CONTENDERS.items():
        if contender is not md5_alone and _pairs(list(contender(batch))) != records:
            sys.exit(f"{name} gives something other than what went in; nothing was timed")
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, contender in CONTENDERS.items():
            gc.collect()
            start = time.process_time()
            deque(contender(batch), maxlen=0)
            times[name].append(time.process_time() - start)
    medians = {name: statistics.median(those) for name, those in times.items()}
    ours = medians["shardpack into columns"]
    return [f"{count / one / 1e6:.2f} ({one / ours:.1f}x)" for one in medians.values()]


def _batch(records: UserRecords) -> Any:
    packed = list(sp.pack(records, limits=sp.Limits(_LIMIT)))
    count = len(packed)
    return pa.RecordBatch.from_pydict(
        {
            "data": pa.array([record.data for record in packed], pa.binary()),
            "sequence_number": [
                str(49590338271490256608559692538361571095921575989136588898 + nth) for nth in range(count)
            ],
            "shard_id": ["shardId-000000000006"] * count,
            "approximate_arrival_timestamp": pa.array([1545084650987] * count, pa.timestamp("ms", "UTC")),
        }
    )


def _pairs(result: list[Any]) -> UserRecords:
    if isinstance(result[0], sp.ReceivedRecord):
        return [(record.partition_key, record.data) for record in result]
    return [(row["partition_key"], row["data"]) for one in result for row in one.to_pylist()]


if __name__ == "__main__":
    sys.exit(main())
