"""Packing on a clock: an aggregate goes out when it is full, or when its oldest record has waited for long enough."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import TypeAlias

from ..hashing import ShardMap, lane_of
from ..packing.packer import Packer
from ..records import PackedRecord, UserRecord
from .rows import Histogram, Spread
from .strategy import Strategy

_Route: TypeAlias = tuple[str, str | None, int]


@dataclass
class _Open:
    """A route's packer, and when the user records that are in its open aggregates came."""

    packer: Packer
    arrivals: list[float] = field(default_factory=list)


class Timed:
    """A packer for each route, as the producer has them.

    Args:
        strategy: how to pack.
        seconds: that a record may wait; None: until its aggregate is full.
    """

    def __init__(self, strategy: Strategy, seconds: float | None) -> None:
        self._strategy = strategy
        self._seconds = inf if seconds is None else seconds
        self._homes = strategy.homes
        self._shard_map = strategy.shard_map
        self._by, self._lanes = strategy.by, strategy.lanes
        self._is_pinned = strategy.hash_keys == "pinned"
        self._free: dict[str, list[_Open]] = {}
        self._routes: OrderedDict[_Route, _Open] = OrderedDict()  # by when their oldest record came
        self._waits = Histogram()

    def add_all(self, batch: list[tuple[UserRecord, float]]) -> Iterator[PackedRecord]:
        """See `measuring.Packing`."""
        for record, now in batch:
            yield from self._add(record, now)

    @property
    def wait(self) -> Spread | None:
        """Seconds that user records waited whose aggregate has gone out full, or in time."""
        return self._waits.spread

    def _add(self, record: UserRecord, now: float) -> Iterator[PackedRecord]:
        yield from self._due(now)
        key = self._route(record)
        route = self._routes.get(key)
        if route is None:
            free = self._free.get(key[0] if self._by == "shard" else "")
            route = self._routes[key] = free.pop() if free else _Open(self._packer(key[0]))
        packed = route.packer.add(*record)
        route.arrivals.append(now)
        if packed:
            self._gone(route, packed, now)
            self._routes.move_to_end(key)
            yield from packed
        if not route.arrivals:
            self._end(key)

    def _end(self, key: _Route) -> None:
        """Keep an empty packer for the next route: to make one costs as much as to add twenty records."""
        self._free.setdefault(key[0] if self._by == "shard" else "", []).append(self._routes.pop(key))

    def flush(self) -> Iterator[PackedRecord]:
        """The rest, whose waiting is not counted: it goes out because the input ends."""
        for route in self._routes.values():
            yield from route.packer.flush()
        self._routes.clear()

    def _due(self, now: float) -> Iterator[PackedRecord]:
        while self._routes:
            key, route = next(iter(self._routes.items()))
            deadline = route.arrivals[0] + self._seconds
            if deadline > now:
                return
            packed = route.packer.flush()
            self._gone(route, packed, deadline)
            self._end(key)
            yield from packed

    def _gone(self, route: _Open, packed: list[PackedRecord], now: float) -> None:
        count = sum(one.user_record_count for one in packed)
        for arrival in route.arrivals[:count]:
            self._waits.add(now - arrival)
        del route.arrivals[:count]

    def _route(self, record: UserRecord) -> _Route:
        """What decides which records may share an aggregate, so that each packer here has one open at most."""
        own = record.explicit_hash_key
        if own is None and self._by == "shard":
            shard_id = self._homes[record.partition_key]
        elif self._by == "key":
            return record.partition_key, own, 0
        elif self._shard_map is None or own is None:
            return "", own if self._is_pinned else None, 0
        else:
            shard_id = self._shard_map.shard_for(int(own)).shard_id
        lane = lane_of(record.partition_key, self._lanes) if self._lanes > 1 else 0
        return shard_id, own if self._is_pinned else None, lane

    def _packer(self, shard_id: str) -> Packer:
        arguments = self._strategy.arguments
        if self._strategy.by == "shard":
            arguments["shard_map"] = ShardMap.single(shard_id)
        return Packer(**arguments)
