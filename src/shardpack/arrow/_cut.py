"""Sound aggregates to columns, many at once.

The data of Kinesis records in, one `Cut` out, and whatever it leaves out is read by `shardpack.unpack`. A core that has
a function ``cut`` is asked to do it: it hands its columns over by Arrow's C data interface, as they are.

Without one, protobuf's parser tells how long each record is, and Arrow's kernels take the records apart where they are:
all that stands before a record's data follows from its size and the indices of its keys, so its first eight bytes are
compared, as one number, with what they must be.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, chain, compress
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError as ProtobufDecodeError

from ..wire._generated.kpl_pb2 import AggregatedRecordOfBytes
from ..wire.backend import backend
from ..wire.format import CHECKSUM_BYTES, MAGIC, data_head_of_field, record_head
from ._blobs import Blobs, ends_and_buffer

_FEW = 1 << 16  # user records
_WORD = 8
_LONG_BIT = 15  # of the word: the index of the partition key goes on in a second byte
_LONGEST = [(1 << 7 * nth) - 1 for nth in range(1, 5)]  # whose length takes so many bytes
_SEVEN_BITS = 0x7F
_FAULTS = {-2: "checksum_mismatch", -3: "truncated", -4: "malformed"}  # by what the native core has in place of counts
LARGEST = 2**29  # bytes that are cut at once: offsets of four bytes do, also when each byte of a key becomes U+FFFD


# What differs between the user records of one Kinesis record.
COLUMNS = pa.schema(
    {
        "partition_key": pa.dictionary(pa.int32(), pa.string()),
        "explicit_hash_key": pa.dictionary(pa.int32(), pa.string()),
        "data": pa.binary(),
        "sub_sequence_number": pa.uint32(),
        "aggregated": pa.bool_(),
        "fault": pa.string(),
    }
)


class Cut(NamedTuple):
    """The user records of those Kinesis records that were cut, in their order.

    Attributes:
        counts: how many user records there are in each Kinesis record, by its place in the input.
        columns: as `COLUMNS`; the data may be binary views.
        spread: what each Kinesis record has, an array of numbers of 32 or 64 bits without nulls, as often as it has
            user records; only where all Kinesis records were cut, by a core that can.
        faults: what is wrong with aggregates that are not sound, by their places, as far as it was found out.
    """

    counts: dict[int, int]
    columns: pa.RecordBatch
    spread: Callable[[pa.Array], pa.Array] | None
    faults: dict[int, str]


def _columns(cut: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """`COLUMNS`, of those of them that are not the same for all that was cut."""
    count = len(cut["data"])
    columns = {name: cut[name] for name in COLUMNS.names[:4]}
    most = 1 << max(count - 1, _FEW).bit_length()
    columns |= {name: array.slice(0, count) for name, array in _of_all(most).items()}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=COLUMNS.names)


@functools.lru_cache(maxsize=1)
def _of_all(count: int) -> dict[str, pa.Array]:
    """The columns that are the same for all that was cut."""
    return {"aggregated": pa.repeat(True, count), "fault": pa.nulls(count, pa.string())}


def repeated(counts: Sequence[int], values: Iterable[int]) -> pa.Array:
    """Each value as often as its count, which is never 0, says."""
    if not counts:
        return pa.array([], pa.int64())
    run_ends = pa.array(accumulate(counts), pa.int32())
    return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(run_ends, pa.array(values, pa.int64())))


def count_up(count: int) -> pa.Array:
    """The numbers from 0."""
    return pc.subtract(pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), count)), 1)


class _Aggregate(NamedTuple):
    place: int
    body: memoryview
    end: int  # of the body, in the buffer of all data
    partition_key_table: list[bytes]
    explicit_hash_key_table: list[bytes]
    record_count: int


def cut(groups: Sequence[Blobs], *, views: bool = False) -> list[Cut | None]:
    """The user records of the Kinesis records that are sound aggregates, and what is wrong with others; None: nothing.

    Not cut in Python are: aggregates that are not sound; those with anything but tables before records, and those of
    which only some records have explicit hash keys; records with tags, with fields in another order or twice, and those
    whose first bytes, up to the data, are more than eight.

    Args:
        groups: the data of Kinesis records that are cut together; a core that can works on all groups at once.
        views: have the core, if it can, make the column of data of views of what came in, without a copy.
    """
    fitting = [blobs for blobs in groups if 0 < sum(blobs.sizes()) <= LARGEST]
    core = backend()
    if hasattr(core, "cut"):
        made = core.cut([blobs.group() for blobs in fitting], views)
        found = [_cut_natively(native, len(blobs)) for native, blobs in zip(made, fitting, strict=True)]
    else:
        found = [_cut_in_python(array, *ends_and_buffer(array)) for array in (blobs.array() for blobs in fitting)]
    by_identity = dict(zip(map(id, fitting), found, strict=True))
    return [by_identity.get(id(blobs)) for blobs in groups]


def _cut_natively(native: Any, count: int) -> Cut | None:
    numbers = list(enumerate(array("i", native.counts)))
    found = {place: number for place, number in numbers if number >= 0}
    faults = {place: _FAULTS[number] for place, number in numbers if number in _FAULTS}
    if not found and not faults:
        return None
    batch = pa.record_batch(native)
    columns = _columns(dict(zip(batch.schema.names, batch.columns, strict=True)))
    return Cut(found, columns, functools.partial(_spread, native) if len(found) == count else None, faults)


def _spread(native: Any, column: pa.Array) -> pa.Array:
    width = column.type.bit_width // 8
    buffer = memoryview(column.buffers()[1]).cast("B")
    values = buffer[width * column.offset : width * (column.offset + len(column))].cast("i" if width == 4 else "q")
    return pa.array(native.spread(values)).view(column.type)


def _cut_in_python(blobs: pa.Array, ends: pa.Array, buffer: pa.Buffer) -> Cut | None:
    aggregates, sizes = _parsed(blobs, ends)
    while aggregates:
        result = _cut(aggregates, sizes, buffer)
        if isinstance(result, Cut):
            return result
        usual = [int(nth not in result) for nth in range(len(aggregates))]
        sizes = sizes.filter(repeated([one.record_count for one in aggregates], usual).cast(pa.bool_()))
        aggregates = list(compress(aggregates, usual))
    return None


def _parsed(blobs: pa.Array, ends: pa.Array) -> tuple[list[_Aggregate], pa.Array]:
    """The aggregates that can be parsed, and the sizes of all their records."""
    aggregates = []
    sizes = array("q")
    is_aggregated = backend().is_aggregated
    for place in pc.indices_nonzero(pc.starts_with(blobs, pattern=MAGIC)).to_pylist():
        view = memoryview(blobs[place].as_buffer()).cast("B")
        body = view[len(MAGIC) : -CHECKSUM_BYTES]
        message = _message(body) if is_aggregated(view) else None
        if not message or not message.records:
            continue
        tables, count = (message.partition_key_table, message.explicit_hash_key_table), len(message.records)
        if all(len(table) <= count for table in tables):  # else reading them could be most of the work
            end = ends[place + 1].as_py() - CHECKSUM_BYTES
            aggregates.append(_Aggregate(place, body, end, list(tables[0]), list(tables[1]), count))
            sizes.extend(map(len, message.records))
    return aggregates, pa.Array.from_buffers(pa.int64(), len(sizes), [None, pa.py_buffer(sizes)])


def _message(body: memoryview) -> AggregatedRecordOfBytes | None:
    try:
        return AggregatedRecordOfBytes.FromString(body)  # type: ignore[arg-type]  # the stub says bytes
    except (ProtobufDecodeError, RecursionError):
        return None


def _cut(aggregates: list[_Aggregate], sizes: pa.Array, buffer: pa.Buffer) -> Cut | set[int]:
    """All user records of the aggregates, or else which of the aggregates look unusual."""
    each = functools.partial(repeated, [one.record_count for one in aggregates])
    ends = _ends(aggregates, sizes, each)
    if isinstance(ends, set):
        return ends
    starts = pc.subtract(ends, sizes)
    keys = _Tables([one.partition_key_table for one in aggregates], each)
    explicit = _Tables([one.explicit_hash_key_table for one in aggregates], each)
    first = _cells(buffer, starts, pc.add(starts, _WORD))  # may go on behind the record, where nothing is looked at
    words = pa.Array.from_buffers(pa.uint64(), len(first), [None, first.buffers()[2]])
    with_explicit = pc.greater(explicit.sizes, 0)
    long = pc.greater(pc.bit_wise_and(words, _u64(1 << _LONG_BIT)), _u64(0))
    shapes = _Shapes.of(sizes, long, with_explicit)

    indices, explicit_indices = _indices(words, long)
    explicit_indices = pc.if_else(with_explicit, explicit_indices, pa.scalar(None, pa.int64()))
    unusual = pc.or_(pc.or_(shapes.differ(words), keys.lack(indices)), explicit.lack(explicit_indices))
    if pc.any(unusual).as_py():
        return set(each(range(len(aggregates))).filter(unusual).unique().to_pylist())
    counts = {one.place: one.record_count for one in aggregates}
    first_of_each = each(accumulate([one.record_count for one in aggregates[:-1]], initial=0))
    columns = {
        "partition_key": keys.take(indices),
        "explicit_hash_key": explicit.take(explicit_indices),
        "data": _cells(buffer, pc.add(starts, shapes.start), ends),
        "sub_sequence_number": pc.subtract(count_up(len(ends)), first_of_each).cast(pa.uint32()),
    }
    return Cut(counts, _columns(columns), None, {})


def _ends(
    aggregates: list[_Aggregate], sizes: pa.Array, each: Callable[[Iterable[int]], pa.Array]
) -> pa.Array | set[int]:
    """Where in the buffer each record ends, or else which of the aggregates have more than tables and then records.

    What protobuf's parser found are the records that are there if they fill the end of the message: if the message
    without as many bytes as they take at least is whole, and holds no record.
    """
    taken = pc.add(sizes, 2)
    for longest in _LONGEST:
        taken = pc.add(taken, pc.greater(sizes, longest).cast(pa.int64()))
    ends = pc.cumulative_sum(taken)
    last = accumulate(one.record_count for one in aggregates)
    ends_of_all = ends.take(pc.subtract(pa.array(last, pa.int64()), 1)).to_pylist()
    unusual = set()
    for nth, (one, before, after) in enumerate(zip(aggregates, [0, *ends_of_all], ends_of_all, strict=False)):
        size = len(one.body) - (after - before)
        tables = _message(one.body[:size]) if size > 0 else None
        if not tables or tables.records:
            unusual.add(nth)
    moves = each(one.end - after for one, after in zip(aggregates, ends_of_all, strict=True))
    return unusual or pc.add(ends, moves)


def _cells(buffer: pa.Buffer, starts: pa.Array, ends: pa.Array) -> pa.Array:
    """What is in the buffer from each start to its end; a copy."""
    # Every other cell of an array with the offsets start, end, start, end, ..., of which two are one number of 8 bytes.
    count = len(starts)
    offsets = pc.bit_wise_or(starts, pc.shift_left(ends, 32))
    cells = pa.Array.from_buffers(pa.binary(), 2 * count - 1, [None, offsets.buffers()[1], buffer])
    return cells.take(pc.multiply(count_up(count), 2))


def _indices(words: pa.Array, long: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The indices of the partition key and the explicit hash key, as they are if nothing else is unusual."""
    index, explicit_index = _seven_bits(words, 8), _seven_bits(words, 24)
    if pc.any(long).as_py():
        with_second_byte = pc.bit_wise_or(index, pc.shift_left(_seven_bits(words, 16), _u64(7)))
        index = pc.if_else(long, with_second_byte, index)
        explicit_index = pc.if_else(long, _seven_bits(words, 32), explicit_index)
    return index.cast(pa.int64()), explicit_index.cast(pa.int64())


