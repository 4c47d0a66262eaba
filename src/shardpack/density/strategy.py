"""Ways to pack that can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from ..errors import RecordTooLargeError
from ..hashing import Shard, ShardMap
from ..limits import KPL_AGGREGATION_MAX_SIZE, MAX_HASH_KEY, MIB, Limits, check_integer, check_number, shown
from ..packing.packer import Packer
from ..packing.settings import By, HashKeys
from ..records import UserRecord

LEAST_SECONDS, MOST_SECONDS = 1e-6, 1e12  # beyond which sums would be too large for a number
_MOST_HOMES = 50_000
_ROOM = 2400  # all that can stand around data: two keys of 1,024 bytes, a hash key, and framing


@dataclass(frozen=True)
class Strategy:
    """One way to pack.

    Attributes:
        name: what a row is called.
        limits: how large a Kinesis record may become; None: one user record in each, without aggregation.
        by: as in `Packer`.
        shards: how many shards of equal size share the hash keys, where ``by`` is ``"shard"``.
        hash_keys: as in `Packer`.
        lanes: as in `Packer`.
        lookahead: as in `Packer`.
        seconds: after which an aggregate goes out though it is not full; None: what the whole measurement says.
    """

    name: str
    limits: Limits | None = field(default_factory=Limits)
    by: By = "any"
    shards: int = 1
    hash_keys: HashKeys = "pinned"
    lanes: int = 1
    lookahead: int = 0
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_integer("shards", self.shards)
        if self.shards < 1:
            raise ValueError(f"shards is {shown(self.shards)} in the strategy {shown(self.name)}; give at least 1")
        if self.seconds is not None:
            check_number("seconds", self.seconds)
            if not LEAST_SECONDS <= self.seconds <= MOST_SECONDS:
                raise ValueError(
                    f"seconds is {shown(self.seconds)} in the strategy {shown(self.name)};"
                    f" give a number above 0, from {LEAST_SECONDS:g} to {MOST_SECONDS:g}"
                )

    @property
    def limit(self) -> int:
        """Most bytes of an aggregate."""
        return MIB if self.limits is None else self.limits.aggregate_bytes

    @property
    def record_limit(self) -> int:
        """Most bytes of a Kinesis record."""
        return MIB if self.limits is None else self.limits.max_record_bytes

    def takes(self, record: UserRecord) -> bool:
        """Whether a user record fits into a Kinesis record, in an aggregate or alone."""
        if self.limits is None:
            return len(record.data) + len(record.partition_key.encode()) <= self.record_limit
        if len(record.data) + _ROOM <= self.record_limit and not record.tags:  # as nearly all
            return True
        try:
            Packer(**replace(self, shards=1).arguments).add(*record)
        except RecordTooLargeError:
            return False
        return True

    @property
    def shard_map(self) -> ShardMap | None:
        """Equal shards, where there is a need for them."""
        return equal_shards(self.shards) if self.by == "shard" else None

    @property
    def homes(self) -> Mapping[str, str]:
        """The id of the shard of each partition key; "" where no shards are told apart."""
        return _homes(self.shards if self.by == "shard" else None)

    @property
    def surely_taken(self) -> int:
        """Bytes of data that fit into a Kinesis record whatever the keys are; 0: there is no telling."""
        return max(0, self.record_limit - _ROOM)

    @property
    def surely_together(self) -> int:
        """Bytes of data that fit into an aggregate whatever the keys are; 0: there is no telling."""
        return max(0, self.limit - _ROOM)

    @property
    def arguments(self) -> dict[str, Any]:
        """What `Packer` takes."""
        return {
            "by": self.by,
            "shard_map": self.shard_map,
            "limits": self.limits,
            "hash_keys": self.hash_keys,
            "lanes": self.lanes,
            "lookahead": self.lookahead,
        }

    def producer_config(self, seconds: float | None) -> str | None:
        """The settings of a producer that packs so, as Python; None: no producer does.

        Args:
            seconds: the ``record_max_buffered_time``; None: the producer's own.
        """
        if self.limits is None:
            return "sp.ProducerConfig(aggregation_enabled=False)"
        if self.lanes > 1 or self.lookahead or self.limit > MIB:
            return None
        settings = []
        if self.limit != KPL_AGGREGATION_MAX_SIZE:
            settings.append(f"aggregation_max_size={self.limit}")
        if self.limits.max_user_records is not None:
            settings.append(f"aggregation_max_count={self.limits.max_user_records}")
        seconds = seconds if self.seconds is None else self.seconds
        if seconds is not None and seconds != BUFFERED_SECONDS:
            settings.append(f"record_max_buffered_time={seconds!r}")
        if self.by != "shard":
            settings.append(f'route="{self.by}"')
        if self.hash_keys != "pinned":
            settings.append(f'hash_keys="{self.hash_keys}"')
        return f"sp.ProducerConfig({', '.join(settings)})"


def equal_shards(count: int) -> ShardMap:
    """Shards that divide all hash keys."""
    bounds = [(MAX_HASH_KEY + 1) * n // count for n in range(count + 1)]
    return ShardMap(Shard(f"shardId-{n:012}", bounds[n], bounds[n + 1] - 1) for n in range(count))


class _Homes(dict[str, str]):
    """Filled when asked, because most keys come again; and bounded."""

    def __init__(self, shards: int | None) -> None:
        self._shard_map = None if shards is None else equal_shards(shards)

    def __missing__(self, partition_key: str) -> str:
        if len(self) >= _MOST_HOMES:
            self.clear()
        shard = self._shard_map and self._shard_map.shard_for_partition_key(partition_key)
        self[partition_key] = found = shard.shard_id if shard else ""
        return found


@lru_cache(maxsize=4)
def _homes(shards: int | None) -> _Homes:
    """One for all strategies of one input."""
    return _Homes(shards)


BUFFERED_SECONDS = 0.1
"""How long a record may wait by the Producer's defaults (``ProducerConfig.record_max_buffered_time``)."""

DEFAULTS = "the Producer's defaults"
PLAIN = Strategy("one record an entry", None)


def usual_strategies(shards: int = 4) -> tuple[Strategy, ...]:
    """Those that most people choose between.

    Args:
        shards: of the stream.
    """
    return (
        PLAIN,
        Strategy(DEFAULTS, Limits.kpl(), "shard", shards, seconds=BUFFERED_SECONDS),
        Strategy("KPL size, shard", Limits.kpl(), "shard", shards),
        Strategy("KPL size, any", Limits.kpl()),
        Strategy("KPL size, shard, kpl", Limits.kpl(), "shard", shards, "kpl"),
        Strategy("1 PUT unit, any", Limits.put_units(1)),
        Strategy("1 MiB, key", Limits(), "key"),
        Strategy("1 MiB, shard", Limits(), "shard", shards),
        Strategy("1 MiB, shard, 10 lanes", Limits(), "shard", shards, lanes=10),
        Strategy("1 MiB, any", Limits()),
        Strategy("1 MiB, any, lookahead 4", Limits(), lookahead=4),
        Strategy("10 MiB, any", Limits.large()),
    )
