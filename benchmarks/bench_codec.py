"""Packing and unpacking against the peers, in one run: aws_kinesis_agg, aiokpl, and a plain loop on protobuf's parser.

    make bench                          all sizes and keys
    make bench ARGS=--quick             100 bytes only, fewer rounds

Each contender does a user's whole job. Packing takes (partition key, data) pairs and gives Kinesis records of at most
1 MiB; unpacking takes Kinesis records as boto3's GetRecords gives them, or as Lambda does (base64), and hands out user
records one by one. aiokpl's codec cannot fill a record to a limit, so it is handed ready-made user records at the very
boundaries that shardpack found, which spares it that work. Before anything is timed, what each packs must hold exactly
the input, and what each unpacks must be exactly the input. Rounds are interleaved, so that noise meets all alike; a
contender's time is its best round.
"""

from __future__ import annotations

import argparse
import base64
import gc
import hashlib
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

import peers
import shardpack as sp
from shardpack.packing import packer
from shardpack.unpacking import shapes as _shapes
from shardpack.unpacking import unpacker
from shardpack.wire import pure_core as _pure
from shardpack.wire._generated.kpl_pb2 import AggregatedRecord
from shardpack.wire.backend import backend

UserRecords = list[tuple[str, bytes]]

_LIMIT = 1024 * 1024
_LAMBDA_LIMIT = 51_200  # what the KPL makes, and so what Lambda functions get
_LAMBDA_BYTES = 4_300_000  # of user records: an event of up to 6 MB, base64 included


