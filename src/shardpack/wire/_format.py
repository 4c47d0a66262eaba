"""Numbers and byte strings of the aggregated format (kpl-kcl-semantics.md, A1)."""

from __future__ import annotations

import functools

MAGIC = b"\xf3\x89\x9a\xc2"
CHECKSUM_BYTES = 16
FRAME_BYTES = len(MAGIC) + CHECKSUM_BYTES

# A field's tag: its number times 8 plus its wire type. All tags of the schema take one byte.
VARINT, FIXED64, LENGTH_DELIMITED, START_GROUP, END_GROUP, FIXED32 = range(6)
PARTITION_KEY_TABLE = 1
EXPLICIT_HASH_KEY_TABLE = 2
RECORDS = 3
PARTITION_KEY_INDEX = 1
EXPLICIT_HASH_KEY_INDEX = 2
DATA = 3
TAGS = 4
TAG_KEY = 1
TAG_VALUE = 2


@functools.lru_cache(maxsize=65_536)
def varint(number: int) -> bytes:
    """A number as protobuf's base 128 varint."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def varint_size(number: int) -> int:
    """Bytes of `varint(number)`."""
    return (number.bit_length() + 6) // 7 or 1


def entry_size(length: int) -> int:
    """Bytes of a length-delimited field that holds `length` bytes."""
    return 1 + varint_size(length) + length
