"""Numbers and byte strings of the aggregated format (KPL: ``KinesisRecord`` and messages.proto)."""

from __future__ import annotations

import functools

from . import frame

MAGIC, CHECKSUM_BYTES, FRAME_BYTES = frame.MAGIC, frame.CHECKSUM_BYTES, frame.FRAME_BYTES
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


@functools.lru_cache(maxsize=4096)
def entry_size(length: int) -> int:
    """Bytes of a length-delimited field that holds `length` bytes."""
    return 1 + varint_size(length) + length


_PARTITION_KEY_INDEX_TAG = varint(PARTITION_KEY_INDEX << 3 | VARINT)
_DATA_TAG = varint(DATA << 3 | LENGTH_DELIMITED)

EXPLICIT_HASH_KEY_INDEX_TAG = varint(EXPLICIT_HASH_KEY_INDEX << 3 | VARINT)
_PIN_INDEX = EXPLICIT_HASH_KEY_INDEX_TAG + varint(0)


@functools.lru_cache(maxsize=65_536)
def record_head(index: int, pinned: bool) -> bytes:
    """How a record begins: its partition key index, and in a pinned aggregate its explicit hash key index."""
    return _PARTITION_KEY_INDEX_TAG + varint(index) + (_PIN_INDEX if pinned else b"")


def data_head(length: int) -> bytes:
    """What stands before the data in its field: its tag and length."""
    return _DATA_TAG + varint(length)


def data_head_of_field(size: int) -> bytes:
    """`data_head` by the size of the whole field, data included.

    Raises:
        KeyError: no canonical field has that size.
    """
    for length_size in range(1, 6):
        length = size - len(_DATA_TAG) - length_size
        if length >= 0 and varint_size(length) == length_size:
            return data_head(length)
    raise KeyError(size)
