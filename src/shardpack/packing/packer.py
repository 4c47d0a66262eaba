"""User records in, Kinesis records out.

A **route** decides which user records may share an aggregate (docs/architecture.md). Every route has at most one open
aggregate; a record that does not fit closes it and opens the next, so order is kept within a route.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..errors import RecordTooLargeError
from ..hashing import ShardMap, hash_key, lane_of, lane_partition_key
from ..limits import MIB, Limits
from ..records import (
    BytesLike,
    PackedRecord,
    UserRecord,
    UserRecordLike,
    check_data,
    check_explicit_hash_key,
    check_partition_key,
    check_tags,
)
from ..wire import is_aggregated
from ..wire.backend import Adding, backend, native
from ..wire.core import Builder, Routes
from .lookahead import Lookahead
from .route import AGGREGATE_PARTITION_KEY, Closed, Route
from .settings import By, HashKeys, check_settings, check_types

_CACHED_ROUTES = 65_536

# Memory is counted by what open aggregates may grow to, which doubles as they grow, and by what each takes besides.
_FIRST_CAPACITY = 4096
_AGGREGATE_COST = 4096

_TOGETHER = 16


class Packer(Adding):
    """Fills Kinesis records with user records.

    Args:
        by: Which user records may share an aggregate. With ``"shard"``, those that the shard map sends to one shard;
            a partition key then stays on its shard. With ``"key"``, those of one partition key, which stays the outer
            key. With ``"any"``, all; this fills best, but a key's records go to several shards and lose their order
            across aggregates. The default is ``"shard"`` if there is a shard map, and ``"any"`` if there is none.
        shard_map: The open shards. ``"shard"`` needs it; the other routes do not use it.
        limits: How large a Kinesis record may become. The default is ``Limits()``: 1 MiB.
        hash_keys: With ``"pinned"``, each sub-record carries the explicit hash key of the aggregate, so the KCL drops
            none of them, whatever shard the aggregate lands on. Records with an explicit hash key of their own keep
            it, and share aggregates only with their equals. With ``"kpl"``, the bytes are those that the KPL writes;
            when the stream reshards, records are lost unless the sender checks where each aggregate landed
            (docs/architecture.md).
        lanes: Into how many lanes each shard is divided, by partition key. 1 means no lanes. The outer partition key
            names the lane, so that Lambda's ParallelizationFactor works on aggregates. A lone record is then sent as
            an aggregate too. Needs ``by="shard"``.
        max_buffered_bytes: About how many bytes of memory the open aggregates may take. Beyond that, the aggregate that
            was opened first is closed before it is full. This matters for many shards, keys or explicit hash keys.
        lookahead: How many limits' worth of user records may wait on each route, so that those that fill a Kinesis
            record best can go together. A record never overtakes an earlier one of its partition key. 0, the default,
            keeps all records of a route in order. It is worth it for records that are large against the limit: 100 to
            400 KiB in 1 MiB leave 15 % empty with 0, and 1 % with 4.

    Raises:
        ValueError: A setting is out of its range, or two settings exclude each other.
        TypeError: A setting has the wrong type.
    """

    def __init__(
        self,
        *,
        by: By | None = None,
        shard_map: ShardMap | None = None,
        limits: Limits | None = None,
        hash_keys: HashKeys = "pinned",
        lanes: int = 1,
        max_buffered_bytes: int = 256 * MIB,
        lookahead: int = 0,
    ) -> None:
        check_types(shard_map, limits, lanes=lanes, max_buffered_bytes=max_buffered_bytes, lookahead=lookahead)
        self._by = by if by is not None else "any" if shard_map is None else "shard"
        self._shard_map = shard_map
        self._limits = limits or Limits()
        self._max_user_records = self._limits.max_user_records
        self._pinned = hash_keys == "pinned"
        self._lanes = lanes
        self._max_buffered_bytes = max_buffered_bytes
        check_settings(self._by, shard_map, hash_keys, lanes, max_buffered_bytes, lookahead)

        self._new_builder: Callable[[int, str | None], Builder] = backend().builder
        self._build_many = backend().build_many
        self._open: dict[Hashable, Route] = {}  # in the order in which they were opened
        self._headroom = max_buffered_bytes
        # A route has one object as long as anything refers to it: two would each have an aggregate open.
        self._routes: dict[Hashable, Route] = {}
        # How `add` finds the route of a record without an explicit hash key: one for all, or by its key.
        self._route_of_all = Route(None) if self._by == "any" else None
        self._route_of_key: dict[str, Route] = {}
        # What is kept of them whatever is forgotten, because `_simple` refers to it.
        self._fixed_routes = self._routes_by_shard() if self._by == "shard" and lanes == 1 else {}
        self._routes.update(self._fixed_routes)
        self._simple = self._routes_of_simple()
        self._lookahead = self._waiting(lookahead) if lookahead else None

    def _routes_by_shard(self) -> dict[Hashable, Route]:
        shards = self._shard_map.shards if self._shard_map else ()
        return {(shard.shard_id, None): Route((shard.shard_id, None), shard.shard_id) for shard in shards}

    def _routes_of_simple(self) -> Routes | None:
        """How the core finds the routes of records without an explicit hash key; None: it is not to add them itself."""
        routes = backend().routes
        if routes is None or self._max_user_records:
            return None
        by_shard = type(self._shard_map) is ShardMap and bool(self._fixed_routes)
        ends = [shard.ending_hash_key for shard in self._shard_map.shards] if by_shard and self._shard_map else []
        return routes(
            self._route_of_all, self._route_of_key, ends, list(self._fixed_routes.values()) if by_shard else []
        )

    def _waiting(self, lookahead: int) -> Lookahead:
        limit = self._limits.max_record_bytes
        return Lookahead(
            per_route=lookahead * limit,
            in_all=self._max_buffered_bytes,
            start=self._start,
            capacity=lambda route: limit - route.outer_size,
            max_user_records=self._max_user_records or 0,
        )

    def add(
        self,
        partition_key: str,
        data: BytesLike,
        explicit_hash_key: str | int | None = None,
        tags: Iterable[tuple[str, str | None]] = (),
    ) -> list[PackedRecord]:
        """Take a user record.

        Args:
            partition_key: 1 to 256 Unicode characters.
            data: the payload; a bytearray or memoryview is copied.
            explicit_hash_key: a number from 0 to 2^128-1 that overrides the partition key's hash, as a str or an int.
            tags: (key, value or None) pairs to carry inside the aggregate.

        Returns:
            The Kinesis records that are now complete: usually none.

        Raises:
            InvalidRecordError: a field breaks a rule of the service.
            RecordTooLargeError: the record does not fit, even alone. In both cases nothing has changed.
        """
        # The way of most records: no explicit hash key, and an open aggregate with room.
        if explicit_hash_key is None and not tags and type(data) is bytes:
            try:
                route = self._route_of_all or self._route_of_key[partition_key]
                if route.add(partition_key, data):
                    if not self._max_user_records:
                        return []
                    closed = self._settle(route)
                    return self._finish(closed) if closed else []
            except (KeyError, TypeError):  # the first record of a partition key; one that no dict can look up
                pass
        closed = self._add_any(partition_key, data, explicit_hash_key, tags)
        return self._finish(closed) if closed else []

    _add_in_python = add
    if not TYPE_CHECKING and native != "pure":
        del add  # `Adding` has one, which leaves to this one what is not simple

    def add_all(self, user_records: Iterable[UserRecordLike]) -> Iterator[PackedRecord]:
        """Take each user record of an iterable, lazily. What is still open afterwards waits for `flush`.

        From a list or tuple, up to 16 Kinesis records come out together, because their checksums are made side by side.
        From any other iterable, each Kinesis record comes out as soon as it is complete. Raises what `add` raises.
        """
        return self._all(user_records, flush=False)

    def _all(self, user_records: Iterable[UserRecordLike], *, flush: bool) -> Iterator[PackedRecord]:
        fill = backend().fill
        if fill is None or self._simple is None:
            for packed in filter(None, itertools.starmap(self.add, user_records)):
                yield from packed
            if flush:
                yield from self.flush()
            return
        most_together = _TOGETHER if isinstance(user_records, list | tuple) else 1
        records = iter(user_records)
        closed: list[Closed] = []
        try:
            while taken := fill(records, self._simple):
                closed += next(itertools.starmap(self._add_any, taken))
                if len(closed) >= most_together:
                    yield from self._finish(closed)
                    closed = []
        except Exception:
            yield from self._finish(closed)  # what was complete before the record that is refused
            raise
        if flush:
            closed += self._close_all()
        yield from self._finish(closed)

    def _add_any(
        self,
        partition_key: str,
        data: BytesLike,
        explicit_hash_key: str | int | None = None,
        tags: Iterable[tuple[str, str | None]] = (),
    ) -> list[Closed]:
        check_partition_key(partition_key)
        record = UserRecord(
            partition_key,
            check_data(data),
            check_explicit_hash_key(explicit_hash_key),
            check_tags(tags) if tags else (),
        )
        return self._add_checked(record)

    def flush(self) -> list[PackedRecord]:
        """Close all open aggregates, and return them in the order in which they were opened."""
        return self._finish(self._close_all())

    def _close_all(self) -> list[Closed]:
        if self._lookahead:
            return self._lookahead.flush()
        return [self._close(route) for route in list(self._open.values())]

    def _add_checked(self, record: UserRecord) -> list[Closed]:
        route = self._route_for(record)
        if self._lookahead:
            return self._lookahead.add(route, record)
        closed = []
        if not self._add_to_open(route, record):
            builder = self._start(route, record)  # raises before anything has changed
            if route.builder is not None:
                closed.append(self._close(route))
            self._open[route.key] = route
            self._headroom -= builder.capacity + _AGGREGATE_COST
            route.open(builder, record)
        return closed + self._settle(route)

    def _add_to_open(self, route: Route, record: UserRecord) -> bool:
        """Take the record into the route's open aggregate, if there is one and it fits."""
        builder = route.builder
        if builder is None:
            return False
        capacity = self._limits.max_record_bytes - route.outer_size
        while not builder.add_any(*record):
            if builder.capacity == capacity:
                return False
            # Memory is counted when an aggregate may grow, not record by record.
            grown = min(capacity, 2 * builder.capacity)
            self._headroom -= grown - builder.capacity
            builder.capacity = grown
        return True

    def _route_for(self, record: UserRecord) -> Route:
        route = self._route_of_all or self._route_of_key.get(record.partition_key)
        if route is not None and record.explicit_hash_key is None:
            return route
        key, shard_id, partition_key = self._place(record)
        route = self._routes.get(key) or Route(key, shard_id, partition_key)
        # Twice what is open: clearing keeps that much, and must not come again with the next key.
        if max(len(self._routes), len(self._route_of_key)) >= max(_CACHED_ROUTES, 2 * len(self._open)):
            self._route_of_key.clear()
            self._routes = {**self._fixed_routes, **self._open}
        self._routes[key] = route
        if record.explicit_hash_key is None:
            self._route_of_key[record.partition_key] = route
        return route

    def _place(self, record: UserRecord) -> tuple[Hashable, str | None, str]:
        """The route's key, its shard, and the outer partition key of its aggregates."""
        if self._by == "key":
            return (record.partition_key, record.explicit_hash_key), None, record.partition_key
        # Pinned, a user's own explicit hash key is the pin, so only its equals may share an aggregate.
        own = record.explicit_hash_key if self._pinned else None
        if self._shard_map is None or self._by == "any":
            return own, None, AGGREGATE_PARTITION_KEY
        if record.explicit_hash_key is None:
            shard_id = self._shard_map.shard_for_partition_key(record.partition_key).shard_id
        else:
            shard_id = self._shard_map.shard_for(int(record.explicit_hash_key)).shard_id
        if self._lanes == 1:
            return (shard_id, own), shard_id, AGGREGATE_PARTITION_KEY
        lane = lane_of(record.partition_key, self._lanes)
        return (shard_id, own, lane), shard_id, lane_partition_key(lane)

    def _start(self, route: Route, record: UserRecord) -> Builder:
        """A builder that holds the record, or nothing, if the record fits only as it is, not in an aggregate."""
        pin = self._hash_key(record) if self._pinned and self._by != "key" else None
        limit = self._limits.max_record_bytes
        builder = self._new_builder(limit - route.outer_size, pin)
        if builder.add_any(*record):
            builder.capacity = min(builder.capacity, max(builder.size, _FIRST_CAPACITY))
            return builder
        size = len(record.data) + len(record.partition_key.encode())
        if self._must_wrap(record):
            whole = self._new_builder(sys.maxsize, pin)
            whole.add_any(*record)
            size = whole.size + route.outer_size
        if size > limit:
            raise RecordTooLargeError(
                f"a user record of {len(record.data):,} bytes takes {size:,} bytes as a Kinesis record; the limit is"
                f" {limit:,}. Send it in pieces, or raise Limits.max_record_bytes if the stream's MaxRecordSizeInKiB"
                " allows it",
                size=size,
                limit=limit,
            )
        return builder

    def _settle(self, route: Route) -> list[Closed]:
        """Close the route if nothing more may join it, and the oldest ones if memory runs short."""
        closed = []
        builder = route.builder
        if builder is not None and builder.count in (0, self._max_user_records):
            closed.append(self._close(route))
        while self._headroom < 0:
            closed.append(self._close(next(iter(self._open.values()))))
        return closed

    def _close(self, route: Route) -> Closed:
        del self._open[route.key]
        builder, first = route.close()
        self._headroom += builder.capacity + _AGGREGATE_COST
        return Closed(route, builder, first)

    def _finish(self, closed: list[Closed]) -> list[PackedRecord]:
        """What was closed, as Kinesis records; the checksums of several are made side by side."""
        aggregated = [one.builder.count > 1 or self._must_wrap(one.first) for one in closed]
        blobs = iter(self._build_many([one.builder for one in itertools.compress(closed, aggregated)]))
        return [
            self._aggregate(one, next(blobs)) if is_aggregate else self._lone(one)
            for one, is_aggregate in zip(closed, aggregated, strict=True)
        ]

    def _aggregate(self, closed: Closed, blob: bytes) -> PackedRecord:
        route, builder, first = closed
        outer = first.explicit_hash_key if self._by == "key" else self._hash_key(first)
        return PackedRecord(blob, route.partition_key, outer, builder.count, route.shard_id)

    @staticmethod
    def _lone(closed: Closed) -> PackedRecord:
        first = closed.first
        return PackedRecord(first.data, first.partition_key, first.explicit_hash_key, 1, closed.route.shard_id)

    def _must_wrap(self, record: UserRecord) -> bool:
        """Whether a lone record goes out as an aggregate, and not as it is, the way the KPL's ``KinesisRecord`` does.

        Data that is itself a sound aggregate would come out expanded, tags would be lost, and a lane is known by its
        partition key.
        """
        return self._lanes > 1 or bool(record.tags) or is_aggregated(record.data)

    @staticmethod
    def _hash_key(record: UserRecord) -> str:
        return record.explicit_hash_key or str(hash_key(record.partition_key))


