"""Pack with every strategy, and count what comes out. One pass; memory does not grow with the input."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import ceil, inf
from typing import Protocol, TypeAlias, cast

from ..limits import (
    DEFAULT_REQUEST_BYTES,
    MAX_REQUEST_RECORDS,
    PUT_PAYLOAD_UNIT_BYTES,
    SHARD_BYTES_PER_SECOND,
    SHARD_RECORDS_PER_SECOND,
    Limits,
    check_callable,
    check_iterable,
    check_number,
    check_type,
    shown,
)
from ..packing.packer import Packer
from ..records import PackedRecord, UserRecord, UserRecordLike, check_user_record
from ._parts import parts
from ._timed import Timed
from .prices import ON_DEMAND_STEP_BYTES, Prices
from .rows import Measurement, Overhead, Row, Spread
from .strategy import Strategy, usual_strategies

_BATCH = 1000
_LEAST, _MOST = 1e-6, 1e12
_MOST_ROUTES = 100_000  # whose bytes are counted one by one for the lower bound
_CURVE_RECORDS = 200_000  # the curve is made of the first ones: seven packers more take their time
_CURVE_SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_ENTRY_JSON_BYTES = len('{"Data":"","PartitionKey":""},')
_HASH_KEY_JSON_BYTES = len(',"ExplicitHashKey":""')
_REQUEST_JSON_BYTES = len('{"Records":[],"StreamName":""}') + 20  # of the stream's name

_CURVE = Strategy("1 MiB, any", Limits())

Clocked: TypeAlias = Iterable[tuple[UserRecordLike, float]]
Timestamped: TypeAlias = tuple[UserRecord, float]


class Packing(Protocol):
    """Something that packs."""

    def add_all(self, batch: list[Timestamped]) -> Iterator[PackedRecord]:
        """Take records; what is complete."""

    def flush(self) -> Iterable[PackedRecord]:
        """What is left."""

    @property
    def wait(self) -> Spread | None:
        """Seconds that records waited for their aggregate; None: not known."""


class Peer(Packing, Protocol):
    """Another packer."""

    @property
    def strategy(self) -> Strategy:
        """What comes closest to what it does, under its own name."""

    def takes(self, record: UserRecord) -> bool:
        """Whether it packs a user record so large; those that it does not are left out of its row."""


def measure(
    records: Iterable[UserRecordLike] | Clocked,
    strategies: Sequence[Strategy] | None = None,
    *,
    rate: float | None = None,
    timestamps: bool = False,
    record_max_buffered_time: float | None = None,
    prices: Prices | None = None,
    peers: Sequence[Peer] = (),
    progress: Callable[[int], None] | None = None,
) -> Measurement:
    """Pack user records with every strategy, and count.

    A user record that a strategy's aggregates do not hold goes alone; one that its Kinesis records do not hold is left
    out of its row. Both are counted there.

    Args:
        records: user records as `pack` takes them; with ``timestamps``, pairs of one and its time in seconds.
        strategies: default: `usual_strategies`. The first is what the others are compared with.
        rate: user records a second; needed for shards, costs and waiting times, where there are no timestamps.
        timestamps: records come with theirs; the rate is theirs, too, unless one is given.
        record_max_buffered_time: seconds after which an aggregate goes out though it is not full, as in the producer;
            None: only full ones go out, and the last.
        prices: default: see `Prices`.
        peers: other packers, whose rows follow; see `peers.AwsKinesisAgg`.
        progress: called with the number of records measured so far, now and then.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument has the wrong type.
        InvalidRecordError: as `Packer.add`.
    """
    _check(rate, record_max_buffered_time)
    check_iterable("records", records, "user records")
    check_type("prices", prices or Prices(), Prices, "Prices(...), or None for the usual ones")
    check_iterable("peers", peers, "packers to compare with, such as AwsKinesisAgg")
    if progress is not None:
        check_callable("progress", progress, "a function that takes a number, or None")
    for peer in peers:
        check_type("the strategy of a peer", getattr(peer, "strategy", None), Strategy, "peers that have a Strategy")
    if strategies is not None:
        check_iterable("strategies", strategies, "Strategy objects, or None for the usual ones")
    strategies = tuple(usual_strategies() if strategies is None else strategies)
    for strategy in strategies:
        check_type("a strategy", strategy, Strategy, "Strategy objects")
    if not strategies:
        raise ValueError("strategies is empty; give at least one Strategy")
    if record_max_buffered_time is not None and rate is None and not timestamps:
        raise ValueError("record_max_buffered_time needs the rate, or records with timestamps")
    has_time = rate is not None or bool(timestamps)
    counters = [
        *(_Counter(one, _packing(one, timed=has_time, seconds=record_max_buffered_time), one) for one in strategies),
        *(_Counter(peer.strategy, peer, peer) for peer in peers),
    ]
    curve = [_Counter(_CURVE, Timed(_CURVE, seconds), _CURVE) for seconds in (_CURVE_SECONDS if has_time else ())]
    clock = _Clock(rate)
    count = 0
    source = _clocked(cast("Clocked", records)) if timestamps else clock.told(cast("Iterable[UserRecordLike]", records))
    while batch := list(islice(source, _BATCH)):
        for counter in (*counters, *(curve if count < _CURVE_RECORDS else ())):
            counter.add(batch)
        count += len(batch)
        clock.see(batch)
        if progress is not None:
            progress(count)
    rate = rate if rate is not None else clock.rate
    costs = prices or Prices()
    rows = tuple(counter.row(rate, costs) for counter in counters)
    return Measurement(
        rows,
        rate,
        record_max_buffered_time,
        costs.source,
        tuple((seconds, *counter.point()) for seconds, counter in zip(_CURVE_SECONDS, curve, strict=False)),
    )


def _check(rate: float | None, record_max_buffered_time: float | None) -> None:
    for name, value in (("rate", rate), ("record_max_buffered_time", record_max_buffered_time)):
        # Beyond these limits, sums would be too large for a number.
        if value is not None and not (isinstance(value, int | float) and _LEAST <= value <= _MOST):
            raise ValueError(f"{name} is {shown(value)}; give a number above 0, from {_LEAST:g} to {_MOST:g}")


def _clocked(records: Clocked) -> Iterator[Timestamped]:
    latest = -inf
    for pair in records:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"{shown(pair)} is no pair of a user record and its time; with timestamps=True give such")
        record, moment = pair
        check_number("the time of a user record", moment)
        latest = max(latest, float(moment))  # lines of a log may be a little out of order
        yield check_user_record(record), latest


def _packing(strategy: Strategy, *, timed: bool, seconds: float | None) -> Packing:
    if strategy.limits is None:
        return _Plain()
    # With a lookahead, records do not go out in the order in which they came: how long each waits is not followed.
    return Timed(strategy, seconds) if timed and not strategy.lookahead else _Untimed(Packer(**strategy.arguments))


class _Plain:
    """Without aggregation."""

    def add_all(self, batch: list[Timestamped]) -> Iterator[PackedRecord]:
        for record, _ in batch:
            yield PackedRecord(record.data, record.partition_key, record.explicit_hash_key, 1)

    def flush(self) -> Iterable[PackedRecord]:
        return ()

    @property
    def wait(self) -> Spread | None:
        return Spread(0.0, 0.0, 0.0)


class _Untimed:
    """A packer that waits for as long as it takes."""

    def __init__(self, packer: Packer) -> None:
        self._packer = packer

    def add_all(self, batch: list[Timestamped]) -> Iterator[PackedRecord]:
        return self._packer.add_all([record for record, _ in batch])

    def flush(self) -> Iterable[PackedRecord]:
        return self._packer.flush()

    @property
    def wait(self) -> Spread | None:
        return None


class _Clock:
    """When records come: by their timestamps, or at random at a rate (a Poisson process, the same each time)."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._random = random.Random(0)  # no secret
        self._first = inf
        self._last = -inf
        self._count = 0

    def told(self, records: Iterable[UserRecordLike]) -> Iterator[Timestamped]:
        now = 0.0
        for record in records:
            if self._rate is not None:
                now += self._random.expovariate(self._rate)
            yield check_user_record(record), now

    def see(self, batch: list[Timestamped]) -> None:
        self._first = min(self._first, batch[0][1])
        self._last = max(self._last, batch[-1][1])
        self._count += len(batch)

    @property
    def rate(self) -> float | None:
        """Of the timestamps."""
        seconds = self._last - self._first
        return self._count / seconds if seconds >= _LEAST else None


