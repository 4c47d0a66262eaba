"""Aggregates byte by byte, for those that no packer writes: the frame, and the parts of a message of protobuf."""

from __future__ import annotations

import hashlib

MAGIC = bytes.fromhex("f3899ac2")
VARINT, FIXED64, DELIMITED, START_GROUP, END_GROUP, FIXED32 = range(6)


def frame(message: bytes) -> bytes:
    """An aggregate with this message, whatever it is, and a checksum that is right."""
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


def varint(number: int, padding: int = 0) -> bytes:
    """A number, with so many bytes more than it needs."""
    groups = [number >> shift & 0x7F for shift in range(0, number.bit_length() or 1, 7)] + [0] * padding
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


def tag(number: int, wire_type: int) -> bytes:
    """What a field begins with."""
    return varint(number << 3 | wire_type)


def delimited(number: int, *content: bytes) -> bytes:
    """A field of bytes, of a text, or of another message."""
    return tag(number, DELIMITED) + varint(sum(map(len, content))) + b"".join(content)
