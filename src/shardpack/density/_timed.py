"""Packing on a clock: an aggregate goes out when it is full, or when its oldest record has waited for long enough."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import TypeAlias

from ..hashing import ShardMap, lane_of
from ..packing.packer import Packer
from ..records import PackedRecord, UserRecord
from ._counting import Batch
from .rows import Histogram, Spread
from .strategy import Strategy

_MOST_LANES = 50_000  # partition keys whose lane is remembered

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
        self._lane_of: dict[str, int] = {}
        self._waits = Histogram()

    def add_all(self, batch: Batch) -> Iterator[PackedRecord]:
        """See `measuring.Packing`."""
        if not batch:
            return
        if self._by == "key" or not self._is_uniform(batch):
            for record, now in batch:
                yield from self._add(record, now)
            return
        for key, part in self._parted(batch).items():
            yield from self._add_part(key, part)
        # What the parts have opened is not in the order of its age.
        self._routes = OrderedDict(sorted(self._routes.items(), key=lambda item: item[1].arrivals[0]))
        yield from self._due(batch.times[-1])

    def _is_uniform(self, batch: Batch) -> bool:
        """Whether each user record surely joins the aggregate of its route, or the next: nearly always."""
        limits = self._strategy.limits
        counted = limits is not None and limits.max_user_records is not None
        return not (counted or batch.has_tags or batch.has_hash_keys or batch.largest > self._strategy.surely_together)

    def _parted(self, batch: Batch) -> dict[_Route, Batch]:
        if self._by == "any":
            return {("", None, 0): batch}
        homes = batch.by_home(self._homes)
        if self._lanes == 1:
            return {(home, None, 0): part for home, part in homes.items()}
        found: dict[_Route, Batch] = {}
        for home, part in homes.items():
            for one in part:
                found.setdefault((home, None, self._lane(one[0].partition_key)), Batch()).append(one)
        return found

    def _lane(self, partition_key: str) -> int:
        lane = self._lane_of.get(partition_key)
        if lane is None:
            if len(self._lane_of) >= _MOST_LANES:
                self._lane_of.clear()
            lane = self._lane_of[partition_key] = lane_of(partition_key, self._lanes)
        return lane

    def _add_part(self, key: _Route, part: Batch) -> Iterator[PackedRecord]:
        """User records of one route, all at once up to the moment at which its aggregate is due."""
        at, count = 0, len(part)
        while at < count:
            route = self._routes.get(key) or self._opened(key)
            oldest = route.arrivals[0] if route.arrivals else part.times[at]
            deadline = oldest + self._seconds
            end = bisect_left(part.times, deadline, at)
            if end == at and route.arrivals:
                yield from self._flushed(key, route, deadline)
                continue
            end = max(end, at + 1)  # a time may be so large that adding the wait does not change it
            packed = list(route.packer.add_all(part.records[at:end]))
            route.arrivals += part.times[at:end]
            for one in packed:  # each closed when the record came that did not fit, which is the next one
                self._gone(route, [one], route.arrivals[one.user_record_count])
            yield from packed
            at = end

    def _flushed(self, key: _Route, route: _Open, now: float) -> list[PackedRecord]:
        packed = route.packer.flush()
        self._gone(route, packed, now)
        self._end(key)
        return packed

    def _opened(self, key: _Route) -> _Open:
        free = self._free.get(key[0] if self._by == "shard" else "")
        route = self._routes[key] = free.pop() if free else _Open(self._packer(key[0]))
        return route

    @property
    def wait(self) -> Spread | None:
        """Seconds that user records waited whose aggregate has gone out full, or in time."""
        return self._waits.spread

    def _add(self, record: UserRecord, now: float) -> Iterator[PackedRecord]:
        yield from self._due(now)
        key = self._route(record)
        route = self._routes.get(key) or self._opened(key)
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
            yield from self._flushed(key, route, deadline)

    def _gone(self, route: _Open, packed: list[PackedRecord], now: float) -> None:
        count = sum(one.user_record_count for one in packed)
        self._waits.add_since(route.arrivals[:count], now)
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
        lane = self._lane(record.partition_key) if self._lanes > 1 else 0
        return shard_id, own if self._is_pinned else None, lane

    def _packer(self, shard_id: str) -> Packer:
        arguments = self._strategy.arguments
        if self._strategy.by == "shard":
            arguments["shard_map"] = ShardMap.single(shard_id)
        return Packer(**arguments)
