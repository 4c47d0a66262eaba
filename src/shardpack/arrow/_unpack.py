"""`unpack_batches` and `to_table`."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ..limits import MIB, check_integer, check_type, shown
from ..unpacking.shapes import KinesisRecord, kinesis_records
from ..unpacking.unpacker import OnCorrupt, OutOfRange
from ._blobs import ObjectBlobs
from ._expand import Expanded, HashRange, Policy, as_type, expand
from ._schema import (
    ROW_FIELDS,
    SCHEMA,
    Repeated,
    Rows,
    check_repeated,
    has_length,
    output_schema,
    rows_of,
    unpacked_schema,
)

MAX_ROWS = 65_536
MAX_BYTES = 64 * MIB
_GROUP_BYTES = 16 * MIB  # expanded at a time: as many aggregates of 1 MiB as the widest vectors have lanes for MD5
_FIXED_BYTES = 32  # of a row: numbers, the timestamp, indices and offsets
_LARGEST_VALUE = 2**31 - 1


def unpack_batches(
    batches: Any,
    *,
    data: str = "data",
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    on_corrupt: OnCorrupt = "raw",
    hash_range: HashRange | Mapping[str, HashRange] | None = None,
    out_of_range: OutOfRange = "keep",
    max_key_characters: int | None = None,
    repeated: Repeated = "dictionary",
    views: bool = False,
    threads: int = 1,
) -> Iterator[pa.RecordBatch]:
    """The user records in record batches of Kinesis records, lazily, in their order, as record batches.

    It keeps nothing between batches, and can be pickled with `functools.partial` around it.

    Args:
        batches: record batches, or anything that exports Arrow data: a table, a reader, a data frame. Columns named
            like those of `SCHEMA`, also as ``partitionKey`` or ``PartitionKey``, are read as what they say; all others
            are repeated for each user record.
        data: the name of the binary column with the Kinesis records' data.
        max_rows: most user records in an output batch.
        max_bytes: most bytes in an output batch. Dictionaries are not counted: they hold no more than the keys and the
            other columns of the Kinesis records, and batches share them. A user record that is larger comes alone.
        on_corrupt: see `shardpack.unpack`; what was delivered whole says why in the column ``fault``.
        hash_range: see `shardpack.unpack`; for records of many shards, a mapping from shard id to the shard's range.
        out_of_range: see `shardpack.unpack`; ``"keep"`` says ``out_of_range`` in the column ``fault``.
        max_key_characters: see `shardpack.unpack`; the column ``fault`` says ``long_key``.
        repeated: how texts come out that the user records of a Kinesis record share: keys, sequence number, shard id,
            and those columns of the input besides that are text or bytes. ``"dictionary"``: as dictionary arrays, in
            which each stands once. ``"plain"``: in full in each row, for engines that know no dictionaries; give
            ``max_key_characters`` too where you do not know who writes to the stream.
        views: whether the column ``data`` is of binary views of the Kinesis records' data. This saves a copy of all
            data, but keeps the Kinesis records in memory for as long as one of their user records is. Polars and DuckDB
            read such a column, Spark does not.
        threads: how many threads of the native core work, each on about 16 MiB of Kinesis records, which are read from
            the input before. The pure core works in one.

    Raises:
        ValueError: an option is not one of those, a column is missing or there twice, a shard has no hash range, a
            Kinesis record has 2 GiB of data or more, or, with ``repeated="plain"``, a sequence number of more than 129
            characters or a shard id of more than 128, which is none of Kinesis's and would be written out in each row.
        TypeError: an option or a column has the wrong type.
        DecodeError, OutOfRangeError: as `shardpack.unpack`.
    """
    policy = Policy(on_corrupt, out_of_range, hash_range, max_key_characters)
    policy.check()
    check_type("data", data, str, "the name of a column")
    check_limits(max_rows, max_bytes)
    check_repeated(repeated)
    check_type("views", views, bool, "True or False")
    check_integer("threads", threads)
    if threads < 1:
        raise ValueError(f"threads is {shown(threads)}; give at least 1")
    return _unpack(record_batches(batches), data, _Shape(max_rows, max_bytes, repeated, views), policy, threads)


def to_table(records: Any, **options: Any) -> pa.Table:
    """The user records in Kinesis records, as one table.

    Args:
        records: a ``GetRecords`` response, a Lambda event, or whatever else `shardpack.unpack` takes; or Arrow data, as
            for `unpack_batches`: a table, a reader, a data frame.
        options: those of `unpack_batches`.

    Raises:
        ValueError, TypeError, DecodeError, OutOfRangeError: as `unpack_batches`.
    """
    if hasattr(records, "__arrow_c_stream__"):
        reader = _reader(records)
        schema = unpacked_schema(reader.schema, **{name: options[name] for name in _OF_SCHEMA & options.keys()})
        return _table(unpack_batches(reader, **options), schema)
    if options.get("data", "data") != "data":
        raise ValueError(
            f"there is no column {shown(options['data'])} in Kinesis records that are no Arrow data; leave out data"
        )
    batches = unpack_batches(_rows_of(kinesis_records(records)), **options)
    return _table(
        batches, output_schema([], **{name: options[name] for name in _OF_SCHEMA - {"data"} & options.keys()})
    )


_OF_SCHEMA = {"data", "repeated", "views"}  # the options that decide it


def _table(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    table = pa.Table.from_batches(batches, schema)
    try:
        return table.unify_dictionaries()
    except pa.ArrowInvalid:  # keys of more than 2 GiB together, which only one dictionary for each batch can hold
        return table


def check_limits(max_rows: int, max_bytes: int) -> None:
    """Refuse limits of an output batch that make no sense."""
    check_integer("max_rows", max_rows)
    check_integer("max_bytes", max_bytes)
    if max_rows < 1:
        raise ValueError(f"max_rows is {shown(max_rows)}; give at least 1")
    if not 1 <= max_bytes < 2**31:
        raise ValueError(
            f"max_bytes is {shown(max_bytes, ',')}; give 1 to {2**31 - 1:,}, which a binary column can hold"
        )


def record_batches(batches: Any) -> Iterator[pa.RecordBatch]:
    """The record batches in one, in an iterable of them, or in something that exports Arrow data."""
    if isinstance(batches, Rows):
        yield batches
    elif hasattr(batches, "__arrow_c_stream__"):
        yield from _reader(batches)
    elif isinstance(batches, Iterable) and not isinstance(batches, str | bytes | Mapping):
        for one in batches:
            yield from record_batches(one)
    else:
        raise TypeError(
            f"{type(batches).__name__} is no record batch and holds none; for Kinesis records, use to_table"
        )


def _reader(source: Any) -> pa.RecordBatchReader:
    # pyarrow's own objects stay clear of the C interface: by it, pyarrow 18 to 23 give short views as null pointers.
    if isinstance(source, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(source.schema, [source])
    if isinstance(source, pa.Table):
        return source.to_reader()
    return source if isinstance(source, pa.RecordBatchReader) else pa.RecordBatchReader.from_stream(source)


class _Shape(NamedTuple):
    """What output batches are to be like."""

    max_rows: int
    max_bytes: int
    repeated: Repeated
    views: bool


def _unpack(
    batches: Iterable[pa.RecordBatch], data: str, shape: _Shape, policy: Policy, threads: int
) -> Iterator[pa.RecordBatch]:
    groups = _groups_of(batches, data, shape)
    while some := list(islice(groups, threads)):
        for rows, expanded in zip(some, expand(some, policy, views=shape.views), strict=True):
            schema = output_schema(rows.other_fields, shape.repeated, shape.views)
            yield from (_assemble(rows, expanded, *piece, schema) for piece in _pieces(rows, expanded, shape))


def _groups_of(batches: Iterable[pa.RecordBatch], data: str, shape: _Shape) -> Iterator[Rows]:
    """As many Kinesis records as are expanded at a time."""
    for batch in batches:
        all_rows = batch if isinstance(batch, Rows) else rows_of(batch, data)
        if shape.repeated == "dictionary":
            all_rows = all_rows.encoded()
        else:
            all_rows.check_repeated_texts()
        for group in _groups(all_rows.data.sizes(), shape.max_rows):
            yield all_rows.slice(*group)


def _groups(sizes: Sequence[int], max_rows: int) -> Iterator[tuple[int, int]]:
    """Start and length of as many Kinesis records of these sizes as are expanded at a time."""
    start = size = 0
    left = sum(sizes)
    for place, length in enumerate(sizes):
        if length > _LARGEST_VALUE:
            raise ValueError(
                f"Kinesis record {place} of the batch has {length:,} bytes of data, more than the {_LARGEST_VALUE:,}"
                " that a value of a binary column can have; Kinesis's own have at most 10 MiB"
            )
        is_full = size + length > _GROUP_BYTES and left > _GROUP_BYTES // 2  # a small rest would have few lanes
        if place > start and (is_full or place - start == max_rows):
            yield start, place - start
            start, size = place, 0
        size += length
        left -= length
    if len(sizes) > start:
        yield start, len(sizes) - start


def _pieces(rows: Rows, expanded: Expanded, shape: _Shape) -> Iterator[tuple[int, int]]:
    """Start and length of what makes an output batch."""
    count = len(expanded.columns)
    row_bytes = _row_bytes(rows)
    if _most_bytes(rows, expanded.columns, row_bytes, shape) <= shape.max_bytes:
        for start in range(0, count, shape.max_rows):
            yield start, min(shape.max_rows, count - start)
        return
    ends = pc.cumulative_sum(_sizes(expanded, row_bytes, shape))
    start = before = 0
    while start < count:
        stop = min(start + shape.max_rows, count)
        if ends[stop - 1].as_py() - before > shape.max_bytes:
            candidates = range(start, stop)
            fitting = bisect.bisect_right(candidates, before + shape.max_bytes, key=lambda nth: ends[nth].as_py())
            stop = start + max(fitting, 1)
        yield start, stop - start
        start, before = stop, ends[stop - 1].as_py()


def _most_bytes(rows: Rows, columns: pa.RecordBatch, row_bytes: pa.Array, shape: _Shape) -> int:
    """What all user records take together, or more; which is known without a look at each."""
    of_each = pc.max(row_bytes).as_py() or 0
    if shape.repeated == "plain":
        of_each += sum(pc.max(pc.binary_length(keys.dictionary)).as_py() or 0 for keys in _keys(columns))
    return sum(rows.data.sizes()) + int(of_each) * len(columns)


def _sizes(expanded: Expanded, row_bytes: pa.Array, shape: _Shape) -> pa.Array:
    """What each user record takes."""
    data = as_type(expanded.columns["data"], pa.binary())  # nothing tells the lengths of views
    sizes = pc.add(pc.binary_length(data).fill_null(0), expanded.spread(row_bytes, 0, len(data)))
    if shape.repeated == "plain":
        for keys in _keys(expanded.columns):
            lengths = pc.binary_length(keys.dictionary).cast(pa.int64())
            sizes = pc.add(sizes, lengths.take(keys.indices).fill_null(0))
    return sizes


def _keys(columns: pa.RecordBatch) -> list[pa.Array]:
    return [columns["partition_key"], columns["explicit_hash_key"]]


def _row_bytes(rows: Rows) -> pa.Array:
    """What a user record takes besides its data and keys, for each Kinesis record."""
    total = pa.repeat(pa.scalar(_FIXED_BYTES, pa.int64()), len(rows.data))
    for column in (rows.metadata["shard_id"], rows.metadata["sequence_number"], *rows.others):
        if pa.types.is_dictionary(column.type):
            continue
        if has_length(column.type):
            sizes = pc.binary_length(column).cast(pa.int64()).fill_null(0)
        else:
            sizes = pa.array([column.slice(nth, 1).nbytes for nth in range(len(column))], pa.int64())
        total = pc.add(total, sizes)
    return total


def _assemble(rows: Rows, expanded: Expanded, start: int, length: int, schema: pa.Schema) -> pa.RecordBatch:
    own = expanded.columns.slice(start, length)
    columns = {name: own[name] for name in own.schema.names}
    for name in ("shard_id", "sequence_number", "approximate_arrival_timestamp"):
        columns[name] = expanded.spread(rows.metadata[name], start, length)
    for name in ("partition_key", "explicit_hash_key"):
        if columns[name].type != schema.field(name).type:
            columns[name] = columns[name].cast(schema.field(name).type)
    arrays = [columns[field.name] for field in SCHEMA]
    arrays += [expanded.spread(column, start, length) for column in rows.others]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _rows_of(records: Iterator[KinesisRecord]) -> Iterator[Rows]:
    """Kinesis records, a few at a time, so that a generator of many is read as it comes."""
    while some := list(_some(records)):
        metadata = {}
        for field in ROW_FIELDS:
            column = pa.array([getattr(record, field.name) for record in some], _microseconds(field.type))
            metadata[field.name] = column.cast(field.type, safe=False)
        yield Rows(ObjectBlobs([record.data for record in some]), metadata, [], [])


def _some(records: Iterator[KinesisRecord]) -> Iterator[KinesisRecord]:
    size = 0
    for record in islice(records, MAX_ROWS):
        yield record
        size += sum(len(text) for text in record if isinstance(text, str | bytes))
        if size >= _GROUP_BYTES * 3 // 2:  # which may be one group
            return


def _microseconds(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp("us", "UTC") if pa.types.is_timestamp(kind) else kind
