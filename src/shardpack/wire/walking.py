"""An aggregate as protobuf reads it, whoever wrote it: fields in any order or twice, unknown ones, groups, tags.

Releases of protobuf differ in odd input: 4 to 6 take lengths of more than five bytes, 7 takes fields with the number 0
inside groups, and 3 takes more, where it runs in Python. Here is what all of them take, and no more, so that an upgrade
changes no answer. `diagnosis` says the same, and where and why; this only says whether, in a fifth of the time. It also
takes half of what protobuf's object for each record costs: how long a strange message may keep a reader is its point.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from ..records import Tags
from . import format as f
from .format import END_GROUP, LENGTH_DELIMITED, START_GROUP, VARINT  # by themselves, because each field asks for them

Row: TypeAlias = "tuple[int, int | None, bytes, Tags]"

_MOST_NESTED = 101  # protobuf's own limit for messages and groups inside each other, the outermost included
_FIXED_SIZES = {f.FIXED64: 8, f.FIXED32: 4}
_PARTITION_KEY = f.PARTITION_KEY_TABLE << 3 | LENGTH_DELIMITED
_EXPLICIT_HASH_KEY = f.EXPLICIT_HASH_KEY_TABLE << 3 | LENGTH_DELIMITED
_RECORD = f.RECORDS << 3 | LENGTH_DELIMITED
_INDEX = f.PARTITION_KEY_INDEX << 3 | VARINT
_EXPLICIT_INDEX = f.EXPLICIT_HASH_KEY_INDEX << 3 | VARINT
_DATA = f.DATA << 3 | LENGTH_DELIMITED
_TAG = f.TAGS << 3 | LENGTH_DELIMITED
_TAG_KEY = f.TAG_KEY << 3 | LENGTH_DELIMITED
_TAG_VALUE = f.TAG_VALUE << 3 | LENGTH_DELIMITED
# By how many messages a field is inside of.
_KNOWN = {
    1: frozenset([_PARTITION_KEY, _EXPLICIT_HASH_KEY, _RECORD]),
    2: frozenset([_INDEX, _EXPLICIT_INDEX, _DATA, _TAG]),
    3: frozenset([_TAG_KEY, _TAG_VALUE]),
}
_ENDS_OF_GROUPS = re.compile(b"[%s]+" % re.escape(bytes(n << 3 | kind for n in range(1, 16) for kind in (3, 4))))


class Message(NamedTuple):
    """What is in it. Indices may point anywhere; of a field that comes twice, the last one counts."""

    partition_key_table: list[bytes]
    explicit_hash_key_table: list[bytes]
    rows: list[Row]
    """Of each record: the index of its partition key, that of its explicit hash key or None, its data, its tags."""


def walk(body: bytes) -> Message | None:
    """What is in a message; None if it is not sound, or a required field is missing."""
    message = Message([], [], [])
    tables = {_PARTITION_KEY: message.partition_key_table, _EXPLICIT_HASH_KEY: message.explicit_hash_key_table}
    at, end = 0, len(body)
    try:
        while at < end:
            first = at
            tag, at = _number(body, at)
            if tag == _RECORD:
                length, at = _number(body, at)
                message.rows.append(_record(body, at, at + length))
                at += length
            elif tag in tables:
                length, at = _number(body, at)
                tables[tag].append(body[at : at + length])
                at += length
            else:
                at = _skip(body, first, end, 1)
    except IndexError:
        return None
    return message if at == end else None


def _record(body: bytes, at: int, end: int) -> Row:
    index = explicit = data = None
    tags: list[tuple[str, str | None]] = []
    while at < end:
        first = at
        tag = body[at]
        at += 1
        if tag > 0x7F:
            tag, at = _number(body, first)
        if tag == _INDEX:
            index = body[at]
            at += 1
            if index > 0x7F:
                index, at = _varint(body, at - 1)
        elif tag == _DATA:
            length = body[at]
            at += 1
            if length > 0x7F:
                length, at = _number(body, at - 1)
            data = body[at : at + length]
            at += length
        elif tag == _EXPLICIT_INDEX:
            explicit, at = _varint(body, at)
        elif tag == _TAG:
            length, at = _number(body, at)
            tags.append(_tag(body, at, at + length))
            at += length
        else:
            at = _skip(body, first, end, 2)
    if at != end or index is None or data is None:
        raise IndexError
    return index, explicit, data, tuple(tags) if tags else ()


def _tag(body: bytes, at: int, end: int) -> tuple[str, str | None]:
    key = value = None
    while at < end:
        first = at
        tag, at = _number(body, at)
        if tag in (_TAG_KEY, _TAG_VALUE):
            length, at = _number(body, at)
            text = body[at : at + length].decode("utf-8", "replace")
            at += length
            key, value = (text, value) if tag == _TAG_KEY else (key, text)
        else:
            at = _skip(body, first, end, 3)
    if at != end or key is None:
        raise IndexError
    return key, value


def _skip(body: bytes, at: int, end: int, depth: int) -> int:
    """Where the unknown fields end that begin here."""
    known = _KNOWN[depth]
    groups: list[int] = []  # the tags with which those began that are open
    while at < end:
        first = at
        tag = body[at]
        at += 1
        if tag > 0x7F:
            tag, at = _number(body, first)
        if tag in known and not groups:
            return first
        if tag < 8 or tag > 0xFFFFFFFF:
            raise IndexError
        kind = tag & 7
        if kind == VARINT:
            most = at + 9
            while body[at] > 0x7F:
                at += 1
            if at > most:
                raise IndexError
            at += 1
        elif kind == LENGTH_DELIMITED:
            length, at = _number(body, at)
            at += length
        elif kind in _FIXED_SIZES:
            at += _FIXED_SIZES[kind]
        elif kind in (START_GROUP, END_GROUP):
            # All that follow each other at one go: nothing else asks for so much work by a single byte.
            run = _ENDS_OF_GROUPS.match(body, first, end)
            _nest(groups, run[0] if run else (tag,), _MOST_NESTED - depth)
            at = run.end() if run else at
        else:
            raise IndexError
    if groups:
        raise IndexError
    return at


def _nest(groups: list[int], tags: Iterable[int], most: int) -> None:
    """Open and close groups.

    Raises:
        IndexError: more than the most are open, or one closes that is not the last that was opened.
    """
    for tag in tags:
        if tag & 7 == START_GROUP:
            groups.append(tag)
            if len(groups) > most:
                raise IndexError
        elif groups.pop() != tag - 1:  # START_GROUP is one less than END_GROUP
            raise IndexError


def _number(body: bytes, at: int) -> tuple[int, int]:
    """A tag or a length, and where it ends."""
    number = body[at]
    if number < 0x80:
        return number, at + 1
    number = 0
    for nth in range(5):
        byte = body[at + nth]
        number |= (byte & 0x7F) << 7 * nth
        if byte < 0x80:
            return number, at + nth + 1
    raise IndexError


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """A number of up to ten bytes, of which 64 bits count, and where it ends."""
    low = body[at]
    if low < 0x80:
        return low, at + 1
    high = body[at + 1]
    if high < 0x80:  # an index of a large table
        return low & 0x7F | high << 7, at + 2
    number = 0
    for nth in range(10):
        byte = body[at + nth]
        number |= (byte & 0x7F) << 7 * nth
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, at + nth + 1
    raise IndexError
