"""The pure core, on the generated protobuf classes.

Reading: protobuf's parser makes the message. A message object for each record would cost more than all the rest, so the
records that packers write are left as bytes and cut by hand (`_read_simple`). All others are walked by hand
(`_read_any`), with protobuf's outcome: half as dear as its objects are, and the same under each of its releases.

When something is wrong, neither says what or where; then, and only then, `diagnosis` walks the bytes.

Writing: `AggregateBuilder` keeps the parts of the message and its exact size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from operator import add
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError as ProtobufDecodeError

from ..errors import ChecksumMismatchError, MalformedError, TruncatedError
from ..hashing import md5_hash_key
from ..records import BytesLike, UserRecord
from ._generated.kpl_pb2 import AggregatedRecordOfBytes
from .builder import AggregateBuilder
from .columns import Columns
from .diagnosis import diagnose
from .flat import Flat
from .format import CHECKSUM_BYTES, FRAME_BYTES, MAGIC, data_head_of_field, record_head
from .walking import walk

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from .core import Builder

builder = AggregateBuilder
flat = Flat
bulk = None
fill = None
routes = None
rows = None


class Raw(NamedTuple):
    """See `core.RawAggregate`."""

    partition_key_table: Sequence[bytes]
    explicit_hash_key_table: Sequence[bytes]
    records: Iterator[tuple[int, int | None, bytes]]


def from_base64(_text: str) -> None:
    """See `core.Core.from_base64`."""


def cut_records(_body: bytes) -> None:
    """See `core.Core.cut_records`."""


def outside(partition_keys: Sequence[str], first: int, last: int) -> list[int]:
    """See `core.Core.outside`."""
    return [nth for nth, key in enumerate(partition_keys) if not first <= md5_hash_key(key.encode()) <= last]


def build_many(builders: Sequence[Builder]) -> list[bytes]:
    """See `core.Core.build_many`."""
    return [builder.build() for builder in builders]


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
    """See `core.Core.read`."""
    body = _verified_body(blob)
    columns = _read_simple(body) or _read_any(body)
    if columns is None:
        raise _explain(body)
    return columns


def read_ahead(blobs: Sequence[bytes]) -> Iterable[Columns | None]:
    """See `core.Core.read_ahead`."""
    return map(_read_sound, blobs)


def _read_sound(blob: bytes) -> Columns | None:
    if not is_aggregated(blob):
        return None
    body = memoryview(blob)[len(MAGIC) : -CHECKSUM_BYTES]
    return _read_simple(body) or _read_any(body)


def _read_simple(body: memoryview) -> Columns | None:
    """The columns of an aggregate whose records are what packers write: canonical, and either pinned or keyed only.

    None for any other, and for one that is not sound. A record is taken apart by knowing what it must look like: what
    stands before its data follows from its index and its length.
    """
    try:
        message = AggregatedRecordOfBytes.FromString(body)  # type: ignore[arg-type]  # the stub says bytes
    except (ProtobufDecodeError, RecursionError):
        return None
    if not _is_canonical(message, body):
        return None
    records = list(message.records)
    partition_key_table = _texts(message.partition_key_table)
    explicit_hash_key_table = _texts(message.explicit_hash_key_table)
    if not 1 <= len(partition_key_table) <= len(records) or len(explicit_hash_key_table) > 1:
        return None
    pinned = bool(explicit_hash_key_table)
    heads = map(record_head, range(len(partition_key_table)), repeat(pinned))
    try:
        partition_keys, data = _cut(records, dict(zip(heads, partition_key_table, strict=True)), pinned=pinned)
    except (IndexError, KeyError):
        return None
    pin = explicit_hash_key_table[0] if pinned else None
    return Columns(partition_keys, data, [pin] * len(data), [()] * len(data))


def _cut(records: list[bytes], key_of_head: dict[bytes, str], *, pinned: bool) -> tuple[list[str], list[bytes]]:
    """Each record's partition key and data.

    Raises:
        KeyError, IndexError: a record does not look as it must.
    """
    known = _DataHeads()
    size = len(record_head(0, pinned))  # of a head whose index takes one byte; from 128 on it takes two, then three
    if len(key_of_head) <= 128:
        data_heads = [known[len(record) - size] for record in records]
        _check_data_heads(records, data_heads, repeat(size))
        partition_keys = [key_of_head[record[:size]] for record in records]
        if len(set(map(len, known.values()))) == 1:
            start = size + len(data_heads[0])
            return partition_keys, [record[start:] for record in records]
        sizes = [size] * len(records)
    else:
        sizes = [size + (record[1] > 127 and 1 + (record[2] > 127)) for record in records]
        data_heads = [known[len(record) - size] for record, size in zip(records, sizes, strict=True)]
        _check_data_heads(records, data_heads, sizes)
        partition_keys = [key_of_head[record[:size]] for record, size in zip(records, sizes, strict=True)]
    starts = map(add, sizes, map(len, data_heads))
    return partition_keys, [record[start:] for record, start in zip(records, starts, strict=True)]


def _check_data_heads(records: list[bytes], data_heads: list[bytes], sizes: Iterable[int]) -> None:
    if not all(map(bytes.startswith, records, data_heads, sizes)):
        raise KeyError


class _DataHeads(dict[int, bytes]):
    """`data_head_of_field`, remembered for one aggregate: its sizes are few."""

    def __missing__(self, size: int) -> bytes:
        head = self[size] = data_head_of_field(size)
        return head


def _read_any(body: memoryview) -> Columns | None:
    """The columns of any aggregate; None for one that is not sound."""
    message = walk(bytes(body))
    if message is None or not message.rows:
        return None
    partition_key_table = _texts(message.partition_key_table)
    explicit_hash_key_table = _texts(message.explicit_hash_key_table)
    try:
        partition_keys = [partition_key_table[index] for index, _, _, _ in message.rows]
        explicit_hash_keys = [
            None if index is None else explicit_hash_key_table[index] for _, index, _, _ in message.rows
        ]
    except IndexError:
        return None
    return Columns(
        partition_keys, [row[2] for row in message.rows], explicit_hash_keys, [row[3] for row in message.rows]
    )


def read_raw(blob: BytesLike) -> Raw:
    """See `core.Core.read_raw`."""
    body = _verified_body(blob)
    message = walk(bytes(body))
    if message is None:
        raise _explain(body)
    return Raw(message.partition_key_table, message.explicit_hash_key_table, (row[:3] for row in message.rows))


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


def _is_canonical(message: Message, body: memoryview) -> bool:
    """Whether it has known fields only, each in its fewest bytes, which all releases of protobuf read alike.

    What is inside of records is not looked at.
    """
    message.DiscardUnknownFields()
    return message.ByteSize() == len(body)


def _explain(body: memoryview) -> TruncatedError | MalformedError:
    error = diagnose(bytes(body), start=len(MAGIC))
    return error or MalformedError("protobuf cannot parse the message", offset=len(MAGIC))


def _texts(table: Iterable[bytes]) -> list[str]:
    return [encoded.decode("utf-8", "replace") for encoded in table]
