"""One aggregate being filled: its parts, and its exact size at every moment.

The tables are written by the generated protobuf class, once, at the end. Records are framed by hand, because one
protobuf message object per record costs more than everything else that packing does; a property test holds the
outcome equal to protobuf's canonical serialisation. What stands before a record's data depends only on its keys and
the data's length, so it is made once per key and length, and remembered when the key comes a second time.
"""

from __future__ import annotations

import functools
import hashlib

from ..records import Tags, check_partition_key
from ._generated.kpl_pb2 import AggregatedRecord, Record
from .format import (
    EXPLICIT_HASH_KEY_INDEX_TAG,
    FRAME_BYTES,
    LENGTH_DELIMITED,
    MAGIC,
    RECORDS,
    data_head,
    entry_size,
    record_head,
    varint,
)

_RECORD_TAG = varint(RECORDS << 3 | LENGTH_DELIMITED)


class AggregateBuilder:
    """See `core.Builder`."""

    __slots__ = (
        "_explicit_hash_keys",
        "_frames",
        "_heads",
        "_partition_key_table",
        "_parts",
        "_pinned",
        "capacity",
        "count",
        "size",
    )

    def __init__(self, capacity: int, pin: str | None) -> None:
        self.capacity = capacity
        self.count = 0
        self.size = FRAME_BYTES
        self._pinned = pin is not None
        self._partition_key_table: list[bytes] = []
        self._explicit_hash_keys: dict[str, int] = {}
        self._heads: dict[str, bytes] = {}  # partition key -> its record's indices
        self._frames: dict[str, dict[int, bytes]] = {}  # partition key -> length of data -> all before the data
        self._parts: list[bytes] = []
        if pin is not None:
            self._explicit_hash_keys[pin] = 0
            self.size += entry_size(len(pin))

    def add(self, partition_key: str, data: bytes) -> bool:
        """See `core.Builder.add`."""
        length = len(data)
        frames = self._frames.get(partition_key)
        frame = None if frames is None else frames.get(length)
        if frame is None:
            head = self._heads.get(partition_key)
            if head is None:
                return self._add_with_new_key(partition_key, data)
            frame = _frame(head, length)
            self._frames.setdefault(partition_key, {})[length] = frame
        size = self.size + len(frame) + length
        if size > self.capacity:
            return False
        self._take(size, (frame, data))
        return True

    def _add_with_new_key(self, partition_key: str, data: bytes) -> bool:
        encoded_key = check_partition_key(partition_key)
        head = record_head(len(self._heads), self._pinned)
        before, after = _around(len(head), len(data), 0)
        size = self.size + entry_size(len(encoded_key)) + len(before) + len(head) + len(after) + len(data)
        if size > self.capacity:
            return False
        self._take(size, (before, head, after, data), (partition_key, head, encoded_key))
        return True

    def add_any(self, partition_key: str, data: bytes, explicit_hash_key: str | None, tags: Tags) -> bool:
        """See `core.Builder.add_any`."""
        size = self.size
        head = self._heads.get(partition_key)
        new_key = None
        if head is None:
            new_key = check_partition_key(partition_key)
            head = record_head(len(self._heads), self._pinned)
            size += entry_size(len(new_key))
        frame_head, new_explicit = head, None
        if explicit_hash_key is not None and not self._pinned:
            index = self._explicit_hash_keys.get(explicit_hash_key)
            if index is None:
                new_explicit, index = explicit_hash_key, len(self._explicit_hash_keys)
                size += entry_size(len(explicit_hash_key))
            frame_head = head + EXPLICIT_HASH_KEY_INDEX_TAG + varint(index)
        encoded_tags = tag_bytes(tags) if tags else b""
        frame = _frame(frame_head, len(data), len(encoded_tags))
        size += len(frame) + len(data) + len(encoded_tags)
        if size > self.capacity:
            return False
        parts = (frame, data, encoded_tags) if encoded_tags else (frame, data)
        self._take(size, parts, (partition_key, head, new_key) if new_key is not None else None, new_explicit)
        return True

    def _take(
        self,
        size: int,
        parts: tuple[bytes, ...],
        new_key: tuple[str, bytes, bytes] | None = None,
        new_explicit: str | None = None,
    ) -> None:
        """Take a record whole, or, if an interrupt breaks in, not at all."""
        before = self.size, self.count, len(self._parts), len(self._partition_key_table), len(self._explicit_hash_keys)
        try:
            if new_key is not None:
                partition_key, head, encoded_key = new_key
                self._partition_key_table.append(encoded_key)
                self._heads[partition_key] = head
            if new_explicit is not None:
                self._explicit_hash_keys[new_explicit] = len(self._explicit_hash_keys)
            self._parts += parts
            self.count += 1
            self.size = size
        except BaseException:
            self._undo(*before)
            raise

    def _undo(self, size: int, count: int, parts: int, partition_keys: int, explicit_hash_keys: int) -> None:
        self.size, self.count = size, count
        del self._parts[parts:]
        del self._partition_key_table[partition_keys:]
        while len(self._heads) > partition_keys:
            self._heads.popitem()  # of which no frame is remembered before it comes a second time
        while len(self._explicit_hash_keys) > explicit_hash_keys:
            self._explicit_hash_keys.popitem()

    def repin(self, pin: str) -> None:
        """See `core.Builder.repin`."""
        if not self._pinned:
            raise ValueError("the aggregate is not pinned")
        (before,) = self._explicit_hash_keys
        self.size += entry_size(len(pin)) - entry_size(len(before))
        self._explicit_hash_keys = {pin: 0}

    def build(self) -> bytes:
        """The finished aggregate."""
        tables = AggregatedRecord(
            partition_key_table=self._partition_key_table,
            explicit_hash_key_table=[key.encode() for key in self._explicit_hash_keys],
        )
        body = b"".join([tables.SerializeToString(), *self._parts])
        return b"".join((MAGIC, body, hashlib.md5(body, usedforsecurity=False).digest()))


def _frame(head: bytes, length: int, tag_bytes: int = 0) -> bytes:
    """What stands before the data of a record: its tag and length, its indices, the data's tag and length."""
    before, after = _around(len(head), length, tag_bytes)
    return before + head + after


@functools.lru_cache(maxsize=65_536)
def _around(head_size: int, length: int, tag_bytes: int) -> tuple[bytes, bytes]:
    """The parts of a frame that do not depend on which keys the record has: before its indices, and after them."""
    after = data_head(length)
    return _RECORD_TAG + varint(head_size + len(after) + length + tag_bytes), after


def tag_bytes(tags: Tags) -> bytes:
    """The tags of a record as its message has them."""
    record = Record()
    for key, value in tags:
        record.tags.add(key=key.encode(), value=None if value is None else value.encode())
    return record.SerializePartialToString()