def pack(
    user_records: Iterable[UserRecordLike],
    *,
    by: By | None = None,
    shard_map: ShardMap | None = None,
    limits: Limits | None = None,
    hash_keys: HashKeys = "pinned",
    lanes: int = 1,
    max_buffered_bytes: int = 256 * MIB,
    lookahead: int = 0,
) -> Iterator[PackedRecord]:
    """Pack the user records of an iterable, lazily. A Kinesis record comes out when it is full, the rest at the end.

    Args:
        user_records: `UserRecord` objects, or tuples of partition key, data, and perhaps explicit hash key and tags.
        by: This and the other settings are those of `Packer`.
        shard_map: See `Packer`.
        limits: See `Packer`.
        hash_keys: See `Packer`.
        lanes: See `Packer`.
        max_buffered_bytes: See `Packer`.
        lookahead: See `Packer`.

    Raises:
        InvalidRecordError, RecordTooLargeError: As `Packer.add` does. What was packed before the bad record has come
            out, or is lost with the generator. So check records first if you cannot stop at a bad one.
    """
    packer = Packer(
        by=by,
        shard_map=shard_map,
        limits=limits,
        hash_keys=hash_keys,
        lanes=lanes,
        max_buffered_bytes=max_buffered_bytes,
        lookahead=lookahead,
    )
    return packer._all(user_records, flush=True)  # noqa: SLF001