class _Counter:
    """What comes out of one strategy, counted; `taking` says which user records fit."""

    def __init__(self, strategy: Strategy, packing: Packing, taking: Strategy | Peer) -> None:
        self._strategy = strategy
        self._packing = packing
        self._takes = taking.takes
        self._left_out = self._alone = self._alone_bytes = self._certainly_alone = 0
        self._user_records = self._user_bytes = 0
        self._kinesis_records = self._kinesis_bytes = self._put_units = self._on_demand_bytes = 0
        self._requests = self._request_bytes = self._in_request = self._in_request_bytes = 0
        self._counts: Counter[float] = Counter()
        self._keys = self._explicit = self._checksum = 0
        self._route_bytes: Counter[str] | None = Counter()
        self._shard_map = strategy.shard_map
        self._is_pinned = strategy.hash_keys == "pinned" and strategy.by != "key"

    def add(self, batch: list[Timestamped]) -> None:
        fitting = [timestamped for timestamped in batch if self._takes(timestamped[0])]
        self._left_out += len(batch) - len(fitting)
        for record, _ in fitting:
            self._user_records += 1
            self._user_bytes += len(record.data)
            if self._route_bytes is not None:
                self._count_route(record, self._route_bytes)
        for packed in self._packing.add_all(fitting):
            self._count(packed)

    def _count_route(self, record: UserRecord, route_bytes: Counter[str]) -> None:
        if len(record.data) > self._strategy.limit:
            self._certainly_alone += 1
            return
        route = ""
        if self._strategy.by == "key":
            route = record.partition_key
        elif self._shard_map:
            route = self._shard_map.shard_for_partition_key(record.partition_key).shard_id
        route_bytes[route] += len(record.data)
        if len(route_bytes) > _MOST_ROUTES:
            self._route_bytes = None

    def _count(self, packed: PackedRecord) -> None:
        size = packed.size
        self._kinesis_records += 1
        if size > self._strategy.limit:
            self._alone += 1
            self._alone_bytes += size
        self._kinesis_bytes += size
        self._put_units += max(1, -(-size // PUT_PAYLOAD_UNIT_BYTES))
        self._on_demand_bytes += max(1, -(-size // ON_DEMAND_STEP_BYTES)) * ON_DEMAND_STEP_BYTES
        self._counts[packed.user_record_count] += 1
        if self._in_request == MAX_REQUEST_RECORDS or self._in_request_bytes + size > DEFAULT_REQUEST_BYTES:
            self._in_request = self._in_request_bytes = 0
        if not self._in_request:
            self._requests += 1
            self._request_bytes += _REQUEST_JSON_BYTES
        self._in_request += 1
        self._in_request_bytes += size
        hash_key = packed.explicit_hash_key
        self._request_bytes += 4 * -(-len(packed.data) // 3) + len(packed.partition_key) + _ENTRY_JSON_BYTES
        self._request_bytes += _HASH_KEY_JSON_BYTES + len(hash_key) if hash_key is not None else 0
        found = parts(packed, is_pinned=self._is_pinned)
        self._keys += found.keys + size - len(packed.data)
        self._explicit += found.explicit_hash_keys
        self._checksum += found.checksum

    def _end(self) -> None:
        for packed in self._packing.flush():
            self._count(packed)

    def point(self) -> tuple[float, float, float]:
        """Of the curve: mean of user records in a Kinesis record, median and p99 of waiting."""
        self._end()
        wait = self._packing.wait or Spread(0.0, 0.0, 0.0)
        return Spread.of(self._counts).mean, wait.median, wait.p99

    def row(self, rate: float | None, prices: Prices) -> Row:
        self._end()
        count, all_records = self._user_records or 1, self._user_records + self._left_out or 1
        aggregates, in_them = self._kinesis_records - self._alone, self._kinesis_bytes - self._alone_bytes
        framing = self._kinesis_bytes - self._user_bytes - self._keys - self._explicit - self._checksum
        limit = self._strategy.limit
        bound = None
        if self._route_bytes is not None:
            bound = self._certainly_alone + sum(-(-size // limit) for size in self._route_bytes.values())
        row = Row(
            strategy=self._strategy,
            user_records=self._user_records,
            user_bytes=self._user_bytes,
            kinesis_records=self._kinesis_records,
            kinesis_bytes=self._kinesis_bytes,
            put_units=self._put_units,
            on_demand_bytes=self._on_demand_bytes,
            requests=self._requests,
            request_bytes=self._request_bytes,
            per_kinesis_record=Spread.of(self._counts),
            fill=in_them / (limit * aggregates) if aggregates else 0.0,
            overhead=Overhead(self._keys / count, self._explicit / count, framing / count, self._checksum / count),
            lower_bound=bound,
            alone=self._alone,
            left_out=self._left_out,
        )
        return row if rate is None else self._at_rate(row, rate / all_records, prices)

    def _at_rate(self, row: Row, factor: float, prices: Prices) -> Row:
        """With what depends on time; `factor` makes a number of this input one a second."""
        by_records = row.kinesis_records * factor / SHARD_RECORDS_PER_SECOND
        by_bytes = row.kinesis_bytes * factor / SHARD_BYTES_PER_SECOND
        shards = max(1, ceil(max(by_records, by_bytes)))
        return replace(
            row,
            shards=shards,
            bound_by="records" if by_records > by_bytes else "bytes",
            provisioned=prices.provisioned(shards, row.put_units * factor),
            on_demand=prices.on_demand(row.on_demand_bytes * factor),
            wait=self._packing.wait,
        )
