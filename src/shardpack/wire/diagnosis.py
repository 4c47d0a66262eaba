"""What is wrong with a message, and where; nothing, where it is sound.

protobuf says only that it could not parse. This walks the bytes by its rules, where releases differ by the strictest
(see `walking`), and names the first fault: first of structure, by position; then of the records in their order, a
missing required field before an index outside its table. It walks without recursion, so deep nesting costs a counter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import MalformedError, TruncatedError
from . import format as f

_MOST_NESTED = 101  # protobuf's own limit for messages and groups inside each other, the outermost included
_MAX_LENGTH = 2**31 - 1


class _FoundError(Exception):  # carries the error to raise out of the walk
    def __init__(self, error: type[TruncatedError | MalformedError], offset: int, text: str) -> None:
        super().__init__(text)
        self.error = error
        self.offset = offset


class _Field(NamedTuple):
    offset: int  # of its tag
    number: int
    wire_type: int
    value: int  # of a varint; for length-delimited fields, where the content starts
    end: int  # of the whole field


def diagnose(body: bytes, start: int) -> TruncatedError | MalformedError | None:
    """The error to raise for a message, or None if there is nothing wrong with it.

    Args:
        body: the protobuf message.
        start: the offset of its first byte in the blob; reported offsets count from the blob's first byte.
    """
    try:
        _check(body)
    except _FoundError as fault:
        offset = fault.offset + start
        return fault.error(f"{fault} (at byte {offset:,} of {len(body) + start + f.CHECKSUM_BYTES:,})", offset=offset)
    return None


def _check(body: bytes) -> None:
    tables = {f.PARTITION_KEY_TABLE: 0, f.EXPLICIT_HASH_KEY_TABLE: 0}
    any_record = False
    missing: _FoundError | None = None
    for field in _entries(body):
        if field.number in tables:
            tables[field.number] += 1
        elif field.number == f.RECORDS:
            any_record = True
            missing = missing or _check_record(body, field)[1]
    if missing:
        raise missing
    if not any_record:
        raise _FoundError(MalformedError, 0, "the aggregate holds no records")
    # A second walk, because tables may come after records, and remembering a million records would take too much.
    for nth, record in enumerate(field for field in _entries(body) if field.number == f.RECORDS):
        indices, _ = _check_record(body, record)
        for number, table in (
            ("partition_key", f.PARTITION_KEY_TABLE),
            ("explicit_hash_key", f.EXPLICIT_HASH_KEY_TABLE),
        ):
            if table in indices and indices[table] >= tables[table]:
                raise _FoundError(
                    MalformedError,
                    record.offset,
                    f"sub-record {nth} has {number}_index {indices[table]}, but {number}_table has"
                    f" {tables[table]} entries",
                )


def _entries(body: bytes) -> Iterator[_Field]:
    return (field for field in _fields(body, 0, len(body), depth=1) if field.wire_type == f.LENGTH_DELIMITED)


def _check_record(body: bytes, record: _Field) -> tuple[dict[int, int], _FoundError | None]:
    """A record's indices (by field number, the last one counts), and the required field that it lacks."""
    indices: dict[int, int] = {}
    has_data = False
    fault: _FoundError | None = None
    for field in _fields(body, record.value, record.end, depth=2):
        if field.wire_type == f.VARINT and field.number in (f.PARTITION_KEY_INDEX, f.EXPLICIT_HASH_KEY_INDEX):
            indices[field.number] = field.value
        elif field.wire_type == f.LENGTH_DELIMITED and field.number == f.DATA:
            has_data = True
        elif field.wire_type == f.LENGTH_DELIMITED and field.number == f.TAGS:
            keys = [
                tag
                for tag in _fields(body, field.value, field.end, depth=3)
                if tag.number == f.TAG_KEY and tag.wire_type == f.LENGTH_DELIMITED
            ]
            if not keys:
                fault = fault or _FoundError(MalformedError, field.offset, "a tag lacks its required key")
    if f.PARTITION_KEY_INDEX not in indices:
        fault = _FoundError(MalformedError, record.offset, "a record lacks its required partition_key_index")
    elif not has_data:
        fault = _FoundError(MalformedError, record.offset, "a record lacks its required data")
    return indices, fault


def _fields(body: bytes, position: int, end: int, depth: int) -> Iterator[_Field]:
    """The fields of a message; those inside a group are walked over, not given."""
    groups: list[tuple[int, int]] = []  # offset and field number of those still open
    while position < end:
        offset = position
        tag, position = _varint(body, position, end, most_bytes=5)
        number, wire_type = tag >> 3, tag & 7
        # Inside groups, some releases of protobuf let the number 0 pass; Java's, which is the KCL's, does not.
        if tag > 0xFFFFFFFF or number == 0 or wire_type > f.FIXED32:
            raise _FoundError(MalformedError, offset, f"a field has number {number} and wire type {wire_type}")
        value = position
        if wire_type == f.VARINT:
            value, position = _varint(body, position, end)
        elif wire_type in _FIXED_SIZES:
            position += _FIXED_SIZES[wire_type]
        elif wire_type == f.LENGTH_DELIMITED:
            length, value = _varint(body, position, end, most_bytes=5)
            if length > _MAX_LENGTH:
                raise _FoundError(TruncatedError, offset, f"field {number} claims {length:,} bytes")
            position = value + length
        elif wire_type == f.START_GROUP:
            groups.append((offset, number))
            _check_nesting(depth + len(groups), offset)
        elif not groups or groups.pop()[1] != number:
            raise _FoundError(MalformedError, offset, f"a group {number} ends that did not begin")
        if position > end:
            raise _FoundError(
                TruncatedError, offset, f"field {number} needs {position - end:,} bytes more than there are"
            )
        if not groups and wire_type != f.END_GROUP:
            yield _Field(offset, number, wire_type, value, position)
    if groups:
        raise _FoundError(TruncatedError, groups[-1][0], f"group {groups[-1][1]} does not end")


def _check_nesting(depth: int, offset: int) -> None:
    if depth > _MOST_NESTED:
        raise _FoundError(MalformedError, offset, f"groups and messages are nested more than {_MOST_NESTED} deep")


_FIXED_SIZES = {f.FIXED64: 8, f.FIXED32: 4}


def _varint(body: bytes, position: int, end: int, most_bytes: int = 10) -> tuple[int, int]:
    number = 0
    for nth in range(most_bytes):
        if position + nth >= end:
            raise _FoundError(TruncatedError, position, "a number is cut short")
        byte = body[position + nth]
        number |= (byte & 0x7F) << 7 * nth
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, position + nth + 1
    raise _FoundError(MalformedError, position, f"a number takes more than {most_bytes} bytes")
