"""What one Kinesis record is made of, for a person who wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._kcl import big_integer
from ._kcl import read as read_as_kcl
from ._shapes import KinesisRecord
from .errors import DecodeError
from .hashing import Shard, ShardMap, md5_hash_key
from .limits import MAX_HASH_KEY, PUT_PAYLOAD_UNIT_BYTES
from .wire._backend import Aggregate, backend
from .wire._format import CHECKSUM_BYTES, MAGIC, entry_size


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
    return [_sub_record(*fields, shard_map) for fields in zip(*columns, strict=True)]


def _sub_record(partition_key: str, explicit_hash_key: str | None, data: bytes, shard_map: ShardMap) -> SubRecord:
    hash_key: int | None
    if explicit_hash_key is None:
        hash_key = md5_hash_key(partition_key.encode())
    else:
        try:
            hash_key = big_integer(explicit_hash_key)
        except ValueError:
            hash_key = None
    if hash_key is None or not 0 <= hash_key <= MAX_HASH_KEY:
        return SubRecord(partition_key, explicit_hash_key, data, hash_key, None)
    return SubRecord(partition_key, explicit_hash_key, data, hash_key, shard_map.shard_for(hash_key).shard_id)


def _outer_hash_key(record: KinesisRecord) -> int | None:
    if record.explicit_hash_key is not None and record.explicit_hash_key.isdigit():
        hash_key = int(record.explicit_hash_key)
        return hash_key if hash_key <= MAX_HASH_KEY else None
    return None if record.partition_key is None else md5_hash_key(record.partition_key.encode())


def _kcl_verdicts(data: bytes, shard_map: ShardMap) -> list[str]:
    try:
        whole = len(read_as_kcl(data, None).data)
    except DecodeError:
        return ["delivers it whole, as a plain record"]
    verdicts = [
        f"delivers {whole:,} sub-records when it reads it from {shard.shard_id}"
        for shard in shard_map.shards
        if read_as_kcl(data, (shard.starting_hash_key, shard.ending_hash_key)).data
    ]
    if not whole:
        verdicts.append("delivers nothing, from any shard")
    elif len(verdicts) < len(shard_map):
        verdicts.append("drops all of it, silently, when it reads it from any other shard")
    return verdicts
