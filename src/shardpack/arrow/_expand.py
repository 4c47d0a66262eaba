"""Kinesis records to user records, by columns: most are cut together, the others read one by one as by `unpack`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from ..errors import ChecksumMismatchError, DecodeError, MalformedError, TruncatedError
from ..hashing import Shard
from ..limits import listed, shown
from ..unpacking.unpacker import (
    OnCorrupt,
    OutOfRange,
    bounds_of,
    keys_outside_of,
    long_key,
    number_of,
    outside_of,
    reader,
    unpack,
)
from ..wire import decode
from ..wire.core import Aggregate
from ._cut import COLUMNS, LARGEST, Cut, count_up, cut, repeated
from ._schema import Rows

_T = TypeVar("_T")
HashRange = Shard | tuple[int, int]


@dataclass(frozen=True)
class Policy:
    """What `shardpack.unpack` is told, with a hash range for all shards or one for each."""

    on_corrupt: OnCorrupt
    out_of_range: OutOfRange
    hash_range: HashRange | Mapping[str, HashRange] | None
    max_key_characters: int | None

    def check(self) -> None:
        """Raises ValueError or TypeError, as `shardpack.unpack` does."""
        ranges = self.hash_range.values() if isinstance(self.hash_range, Mapping) else [self.hash_range]
        for hash_range in ranges or [None]:
            self.unpack((), hash_range)

    def hash_range_of(self, shard_id: str | None) -> HashRange | None:
        if not isinstance(self.hash_range, Mapping):
            return self.hash_range
        if shard_id is None or shard_id not in self.hash_range:
            raise ValueError(
                f"hash_range has no shard {shown(shard_id)}, only {listed(self.hash_range) or 'none'}; give"
                " every shard's, closed ones too, and a column shard_id"
            )
        return self.hash_range[shard_id]

    def bounds(self, rows: Rows, place: int) -> tuple[int, int] | None:
        """The hash range of the shard that a Kinesis record is from; None: none was given."""
        if self.hash_range is None:
            return None
        return bounds_of(self.hash_range_of(rows.metadata["shard_id"][place].as_py()))

    def unpack(self, record: Any, hash_range: HashRange | None) -> None:
        """Raises what `shardpack.unpack` raises for a record."""
        records = unpack(
            record,
            on_corrupt=self.on_corrupt,
            hash_range=hash_range,
            out_of_range=self.out_of_range,
            max_key_characters=self.max_key_characters,
        )
        list(records)


class Expanded:
    """User records.

    Attributes:
        columns: what differs between the user records of one Kinesis record.
    """

    def __init__(
        self, columns: pa.RecordBatch, parents: pa.Array | None, spread: Callable[[pa.Array], pa.Array] | None = None
    ) -> None:
        """`parents`: the place of the Kinesis record that held each; may be None where there is a `Cut.spread`."""
        self.columns = columns
        self._parents = parents
        self._spread = spread
        self._known: dict[int, tuple[pa.Array, pa.Array]] = {}

    def spread(self, column: pa.Array, start: int, length: int) -> pa.Array:
        """What Kinesis records have, for some of their user records."""
        if column.null_count == len(column):
            return pa.nulls(length, column.type)
        if self._spread is not None and not column.null_count:
            if pa.types.is_dictionary(column.type):
                indices = self._numbers(self._spread, column.indices).slice(start, length)
                return pa.DictionaryArray.from_arrays(indices, column.dictionary, safe=False)
            if pa.types.is_primitive(column.type) and column.type.bit_width in (32, 64):
                return self._numbers(self._spread, column).slice(start, length)
        return column.take(self._places(len(column)).slice(start, length))

    def _places(self, count: int) -> pa.Array:
        if self._parents is None and self._spread is not None:
            self._parents = self._spread(count_up(count))
        return self._parents

    def _numbers(self, spread: Callable[[pa.Array], pa.Array], column: pa.Array) -> pa.Array:
        """All of a column of numbers, which is little, and is asked for again for the next output batch."""
        key = column.buffers()[1].address
        if key not in self._known:
            self._known[key] = column, spread(column)
        return self._known[key][1]


def expand(groups: Sequence[Rows], policy: Policy, *, views: bool = False) -> Iterator[Expanded]:
    """The user records of each group of Kinesis records, in their order.

    Args:
        groups: the Kinesis records; a core that can works on all groups at once.
        policy: what to do with those that are not as they should be.
        views: have the data as views of the Kinesis records', without a copy where the core can.

    Raises:
        DecodeError, OutOfRangeError: as the policy has it.
        ValueError: a shard has no hash range.
    """
    wholes: Sequence[Cut | None] = [None] * len(groups)
    if policy.on_corrupt != "kcl":
        wholes = cut([rows.data for rows in groups], views=views)
    for rows, whole in zip(groups, wholes, strict=True):
        yield _expand(rows, policy, whole, views=views)


def _expand(rows: Rows, policy: Policy, whole: Cut | None, *, views: bool) -> Expanded:
    parts: list[pa.RecordBatch] = []
    found: dict[int, tuple[int, int]] = {}  # place of a Kinesis record -> its first user record, and how many
    end = 0
    if whole is not None and whole.counts:
        starts = accumulate(whole.counts.values(), initial=0)
        found = {place: (start, count) for (place, count), start in zip(whole.counts.items(), starts, strict=False)}
        found = _accepted(whole, found, rows, policy)
        if whole.spread is not None and len(found) == len(rows.data):
            return Expanded(_as_views(whole.columns) if views else whole.columns, None, whole.spread)
        parts.append(_with_data(whole.columns, pa.binary()))
        end = len(parts[0])
    # Who is to be told more than that something is wrong has it read again.
    others = _Others(rows, policy, {} if whole is None or policy.on_corrupt == "raise" else whole.faults)
    for place in rows.data.like_aggregates():
        if place not in found:
            count = others.read(place)
            if count is not None:
                found[place] = end, count
                end += count
    parts.append(others.columns())
    plain = [place for place in range(len(rows.data)) if place not in found]
    parts.append(_plain_columns(rows, plain, others.faults))
    found |= zip(plain, zip(range(end, end + len(plain)), repeat(1), strict=False), strict=True)
    expanded = _in_order([part for part in parts if len(part)] or parts[-1:], found)
    if views:
        expanded.columns = _as_views(expanded.columns)
    return expanded


def _as_views(columns: pa.RecordBatch) -> pa.RecordBatch:
    return _with_data(columns, pa.binary_view())


def _with_data(columns: pa.RecordBatch, kind: pa.DataType) -> pa.RecordBatch:
    """The same columns with data of another type."""
    if columns["data"].type == kind:
        return columns
    place = columns.schema.get_field_index("data")
    field = columns.schema.field(place).with_type(kind)
    return columns.set_column(place, field, as_type(columns["data"], kind))


def as_type(data: pa.Array, kind: pa.DataType) -> pa.Array:
    """Binary as binary views, or the other way."""
    try:
        return data.cast(kind)
    except pa.ArrowNotImplementedError:  # of older releases of pyarrow
        return pa.array(data.to_pylist(), kind)


def _accepted(whole: Cut, found: dict[int, tuple[int, int]], rows: Rows, policy: Policy) -> dict[int, tuple[int, int]]:
    """What is found of those Kinesis records about whose user records the policy has nothing to say."""
    most = policy.max_key_characters
    if most is not None:
        long = [
            pc.greater(pc.utf8_length(keys.dictionary), most).take(keys.indices)
            for keys in (whole.columns["partition_key"], whole.columns["explicit_hash_key"])
        ]
        if any(pc.any(one).as_py() for one in long):
            found = {
                place: run for place, run in found.items() if not any(pc.any(one.slice(*run)).as_py() for one in long)
            }
    if policy.hash_range is not None:
        found = {place: run for place, run in found.items() if _all_in_range(whole, run, policy.bounds(rows, place))}
    return found


class _Others:
    """The user records of Kinesis records that are read one by one.

    Attributes:
        faults: of those that start like an aggregate and are delivered whole, by their places.
    """

    def __init__(self, rows: Rows, policy: Policy, known: Mapping[int, str]) -> None:
        self._rows = rows
        self._policy = policy
        self._known = known  # faults that were found when all were read together
        self._partition_keys: list[str] = []
        self._explicit_hash_keys: list[str | None] = []
        self._data: list[bytes] = []
        self._sub_sequence_numbers: list[int] = []
        self._faults: list[str | None] = []
        self.faults: dict[int, str] = {}

    def read(self, place: int) -> int | None:
        """How many user records a Kinesis record has; None if it is delivered whole."""
        policy = self._policy
        bounds = policy.bounds(self._rows, place)
        if place in self._known:
            self.faults[place] = self._known[place]
            return None
        blob = self._rows.data.value(place)
        if len(blob) > LARGEST:
            self.faults[place] = "malformed"
            return None
        read = reader(policy.on_corrupt, bounds, policy.out_of_range)
        keeps = policy.out_of_range == "keep"
        error: DecodeError | None = None
        try:
            aggregate = read(blob)
            if error := long_key(aggregate, policy.max_key_characters):
                raise error
            outside = frozenset() if bounds is None else _outside(aggregate, bounds, keeps=keeps)
        except DecodeError as caught:
            if policy.on_corrupt == "raise":
                raise
            self.faults[place] = "long_key" if caught is error else _fault(blob, caught, policy)
            return None
        if outside and policy.out_of_range == "raise":
            self._raise(place, bounds)
        if outside and policy.out_of_range == "drop_aggregate":
            return 0
        return self._take(aggregate, outside, keeps=keeps)

    def _take(self, aggregate: Aggregate, outside: frozenset[int], *, keeps: bool) -> int:
        columns = aggregate.partition_keys, aggregate.explicit_hash_keys, aggregate.data
        numbers: Sequence[int] = range(len(columns[-1]))
        faults: list[str | None] = [None] * len(numbers)
        if outside and keeps:
            faults = ["out_of_range" if number in outside else None for number in numbers]
        elif outside:
            numbers = [number for number in numbers if number not in outside]
        self._partition_keys.extend(_picked(columns[0], numbers))
        self._explicit_hash_keys.extend(_picked(columns[1], numbers))
        self._data.extend(_picked(columns[2], numbers))
        self._sub_sequence_numbers.extend(numbers)
        self._faults.extend(faults[: len(numbers)])
        return len(numbers)

    def _raise(self, place: int, bounds: tuple[int, int] | None) -> None:
        rows = self._rows
        number = rows.metadata["sequence_number"][place].as_py()
        self._policy.unpack({"Data": rows.data.value(place), "SequenceNumber": number}, bounds)

    def columns(self) -> pa.RecordBatch:
        count = len(self._data)
        columns = [
            _texts(self._partition_keys),
            _texts(self._explicit_hash_keys),
            pa.array(self._data, pa.large_binary()).cast(pa.binary()),
            pa.array(self._sub_sequence_numbers, pa.uint32()),
            pa.repeat(True, count),
            pa.array(self._faults, pa.string()),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=COLUMNS)


def _picked(column: Sequence[_T], numbers: Sequence[int]) -> Sequence[_T]:
    return column if len(numbers) == len(column) else [column[number] for number in numbers]


def _outside(aggregate: Aggregate, bounds: tuple[int, int], *, keeps: bool) -> frozenset[int]:
    """The sub-sequence numbers out of bounds; of all, where an explicit hash key is no number and all are kept."""
    try:
        return outside_of(aggregate, bounds)
    except DecodeError:
        if not keeps:
            raise
        return frozenset(range(len(aggregate.data)))


def _texts(texts: Sequence[str | None]) -> pa.Array:
    """A dictionary array: a text of a megabyte that a million user records share is there once."""
    # By what they are before by what they say: equal long texts would be compared for each user record.
    shared = {id(text): text for text in texts}
    numbers: dict[str, int] = {}
    number_of = {
        identity: None if text is None else numbers.setdefault(text, len(numbers)) for identity, text in shared.items()
    }
    indices = pa.array([number_of[id(text)] for text in texts], pa.int32())
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(numbers), pa.large_string()).cast(pa.string()))


def _in_order(parts: list[pa.RecordBatch], found: dict[int, tuple[int, int]]) -> Expanded:
    columns = parts[0] if len(parts) == 1 else _joined(parts)
    runs = [(place, *found[place]) for place in sorted(found) if found[place][1]]
    places, starts, counts = ([run[nth] for run in runs] for nth in range(3))
    new_starts = list(accumulate(counts, initial=0))
    if starts != new_starts[:-1] or new_starts[-1] != len(columns):
        moves = repeated(counts, [start - new for start, new in zip(starts, new_starts, strict=False)])
        columns = columns.take(pc.add(count_up(new_starts[-1]), moves))
    return Expanded(columns, repeated(counts, places))


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    columns = (pa.concat_arrays([part.column(nth) for part in parts]) for nth in range(len(COLUMNS)))
    return pa.RecordBatch.from_arrays(list(columns), schema=COLUMNS)


def _plain_columns(rows: Rows, places: list[int], faults: Mapping[int, str]) -> pa.RecordBatch:
    """Kinesis records as the one user record that each is, with what is wrong with them."""
    where = pa.array(places, pa.int64())
    taken = {name: column.take(where) for name, column in rows.metadata.items()}
    columns = [
        taken["partition_key"].dictionary_encode(),
        taken["explicit_hash_key"].dictionary_encode(),
        rows.data.take(places),
        taken["sub_sequence_number"],
        pa.repeat(False, len(places)),
        pa.array([faults.get(place) for place in places], pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=COLUMNS)


def _fault(blob: bytes, error: DecodeError, policy: Policy) -> str:
    if policy.on_corrupt == "kcl":  # which refuses for other reasons; what is wrong is the same
        try:
            decode(blob)
        except DecodeError as own:
            error = own
    if isinstance(error, ChecksumMismatchError):
        return "checksum_mismatch"
    if isinstance(error, TruncatedError):
        return "truncated"
    return "malformed"  # also if only an explicit hash key, which a hash range needs, is no number


def _all_in_range(whole: Cut, run: tuple[int, int], bounds: tuple[int, int] | None) -> bool:
    """Whether all user records of a Kinesis record are; not if an explicit hash key is no number."""
    if bounds is None:
        return True
    explicit, keys = (whole.columns[name].slice(*run) for name in ("explicit_hash_key", "partition_key"))
    numbers = explicit.dictionary.take(explicit.indices.drop_null().unique()).to_pylist()
    texts = keys.dictionary.take(keys.indices.filter(explicit.is_null()).unique()).to_pylist()
    try:
        return all(bounds[0] <= number_of(number) <= bounds[1] for number in numbers) and not keys_outside_of(
            texts, bounds
        )
    except MalformedError:
        return False
