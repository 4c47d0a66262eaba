"""What comes out of measuring: plain data."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, Literal, NamedTuple

from ..limits import MIB, SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND
from .strategy import BUFFERED_SECONDS, DEFAULTS, Strategy


@dataclass(frozen=True)
class Spread:
    """How something is spread.

    Attributes:
        mean: of all.
        median: half are at most this.
        p99: all but a hundredth are at most this.
    """

    mean: float
    median: float
    p99: float

    @classmethod
    def of(cls, counts: Mapping[float, int]) -> Spread:
        """Of values and how often each is there; all zeros where there is none."""
        total = sum(counts.values())
        if not total:
            return cls(0.0, 0.0, 0.0)
        mean = sum(value * count for value, count in counts.items()) / total
        return cls(mean, _percentile(counts, total, 0.5), _percentile(counts, total, 0.99))


def _percentile(counts: Mapping[float, int], total: int, part: float) -> float:
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= part * total:
            return value
    raise AssertionError("there are fewer values than were counted")


class Histogram:
    """Values that are not negative, to within 2 %, in little memory."""

    _STEP = math.log(1.04)

    def __init__(self) -> None:
        self._counts: Counter[int | None] = Counter()

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[None if value <= 0 else round(math.log(value) / self._STEP)] += 1

    def add_since(self, moments: Sequence[float], now: float) -> None:
        """Count how long ago each of some moments is, which are in order."""
        at, count = 0, len(moments)
        while at < count:
            value = now - moments[at]
            if value <= 0:
                self._counts[None] += count - at
                return
            step = round(math.log(value) / self._STEP)
            end = bisect_right(moments, now - math.exp((step - 0.5) * self._STEP), at + 1)
            self._counts[step] += end - at
            at = end

    @property
    def spread(self) -> Spread | None:
        """Of all values so far, if there are any."""
        if not self._counts:
            return None
        return Spread.of({0.0 if one is None else math.exp(one * self._STEP): n for one, n in self._counts.items()})


@dataclass(frozen=True)
class Overhead:
    """Bytes for each user record beyond its data.

    Attributes:
        keys: partition keys, in the tables and around.
        explicit_hash_keys: their table, and the indices into it.
        framing: tags, lengths and indices of the protobuf message.
        checksum: magic and MD5.
    """

    keys: float
    explicit_hash_keys: float
    framing: float
    checksum: float

    @property
    def total(self) -> float:
        """All together."""
        return self.keys + self.explicit_hash_keys + self.framing + self.checksum


@dataclass(frozen=True)
class Row:
    """What one strategy makes of the records.

    Attributes:
        strategy: how they were packed.
        user_records: that were packed.
        user_bytes: their data.
        kinesis_records: that came out.
        kinesis_bytes: as Kinesis counts them, partition keys included.
        put_units: PUT payload units of 25 KiB.
        on_demand_bytes: as on-demand mode bills them, each Kinesis record rounded up to 1 KiB.
        requests: ``PutRecords`` calls of at most 500 Kinesis records and 5 MiB.
        request_bytes: of their bodies as JSON: data in base64, keys, and the names around them.
        per_kinesis_record: user records in each Kinesis record.
        fill: bytes used of the limit of aggregates, over all Kinesis records but those in ``alone``.
        overhead: for each user record, and where it goes.
        lower_bound: Kinesis records that the data by itself would need on each route; None where there are too many.
        alone: user records that went alone because they do not fit into an aggregate.
        left_out: user records that were not packed because they do not fit into a Kinesis record.
        shards: needed at the rate; None without one.
        bound_by: which of a shard's budgets needs them: ``"records"`` a second or ``"bytes"``.
        provisioned: dollars a month, with just as many shards.
        on_demand: dollars a month.
        advantage: dollars a month, in on-demand advantage mode.
        closed: aggregates that went out before the input ended: full, or in time.
        wait: seconds that user records wait for their aggregate to be closed; None without a rate, where none was full,
            and with a lookahead.
    """

    strategy: Strategy
    user_records: int
    user_bytes: int
    kinesis_records: int
    kinesis_bytes: int
    put_units: int
    on_demand_bytes: int
    requests: int
    request_bytes: int
    per_kinesis_record: Spread
    fill: float
    overhead: Overhead
    lower_bound: int | None
    alone: int = 0
    left_out: int = 0
    shards: int | None = None
    bound_by: Literal["records", "bytes"] | None = None
    provisioned: float | None = None
    on_demand: float | None = None
    advantage: float | None = None
    closed: int = 0
    wait: Spread | None = None

    @property
    def payload_share(self) -> float:
        """Data of user records in the bytes of Kinesis records."""
        return self.user_bytes / self.kinesis_bytes if self.kinesis_bytes else 0.0

    @property
    def above_bound(self) -> float | None:
        """Kinesis records beyond the lower bound, as a part of it."""
        return self.kinesis_records / self.lower_bound - 1 if self.lower_bound else None


class Point(NamedTuple):
    """What one ``record_max_buffered_time`` gives, of the first user records, with the Producer's other defaults.

    Attributes:
        seconds: the time.
        user_records: in a Kinesis record, the mean.
        median: seconds that a user record waits; None: no aggregate went out before the input ended.
        p99: the same, for all but a hundredth.
        shards: needed.
        provisioned: dollars a month.
        on_demand: dollars a month.
        advantage: dollars a month.
    """

    seconds: float
    user_records: float
    median: float | None
    p99: float | None
    shards: int
    provisioned: float
    on_demand: float
    advantage: float


class Growth(NamedTuple):
    """What more traffic of the same kind would need, within the same latency.

    Attributes:
        factor: times the rate.
        shards: needed with aggregates, as in `Point`.
        provisioned: dollars a month.
        on_demand: dollars a month.
        advantage: dollars a month.
        plain_shards: needed without aggregation.
        plain_provisioned: dollars a month, without aggregation.
    """

    factor: int
    shards: int
    provisioned: float
    on_demand: float
    advantage: float
    plain_shards: int
    plain_provisioned: float


class Sampling(NamedTuple):
    """That only a part of a large input was packed.

    Attributes:
        records: lines that were packed.
        of: lines in the input.
        blocks: of lines, spread evenly.
        error: how far the bytes, and so dollars, may be off: a part, which 95 of 100 samples keep.
    """

    records: int
    of: int
    blocks: int
    error: float


@dataclass(frozen=True)
class Measurement:
    """All that was measured.

    Attributes:
        rows: one for each strategy, in the order in which they were given; those of peers follow.
        rate: user records a second; None: none was given, and the records have no timestamps.
        record_max_buffered_time: seconds after which an aggregate goes out though it is not full; None: never.
        prices: the source of the prices.
        curve: of the first 30,000 user records; empty without a rate.
        latency: seconds that a user record may wait in what is recommended.
        growth: with 1, 2 and 10 times the traffic; empty without a rate.
        sampling: what part of the input was packed; None: all.
    """

    rows: tuple[Row, ...]
    rate: float | None
    record_max_buffered_time: float | None
    prices: str
    curve: tuple[Point, ...] = ()
    latency: float = 1.0
    growth: tuple[Growth, ...] = ()
    sampling: Sampling | None = None

    @property
    def defaults(self) -> Row | None:
        """What the Producer does by its defaults, if that was measured."""
        return next((row for row in self.rows if row.strategy.name == DEFAULTS), None)

    @property
    def recommended(self) -> Row:
        """Of the safe ones up to 1 MiB within the latency, nearly the cheapest: keys at home, then a short wait."""
        safe = [row for row in self.rows if row.strategy.by != "key" and row.strategy.record_limit <= MIB] or self.rows
        timely = [row for row in safe if row.wait is not None and row.wait.p99 <= self.latency * _ABOUT]
        if self.rate is None or all(row.strategy.limits is None for row in timely):
            timely = list(safe)  # nobody knows how long, or nothing fills in time: then the producer's time ends it
        cheap = [row for row in timely if _cost(row) <= _NEARLY * min(map(_cost, timely))]
        return min(cheap, key=self._rank)

    def _rank(self, row: Row) -> tuple[float, ...]:
        kept = (row.strategy.by != "shard", row.strategy.hash_keys != "pinned")
        if self.rate is None:
            return (*kept, row.kinesis_records, row.kinesis_bytes)
        return (*kept, row.wait.p99 if row.wait else inf, row.kinesis_records, row.kinesis_bytes)

    @property
    def headline(self) -> list[str]:
        """What to know first, in a few sentences."""
        texts = []
        plain, row = self.rows[0], self.defaults
        if row is not None and row.provisioned is not None and plain.provisioned is not None:
            texts.append(
                f"With the Producer's defaults: from ${plain.provisioned:,.0f} to ${row.provisioned:,.0f} a month"
                f" provisioned, from ${plain.on_demand or 0:,.0f} to ${row.on_demand or 0:,.0f} on demand;"
                f" {row.per_kinesis_record.mean:,.0f} user records in a Kinesis record, which wait for"
                f" {BUFFERED_SECONDS:g} s at most."
            )
        within = "" if self.rate is None else f"If records can wait for {self.latency:g} s: "
        return [*texts, within + self.reason]

    @property
    def reason(self) -> str:
        """Why the recommended one, in a sentence."""
        best, plain = self.recommended, self.rows[0]
        fewer = plain.kinesis_records / best.kinesis_records if best.kinesis_records else 1.0
        text = f"{best.strategy.name}: {fewer:,.0f} times fewer Kinesis records than {plain.strategy.name}"
        if plain.provisioned is not None and best.provisioned is not None:
            text += f", ${best.provisioned:,.0f} a month in place of ${plain.provisioned:,.0f}"
        order = {"any": "partition keys may spread over all shards", "shard": "every key stays on its shard"}
        text += f"; {order.get(best.strategy.by, 'each key has aggregates of its own')}"
        if best.wait is not None and best.wait.p99 > self.latency * _ABOUT:
            text += (
                f"; it takes up to {best.wait.p99:,.1f} s to fill one (p99), unless record_max_buffered_time ends it"
            )
        return f"{text}."

    @property
    def routing(self) -> str | None:
        """Whether ``route="any"`` or a longer wait pays, where the traffic does not fill an aggregate of each shard."""
        rows = {row.strategy.by: row for row in self.rows if row.strategy.name in ("KPL size, shard", "KPL size, any")}
        if self.rate is None or len(rows) < 2 or rows["shard"].strategy.shards == 1:
            return None
        home, free = rows["shard"], rows["any"]
        each, most = home.per_kinesis_record.mean, free.per_kinesis_record.mean
        if most < _PAYS * each or home.provisioned is None or free.provisioned is None:
            return None
        text = (
            f'{home.strategy.shards:,} shards share the traffic, so route="shard" puts {each:,.0f} user records in a'
            f' Kinesis record, and route="any" {most:,.0f} (${free.provisioned:,.0f} a month in place of'
            f" ${home.provisioned:,.0f} provisioned, ${free.on_demand or 0:,.0f} in place of"
            f' ${home.on_demand or 0:,.0f} on demand). With "any", the records of a key lie on all shards.'
        )
        longer = [one.seconds for one in self.curve if one.user_records * _PAYS >= most]
        if longer:
            text += f' With "shard", a record_max_buffered_time of {min(longer):g} s does nearly as much.'
        return text

    @property
    def notes(self) -> list[str]:
        """What the numbers do not say: which part was packed, what went alone or was left out, what filled nothing."""
        alone = [(row.strategy.limit, row.alone, row.strategy.name) for row in self.rows]
        left_out = [(row.strategy.record_limit, row.left_out, row.strategy.name) for row in self.rows]
        texts = {"Sent alone, too large for an aggregate": alone, "Left out, too large for a Kinesis record": left_out}
        notes = [f"{text}: {_by_limit(counts)}." for text, counts in texts.items() if any(one[1] for one in counts)]
        small = [
            row.strategy.name for row in self.rows if row.strategy.limits and row.kinesis_records and not row.closed
        ]
        if small:
            notes.append(f"The input is too small to fill one aggregate of: {'; '.join(small)}.")
        if self.sampling is not None:
            part = self.sampling
            notes.append(
                f"Packed {part.records:,} of {part.of:,} lines, {part.blocks} blocks spread over the input. Bytes and"
                f" dollars are within {max(part.error, 0.0005):.1%} of those of the whole (19 of 20 times); --exact"
                " packs all."
            )
        return notes

    def as_dict(self) -> dict[str, Any]:
        """Everything as what JSON has."""
        told = asdict(self)
        for row, one in zip(self.rows, told["rows"], strict=True):
            one.update(payload_share=row.payload_share, above_bound=row.above_bound)
            one["producer_config"] = row.strategy.producer_config(self.record_max_buffered_time)
            if (limits := row.strategy.limits) is not None:
                one["strategy"]["limits"] = {name: getattr(limits, name) for name in limits.__match_args__}
            one["overhead"]["total"] = row.overhead.total
        told["curve"] = [point._asdict() for point in self.curve]
        told["growth"] = [one._asdict() for one in self.growth]
        told["sampling"] = self.sampling and self.sampling._asdict()
        more = {"headline": self.headline, "routing": self.routing, "notes": self.notes}
        return told | {"recommended": self.recommended.strategy.name, "reason": self.reason} | more


_PAYS = 1.25  # times as many user records in a Kinesis record
_ABOUT = 1.05  # waits are kept to within 2 %
_NEARLY = 1.05


def _by_limit(rows: Sequence[tuple[int, int, str]]) -> str:
    """What most rows with a limit say, and by name those that say something else."""
    found = []
    for limit in sorted({limit for limit, *_ in rows}):
        names: dict[int, list[str]] = {}
        for _, count, name in [row for row in rows if row[0] == limit]:
            names.setdefault(count, []).append(name)
        usual = max(names, key=lambda count: len(names[count]))
        for count in sorted(count for count in names if count):
            text = f"{count:,} user {'record' if count == 1 else 'records'} at {limit:,} bytes"
            found.append(text if count == usual else f"{text} ({'; '.join(names[count])})")
    return ", ".join(found)


def _cost(row: Row) -> float:
    """Dollars, or without a rate what decides them: seconds of a shard's budget."""
    if row.provisioned is not None:
        return row.provisioned
    return max(row.kinesis_records / SHARD_RECORDS_PER_SECOND, row.kinesis_bytes / SHARD_BYTES_PER_SECOND)
