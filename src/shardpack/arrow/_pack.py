"""`pack_batches`."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

import pyarrow as pa

from ..limits import MIB, check_type
from ..packing.columnar import ColumnPacker, ColumnRows
from ..records import PackedRecord
from ..wire.backend import backend
from ._blobs import ends_and_buffer, memory_of
from ._schema import column_of
from ._unpack import MAX_ROWS, check_limits, record_batches

MAX_PACKED_BYTES = 16 * MIB
"""glibc takes what has more than 32 MiB from the system each time, and clearing its pages takes longer than packing."""

PACKED_SCHEMA = pa.schema(
    [
        pa.field("data", pa.binary(), nullable=False),
        pa.field("partition_key", pa.string(), nullable=False),
        pa.field("explicit_hash_key", pa.string()),
        pa.field("user_record_count", pa.uint32(), nullable=False),
        pa.field("shard_id", pa.string()),
    ]
)
"""The columns of packed records; they mean what the fields of `shardpack.PackedRecord` mean."""


def pack_batches(
    batches: Any,
    *,
    data: str = "data",
    partition_key: str = "partition_key",
    explicit_hash_key: str = "explicit_hash_key",
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_PACKED_BYTES,
    **settings: Any,
) -> Iterator[pa.RecordBatch]:
    """The user records in record batches, packed into Kinesis records: record batches with `PACKED_SCHEMA`, lazily.

    Args:
        batches: record batches, or anything that exports Arrow data: a table, a reader, a data frame. As Arrow asks,
            nobody may write to their memory later, not even for the next batch: it is read when a Kinesis record is
            complete.
        data: the name of the binary column with the data.
        partition_key: the name of the string column with the partition keys.
        explicit_hash_key: the name of the string column with the explicit hash keys; it may be missing.
        max_rows: most Kinesis records in an output batch.
        max_bytes: most bytes of data in an output batch; a Kinesis record that is larger comes alone. The default is
            16 MiB.
        settings: those of `shardpack.pack`.

    Raises:
        ValueError: a column is missing, or an option or a setting is out of its range.
        TypeError: a column, an option or a setting has the wrong type.
        InvalidRecordError, RecordTooLargeError: as `shardpack.pack`.
    """
    check_limits(max_rows, max_bytes)
    names = partition_key, data, explicit_hash_key
    for name, column in zip(("partition_key", "data", "explicit_hash_key"), names, strict=True):
        check_type(name, column, str, "the name of a column")
    packed = ColumnPacker(**settings).pack_columns(_parts(record_batches(batches), *names))
    return _batches(packed, max_rows, max_bytes)


def _parts(
    batches: Iterable[pa.RecordBatch], partition_key: str, data: str, explicit_hash_key: str
) -> Iterator[ColumnRows | Iterable[tuple[str, bytes, str | None]]]:
    """The user records of each batch: as columns, if nothing but their keys and data tells them apart."""
    new_rows = backend().rows
    for batch in batches:
        explicit = pa.nulls(len(batch), pa.string())
        if explicit_hash_key in batch.schema.names:
            explicit = column_of(batch, explicit_hash_key, pa.string())
        keys, payloads = column_of(batch, partition_key, pa.string()), column_of(batch, data, pa.large_binary())
        is_simple = explicit.null_count == len(batch) and not keys.null_count and not payloads.null_count
        if new_rows is None or not is_simple:
            yield zip(keys.to_pylist(), payloads.to_pylist(), explicit.to_pylist(), strict=True)
        elif len(batch):
            rows = new_rows(_values(keys.cast(pa.large_string())), _values(payloads))
            address, nbytes = memory_of(payloads)
            yield ColumnRows(rows, len(batch), nbytes, functools.partial(_record, keys, payloads), address)


def _values(column: pa.Array) -> tuple[memoryview, memoryview]:
    ends, buffer = ends_and_buffer(column)
    return memoryview(buffer).cast("B"), memoryview(ends.buffers()[1]).cast("B")[: 8 * len(ends)]


def _record(keys: pa.Array, payloads: pa.Array, place: int) -> tuple[str, bytes]:
    return keys[place].as_py(), payloads[place].as_py()


def _batches(packed: Iterable[PackedRecord], max_rows: int, max_bytes: int) -> Iterator[pa.RecordBatch]:
    records: list[PackedRecord] = []
    size = 0
    for record in packed:
        if records and (len(records) == max_rows or size + len(record.data) > max_bytes):
            yield _batch(records)
            records, size = [], 0
        records.append(record)
        size += len(record.data)
    if records:
        yield _batch(records)


def _batch(records: list[PackedRecord]) -> pa.RecordBatch:
    columns = [
        _data(records) if field.name == "data" else pa.array([getattr(one, field.name) for one in records], field.type)
        for field in PACKED_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PACKED_SCHEMA)


def _data(records: list[PackedRecord]) -> pa.Array:
    """Their data, copied once: what Arrow builds piece by piece, it copies each time that it grows."""
    if sum(len(one.data) for one in records) >= 2**31:  # one that no binary column can hold, which Arrow says itself
        return pa.array([one.data for one in records], pa.binary())
    ends = array("i", accumulate((len(one.data) for one in records), initial=0))
    data = pa.py_buffer(b"".join([one.data for one in records]))
    return pa.Array.from_buffers(pa.binary(), len(records), [None, pa.py_buffer(ends), data])
