"""Kinesis records to user records, by columns: most are cut together, the others are read by `shardpack.unpack`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, repeat
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ..errors import ChecksumMismatchError, DecodeError, TruncatedError
from ..hashing import Shard, md5_hash_key
from ..records import ReceivedRecord
from ..unpacking.kcl import big_integer
from ..unpacking.unpacker import OnCorrupt, OutOfRange, unpack
from ..wire import decode
from ..wire.format import MAGIC
from ._cut import Cut, count_up, cut, repeated
from ._schema import Rows

HashRange = Shard | tuple[int, int]

_TEXTS = pa.dictionary(pa.int32(), pa.string())
_COLUMNS = pa.schema(
    {
        "partition_key": _TEXTS,
        "explicit_hash_key": _TEXTS,
        "data": pa.large_binary(),
        "sub_sequence_number": pa.uint32(),
        "aggregated": pa.bool_(),
        "fault": pa.string(),
    }
)


@dataclass(frozen=True)
class Policy:
    """What `shardpack.unpack` is told, with a hash range for all shards or one for each."""

    on_corrupt: OnCorrupt
    out_of_range: OutOfRange
    hash_range: HashRange | Mapping[str, HashRange] | None

    def check(self) -> None:
        """Raises ValueError or TypeError, as `shardpack.unpack` does."""
        ranges = self.hash_range.values() if isinstance(self.hash_range, Mapping) else [self.hash_range]
        for hash_range in ranges or [None]:
            self.unpack((), hash_range, self.out_of_range)

    def hash_range_of(self, shard_id: str | None) -> HashRange | None:
        if not isinstance(self.hash_range, Mapping):
            return self.hash_range
        if shard_id is None or shard_id not in self.hash_range:
            raise ValueError(
                f"hash_range has no shard {shard_id!r}, only {', '.join(map(repr, self.hash_range)) or 'none'}; give"
                " every shard's, closed ones too, and a column shard_id"
            )
        return self.hash_range[shard_id]

    def unpack(self, record: Any, hash_range: HashRange | None, out_of_range: OutOfRange) -> list[ReceivedRecord]:
        return list(unpack(record, on_corrupt=self.on_corrupt, hash_range=hash_range, out_of_range=out_of_range))


class Expanded(NamedTuple):
    """User records.

    Attributes:
        parents: the place of the Kinesis record that held each.
        columns: what differs between the user records of one Kinesis record.
    """

    parents: pa.Array
    columns: pa.RecordBatch


def expand(rows: Rows, policy: Policy) -> Expanded:
    """The user records of Kinesis records, in their order.

    Raises:
        DecodeError, OutOfRangeError: as the policy has it.
        ValueError: a shard has no hash range.
    """
    blobs = rows.data.fill_null(b"") if rows.data.null_count else rows.data  # which would copy
    parts: list[pa.RecordBatch] = []
    found: dict[int, tuple[int, int]] = {}  # place of a Kinesis record -> its first user record, and how many
    end = 0
    whole = None if policy.on_corrupt == "kcl" else cut(blobs)
    if whole is not None:
        starts = accumulate(whole.counts.values(), initial=0)
        found = {place: (start, count) for (place, count), start in zip(whole.counts.items(), starts, strict=False)}
        parts.append(_cut_columns(whole, found.values()))
        end = len(parts[0])
        if policy.hash_range is not None:
            found = {
                place: run for place, run in found.items() if _all_in_range(whole, run, _bounds(rows, place, policy))
            }
    looks_aggregated = pc.indices_nonzero(pc.starts_with(blobs, pattern=MAGIC)).to_pylist()
    for place in looks_aggregated:
        if place not in found:
            parts.append(_unpacked(rows, place, policy))
            found[place] = (end, len(parts[-1]))
            end += len(parts[-1])
    plain = [place for place in range(len(blobs)) if place not in found]
    if plain:
        parts.append(_plain_columns(rows, plain))
        found |= zip(plain, zip(range(end, end + len(plain)), repeat(1), strict=False), strict=True)
    return _in_order(parts, found)


def _in_order(parts: list[pa.RecordBatch], found: dict[int, tuple[int, int]]) -> Expanded:
    columns = parts[0] if len(parts) == 1 else _joined(parts)
    runs = [(place, *found[place]) for place in sorted(found) if found[place][1]]
    places, starts, counts = ([run[nth] for run in runs] for nth in range(3))
    new_starts = list(accumulate(counts, initial=0))
    if starts != new_starts[:-1] or new_starts[-1] != len(columns):
        moves = repeated(counts, [start - new for start, new in zip(starts, new_starts, strict=False)])
        columns = columns.take(pc.add(count_up(new_starts[-1]), moves))
    return Expanded(repeated(counts, places), columns)


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    columns = (pa.concat_arrays([part.column(nth) for part in parts]) for nth in range(len(_COLUMNS)))
    return pa.RecordBatch.from_arrays(list(columns), schema=_COLUMNS)


def _cut_columns(whole: Cut, runs: Iterable[tuple[int, int]]) -> pa.RecordBatch:
    count = len(whole.data)
    starts, counts = zip(*runs, strict=True)
    sub_sequence_numbers = pc.subtract(count_up(count), repeated(list(counts), starts)).cast(pa.uint32())
    columns = [
        whole.partition_keys,
        whole.explicit_hash_keys,
        whole.data.cast(pa.large_binary()),
        sub_sequence_numbers,
        pa.repeat(True, count),
        pa.nulls(count, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_COLUMNS)


def _plain_columns(rows: Rows, places: list[int]) -> pa.RecordBatch:
    where = pa.array(places, pa.int64())
    taken = {name: column.take(where) for name, column in rows.metadata.items()}
    columns = [
        taken["partition_key"].dictionary_encode(),
        taken["explicit_hash_key"].dictionary_encode(),
        rows.data.take(where),
        taken["sub_sequence_number"],
        pa.repeat(False, len(places)),
        pa.nulls(len(places), pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_COLUMNS)


def _unpacked(rows: Rows, place: int, policy: Policy) -> pa.RecordBatch:
    """The user records of one Kinesis record that starts like an aggregate."""
    value = {name: column[place].as_py() for name, column in rows.metadata.items() if name in _UNPACK_READS}
    record = {_UNPACK_READS[name]: value[name] for name in value} | {"Data": rows.data[place].as_py()}
    hash_range = policy.hash_range_of(value["shard_id"])
    received = policy.unpack(record, hash_range, policy.out_of_range)
    faults: list[str | None] = [None] * len(received)
    if received and not received[0].aggregated:  # delivered whole
        faults = [_fault(received[0].data)]
        received = [received[0]._replace(sub_sequence_number=rows.metadata["sub_sequence_number"][place].as_py())]
    elif hash_range is not None and policy.out_of_range == "keep":
        marking = replace(
            policy, on_corrupt="kcl" if policy.on_corrupt == "kcl" else "raw"
        )  # which is no place to raise
        inside = {r.sub_sequence_number for r in marking.unpack(record, hash_range, "drop_record") if r.aggregated}
        faults = [None if r.sub_sequence_number in inside else "out_of_range" for r in received]
    columns = [
        pa.array([r.partition_key for r in received], pa.string()).dictionary_encode(),
        pa.array([r.explicit_hash_key for r in received], pa.string()).dictionary_encode(),
        pa.array([r.data for r in received], pa.large_binary()),
        pa.array([r.sub_sequence_number for r in received], pa.uint32()),
        pa.array([r.aggregated for r in received], pa.bool_()),
        pa.array(faults, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_COLUMNS)


_UNPACK_READS = {
    "shard_id": "ShardId",
    "sequence_number": "SequenceNumber",
    "partition_key": "PartitionKey",
    "explicit_hash_key": "ExplicitHashKey",
}


def _fault(data: bytes) -> str:
    try:
        decode(data)
    except ChecksumMismatchError:
        return "checksum_mismatch"
    except TruncatedError:
        return "truncated"
    except DecodeError:
        pass
    return "malformed"  # also if only an explicit hash key, which a hash range needs, is no number


def _bounds(rows: Rows, place: int, policy: Policy) -> tuple[int, int]:
    hash_range = policy.hash_range_of(rows.metadata["shard_id"][place].as_py())
    if isinstance(hash_range, Shard):
        return hash_range.starting_hash_key, hash_range.ending_hash_key
    starting, ending = hash_range or (0, 0)
    return int(starting), int(ending)


def _all_in_range(whole: Cut, run: tuple[int, int], bounds: tuple[int, int]) -> bool:
    """Whether all user records of a Kinesis record are; not if an explicit hash key is no number."""
    explicit = whole.explicit_hash_keys.slice(*run)
    # In one aggregate some records may have an explicit hash key, and others none.
    keys = whole.partition_keys.slice(*run).filter(explicit.is_null())
    try:
        hash_keys = [*map(big_integer, _used(explicit)), *(md5_hash_key(key.encode()) for key in _used(keys))]
    except ValueError:
        return False
    return bounds[0] <= min(hash_keys) and max(hash_keys) <= bounds[1]


def _used(texts: pa.DictionaryArray) -> list[str]:
    """Each text that is there, once."""
    used: list[str] = texts.dictionary.take(texts.indices.drop_null().unique()).to_pylist()
    return used
