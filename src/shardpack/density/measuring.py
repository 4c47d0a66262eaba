"""Pack with every strategy, and count what comes out. One pass; memory does not grow with the input."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import inf
from typing import Protocol, TypeAlias, cast

from ..limits import Limits, check_callable, check_iterable, check_number, check_type, shown
from ..packing.packer import Packer
from ..records import PackedRecord, UserRecord, UserRecordLike, check_user_record
from ._counting import Batch, Counted, Packing, Timestamped
from ._timed import Timed
from .prices import Prices
from .rows import Growth, Measurement, Spread
from .strategy import PLAIN, Strategy, usual_strategies

_BATCH = 1000
_LEAST, _MOST = 1e-6, 1e12
_CURVE_RECORDS = 30_000  # the curve is made of the first ones: eight packers more take their time
_CURVE_SECONDS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_FACTORS = (1, 2, 10)

Clocked: TypeAlias = Iterable[tuple[UserRecordLike, float]]


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
    latency: float = 1.0,
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
        latency: seconds that a record may wait in what is recommended.
        peers: other packers, whose rows follow; see `peers.AwsKinesisAgg`.
        progress: called with the number of records measured so far, now and then.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument has the wrong type.
        InvalidRecordError: as `Packer.add`.
    """
    _check(rate=rate, record_max_buffered_time=record_max_buffered_time, latency=latency)
    check_iterable("records", records, "user records")
    check_type("prices", prices or Prices(), Prices, "Prices(...), or None for the usual ones")
    if progress is not None:
        check_callable("progress", progress, "a function that takes a number, or None")
    strategies = _checked(strategies, peers)
    if record_max_buffered_time is not None and rate is None and not timestamps:
        raise ValueError("record_max_buffered_time needs the rate, or records with timestamps")
    has_time = rate is not None or bool(timestamps)
    counters = [
        *(Counted(one, _packing(one, has_time, record_max_buffered_time), one.takes) for one in strategies),
        *(Counted(peer.strategy, peer, peer.takes) for peer in peers),
    ]
    curve = _Curve(strategies, latency) if has_time else None
    clock = _Clock(rate)
    source = _clocked(cast("Clocked", records)) if timestamps else clock.told(cast("Iterable[UserRecordLike]", records))
    _count_all(source, counters, curve, clock, progress)
    rate = rate if rate is not None else clock.rate
    prices = prices or Prices()
    rows = tuple(counter.row(rate, prices) for counter in counters)
    measured = Measurement(rows, rate, record_max_buffered_time, prices.source, latency=latency)
    return measured if curve is None or rate is None else curve.told(measured, rate, prices)


def _checked(strategies: Sequence[Strategy] | None, peers: Sequence[Peer]) -> tuple[Strategy, ...]:
    """The strategies, or the usual ones; of the peers, that they can be compared with."""
    check_iterable("peers", peers, "packers to compare with, such as AwsKinesisAgg")
    for peer in peers:
        check_type("the strategy of a peer", getattr(peer, "strategy", None), Strategy, "peers that have a Strategy")
    if strategies is not None:
        check_iterable("strategies", strategies, "Strategy objects, or None for the usual ones")
    chosen = tuple(usual_strategies() if strategies is None else strategies)
    for strategy in chosen:
        check_type("a strategy", strategy, Strategy, "Strategy objects")
    if not chosen:
        raise ValueError("strategies is empty; give at least one Strategy")
    return chosen


def _count_all(
    source: Iterator[Timestamped],
    counters: Sequence[Counted],
    curve: _Curve | None,
    clock: _Clock,
    progress: Callable[[int], None] | None,
) -> None:
    """One pass over the user records."""
    count = 0
    while batch := Batch(islice(source, _BATCH)):
        for counter in counters:
            counter.add(batch)
        if curve is not None and count < _CURVE_RECORDS:
            curve.add(batch)
        count += len(batch)
        clock.see(batch)
        if progress is not None:
            progress(count)
    for counter in counters:
        counter.end()


class _Curve:
    """What the Producer does with more or less time, and so with more or less traffic.

    To wait twice as long, or to have twice the traffic, fills aggregates alike.
    """

    def __init__(self, strategies: Sequence[Strategy], latency: float) -> None:
        home = [one for one in strategies if one.by == "shard" and one.lanes == 1]
        strategy = replace(home[0], seconds=None) if home else Strategy("KPL size, any", Limits.kpl())
        times = sorted({*_CURVE_SECONDS, *(latency * factor for factor in _FACTORS)})
        self._latency = latency
        self._plain = Counted(PLAIN, _Plain(), PLAIN.takes)
        self._counted = {one: Counted(strategy, Timed(strategy, one), strategy.takes) for one in times}

    def add(self, batch: Batch) -> None:
        for counted in (self._plain, *self._counted.values()):
            counted.add(batch)

    def told(self, measured: Measurement, rate: float, prices: Prices) -> Measurement:
        """With the curve, and with what growth needs."""
        for counted in self._counted.values():
            counted.end()
        shown_times = (*_CURVE_SECONDS, self._latency)
        curve = [one.point(seconds, rate, prices) for seconds, one in self._counted.items() if seconds in shown_times]
        growth = []
        for factor in _FACTORS:
            needs = self._counted[self._latency * factor].needs(rate * factor, prices)
            plain = self._plain.needs(rate * factor, prices)
            growth.append(Growth(factor, needs.shards, *needs[2:], plain.shards, plain.provisioned))
        return replace(measured, curve=tuple(curve), growth=tuple(growth))


def _check(**numbers: float | None) -> None:
    for name, value in numbers.items():
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


def _packing(strategy: Strategy, timed: bool, seconds: float | None) -> Packing:
    if strategy.limits is None:
        return _Plain()
    seconds = seconds if strategy.seconds is None else strategy.seconds
    # With a lookahead, records do not go out in the order in which they came: how long each waits is not followed.
    return Timed(strategy, seconds) if timed and not strategy.lookahead else _Untimed(Packer(**strategy.arguments))


class _Plain:
    """Without aggregation."""

    def add_all(self, batch: Batch) -> Iterator[PackedRecord]:
        for record in batch.records:
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

    def add_all(self, batch: Batch) -> Iterator[PackedRecord]:
        return self._packer.add_all(batch.records)

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

    def see(self, batch: Batch) -> None:
        self._first = min(self._first, batch[0][1])
        self._last = max(self._last, batch[-1][1])
        self._count += len(batch)

    @property
    def rate(self) -> float | None:
        """Of the timestamps."""
        seconds = self._last - self._first
        return self._count / seconds if seconds >= _LEAST else None
