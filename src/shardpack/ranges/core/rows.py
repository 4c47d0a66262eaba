"""What of a shard's Kinesis records belongs to a range, and the user records in it, as Arrow record batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ...arrow import SCHEMA, unpack_batches
from .ends import found_of
from .marks import Mark
from .ranges import Range


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


COLUMNS = tuple(SCHEMA.names)
"""Of the user records."""


def user_records_of(
    records: Sequence[Mapping[str, Any]], one: Range, columns: Sequence[str] = COLUMNS, **options: Any
) -> Iterator[pa.RecordBatch]:
    """The user records of Kinesis records of a range, without those before its beginning and after its end.

    Args:
        records: as boto3 gives them.
        one: the range.
        columns: those of `shardpack.arrow.SCHEMA` that are wanted, in that order. Of others, nothing is copied.
        options: those of `shardpack.arrow.unpack_batches`.

    Raises:
        DecodeError: an aggregate is corrupt, and ``on_corrupt`` is ``"raise"``.
    """
    if not records:
        return
    wanted = {*columns, "data", *(("sequence_number",) if _is_cut(one) else ())}
    if options.get("hash_range") is not None:
        wanted.add("shard_id")  # by which it may be looked up
    batch = pa.RecordBatch.from_pydict(
        {
            name: pa.array([value_of(record, one) for record in records], kind)
            for name, (kind, value_of) in _INPUT.items()
            if name in wanted
        }
    )
    if "data" not in columns:
        options["views"] = True
    for unpacked in unpack_batches(batch, **options):
        kept = _within(unpacked, one)
        if kept.num_rows:
            yield kept.select(list(columns))


_INPUT: dict[str, tuple[pa.DataType, Callable[[Mapping[str, Any], Range], Any]]] = {
    "data": (pa.large_binary(), lambda record, _: record["Data"]),
    "partition_key": (pa.string(), lambda record, _: record.get("PartitionKey")),
    "sequence_number": (pa.string(), lambda record, _: record["SequenceNumber"]),
    "shard_id": (pa.string(), lambda _, one: one.shard_id),
    "approximate_arrival_timestamp": (pa.timestamp("ms", "UTC"), lambda record, _: found_of(record).arrival),
}


def _is_cut(one: Range) -> bool:
    """Whether it begins or ends within a Kinesis record."""
    return any(mark.place == "AT" and mark.sub_sequence_number for mark in (one.begin, one.end))


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
