"""What one Kinesis record is made of, for a person who wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .errors import DecodeError, InvalidRecordError
from .hashing import Shard, ShardMap, md5_hash_key
from .limits import MAX_HASH_KEY, PUT_PAYLOAD_UNIT_BYTES
from .records import check_explicit_hash_key
from .unpacking.kcl import big_integer
from .unpacking.kcl import read as read_as_kcl
from .unpacking.shapes import KinesisRecord
from .wire.backend import backend
from .wire.core import Aggregate
from .wire.format import CHECKSUM_BYTES, MAGIC, entry_size


@dataclass(frozen=True, slots=True)
class SubRecord:
    """A user record inside an aggregate.

    Attributes:
        hash_key: the number that routes it, or None if its explicit hash key is not a number.
        shard_id: the shard that owns the hash key.
    """

    partition_key: str
    explicit_hash_key: str | None
    data: bytes
    hash_key: int | None
    shard_id: str | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """A Kinesis record, taken apart.

    Attributes:
        fault: why it is no sound aggregate, or None. Without sub-records and without fault, it is plain.
        size: bytes as Kinesis counts them, outer partition key included.
        payload_bytes: bytes of the user records' data.
        key_bytes: bytes of the partition keys in their table.
        explicit_hash_key_bytes: bytes of the explicit hash keys in theirs.
        framing_bytes: bytes of protobuf's tags, lengths and indices, and of tags.
        checksum: the MD5 trailer, if there is one.
        outer_hash_key: the number that routed the Kinesis record, if its keys are known.
        kcl: what the KCL would do, in a sentence for each shard that matters.
    """

    record: KinesisRecord
    fault: DecodeError | None
    sub_records: Sequence[SubRecord]
    size: int
    put_payload_units: int
    payload_bytes: int
    partition_key_table: Sequence[str]
    key_bytes: int
    explicit_hash_key_table: Sequence[str]
    explicit_hash_key_bytes: int
    framing_bytes: int
    checksum: bytes | None
    outer_hash_key: int | None
    outer_shard: Shard | None
    kcl: Sequence[str]


def inspect_record(record: KinesisRecord, shard_map: ShardMap) -> Inspection:
    """Take one Kinesis record apart.

    Args:
        record: the record.
        shard_map: the shards to place hash keys on.
    """
    aggregate, fault = _read(record.data)
    partition_key_table: Sequence[str] = ()
    explicit_hash_key_table: Sequence[str] = ()
    sub_records: Sequence[SubRecord] = ()
    payload_bytes = len(record.data)
    key_bytes = explicit_hash_key_bytes = framing_bytes = 0
    if aggregate is not None:
        raw = backend().read_raw(record.data)
        partition_key_table = [key.decode(errors="replace") for key in raw.partition_key_table]
        explicit_hash_key_table = [key.decode(errors="replace") for key in raw.explicit_hash_key_table]
        sub_records = _sub_records(aggregate, shard_map)
        payload_bytes = sum(map(len, aggregate.data))
        key_bytes = sum(entry_size(len(key)) for key in raw.partition_key_table)
        explicit_hash_key_bytes = sum(entry_size(len(key)) for key in raw.explicit_hash_key_table)
        frame = len(MAGIC) + CHECKSUM_BYTES
        framing_bytes = len(record.data) - frame - payload_bytes - key_bytes - explicit_hash_key_bytes
    size = len(record.data) + len((record.partition_key or "").encode())
    outer_hash_key = _outer_hash_key(record)
    return Inspection(
        record=record,
        fault=fault,
        sub_records=sub_records,
        size=size,
        put_payload_units=max(1, -(-size // PUT_PAYLOAD_UNIT_BYTES)),
        payload_bytes=payload_bytes,
        partition_key_table=partition_key_table,
        key_bytes=key_bytes,
        explicit_hash_key_table=explicit_hash_key_table,
        explicit_hash_key_bytes=explicit_hash_key_bytes,
        framing_bytes=framing_bytes,
        checksum=record.data[-CHECKSUM_BYTES:] if record.data.startswith(MAGIC) else None,
        outer_hash_key=outer_hash_key,
        outer_shard=None if outer_hash_key is None else shard_map.shard_for(outer_hash_key),
        kcl=_kcl_verdicts(record.data, shard_map),
    )


def _read(data: bytes) -> tuple[Aggregate | None, DecodeError | None]:
    if not data.startswith(MAGIC):
        return None, None
    try:
        return backend().read(data), None
    except DecodeError as error:
        return None, error


def _sub_records(aggregate: Aggregate, shard_map: ShardMap) -> list[SubRecord]:
    columns = aggregate.partition_keys, aggregate.explicit_hash_keys, aggregate.data
    routes: dict[_Identity, tuple[int | None, str | None]] = {}
    sub_records = []
    for partition_key, explicit_hash_key, data in zip(*columns, strict=True):
        identity = _identity(partition_key, explicit_hash_key)
        if identity not in routes:
            routes[identity] = _route(partition_key, explicit_hash_key, shard_map)
        sub_records.append(SubRecord(partition_key, explicit_hash_key, data, *routes[identity]))
    return sub_records


_Identity: TypeAlias = tuple[int, bool]


def _identity(partition_key: str, explicit_hash_key: str | None) -> _Identity:
    """What the keys that route are, not what they say: user records share their texts, and a long one is hashed once.

    Python has each text of one character once, so the same object may be a partition key and an explicit hash key.
    """
    return (id(partition_key), True) if explicit_hash_key is None else (id(explicit_hash_key), False)


def _route(partition_key: str, explicit_hash_key: str | None, shard_map: ShardMap) -> tuple[int | None, str | None]:
    try:
        hash_key = _hash_key(partition_key, explicit_hash_key)
    except ValueError:
        return None, None
    return hash_key, shard_map.shard_for(hash_key).shard_id if 0 <= hash_key <= MAX_HASH_KEY else None


def _outer_hash_key(record: KinesisRecord) -> int | None:
    try:
        explicit_hash_key = check_explicit_hash_key(record.explicit_hash_key)
    except InvalidRecordError:
        return None
    if explicit_hash_key is not None:
        return int(explicit_hash_key)
    return None if record.partition_key is None else md5_hash_key(record.partition_key.encode())


def _hash_key(partition_key: str, explicit_hash_key: str | None) -> int:
    """The number that routes a sub-record, as the KCL sees it.

    Raises:
        ValueError: the explicit hash key is not a number.
    """
    return md5_hash_key(partition_key.encode()) if explicit_hash_key is None else big_integer(explicit_hash_key)


def _kcl_verdicts(data: bytes, shard_map: ShardMap) -> list[str]:
    try:
        delivered = read_as_kcl(data, None)
    except DecodeError:
        return ["delivers it whole, as a plain record"]
    if not delivered.data:
        return ["delivers nothing, from any shard"]
    # One shard at most owns both ends of what the hash keys span; to ask for each shard would parse it as often.
    keys = zip(delivered.partition_keys, delivered.explicit_hash_keys, strict=True)
    each = {_identity(*one): one for one in keys}
    hash_keys = {_hash_key(*one) for one in each.values()}
    lowest, highest = min(hash_keys), max(hash_keys)
    home = shard_map.shard_for(lowest) if 0 <= lowest <= MAX_HASH_KEY else None
    if home is None or highest not in home:
        return ["drops all of it, silently, whatever shard it reads it from"]
    verdicts = [f"delivers {len(delivered.data):,} sub-records when it reads it from {home.shard_id}"]
    if len(shard_map) > 1:
        verdicts.append("drops all of it, silently, when it reads it from any other shard")
    return verdicts
