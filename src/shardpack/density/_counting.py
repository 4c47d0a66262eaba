"""What comes out of a strategy, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from math import ceil
from typing import NamedTuple, Protocol, TypeAlias

from ..limits import (
    DEFAULT_REQUEST_BYTES,
    MAX_REQUEST_RECORDS,
    PUT_PAYLOAD_UNIT_BYTES,
    SHARD_BYTES_PER_SECOND,
    SHARD_RECORDS_PER_SECOND,
)
from ..records import PackedRecord, UserRecord
from ._parts import NOTHING, parts
from .prices import ON_DEMAND_STEP_BYTES, Prices
from .rows import Overhead, Point, Row, Spread
from .strategy import Strategy

_MOST_ROUTES = 100_000  # whose bytes are counted one by one for the lower bound
_ENTRY_JSON_BYTES = len('{"Data":"","PartitionKey":""},')
_HASH_KEY_JSON_BYTES = len(',"ExplicitHashKey":""')
_REQUEST_JSON_BYTES = len('{"Records":[],"StreamName":""}') + 20  # of the stream's name

Timestamped: TypeAlias = tuple[UserRecord, float]
Takes: TypeAlias = Callable[[UserRecord], bool]


class Batch(list[Timestamped]):
    """User records with their times, and what several strategies ask of them: it is looked for once."""

    @cached_property
    def records(self) -> list[UserRecord]:
        """Without their times."""
        return [record for record, _ in self]

    @cached_property
    def times(self) -> list[float]:
        """In order, because they are those of a clock."""
        return [moment for _, moment in self]

    @cached_property
    def largest(self) -> int:
        """Bytes of the largest data."""
        return max([len(record.data) for record in self.records], default=0)

    @cached_property
    def user_bytes(self) -> int:
        """Bytes of all data."""
        return sum([len(record.data) for record in self.records])

    @cached_property
    def has_tags(self) -> bool:
        """Whether a user record has some."""
        return any(record.tags for record in self.records)

    @cached_property
    def has_hash_keys(self) -> bool:
        """Whether a user record has an explicit hash key."""
        return any(record.explicit_hash_key is not None for record in self.records)

    @cached_property
    def _by_home(self) -> dict[int, dict[str, Batch]]:
        return {}

    def by_home(self, homes: Mapping[str, str]) -> dict[str, Batch]:
        """Divided by the shards of their partition keys."""
        found = self._by_home.get(id(homes))  # strategies with the same shards have the same one
        if found is None:
            found = self._by_home[id(homes)] = {}
            for one in self:
                home = homes[one[0].partition_key]
                if home in found:
                    found[home].append(one)
                else:
                    found[home] = Batch([one])
        return found


class Packing(Protocol):
    """Something that packs."""

    def add_all(self, batch: Batch) -> Iterator[PackedRecord]:
        """Take records; what is complete."""

    def flush(self) -> Iterable[PackedRecord]:
        """What is left."""

    @property
    def wait(self) -> Spread | None:
        """Seconds that records waited for their aggregate; None: not known."""


class Needs(NamedTuple):
    """What a stream of so many records a second needs, and costs a month."""

    shards: int
    is_bound_by_records: bool
    provisioned: float
    on_demand: float
    advantage: float


class Counted:
    """What comes out of one strategy, counted; `takes` says which user records fit."""

    def __init__(self, strategy: Strategy, packing: Packing, takes: Takes) -> None:
        self._strategy = strategy
        self._packing = packing
        self._takes = takes
        self._most_surely = strategy.surely_taken if takes == strategy.takes else 0
        self._limit = strategy.limit
        self._closed = 0
        self._left_out = self._alone = self._alone_bytes = self._certainly_alone = 0
        self._user_records = self._user_bytes = 0
        self._kinesis_records = self._kinesis_bytes = self._put_units = self._on_demand_bytes = 0
        self._requests = self._request_bytes = self._in_request = self._in_request_bytes = 0
        self._counts: Counter[float] = Counter()
        self._keys = self._explicit = self._checksum = 0
        self._route_bytes: Counter[str] | None = Counter()
        self._homes = strategy.homes
        self._is_pinned = strategy.hash_keys == "pinned" and strategy.by != "key"

    def add(self, batch: Batch) -> None:
        """Pack a batch, and count what is complete."""
        if batch.has_tags or batch.largest > self._most_surely:
            fitting = Batch([timestamped for timestamped in batch if self._takes(timestamped[0])])
            self._left_out += len(batch) - len(fitting)
            batch = fitting
        self._user_records += len(batch)
        self._user_bytes += batch.user_bytes
        if self._route_bytes is not None:
            self._count_routes(batch, self._route_bytes)
        for packed in self._packing.add_all(batch):
            self._count(packed)

    def _count_routes(self, batch: Batch, route_bytes: Counter[str]) -> None:
        by, homes, limit = self._strategy.by, self._homes, self._limit
        if batch.largest <= limit and by != "key":
            parts_of = batch.by_home(homes) if by == "shard" else {"": batch}
            for home, part in parts_of.items():
                route_bytes[home] += part.user_bytes
        else:
            for record in batch.records:
                size = len(record.data)
                if size > limit:
                    self._certainly_alone += 1
                else:
                    key = record.partition_key
                    route_bytes["" if by == "any" else homes[key] if by == "shard" else key] += size
        if len(route_bytes) > _MOST_ROUTES:
            self._route_bytes = None

    def _count(self, packed: PackedRecord) -> None:
        size = packed.size
        self._kinesis_records += 1
        if size > self._limit:
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
        found = NOTHING if self._strategy.limits is None else parts(packed, is_pinned=self._is_pinned)
        self._keys += found.keys + size - len(packed.data)
        self._explicit += found.explicit_hash_keys
        self._checksum += found.checksum

    def end(self) -> None:
        """Pack what is left."""
        self._closed = self._kinesis_records
        for packed in self._packing.flush():
            self._count(packed)

    def point(self, seconds: float, rate: float, prices: Prices) -> Point:
        """Of the curve, after `end`."""
        wait, needs = self._packing.wait, self.needs(rate, prices)
        median, p99 = (wait.median, wait.p99) if wait else (None, None)
        return Point(seconds, Spread.of(self._counts).mean, median, p99, needs.shards, *needs[2:])

    def needs(self, rate: float, prices: Prices) -> Needs:
        """At so many user records a second, those that were left out among them."""
        factor = rate / (self._user_records + self._left_out or 1)
        by_records = self._kinesis_records * factor / SHARD_RECORDS_PER_SECOND
        by_bytes = self._kinesis_bytes * factor / SHARD_BYTES_PER_SECOND
        shards = max(1, ceil(max(by_records, by_bytes)))
        billed = self._on_demand_bytes * factor
        provisioned = prices.provisioned(shards, self._put_units * factor)
        return Needs(shards, by_records > by_bytes, provisioned, prices.on_demand(billed), prices.advantage(billed))

    def row(self, rate: float | None, prices: Prices) -> Row:
        """After `end`."""
        count = self._user_records or 1
        aggregates, in_them = self._kinesis_records - self._alone, self._kinesis_bytes - self._alone_bytes
        framing = self._kinesis_bytes - self._user_bytes - self._keys - self._explicit - self._checksum
        limit = self._limit
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
            closed=self._closed,
        )
        if rate is None:
            return row
        needs = self.needs(rate, prices)
        return replace(
            row,
            shards=needs.shards,
            bound_by="records" if needs.is_bound_by_records else "bytes",
            provisioned=needs.provisioned,
            on_demand=needs.on_demand,
            advantage=needs.advantage,
            wait=self._packing.wait,
        )
