"""The pure core, on the generated protobuf classes.

Reading: protobuf's C parser makes the message, and columns are taken from it by C-level maps. Two questions would cost
more than all the rest if they were asked record by record, namely whether a record has tags and whether its explicit
hash key index is there or a default. They are answered for the whole aggregate at once: if the fields that were read
account for every byte of the message, there is nothing else in it (`_accounts_for`). Whatever does not add up that way
is read again, record by record.

When something is wrong, protobuf says neither what nor where; then, and only then, `_diagnosis` walks the bytes.

Writing: `AggregateBuilder` keeps the parts of the message and its exact size.
"""

from __future__ import annotations

import hashlib
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from operator import add, attrgetter
from typing import NamedTuple

from google.protobuf.message import DecodeError as ProtobufDecodeError

from ..errors import ChecksumMismatchError, InvalidRecordError, MalformedError, TruncatedError
from ..records import BytesLike, Tags, UserRecord, UserRecordLike, check_user_record
from ._builder import AggregateBuilder
from ._diagnosis import diagnose
from ._format import CHECKSUM_BYTES, FRAME_BYTES, MAGIC, entry_size, varint_size
from ._generated.kpl_pb2 import AggregatedRecord, Record

_ABSENT = 2**64 - 1  # the schema's default for an explicit_hash_key_index that is not there
_CHUNK = 256  # message objects alive at once; there may be a million of them in a hostile aggregate

_partition_key_index = attrgetter("partition_key_index")
_explicit_hash_key_index = attrgetter("explicit_hash_key_index")
_data = attrgetter("data")

builder = AggregateBuilder


class Columns(NamedTuple):
    """See `_backend.Aggregate`."""

    partition_keys: Sequence[str]
    data: Sequence[bytes]
    explicit_hash_keys: Sequence[str | None]
    tags: Sequence[Tags]


class Raw(NamedTuple):
    """See `_backend.RawAggregate`."""

    partition_key_table: Sequence[bytes]
    explicit_hash_key_table: Sequence[bytes]
    records: Iterator[tuple[int, int | None, bytes]]


def encode(records: Iterable[UserRecordLike]) -> bytes:
    """See `shardpack.encode`."""
    aggregate = AggregateBuilder(capacity=sys.maxsize, pin=None)
    for record in records:
        aggregate.add_any(*check_user_record(record))
    if not aggregate.count:
        raise InvalidRecordError("an aggregate needs at least one user record; none was given", field="records")
    return aggregate.build()


def decode(blob: BytesLike) -> list[UserRecord]:
    """See `shardpack.decode`."""
    return list(map(tuple.__new__, repeat(UserRecord), zip(*read(blob), strict=True)))


def is_aggregated(blob: BytesLike) -> bool:
    """See `shardpack.is_aggregated`."""
    view = _flat(blob)
    return (
        len(view) > FRAME_BYTES
        and view[: len(MAGIC)] == MAGIC
        and hashlib.md5(view[len(MAGIC) : -CHECKSUM_BYTES], usedforsecurity=False).digest() == view[-CHECKSUM_BYTES:]
    )


def read(blob: BytesLike) -> Columns:
    """See `_backend.Core.read`."""
    body = _verified_body(blob)
    message = _parse(body)
    indices, explicit_indices, data = _columns(message)
    partition_key_table = [key.decode(errors="replace") for key in message.partition_key_table]
    explicit_hash_key_table = [key.decode(errors="replace") for key in message.explicit_hash_key_table]
    try:
        partition_keys = [partition_key_table[index] for index in indices]
        if _accounts_for(len(body), message, indices, explicit_indices, data):
            present = explicit_indices.count(_ABSENT) < len(explicit_indices)
            explicit_hash_keys = (
                [None if index == _ABSENT else explicit_hash_key_table[index] for index in explicit_indices]
                if present
                else [None] * len(indices)
            )
            tags: list[Tags] = [()] * len(indices)
        else:
            explicit_hash_keys = [
                explicit_hash_key_table[record.explicit_hash_key_index] if _has_explicit_hash_key(record) else None
                for record in message.records
            ]
            tags = [_tags(record) for record in message.records]
    except IndexError:
        raise _explain(body) from None
    if not indices:
        raise _explain(body)
    return Columns(partition_keys, data, explicit_hash_keys, tags)


