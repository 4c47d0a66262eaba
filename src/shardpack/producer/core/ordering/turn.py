"""The Kinesis records that a shard gets at a time, none of them with a key that another one has too."""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass, field

from ....packing.finishing import must_wrap
from ....packing.route import AGGREGATE_PARTITION_KEY
from ....records import PackedRecord, UserRecord
from ....wire.backend import backend
from ....wire.core import Builder
from ...config import ProducerConfig
from ..pending import Parcel, Pending
from .keys import Identity, identity_of

_MOST_PARCELS = 500
_MOST_HELD = 5000
"""User records that a turn passes by because they must wait for one of their key."""


@dataclass(slots=True, eq=False)
class _Place:
    """Where user records of a turn go: into an aggregate, or alone (no builder), or nowhere, to wait."""

    outer: str = ""
    builder: Builder | None = None
    pending: list[Pending] = field(default_factory=list)


class Turn:
    """Takes user records from the front of a queue, until what may go at a time is full.

    User records without an explicit hash key share one aggregate, and those with the same one share another. What is
    too large for an aggregate goes alone. So do all when aggregation is off. Two user records of one key never come
    into two Kinesis records, because nobody knows which of those is stored first; the younger waits for the next turn.

    Args:
        config: the settings.
        shard_id: the shard that is expected to take it all.
        pin: the hash key by which all goes that has no explicit hash key.
        limit: bytes of the largest aggregate.
    """

    def __init__(self, config: ProducerConfig, shard_id: str, pin: int, limit: int) -> None:
        self._config = config
        self._shard_id = shard_id
        self._pin = str(pin)
        self._limit = limit
        self._most = config.aggregation_max_count if config.aggregation_enabled else 1
        self._aggregates: dict[str | None, _Place] = {}
        self._places: list[_Place] = []
        self._place_of: dict[Identity, _Place] = {}
        self._wait = _Place()
        self._size = 0
        self._held_count = 0
        self._is_full = False

    def take(self, queue: deque[Pending]) -> list[Parcel]:
        """The Kinesis records; what is in them is taken out of the queue, and what must wait stays in its order."""
        while queue and not self._is_full:
            self._place(queue.popleft())
        queue.extendleft(reversed(self._wait.pending))
        return [self._parcel(place) for place in self._places]

    def _place(self, pending: Pending) -> None:
        """Place the user records of a put, in as few parts as they fall into."""
        count = len(pending.records)
        begun, place = 0, None
        for at, record in enumerate(pending.records):
            found = self._wait if self._is_full else self._find(record)
            if place is not None and found is not place:
                place.pending.append(pending.part(begun, at))
                begun = at
            place = found
        if place is not None:
            place.pending.append(pending.part(begun, count))

    def _find(self, record: UserRecord) -> _Place:
        """Where a user record goes; an aggregate has taken it by then."""
        own = record.explicit_hash_key
        identity = identity_of(record)
        before = self._place_of.get(identity)
        place = self._aggregates.get(own)
        if self._most > 1 and (before is None or before is place):
            if place is None:
                place = self._open(own)
            if place.builder is not None and place.builder.count < self._most and place.builder.add_any(*record):
                return self._took(identity, place, record)
            if self._fits_into_aggregate(record):
                self._is_full = own is None
                return self._held(identity)
        if before is not None:
            return self._held(identity)
        alone = _Place(own or self._pin)
        if must_wrap(record, 1):
            alone.builder = backend().builder(sys.maxsize, alone.outer)
            alone.builder.add_any(*record)
        self._places.append(alone)
        return self._took(identity, alone, record)

    def _open(self, own: str | None) -> _Place:
        outer = own or self._pin
        place = _Place(outer, self._new_builder(outer))
        self._aggregates[own] = place
        return place

    def _new_builder(self, pin: str) -> Builder:
        return backend().builder(self._limit - len(AGGREGATE_PARTITION_KEY), pin)

    def _fits_into_aggregate(self, record: UserRecord) -> bool:
        return self._new_builder(record.explicit_hash_key or self._pin).add_any(*record)

    def _held(self, identity: Identity) -> _Place:
        """It waits, and all that is younger and has its key waits behind it."""
        self._place_of[identity] = self._wait
        self._held_count += 1
        if self._held_count >= _MOST_HELD:
            self._is_full = True
        return self._wait

    def _took(self, identity: Identity, place: _Place, record: UserRecord) -> _Place:
        self._place_of[identity] = place
        if place.builder is not None and place.builder.count == 1 and place not in self._places:
            self._places.append(place)
        self._size += len(record.data)
        if self._size >= self._limit or len(self._places) >= _MOST_PARCELS:
            self._is_full = True
        return place

    def _parcel(self, place: _Place) -> Parcel:
        first, builder = place.pending[0].records[0], place.builder
        if builder is None or (builder.count == 1 and not must_wrap(first, 1)):
            packed = PackedRecord(first.data, first.partition_key, place.outer, 1, self._shard_id)
        else:
            packed = PackedRecord(builder.build(), AGGREGATE_PARTITION_KEY, place.outer, builder.count, self._shard_id)
        return Parcel(packed, place.pending, place.pending[0].arrived + self._config.record_ttl)
