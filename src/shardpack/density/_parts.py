"""Where the bytes of a Kinesis record go."""

from __future__ import annotations

from typing import NamedTuple

from ..records import PackedRecord
from ..wire.backend import backend
from ..wire.format import (
    EXPLICIT_HASH_KEY_TABLE,
    FRAME_BYTES,
    LENGTH_DELIMITED,
    MAGIC,
    PARTITION_KEY_TABLE,
    varint_size,
)

_TABLES = {
    PARTITION_KEY_TABLE << 3 | LENGTH_DELIMITED: PARTITION_KEY_TABLE,
    EXPLICIT_HASH_KEY_TABLE << 3 | LENGTH_DELIMITED: EXPLICIT_HASH_KEY_TABLE,
}
_INDEX_BYTES = 2  # of the pin: a tag, and the index 0


class Parts(NamedTuple):
    """Bytes of the data that are not the user records' own."""

    keys: int
    explicit_hash_keys: int
    checksum: int


NOTHING = Parts(0, 0, 0)
"""Of a user record that goes as it is."""


def parts(packed: PackedRecord, *, is_pinned: bool) -> Parts:
    """Of a Kinesis record that a packer has made; framing is the rest.

    Args:
        packed: it.
        is_pinned: whether all of its sub-records have the one explicit hash key.
    """
    data = packed.data
    if packed.user_record_count == 1 and not backend().is_aggregated(data):
        return NOTHING
    sizes, entries, at = {PARTITION_KEY_TABLE: 0, EXPLICIT_HASH_KEY_TABLE: 0}, 0, len(MAGIC)
    while (table := _TABLES.get(data[at])) is not None:
        start = at
        length, at = _length(data, at + 1)
        at += length
        sizes[table] += at - start
        entries += table == EXPLICIT_HASH_KEY_TABLE
    explicit = sizes[EXPLICIT_HASH_KEY_TABLE]
    if entries:
        explicit += _INDEX_BYTES * packed.user_record_count if is_pinned else _indices(data)
    return Parts(sizes[PARTITION_KEY_TABLE], explicit, FRAME_BYTES)


def _indices(data: bytes) -> int:
    """Bytes of the indices into the table of explicit hash keys, which packers fill in the order of first use."""
    places: dict[str, int] = {}
    total = 0
    for key in backend().read(data).explicit_hash_keys:
        if key is not None:
            total += 1 + varint_size(places.setdefault(key, len(places)))
    return total


def _length(data: bytes, at: int) -> tuple[int, int]:
    length = shift = 0
    while True:
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return length, at
        shift += 7