def read_raw(blob: BytesLike) -> Raw:
    """See `_backend.Core.read_raw`."""
    message = _parse(_verified_body(blob))
    records = (
        (
            record.partition_key_index,
            record.explicit_hash_key_index if _has_explicit_hash_key(record) else None,
            record.data,
        )
        for record in message.records
    )
    return Raw(message.partition_key_table, message.explicit_hash_key_table, records)


def _verified_body(blob: BytesLike) -> memoryview:
    view = _flat(blob)
    if view[: len(MAGIC)] != MAGIC:
        raise MalformedError(
            f"not an aggregate: it starts with {view[: len(MAGIC)].hex() or 'nothing'}, not {MAGIC.hex()}", offset=0
        )
    if len(view) < FRAME_BYTES:
        raise TruncatedError(
            f"an aggregate has at least {FRAME_BYTES} bytes (magic and MD5), this has {len(view)}", offset=len(view)
        )
    body = view[len(MAGIC) : -CHECKSUM_BYTES]
    expected = bytes(view[-CHECKSUM_BYTES:])
    actual = hashlib.md5(body, usedforsecurity=False).digest()
    if actual != expected:
        raise ChecksumMismatchError(
            f"the MD5 trailer says {expected.hex()}, the {len(body):,} bytes before it have {actual.hex()};"
            " the blob was changed or cut, or is not an aggregate",
            expected=expected,
            actual=actual,
        )
    return body


def _flat(blob: BytesLike) -> memoryview:
    view = memoryview(blob)
    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view
    return memoryview(view.tobytes())


def _parse(body: memoryview) -> AggregatedRecord:
    try:
        message = AggregatedRecord.FromString(body)  # type: ignore[arg-type]  # the stub says bytes; any buffer will do
    except (ProtobufDecodeError, RecursionError):
        raise _explain(body) from None
    if not message.IsInitialized():
        raise _explain(body)
    return message


def _explain(body: memoryview) -> TruncatedError | MalformedError:
    error = diagnose(bytes(body), start=len(MAGIC))
    return error or MalformedError("protobuf cannot parse the message", offset=len(MAGIC))


def _columns(message: AggregatedRecord) -> tuple[list[int], list[int], list[bytes]]:
    indices: list[int] = []
    explicit_indices: list[int] = []
    data: list[bytes] = []
    for start in range(0, len(message.records), _CHUNK):
        chunk = message.records[start : start + _CHUNK]
        indices += map(_partition_key_index, chunk)
        explicit_indices += map(_explicit_hash_key_index, chunk)
        data += map(_data, chunk)
    return indices, explicit_indices, data


def _accounts_for(
    body_size: int, message: AggregatedRecord, indices: list[int], explicit_indices: list[int], data: list[bytes]
) -> bool:
    """Whether these columns are the whole message: written canonically, they would take exactly its bytes.

    The required fields are known to be there, so anything else (tags, unknown fields, an index of 2^64-1 that was
    really sent, a number with padding) can only make the message longer.
    """
    # What stands before a record's data, but for the two lengths: few different sizes, and mostly one.
    heads = {index: 2 + varint_size(index) for index in set(indices)}
    explicit = {index: 0 if index == _ABSENT else 1 + varint_size(index) for index in set(explicit_indices)}
    lengths = sorted(map(len, data))
    if len(set(heads.values())) == 1 == len(set(explicit.values())):
        head, contents = heads[indices[0]] + explicit[explicit_indices[0]], lengths
    else:
        all_heads = map(add, map(heads.__getitem__, indices), map(explicit.__getitem__, explicit_indices))
        head, contents = 0, sorted(map(add, all_heads, map(len, data)))
    tables = (*message.partition_key_table, *message.explicit_hash_key_table)
    size = sum(entry_size(len(entry)) for entry in tables)
    size += sum(contents) + (head + 3) * len(contents)  # 3: the record's tag, and one byte for each length
    for power in (1, 2, 3, 4):
        # A length takes one more byte from 128**power on; at that point of the record's length, the data's takes
        # `power` bytes itself.
        size += len(lengths) - bisect_left(lengths, 128**power)
        size += len(contents) - bisect_left(contents, 128**power - power - head)
    return size == body_size


def _has_explicit_hash_key(record: Record) -> bool:
    return record.explicit_hash_key_index != _ABSENT or record.HasField("explicit_hash_key_index")


def _tags(record: Record) -> Tags:
    return tuple(
        (tag.key.decode(errors="replace"), tag.value.decode(errors="replace") if tag.HasField("value") else None)
        for tag in record.tags
    )
