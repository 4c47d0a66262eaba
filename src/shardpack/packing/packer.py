"""User records in, Kinesis records out.

A **route** decides which user records may share an aggregate (docs/architecture.md). Every route has at most one open
aggregate; a record that does not fit closes it and opens the next, so order is kept within a route.
"""

from __future__ import annotations

import itertools
import sys
from _thread import RLock  # `threading` is slow to import, and has the same
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from ..errors import ShardpackError
from ..hashing import ShardMap
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
from ..wire.backend import Adding, backend, native
from ..wire.core import Builder, Routes
from .finishing import effective_hash_key, finished, must_wrap, together, too_large
from .handing_out import Packing
from .lookahead import Lookahead
from .route import Closed, Route
from .router import Router
from .settings import By, HashKeys, check_settings, check_types, check_user_records, fields_of

# Memory is counted by what open aggregates may grow to, which doubles as they grow, and by what each takes besides.
_FIRST_CAPACITY = _AGGREGATE_COST = 4096
_TOGETHER = 16


class Packer(Adding):
    """Fills Kinesis records with user records.

    Threads may share one: each user record is taken once, and each Kinesis record is handed out once, to one of them.
    After an interrupt in the middle of a call, such as Ctrl-C, all that was taken before comes out with later calls;
    the user record of that call may have been taken, or not.

    Args:
        by: Which user records may share an aggregate. With ``"shard"``, those that the shard map sends to one shard;
            a partition key then stays on its shard. With ``"key"``, those of one partition key, which stays the outer
            key. With ``"any"``, all; this fills best, but a key's records go to several shards and lose their order
            across aggregates. The default is ``"shard"`` if there is a shard map, and ``"any"`` if there is none.
        shard_map: The open shards. ``"shard"`` needs it; the other routes do not use it.
        limits: How large a Kinesis record may become. The default is ``Limits()``: 1 MiB. A user record that does not
            fit into an aggregate of ``max_aggregate_bytes`` goes alone, in its place among the others.
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
        self._closed: list[Closed] = []  # what is complete, and not handed out yet
        self._kept: list[PackedRecord] = []  # likewise: an interrupt came as they were to be handed out
        self._lock = RLock()
        self._headroom = max_buffered_bytes
        self._router = Router(self._by, shard_map, lanes, pinned=self._pinned, open_routes=self._open)
        self._simple = self._routes_of_simple()
        self._lookahead = self._waiting(lookahead) if lookahead else None

    def _routes_of_simple(self) -> Routes | None:
        """How the core finds the routes of records without an explicit hash key; None: it is not to add them itself."""
        routes, router = backend().routes, self._router
        if routes is None:
            return None
        by_shard = type(self._shard_map) is ShardMap and bool(router.fixed)
        ends = [shard.ending_hash_key for shard in self._shard_map.shards] if by_shard and self._shard_map else []
        most = (self._max_user_records or sys.maxsize) - 1  # the last one closes the aggregate
        return routes(router.of_all, router.of_key, ends, list(router.fixed.values()) if by_shard else [], most)

    def _waiting(self, lookahead: int) -> Lookahead:
        limit = self._limits.aggregate_bytes
        return Lookahead(
            per_route=lookahead * limit,
            in_all=self._max_buffered_bytes,
            start=self._start,
            capacity=lambda route: limit - route.outer_size,
            closed=lambda: self._closed,
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
        return self._alone(partial(self._take, partition_key, data, explicit_hash_key, tags))

    _add_in_python = add
    if not TYPE_CHECKING and native != "pure":
        del add  # `Adding` has one, which leaves to this one what is not simple

    def add_all(self, user_records: Iterable[UserRecordLike]) -> Iterator[PackedRecord]:
        """Take each user record of an iterable, lazily. What is still open afterwards waits for `flush`.

        From a list or tuple, up to 16 Kinesis records, or 64 MiB, come out together: checksums are made side by side.
        From any other iterable, each comes out as soon as it is complete. When the iterator is left before its end,
        what has not come out comes with the next call. Raises what `add` raises, and TypeError for no iterable.
        """
        check_user_records(user_records)
        return self._all(user_records, flush=False)

    def _all(self, user_records: Iterable[UserRecordLike], *, flush: bool) -> Iterator[PackedRecord]:
        return Packing(self._groups(user_records, flush=flush), self._keep)

    def _keep(self, packed: list[PackedRecord]) -> None:
        with self._lock:
            self._kept += packed
            del packed[:]  # so that once more does no harm

    def _groups(self, user_records: Iterable[UserRecordLike], *, flush: bool) -> Iterator[list[PackedRecord]]:
        fill = backend().fill
        if fill is None or self._simple is None:
            yield from itertools.starmap(self.add, map(fields_of, user_records))
        else:
            most_together = together(_TOGETHER, self._limits) if isinstance(user_records, list | tuple) else 1
            records = iter(user_records)
            try:
                while taken := fill(records, self._simple):
                    yield self._alone(partial(self._add_any, *fields_of(taken[0])), most_together)
            except Exception:
                yield self._alone(_nothing)  # what was complete before the record that is refused
                raise
        yield self._alone(self._close_all if flush else _nothing)

    def _alone(self, work: Callable[[], None], together: int = 1) -> list[PackedRecord]:
        """Do some work while no other thread does any, and hand out what is complete, if it is so many or more.

        Whatever breaks in, at any moment, leaves all that was taken to the next call.
        """
        out: list[PackedRecord] = []
        try:
            with self._lock:
                try:
                    work()
                except BaseException as error:
                    if not isinstance(error, ShardpackError):
                        self._mend()
                    raise
                if len(self._closed) + len(self._kept) >= together:
                    out = self._complete()
        except BaseException:
            self._keep(out)
            raise
        return out

    def _complete(self) -> list[PackedRecord]:
        complete = self._kept + finished(self._closed, self._build_many, by_key=self._by == "key", lanes=self._lanes)
        self._closed, self._kept = [], []  # no interrupt comes between here and the name that the caller has for it
        return complete

    def _mend(self) -> None:
        """Finish what an interrupt has cut in two: an aggregate is open, or closed, or was never there."""
        closed = {id(one.builder) for one in self._closed}
        for key, route in list(self._open.items()):
            if route.builder is None or id(route.builder) in closed:
                route.close()
                del self._open[key]
        if self._lookahead:
            self._lookahead.mend()
        taken = sum(route.builder.capacity + _AGGREGATE_COST for route in self._open.values() if route.builder)
        self._headroom = self._max_buffered_bytes - taken
        for route in list(self._open.values()):
            self._settle(route)  # nothing more may join what is full

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._lock = RLock()

    def _take(
        self,
        partition_key: str,
        data: BytesLike,
        explicit_hash_key: str | int | None,
        tags: Iterable[tuple[str, str | None]],
    ) -> None:
        # The way of most records: no explicit hash key, and an open aggregate with room.
        if explicit_hash_key is None and not tags and type(data) is bytes:
            try:
                route = self._router.of_all or self._router.of_key[partition_key]
                if route.add(partition_key, data):
                    if self._max_user_records:
                        self._settle(route)
                    return
            except (KeyError, TypeError):  # the first record of a partition key; one that no dict can look up
                pass
        self._add_any(partition_key, data, explicit_hash_key, tags)

    def _add_any(
        self,
        partition_key: str,
        data: BytesLike,
        explicit_hash_key: str | int | None = None,
        tags: Iterable[tuple[str, str | None]] = (),
    ) -> None:
        check_partition_key(partition_key)
        record = UserRecord(
            partition_key,
            check_data(data),
            check_explicit_hash_key(explicit_hash_key),
            check_tags(tags) if tags else (),
        )
        self._add_checked(record)

    def flush(self) -> list[PackedRecord]:
        """Close all open aggregates, and return them in the order in which they were opened."""
        return self._alone(self._close_all)

    def _close_all(self) -> None:
        if self._lookahead:
            self._lookahead.flush()
        for route in list(self._open.values()):
            self._close(route)

    def _add_checked(self, record: UserRecord) -> None:
        route = self._router.route_for(record)
        if self._lookahead:
            self._lookahead.add(route, record)
            return
        if not self._add_to_open(route, record):
            builder = self._start(route, record)  # raises before anything has changed
            if route.builder is not None:
                self._close(route)
            self._open[route.key] = route
            self._headroom -= builder.capacity + _AGGREGATE_COST
            route.open(builder, record)
        self._settle(route)

    def _add_to_open(self, route: Route, record: UserRecord) -> bool:
        """Take the record into the route's open aggregate, if there is one and it fits."""
        builder = route.builder
        if builder is None:
            return False
        capacity = self._limits.aggregate_bytes - route.outer_size
        while not builder.add_any(*record):
            if builder.capacity == capacity:
                return False
            # Memory is counted when an aggregate may grow, not record by record.
            grown = min(capacity, 2 * builder.capacity)
            self._headroom -= grown - builder.capacity
            builder.capacity = grown
        return True

    def _start(self, route: Route, record: UserRecord) -> Builder:
        """A builder that holds the record.

        If the record is too large for an aggregate, nothing more may join it: the capacity is 0. The builder then holds
        nothing if the record goes as it is, or the record if it must be wrapped.
        """
        pin = self._pin(record)
        builder = self._new_builder(self._limits.aggregate_bytes - route.outer_size, pin)
        if builder.add_any(*record):
            if route is not self._router.of_all or _TOGETHER * builder.capacity > self._headroom:  # one of many
                builder.capacity = min(builder.capacity, max(builder.size, _FIRST_CAPACITY))
            return builder
        limit = self._limits.max_record_bytes
        size = len(record.data) + len(record.partition_key.encode())
        if must_wrap(record, self._lanes):
            builder = self._new_builder(sys.maxsize, pin)
            builder.add_any(*record)
            size = builder.size + route.outer_size
        if size > limit:
            raise too_large(record, size, limit)
        builder.capacity = 0
        return builder

    def _pin(self, record: UserRecord) -> str | None:
        """The explicit hash key of all records in the aggregate that a record opens."""
        return effective_hash_key(record) if self._pinned and self._by != "key" else None

    def _settle(self, route: Route) -> None:
        """Close the route if nothing more may join it, and the oldest ones if memory runs short."""
        builder = route.builder
        if builder is not None and (not builder.capacity or builder.count == self._max_user_records):
            self._close(route)
        while self._headroom < 0:
            self._close(next(iter(self._open.values())))

    def _close(self, route: Route) -> None:
        builder, first = route.builder, route.first
        if builder is None or first is None:
            raise AssertionError(f"route {route.key!r} is not open")
        capacity, builder.capacity = builder.capacity, 0  # at first: another thread may have just found it open
        self._closed.append(Closed(route, builder, first))
        route.close()
        del self._open[route.key]
        self._headroom += capacity + _AGGREGATE_COST


def _nothing() -> None:
    pass


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
        TypeError: ``user_records`` is not iterable, or a setting has the wrong type.
    """
    check_user_records(user_records)
    packer = Packer(
        by=by,
        shard_map=shard_map,
        limits=limits,
        hash_keys=hash_keys,
        lanes=lanes,
        max_buffered_bytes=max_buffered_bytes,
        lookahead=lookahead,
    )
    return packer._all(user_records, flush=True)  # noqa: SLF001  # the packer is our own
