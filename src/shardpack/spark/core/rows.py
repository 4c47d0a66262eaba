"""Kinesis records of a range as rows: Arrow record batches with the columns that Spark expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ...arrow import unpack_batches
from ...limits import MAX_PARTITION_KEY_CHARACTERS
from .ends import found_of
from .marks import Mark
from .ranges import Range

COLUMNS = {
    "partitionKey": ("STRING", pa.string(), "partition_key"),
    "data": ("BINARY", pa.binary(), "data"),
    "explicitHashKey": ("STRING", pa.string(), "explicit_hash_key"),
    "stream": ("STRING", pa.string(), ""),
    "shardId": ("STRING", pa.string(), "shard_id"),
    "sequenceNumber": ("STRING", pa.string(), "sequence_number"),
    "subSequenceNumber": ("INT", pa.int32(), "sub_sequence_number"),
    "approximateArrivalTimestamp": ("TIMESTAMP", pa.timestamp("us", "UTC"), "approximate_arrival_timestamp"),
}
"""The columns of a row: Spark's type, Arrow's, and the column of `shardpack.arrow.SCHEMA` that it is."""

DDL = ", ".join(f"{name} {kind}" for name, (kind, _, _) in COLUMNS.items())
"""The columns as Spark's DDL."""


class Part(NamedTuple):
    """What of a page belongs to a range.

    Attributes:
        records: its Kinesis records that do, as boto3 gives them.
        is_last: whether nothing after them does.
    """

    records: Sequence[Mapping[str, Any]]
    is_last: bool


def part_of(records: Sequence[Mapping[str, Any]], end: Mark) -> Part:
    """The records of a page before the end of a range."""
    if end.place == "SHARD_END":
        return Part(records, is_last=False)
    for place, record in enumerate(records):
        number = int(record["SequenceNumber"])
        if number > int(end.sequence_number):
            return Part(records[:place], is_last=True)
        if number == int(end.sequence_number):
            is_part = end.place == "AFTER" or end.sub_sequence_number > 0
            return Part(records[: place + is_part], is_last=True)
    return Part(records, is_last=False)


def rows_of(
    records: Sequence[Mapping[str, Any]], one: Range, stream: str, names: Sequence[str], on_corrupt: Any
) -> Iterator[pa.RecordBatch]:
    """The user records of Kinesis records of a range, without those before its beginning and after its end.

    Args:
        records: as boto3 gives them.
        one: the range.
        stream: the name of the stream.
        names: the columns that are wanted, in that order.
        on_corrupt: see `shardpack.unpack`.

    Raises:
        DecodeError: an aggregate is corrupt, and ``on_corrupt`` is ``"raise"``.
    """
    if not records:
        return
    batch = pa.RecordBatch.from_pydict(
        {
            "data": pa.array([record["Data"] for record in records], pa.large_binary()),
            "partition_key": pa.array([record.get("PartitionKey") for record in records], pa.string()),
            "sequence_number": pa.array([record["SequenceNumber"] for record in records], pa.string()),
            "shard_id": pa.array([one.shard_id] * len(records), pa.string()),
            "approximate_arrival_timestamp": pa.array(
                [found_of(record).arrival for record in records], pa.timestamp("ms", "UTC")
            ),
        }
    )
    for unpacked in unpack_batches(
        batch, on_corrupt=on_corrupt, max_key_characters=MAX_PARTITION_KEY_CHARACTERS, repeated="plain"
    ):
        kept = _within(unpacked, one)
        columns = [
            pa.repeat(pa.scalar(stream, pa.string()), kept.num_rows) if name == "stream" else kept[column].cast(kind)
            for name, (_, kind, column) in ((name, COLUMNS[name]) for name in names)
        ]
        if kept.num_rows:
            yield pa.RecordBatch.from_arrays(columns, names=list(names))


def _within(batch: pa.RecordBatch, one: Range) -> pa.RecordBatch:
    """Without the sub-records of the first aggregate that were read before, and those of the last that come later."""
    begin, end = one.begin, one.end
    numbers, subs = batch["sequence_number"], batch["sub_sequence_number"]
    if begin.place == "AT" and begin.sub_sequence_number:
        before = pc.and_(pc.equal(numbers, begin.sequence_number), pc.less(subs, begin.sub_sequence_number))
        batch = batch.filter(pc.invert(before))
        numbers, subs = batch["sequence_number"], batch["sub_sequence_number"]
    if end.place == "AT" and end.sub_sequence_number:
        later = pc.and_(pc.equal(numbers, end.sequence_number), pc.greater_equal(subs, end.sub_sequence_number))
        batch = batch.filter(pc.invert(later))
    return batch