def _seven_bits(words: pa.Array, shift: int) -> pa.Array:
    return pc.bit_wise_and(pc.shift_right(words, _u64(shift)), _u64(_SEVEN_BITS))


def _u64(number: int) -> pa.Scalar:
    return pa.scalar(number, pa.uint64())


class _Tables:
    """The key tables of all aggregates as one, in which no key is twice."""

    def __init__(self, tables: Sequence[Sequence[bytes]], each: Callable[[Iterable[int]], pa.Array]) -> None:
        sizes = list(map(len, tables))
        self.sizes = each(sizes)
        self._first = each(accumulate(sizes[:-1], initial=0))
        self._keys = list(chain.from_iterable(tables))

    def lack(self, indices: pa.Array) -> pa.Array:
        """Where an index points outside its table."""
        return pc.greater_equal(indices, self.sizes).fill_null(False)

    def take(self, indices: pa.Array) -> pa.Array:
        keys = _strings(self._keys).dictionary_encode()
        return pa.DictionaryArray.from_arrays(keys.indices.take(pc.add(indices, self._first)), keys.dictionary)


def _strings(keys: list[bytes]) -> pa.Array:
    try:
        return pa.array(keys, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:  # not UTF-8
        return pa.array([key.decode("utf-8", "replace") for key in keys], pa.string())


class _Shapes(NamedTuple):
    """What each record must look like up to its data.

    Attributes:
        expected: its first word, with zeros for the indices.
        fixed: the bits of the word that must be as expected.
        start: where the data begins; 0 if nothing usual has that size.
    """

    expected: pa.Array
    fixed: pa.Array
    start: pa.Array

    @classmethod
    def of(cls, sizes: pa.Array, long: pa.Array, with_explicit: pa.Array) -> _Shapes:
        """By the size of the record, whether its index takes two bytes, and whether it has an explicit hash key."""
        flags = pc.add(pc.multiply(long.cast(pa.int64()), 2), with_explicit.cast(pa.int64()))
        codes = pc.add(pc.multiply(sizes, 4), flags).dictionary_encode()
        shapes: list[tuple[int, int, int]] = [
            _shape(code >> 2, bool(code & 2), bool(code & 1)) for code in codes.dictionary.to_pylist()
        ]
        expected, fixed, start = ([shape[nth] for shape in shapes] for nth in range(3))
        types = pa.uint64(), pa.uint64(), pa.int64()
        return cls(
            *(
                pa.array(column, kind).take(codes.indices)
                for column, kind in zip((expected, fixed, start), types, strict=True)
            )
        )

    def differ(self, words: pa.Array) -> pa.Array:
        """Where a record does not look as it must."""
        differing = pc.bit_wise_and(pc.bit_wise_xor(words, self.expected), self.fixed)
        return pc.or_(pc.not_equal(differing, _u64(0)), pc.equal(self.start, 0))


@functools.lru_cache(maxsize=65_536)
def _shape(size: int, long: bool, with_explicit: bool) -> tuple[int, int, int]:
    """`_Shapes` of one record."""
    head = bytearray(record_head(1 << 7 if long else 0, with_explicit))
    head[1 : 2 + long] = b"\x80\x00" if long else b"\x00"
    try:
        start = bytes(head) + data_head_of_field(size - len(head))
    except KeyError:
        return 0, 0, 0
    if len(start) > _WORD:
        return 0, 0, 0
    free = bytearray(_WORD)
    free[1] = _SEVEN_BITS
    if long:
        free[2] = _SEVEN_BITS
    if with_explicit:
        free[len(head) - 1] = _SEVEN_BITS
    whole = (1 << 8 * len(start)) - 1
    return int.from_bytes(start, "little"), whole & ~int.from_bytes(free, "little"), len(start)
