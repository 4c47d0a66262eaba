"""The message of an aggregate as protobuf for Java reads it, which differs from protobuf for Python in odd input.

protobuf-java cuts the numbers of fields and lengths down to 32 bits where we refuse longer ones, which was found by the
KCL's answers to generated aggregates (docs/interop.md). Names of Java methods say which rule is copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from google.protobuf.message import DecodeError as ProtobufDecodeError

from ..errors import MalformedError
from ..records import BytesLike
from ..wire import format as f
from ..wire._generated.kpl_pb2 import AggregatedRecord, Record
from ..wire.backend import backend

_MOST_NESTED = 100  # CodedInputStream.defaultRecursionLimit
_ABSENT = 2**64 - 1  # the schema's default for an explicit_hash_key_index that is not there
_FIXED_SIZES = {f.FIXED64: 8, f.FIXED32: 4}
_LED_BY_A_NUMBER = (f.VARINT, f.LENGTH_DELIMITED)
# Tags, as they are on the wire.
_PARTITION_KEY_TABLE = f.PARTITION_KEY_TABLE << 3 | f.LENGTH_DELIMITED
_EXPLICIT_HASH_KEY_TABLE = f.EXPLICIT_HASH_KEY_TABLE << 3 | f.LENGTH_DELIMITED
_RECORD = f.RECORDS << 3 | f.LENGTH_DELIMITED
_PARTITION_KEY_INDEX = f.PARTITION_KEY_INDEX << 3 | f.VARINT
_EXPLICIT_HASH_KEY_INDEX = f.EXPLICIT_HASH_KEY_INDEX << 3 | f.VARINT
_DATA = f.DATA << 3 | f.LENGTH_DELIMITED
_TAG = f.TAGS << 3 | f.LENGTH_DELIMITED
_TAG_KEY = f.TAG_KEY << 3 | f.LENGTH_DELIMITED

SubRecord = tuple[int, int | None, bytes]


class Message(NamedTuple):
    """See `wire.core.RawAggregate`."""

    partition_key_table: Iterable[bytes]
    explicit_hash_key_table: Iterable[bytes]
    records: Iterable[SubRecord]


def read(blob: BytesLike) -> Message:
    """What ``AggregatedRecord.parseFrom`` reads of an aggregate.

    Raises:
        DecodeError: it is none, or Java would raise InvalidProtocolBufferException.
    """
    if not backend().is_aggregated(blob):
        raise MalformedError("not an aggregate: its magic, its length or its MD5 is wrong", offset=0)
    body = bytes(memoryview(blob)[len(f.MAGIC) : -f.CHECKSUM_BYTES])
    return _read_canonical(body) or _read_any(body)


def _read_canonical(body: bytes) -> Message | None:
    """What both read alike: known fields only, each number in no more bytes than it needs. None: something else."""
    try:
        message = AggregatedRecord.FromString(body)
    except (ProtobufDecodeError, RecursionError):
        return None
    message.DiscardUnknownFields()
    if not message.IsInitialized() or message.ByteSize() != len(body):
        return None
    records = ((r.partition_key_index, _given(r.explicit_hash_key_index, r), r.data) for r in message.records)
    return Message(message.partition_key_table, message.explicit_hash_key_table, records)


def _read_any(body: bytes) -> Message:
    partition_keys: list[bytes] = []
    explicit_hash_keys: list[bytes] = []
    records: list[SubRecord] = []
    for tag, value, end in _fields(body, 0, len(body), depth=0):
        if tag == _PARTITION_KEY_TABLE:
            partition_keys.append(body[value:end])
        elif tag == _EXPLICIT_HASH_KEY_TABLE:
            explicit_hash_keys.append(body[value:end])
        elif tag == _RECORD:
            records.append(_record(body, value, end))
    return Message(partition_keys, explicit_hash_keys, records)


def _record(body: bytes, start: int, end: int) -> SubRecord:
    partition_key_index: int | None = None
    explicit_hash_key_index: int | None = None
    data: bytes | None = None
    for tag, value, value_end in _fields(body, start, end, depth=1):
        if tag == _PARTITION_KEY_INDEX:
            partition_key_index = value
        elif tag == _EXPLICIT_HASH_KEY_INDEX:
            explicit_hash_key_index = value
        elif tag == _DATA:
            data = body[value:value_end]
        elif tag == _TAG:
            keys = [t for t, _, _ in _fields(body, value, value_end, depth=2) if t == _TAG_KEY]
            if not keys:
                raise _malformed("a tag lacks its required key", value)
    if partition_key_index is None or data is None:
        raise _malformed("a record lacks a required field", start)
    return partition_key_index, explicit_hash_key_index, data


def _fields(body: bytes, position: int, end: int, depth: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a message, without groups: (tag, value of a varint or start of the content, end of the field)."""
    groups: list[int] = []
    while position < end:
        # Nearly all numbers are one byte, which is read here: calls would be most of the time.
        offset = position
        tag, position = (body[position], position + 1) if body[position] < 128 else _varint(body, position, end)
        tag &= 0xFFFF_FFFF  # readTag
        number, wire_type = tag >> 3, tag & 7
        value = position
        if number == 0 or wire_type > f.FIXED32:
            raise _malformed(f"a field has number {number} and wire type {wire_type}", offset)
        if wire_type in _LED_BY_A_NUMBER:
            value = body[position] if position < end else 128
            position += 1
            if value > 127:
                value, position = _varint(body, position - 1, end)
            if wire_type == f.LENGTH_DELIMITED:
                length = value & 0xFFFF_FFFF  # readRawVarint32
                value = position
                position += length  # a negative one is beyond the end too
        elif wire_type in _FIXED_SIZES:
            position += _FIXED_SIZES[wire_type]
        elif wire_type == f.START_GROUP:
            groups.append(number)
            _check_nesting(depth + len(groups), offset)
        elif not groups or groups.pop() != number:  # checkLastTagWas
            raise _malformed("a group ends that did not begin", offset)
        if position > end:
            raise _malformed("a field is cut short", offset)
        if not groups and wire_type != f.END_GROUP:
            yield tag, value, position
    if groups:
        raise _malformed("a group does not end", end)


def _check_nesting(depth: int, offset: int) -> None:
    if depth > _MOST_NESTED:  # checkRecursionLimit
        raise _malformed("too many groups are nested", offset)


def _varint(body: bytes, position: int, end: int) -> tuple[int, int]:
    """Java's ``readRawVarint64``: at most ten bytes, of which the last has one bit that counts."""
    number = 0
    for nth, byte in enumerate(body[position : min(end, position + 10)]):
        number |= (byte & 127) << 7 * nth
        if byte < 128:
            return number & 0xFFFF_FFFF_FFFF_FFFF, position + nth + 1
    raise _malformed("a number is cut short or takes more than ten bytes", position)


def _given(index: int, record: Record) -> int | None:
    return index if index != _ABSENT or record.HasField("explicit_hash_key_index") else None


def _malformed(text: str, offset: int) -> MalformedError:
    return MalformedError(f"protobuf for Java cannot parse the message: {text}", offset=offset + len(f.MAGIC))
