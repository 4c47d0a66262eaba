"""Aggregates whose shard is chosen when they close, so that any user records may share one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..limits import MAX_HASH_KEY, Limits
from ..records import PackedRecord, UserRecord
from .finishing import effective_hash_key, finished, must_wrap
from .packer import Packer
from .route import Closed

_LONGEST_PIN = str(MAX_HASH_KEY)  # so that every other fits into its place


class Place(NamedTuple):
    """Where a Kinesis record is to go: a hash key, and the shard predicted to own it, if the shards are known."""

    hash_key: str
    shard_id: str | None


class PlacingPacker(Packer):
    """A `Packer(by="any")` that asks where each Kinesis record is to go, when it is complete.

    An aggregate is pinned to the answer. A lone user record gets it as its outer explicit hash key.

    Args:
        limits: see `Packer`.
        place: is called with the bytes of a Kinesis record; None: where its first user record belongs.
    """

    def __init__(self, limits: Limits, place: Callable[[int], Place | None]) -> None:
        super().__init__(by="any", limits=limits)
        self._place = place

    def _pin(self, record: UserRecord) -> str:
        return record.explicit_hash_key or _LONGEST_PIN

    def _complete(self) -> list[PackedRecord]:
        places = [self._placed(one) for one in self._closed]
        packed = finished(self._closed, self._build_many, by_key=False, lanes=1)
        complete = self._kept + [_moved(*pair) for pair in zip(packed, places, strict=True)]
        self._closed, self._kept = [], []  # no interrupt comes between here and the name that the caller has for it
        return complete

    def _placed(self, closed: Closed) -> Place | None:
        """Where an aggregate goes; None: a hash key of its own, or nothing to choose."""
        builder, first = closed.builder, closed.first
        is_aggregate = builder.count > 1 or must_wrap(first, 1)
        size = builder.size if is_aggregate else len(first.data) + len(first.partition_key.encode())
        place = None if first.explicit_hash_key is not None else self._place(size)
        if is_aggregate:
            builder.repin(effective_hash_key(first) if place is None else place.hash_key)
        return place


def _moved(packed: PackedRecord, place: Place | None) -> PackedRecord:
    if place is None:
        return packed
    return PackedRecord(packed.data, packed.partition_key, place.hash_key, packed.user_record_count, place.shard_id)
