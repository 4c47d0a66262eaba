"""Count what round trips through the native core leave behind: objects, references, and memory.

    make test-leaks ROUNDS=1000000

A round trip packs and unpacks, decodes and makes columns, sound aggregates and others. With PYTHONMALLOC=debug a write
outside of an object's memory, or its use after its end, ends the process; with a debug build of CPython the references
that are left in all are counted too.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from array import array
from collections.abc import Callable
from datetime import UTC, datetime

import shardpack as sp
from shardpack.packing.columnar import ColumnPacker, ColumnRows
from shardpack.wire import native_core

RECORDS = [(f"key {nth % 7}", b"%d " % nth + bytes(nth % 90)) for nth in range(20)]
LENT = [("key", bytes(600)), ("key", bytes(700))]  # copied when their aggregate is finished
SHARED: tuple[object, ...] = (str(10**56), datetime(2026, 1, 1, tzinfo=UTC), str(10**12), *RECORDS[0], LENT[0][1])
TAGGED = sp.encode([("key", b"data", "5", [("tag", "value"), ("empty", None)])])
BLOB = sp.encode(RECORDS)
UNSOUND = BLOB[:-1] + bytes([BLOB[-1] ^ 1])


def round_trip() -> None:
    packed = list(sp.pack(RECORDS + LENT, limits=sp.Limits(1500)))
    packer = sp.Packer()
    next(iter(packer.add_all(LENT)), None)  # given up when they are still lent
    ends = memoryview(array("q", [0, 200, 600])).cast("B")
    keys = memoryview(b"kk"), memoryview(array("q", [0, 1, 2])).cast("B")
    rows = ColumnRows(native_core.rows(keys, (memoryview(LENT[0][1]), ends)), 2, 600, lambda _: LENT[0])
    list(ColumnPacker().pack_columns([rows, rows]))
    packer = sp.Packer(limits=sp.Limits(1500))
    for key, data in RECORDS:
        packer.add(key, data)
    packer.flush()
    sequence_number, arrived, shard_id = SHARED[:3]
    for data in (*(one.data for one in packed), TAGGED, UNSOUND):
        kinesis = {"SequenceNumber": sequence_number, "ApproximateArrivalTimestamp": arrived, "ShardId": shard_id}
        records = sp.unpack({"Data": data, **kinesis})
        assert next(records).data  # given up in the middle
        hash(tuple(records))
    sp.decode(TAGGED)
    native_core.read(BLOB).data  # noqa: B018  # makes the object
    for views in (False, True):
        for cut in native_core.cut(
            [[BLOB, UNSOUND], (memoryview(BLOB), memoryview(array("q", [0, len(BLOB)])))], views
        ):
            cut.__arrow_c_array__()
            cut.spread(memoryview(array("i", array("i", cut.counts)))).__arrow_c_array__()
    for wrong in (UNSOUND, b"", BLOB[:9]):
        try:
            sp.decode(wrong)
        except sp.DecodeError:
            continue
        raise AssertionError(wrong)
    with contextlib.suppress(sp.InvalidRecordError):
        sp.encode([("", b"")])


def left_by(rounds: int) -> dict[str, int]:
    """What is there more after so many round trips."""
    total: Callable[[], int] = getattr(sys, "gettotalrefcount", lambda: 0)
    gc.collect()
    before = len(gc.get_objects()), sys.getallocatedblocks(), total(), [sys.getrefcount(one) for one in SHARED]
    for _ in range(rounds):
        round_trip()
    gc.collect()
    after = len(gc.get_objects()), sys.getallocatedblocks(), total(), [sys.getrefcount(one) for one in SHARED]
    return {
        "objects": after[0] - before[0],
        "blocks of memory": after[1] - before[1],
        "references": after[2] - before[2],
        "references to what is shared": sum(after[3]) - sum(before[3]),
    }


def main(rounds: int) -> int:
    """Print what is left; 1 if it is more than the caches of Python's own, which do not grow with the rounds.

    A leak leaves at least one object, block or reference a round trip, so a tenth of that is far from either.
    """
    left_by(200)  # caches fill
    left = left_by(rounds)
    told = ", ".join(f"{count:,} {what}" for what, count in left.items())
    print(f"left by {rounds:,} round trips: {told}")  # noqa: T201  # what it is for
    return any(count > max(500, rounds // 10) for count in left.values())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
