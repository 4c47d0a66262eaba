"""A stream in memory: hash ranges, sequence numbers, resharding, and each shard's budget. No botocore, no calls."""

from __future__ import annotations

import itertools
import random
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..hashing import md5_hash_key
from ..limits import KIB, MAX_HASH_KEY, SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND
from ._service import THROTTLED, ServiceError, whole_milliseconds

ACCOUNT = "123456789012"
RETENTION_HOURS = 24
ON_DEMAND_SHARDS = 4  # what a new on-demand stream starts with ("Choose the data stream capacity mode")
_ROUNDING = 1e-6  # a producer that waits exactly as long as it must is not to fail by a rounding error


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A Kinesis record in a shard."""

    number: int
    arrival: float
    data: bytes
    partition_key: str | None
    explicit_hash_key: str | None

    @property
    def size(self) -> int:
        return len(self.data) + len((self.partition_key or "").encode())

    def as_boto3(self) -> dict[str, Any]:
        record: dict[str, Any] = {
            "SequenceNumber": str(self.number),
            "ApproximateArrivalTimestamp": datetime.fromtimestamp(self.arrival, UTC),
            "Data": self.data,
        }
        if self.partition_key is not None:
            record["PartitionKey"] = self.partition_key
        return record


@dataclass(eq=False)
class StoredShard:
    """A shard, open or closed, with everything that was ever put into it."""

    index: int
    starting_hash_key: int
    ending_hash_key: int
    starting_number: int
    opened_at: float
    budget: _Budget
    parents: tuple[StoredShard, ...] = ()
    children: tuple[StoredShard, ...] = ()
    ending_number: int | None = None
    closed_at: float | None = None
    records: list[StoredRecord] = field(default_factory=list)

    @property
    def shard_id(self) -> str:
        return f"shardId-{self.index:012}"

    @property
    def hash_range(self) -> tuple[int, int]:
        return self.starting_hash_key, self.ending_hash_key

    def first_from(self, moment: float) -> int:
        """The index of the first record that arrived at this moment or later."""
        return bisect_left(self.records, moment, key=lambda record: record.arrival)

    def first_not_below(self, number: int) -> int:
        return bisect_left(self.records, number, key=lambda record: record.number)

    def was_open(self, moment: float) -> bool:
        """Both ends belong to it (`ShardFilter` API reference): at the moment of a split, parent and children were."""
        return self.opened_at <= moment and (self.closed_at is None or self.closed_at >= moment)

    def described(self) -> dict[str, Any]:
        """As ``ListShards`` gives it."""
        numbers = {"StartingSequenceNumber": str(self.starting_number)}
        if self.ending_number is not None:
            numbers["EndingSequenceNumber"] = str(self.ending_number)
        parents = (parent.shard_id for parent in self.parents)
        return {
            "ShardId": self.shard_id,
            **dict(zip(("ParentShardId", "AdjacentParentShardId"), parents, strict=False)),
            "HashKeyRange": self._described_range(),
            "SequenceNumberRange": numbers,
        }

    def described_as_child(self) -> dict[str, Any]:
        """As ``GetRecords`` gives it at the end of a parent."""
        return {
            "ShardId": self.shard_id,
            "ParentShards": [parent.shard_id for parent in self.parents],
            "HashKeyRange": self._described_range(),
        }

    def _described_range(self) -> dict[str, str]:
        return {"StartingHashKey": str(self.starting_hash_key), "EndingHashKey": str(self.ending_hash_key)}


class _Budget:
    """What a shard takes: 1,000 records/s and 1 MiB/s, saved up for at most a second."""

    def __init__(self, now: float) -> None:
        self._rates = (SHARD_RECORDS_PER_SECOND, SHARD_BYTES_PER_SECOND)
        self._left = [float(rate) for rate in self._rates]
        self._seen = now

    def take(self, size: int, now: float) -> bool:
        for kind, rate in enumerate(self._rates):
            self._left[kind] = min(rate, self._left[kind] + (now - self._seen) * rate)
        self._seen = now
        costs = (1, size)
        # A large record needs a full second's budget, and those after it wait until it is paid for ("Large records").
        needed = zip(self._left, costs, self._rates, strict=True)
        if any(left + _ROUNDING * rate < min(cost, rate) for left, cost, rate in needed):
            return False
        self._left = [left - cost for left, cost in zip(self._left, costs, strict=True)]
        return True


class Stream:
    """A stream: its shards, its settings, its state.

    Args:
        name: its name.
        arn: its ARN.
        shard_count: shards at the start.
        on_demand: whether it has the on-demand capacity mode.
        now: the time.
        counter: of sequence numbers. All streams share it, so that one made anew repeats none of its predecessor's.
        throttling: whether shards keep to their budget.
        seed: of the order in which AUTO distribution takes the shards.
    """

    def __init__(
        self,
        name: str,
        arn: str,
        shard_count: int,
        *,
        on_demand: bool,
        now: float,
        counter: Iterator[int],
        throttling: bool,
        seed: int,
    ) -> None:
        self.name = name
        self.arn = arn
        self.mode = "ON_DEMAND" if on_demand else "PROVISIONED"
        self.created_at = whole_milliseconds(now)
        self.max_record_bytes = 1024 * KIB
        self.distribution = "USER_PARTITION_KEY"
        self.status = "ACTIVE"
        self.throttling = throttling
        self.shards: list[StoredShard] = []
        self._pending: tuple[float, Callable[[float], object]] | None = None
        self._order = random.Random(seed)  # a shuffle that a test can repeat
        self._round: list[StoredShard] = []
        # Sequence numbers have 56 digits, as the service's have: a prefix of this stream, a count, the shard, a tail.
        self._prefix = (2 << 36) | int(now)
        self._counter = counter
        starts = [(MAX_HASH_KEY + 1) * index // shard_count for index in range(shard_count)]
        for start, following in itertools.pairwise([*starts, MAX_HASH_KEY + 1]):
            self._open((start, following - 1), (), now)
        self._refresh_routes()

    def change(self, status: str, apply: Callable[[float], object], now: float, delay: float) -> None:
        """Apply a change now, or after a delay during which the stream has another status."""
        if delay <= 0:
            apply(now)
            return
        self.status, self._pending = status, (now + delay, apply)

    def settle(self, now: float) -> None:
        """Apply the change that has fallen due."""
        if self._pending is not None and self._pending[0] <= now:
            (due, apply), self._pending, self.status = self._pending, None, "ACTIVE"
            apply(due)

    def require_active(self) -> None:
        if self.status != "ACTIVE":
            raise ServiceError(
                "ResourceInUseException",
                f"Stream {self.name} under account {ACCOUNT} not ACTIVE, instead in state {self.status}",
            )

    def require_provisioned(self) -> None:
        if self.mode != "PROVISIONED":
            raise ServiceError(
                "ValidationException",
                f"Stream {self.name} under account {ACCOUNT} has the on-demand capacity mode, which this API is not"
                " supported for",
            )

    @property
    def open_shards(self) -> list[StoredShard]:
        """In the order of their hash ranges."""
        return self._by_range

    def shard(self, shard_id: str) -> StoredShard:
        for shard in self.shards:
            if shard.shard_id == shard_id:
                return shard
        raise ServiceError(
            "ResourceNotFoundException",
            f"Shard {shard_id} in stream {self.name} under account {ACCOUNT} does not exist",
        )

    def route(self, partition_key: str | None, explicit_hash_key: str | None) -> StoredShard:
        """The shard that a record goes to now."""
        if self.distribution == "AUTO":
            return self._next_of_round()
        if explicit_hash_key is not None:
            hash_key = int(explicit_hash_key)
        else:
            hash_key = md5_hash_key((partition_key or "").encode())
        return self._by_range[bisect_left(self._ends, hash_key)]

    def store(
        self, shard: StoredShard, data: bytes, partition_key: str | None, explicit_hash_key: str | None, now: float
    ) -> StoredRecord:
        arrival = whole_milliseconds(now)
        record = StoredRecord(self._number(shard.index), arrival, data, partition_key, explicit_hash_key)
        shard.records.append(record)
        return record

    def within_budget(self, shard: StoredShard, size: int, now: float) -> bool:
        return not self.throttling or shard.budget.take(size, now)

    def throttled(self, shard: StoredShard) -> ServiceError:
        return ServiceError(
            THROTTLED, f"Rate exceeded for shard {shard.shard_id} in stream {self.name} under account {ACCOUNT}."
        )

    def position(self, shard: StoredShard, number: int) -> int:
        """The index of the first record at or after a sequence number of this shard."""
        # Above the tail and the shard's index stand the count and, above that, the prefix.
        is_of_stream = number >> (40 + 32 + 76) == self._prefix and number >= shard.starting_number
        if not is_of_stream or (number >> 40) & 0xFFFFFFFF != shard.index:
            raise ServiceError(
                "InvalidArgumentException",
                f"StartingSequenceNumber {number} used in GetShardIterator on shard {shard.shard_id} in stream"
                f" {self.name} under account {ACCOUNT} is invalid because it did not come from this shard.",
            )
        return shard.first_not_below(number)

    def split(self, shard: StoredShard, hash_key: int, now: float) -> None:
        self._close((shard,), ((shard.starting_hash_key, hash_key - 1), (hash_key, shard.ending_hash_key)), now)

    def merge(self, shard: StoredShard, adjacent: StoredShard, now: float) -> None:
        low, high = sorted((shard, adjacent), key=lambda each: each.starting_hash_key)
        self._close((shard, adjacent), ((low.starting_hash_key, high.ending_hash_key),), now)

    def check_split(self, shard: StoredShard, hash_key: int) -> None:
        self._require_open(shard)
        if not shard.starting_hash_key + 1 < hash_key < shard.ending_hash_key:
            raise ServiceError(
                "InvalidArgumentException",
                f"NewStartingHashKey {hash_key} used in SplitShard() on shard {shard.shard_id} in stream {self.name}"
                f" under account {ACCOUNT} is not both greater than one plus the shard's StartingHashKey"
                f" {shard.starting_hash_key} and less than the shard's EndingHashKey {shard.ending_hash_key}.",
            )

    def check_merge(self, shard: StoredShard, adjacent: StoredShard) -> None:
        self._require_open(shard)
        self._require_open(adjacent)
        low, high = sorted((shard, adjacent), key=lambda each: each.starting_hash_key)
        if low.ending_hash_key + 1 != high.starting_hash_key:
            raise ServiceError(
                "InvalidArgumentException",
                f"Shards {shard.shard_id} and {adjacent.shard_id} in stream {self.name} under account {ACCOUNT} are"
                " not an adjacent pair of shards eligible for merging",
            )

    def listed(self, kind: str | None, moment: float | None, now: float) -> Iterator[StoredShard]:
        """The shards that a ``ShardFilter`` of this type leaves, by their ids."""
        horizon = now - RETENTION_HOURS * 3600
        for shard in self.shards:
            if shard.closed_at is not None and shard.closed_at < horizon:
                continue  # everything in it has expired
            if kind == "AT_LATEST":
                keep = shard.closed_at is None
            elif kind == "AT_TRIM_HORIZON":
                keep = not shard.parents if horizon <= self.created_at else shard.was_open(horizon)
            elif kind == "AT_TIMESTAMP":
                keep = shard.was_open(moment or 0.0)
            elif kind == "FROM_TIMESTAMP":
                keep = shard.closed_at is None or shard.closed_at >= (moment or 0.0)
            else:
                keep = True
            if keep:
                yield shard

    def _require_open(self, shard: StoredShard) -> None:
        if shard.closed_at is not None:
            raise ServiceError(
                "ResourceNotFoundException",
                f"Shard {shard.shard_id} in stream {self.name} under account {ACCOUNT} has already been merged or"
                " split, and thus is not eligible for merging or splitting.",
            )

    def _close(self, parents: tuple[StoredShard, ...], ranges: tuple[tuple[int, int], ...], now: float) -> None:
        for parent in parents:
            parent.ending_number, parent.closed_at = self._number(parent.index), whole_milliseconds(now)
        children = tuple(self._open(hash_range, parents, now) for hash_range in ranges)
        for parent in parents:
            parent.children = children
        self._refresh_routes()

    def _open(self, hash_range: tuple[int, int], parents: tuple[StoredShard, ...], now: float) -> StoredShard:
        index = len(self.shards)
        opened_at = whole_milliseconds(now)
        shard = StoredShard(index, *hash_range, self._number(index), opened_at, _Budget(now), parents)
        self.shards.append(shard)
        return shard

    def _refresh_routes(self) -> None:
        open_shards = (shard for shard in self.shards if shard.closed_at is None)
        self._by_range = sorted(open_shards, key=lambda shard: shard.starting_hash_key)
        self._ends = [shard.ending_hash_key for shard in self._by_range]
        self._round.clear()

    def _next_of_round(self) -> StoredShard:
        if not self._round:
            self._round = self._order.sample(self._by_range, len(self._by_range))
        return self._round.pop()

    def _number(self, shard_index: int) -> int:
        return ((self._prefix << 76 | next(self._counter)) << 32 | shard_index) << 40 | 2
