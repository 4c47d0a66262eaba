"""Whether the structure of a message is what every release of protobuf takes.

Releases differ in odd input: 4 to 6 take lengths of more than five bytes, 7 takes fields with the number 0 inside
groups, and 3 takes more, where it runs in Python. What one has parsed is looked at here, so that all give one answer.
`diagnosis` says the same, and where and why; this only says whether, in a fifth of the time.
"""

from __future__ import annotations

from . import format as f
from .format import END_GROUP, LENGTH_DELIMITED, START_GROUP, VARINT  # by themselves, because each field asks for them

_MOST_NESTED = 101  # protobuf's own limit for messages and groups inside each other, the outermost included
_FIXED_SIZES = {f.FIXED64: 8, f.FIXED32: 4}
_RECORD = f.RECORDS << 3 | f.LENGTH_DELIMITED
_TAG = f.TAGS << 3 | f.LENGTH_DELIMITED


def is_strict(body: bytes) -> bool:
    """Whether the structure of a message is sound; indices and required fields are not looked at."""
    try:
        return _is_strict(body, 0, len(body), 1)
    except IndexError:
        return False


def _is_strict(body: bytes, at: int, end: int, depth: int) -> bool:
    groups: list[int] = []  # the numbers of those that are open
    of_messages = _RECORD if depth == 1 else _TAG if depth == 2 else None
    while at < end:
        tag = body[at]
        at += 1
        if tag > 0x7F:
            tag, at = _number(body, at - 1)
        if tag < 8 or tag > 0xFFFFFFFF:
            return False
        kind = tag & 7
        if kind == LENGTH_DELIMITED:
            length = body[at]
            at += 1
            if length > 0x7F:
                length, at = _number(body, at - 1)
            if tag == of_messages and not groups and not _is_strict(body, at, at + length, depth + 1):
                return False
            at += length
        elif kind == VARINT:
            first = at
            while body[at] > 0x7F:
                at += 1
            at += 1
            if at > first + 10:
                return False
        elif kind in _FIXED_SIZES:
            at += _FIXED_SIZES[kind]
        elif kind == START_GROUP and depth + len(groups) < _MOST_NESTED:
            groups.append(tag >> 3)
        elif kind != END_GROUP or not groups or groups.pop() != tag >> 3:
            return False
    return at == end and not groups


def _number(body: bytes, at: int) -> tuple[int, int]:
    """A tag or a length, and where it ends."""
    number = 0
    for nth in range(5):
        byte = body[at + nth]
        number |= (byte & 0x7F) << 7 * nth
        if byte < 0x80:
            return number, at + nth + 1
    raise IndexError("it takes more than five bytes")