@dataclass(frozen=True)
class Shape:
    """What the user records of one row look like."""

    size: int
    keys: int | None  # None: as many as records
    total: int = 17 * _LIMIT  # bytes of data in all; a few more than the lanes for MD5

    @property
    def name(self) -> str:
        return (
            f"{self.size:,} B, {'distinct keys' if self.keys is None else f'{self.keys:,} key' + 's' * (self.keys > 1)}"
        )

    def records(self) -> UserRecords:
        count = self.total // self.size
        keys = self.keys or count
        return [(f"user-{n % keys:08}", self._data(n)) for n in range(count)]

    def _data(self, n: int) -> bytes:
        block = hashlib.sha256(b"%d" % n).digest()
        return (block * (self.size // len(block) + 1))[: self.size]


def main() -> int:
    """Check, time, print; 1 if a contender is wrong."""
    parser = argparse.ArgumentParser(description="Packing and unpacking against the peers.")
    parser.add_argument("--quick", action="store_true", help="100 bytes only, and fewer rounds")
    quick = parser.parse_args().quick
    sizes = [100] if quick else [50, 100, 1000, 10_000]
    shapes = [Shape(size, keys, *([2 * _LIMIT] if quick else [])) for size in sizes for keys in (1, 500, None)]
    rounds = 2 if quick else 5
    console = Console(width=150)
    console.print(
        f"Python {sys.version.split()[0]}, shardpack {sp.__version__} ({sp.native} core), "
        + ", ".join(f"{name} {version}" for name, version in peers.versions().items())
    )
    packing = _Timings("Packing, ns a user record")
    from_boto3 = _Timings("Unpacking what GetRecords gives, ns a user record")
    from_lambda = _Timings("Unpacking a Lambda event of 6 MB at most, in aggregates of 50 KiB, ns a user record")
    one_by_one = _Timings("Packer.add one by one, ns a user record")
    limits = _Timings("What bounds it: one pass over the aggregates, ns a user record", first="one MD5 after another")
    for shape in track(shapes, "Timing", console=Console(stderr=True), transient=True):
        records = shape.records()
        packed = list(sp.pack(records, limits=sp.Limits(_LIMIT)))
        packing.add(shape, len(records), rounds, _packers(records, packed))
        from_boto3.add(shape, len(records), rounds, _unpackers(records, list(map(_boto3_record, packed))))
        one_by_one.add(shape, len(records), rounds, _adders(records))
        limits.add(shape, len(records), rounds, _limits(packed, shape, len(records)))
        fewer = records[: _LAMBDA_BYTES // (shape.size + 20)]
        in_event = list(sp.pack(fewer, limits=sp.Limits(_LAMBDA_LIMIT)))
        if in_event[-1].user_record_count == 1:  # goes out plain, which not every contender reads
            fewer.pop()
            in_event.pop()
        event = list(map(_lambda_record, in_event))
        from_lambda.add(shape, len(fewer), rounds, _unpackers(fewer, event))
    for timings in (packing, one_by_one, from_boto3, from_lambda, limits):
        console.print(timings.table)
    console.print("(in brackets: how many times as long as the first column takes)")
    return 0


def _packers(records: UserRecords, packed: Sequence[sp.PackedRecord]) -> dict[str, Callable[[], object]]:
    batches = list(_batches(records, packed))
    aiokpl_batches = [peers.aiokpl_user_records(batch) for batch in batches]
    contenders: dict[str, Callable[[], list[bytes]]] = {
        "shardpack": lambda: [record.data for record in sp.pack(records, limits=sp.Limits(_LIMIT))],
        **_with_pure_core(lambda: [record.data for record in sp.pack(records, limits=sp.Limits(_LIMIT))]),
        "aws_kinesis_agg": lambda: peers.pack_with_aws_kinesis_agg(records, _LIMIT),
        "aiokpl": lambda: peers.pack_with_aiokpl(aiokpl_batches),
        "plain upb loop": lambda: peers.pack_with_upb(records, _LIMIT),
    }
    for name, contender in contenders.items():
        _check(f"{name} packs", records, _read_independently(contender()))
    return dict(contenders)


def _unpackers(records: UserRecords, kinesis_records: list[dict[str, Any]]) -> dict[str, Callable[[], object]]:
    contenders: dict[str, tuple[Callable[[], Iterator[Any]], Callable[[Any], tuple[str, bytes]]]] = {
        "shardpack": (lambda: sp.unpack(kinesis_records), lambda r: (r.partition_key, r.data)),
        **{
            name: (unpack, lambda r: (r.partition_key, r.data))
            for name, unpack in _with_pure_core(lambda: iter(list(sp.unpack(kinesis_records)))).items()
        },
        "aws_kinesis_agg": (
            lambda: peers.unpack_with_aws_kinesis_agg(kinesis_records),
            lambda r: (r["kinesis"]["partitionKey"], base64.b64decode(r["kinesis"]["data"])),
        ),
        "aiokpl": (lambda: peers.unpack_with_aiokpl(kinesis_records), lambda r: (r.partition_key, r.data)),
        "plain upb loop": (lambda: peers.unpack_with_upb(kinesis_records), lambda r: r),
    }
    if "kinesis" in kinesis_records[0]:  # the one shape that its best-known function takes
        read_pair = contenders["aws_kinesis_agg"][1]
        contenders["its deaggregate_records"] = (
            lambda: peers.unpack_into_list_with_aws_kinesis_agg(kinesis_records),
            read_pair,
        )
    for name, (unpack, pair) in contenders.items():
        _check(f"{name} unpacks", records, map(pair, unpack()))
    return {name: partial(_use_up, unpack) for name, (unpack, _) in contenders.items()}


def _adders(records: UserRecords) -> dict[str, Callable[[], object]]:
    def add() -> list[sp.PackedRecord]:
        packer = sp.Packer(limits=sp.Limits(_LIMIT))
        closed = []
        for partition_key, data in records:
            closed += packer.add(partition_key, data)
        return closed + packer.flush()

    _check("Packer.add packs", records, _read_independently(record.data for record in add()))
    return {"shardpack": add, **_with_pure_core(add)}


def _limits(packed: Sequence[sp.PackedRecord], shape: Shape, count: int) -> dict[str, Callable[[], object]]:
    core = backend()
    blobs = [record.data for record in packed]
    data = bytes(shape.size * count)
    kinesis_records = list(map(_boto3_record, packed))

    def use_up(records: Iterable[object]) -> None:
        for _ in records:
            pass

    return {
        "one MD5 after another": lambda: [hashlib.md5(blob).digest() for blob in blobs],
        **({} if sp.native == "pure" else {"verified and read side by side": lambda: core.read_ahead(blobs)}),
        "copied": lambda: [bytes(memoryview(blob)) for blob in blobs],
        "a tuple and bytes each, in a loop": lambda: use_up(struct.iter_unpack(f"{shape.size}s", data)),
        "shardpack in a loop": lambda: use_up(sp.unpack(kinesis_records)),
        "a tuple and bytes each, in a list": lambda: list(struct.iter_unpack(f"{shape.size}s", data)),
        "shardpack in a list": lambda: list(sp.unpack(kinesis_records)),
    }


def _with_pure_core(call: Callable[[], Any]) -> dict[str, Callable[[], Any]]:
    """The same call as if there were no native core; nothing where there is none."""

    def pure() -> Any:
        modules: list[Any] = [packer, unpacker, _shapes]
        for module in modules:
            module.backend = lambda: _pure
        packer_class: Any = packer.Packer
        packer_class.add = packer_class._add_in_python  # noqa: SLF001  # what is compared
        try:
            return call()
        finally:
            del packer_class.add
            for module in modules:
                module.backend = backend

    return {} if sp.native == "pure" else {"pure core": pure}


def _use_up(unpack: Callable[[], Iterator[Any]]) -> None:
    deque(unpack(), maxlen=0)


def _check(what: str, expected: UserRecords, actual: Iterable[tuple[str, bytes]]) -> None:
    if list(actual) != expected:
        sys.exit(f"{what} something other than what went in; nothing was timed")


def _batches(records: UserRecords, packed: Sequence[sp.PackedRecord]) -> Iterable[UserRecords]:
    rest = iter(records)
    for record in packed:
        yield list(islice(rest, record.user_record_count))


def _read_independently(blobs: Iterable[bytes]) -> Iterable[tuple[str, bytes]]:
    """The user records in aggregates, by nothing but protobuf. A lone record would come as it is; none does here."""
    for blob in blobs:
        body = blob[4:-16]
        assert blob[:4] == b"\xf3\x89\x9a\xc2"
        assert hashlib.md5(body).digest() == blob[-16:]
        message = AggregatedRecord.FromString(body)
        for record in message.records:
            yield message.partition_key_table[record.partition_key_index].decode(), record.data


def _boto3_record(record: sp.PackedRecord) -> dict[str, Any]:
    return {
        "SequenceNumber": "49590338271490256608559692538361571095921575989136588898",
        "ApproximateArrivalTimestamp": datetime(2018, 12, 17, 22, 10, 50, 987000, UTC),
        "Data": record.data,
        "PartitionKey": record.partition_key,
        "EncryptionType": "NONE",
    }


def _lambda_record(record: sp.PackedRecord) -> dict[str, Any]:
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record.partition_key,
            "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
            "data": base64.b64encode(record.data).decode(),
            "approximateArrivalTimestamp": 1545084650.987,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "shardId-000000000006:49590338271490256608559692538361571095921575989136588898",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
        "awsRegion": "us-east-2",
        "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream",
    }


class _Timings:
    """A table of one job: a row for each shape, a column for each contender."""

    def __init__(self, title: str, first: str = "shardpack") -> None:
        self.table = Table("user records", title=title, title_justify="left")
        self._first = first

    def add(self, shape: Shape, count: int, rounds: int, contenders: dict[str, Callable[[], object]]) -> None:
        """Time the contenders in turn, many times."""
        if not self.table.rows:
            for name in contenders:
                self.table.add_column(name, justify="right")
        best = dict.fromkeys(contenders, float("inf"))
        for _ in range(rounds):
            for name, contender in contenders.items():
                gc.collect()
                start = time.perf_counter()
                contender()
                best[name] = min(best[name], time.perf_counter() - start)
        ours = best[self._first]
        cells = [
            f"{seconds / count * 1e9:,.0f}" + ("" if name == self._first else f" ({seconds / ours:.1f}x)")
            for name, seconds in best.items()
        ]
        self.table.add_row(shape.name, *cells)


if __name__ == "__main__":
    sys.exit(main())
