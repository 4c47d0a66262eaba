"""Ways to pack that can be compared."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import RecordTooLargeError
from ..hashing import Shard, ShardMap
from ..limits import MAX_HASH_KEY, MIB, Limits, check_integer, shown
from ..packing.packer import Packer
from ..packing.settings import By, HashKeys
from ..records import UserRecord

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
    """

    name: str
    limits: Limits | None = field(default_factory=Limits)
    by: By = "any"
    shards: int = 1
    hash_keys: HashKeys = "pinned"
    lanes: int = 1
    lookahead: int = 0

    def __post_init__(self) -> None:
        check_integer("shards", self.shards)
        if self.shards < 1:
            raise ValueError(f"shards is {shown(self.shards)} in the strategy {shown(self.name)}; give at least 1")

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
        if self.by != "shard":
            return None
        bounds = [(MAX_HASH_KEY + 1) * n // self.shards for n in range(self.shards + 1)]
        return ShardMap(Shard(f"shardId-{n:012}", bounds[n], bounds[n + 1] - 1) for n in range(self.shards))

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


PLAIN = Strategy("one record an entry", None)


def usual_strategies(shards: int = 4) -> tuple[Strategy, ...]:
    """Those that most people choose between.

    Args:
        shards: of the stream.
    """
    return (
        PLAIN,
        Strategy("1 PUT unit, any", Limits.put_units(1)),
        Strategy("KPL size, shard, kpl", Limits.kpl(), "shard", shards, "kpl"),
        Strategy("KPL size, shard", Limits.kpl(), "shard", shards),
        Strategy("1 MiB, key", Limits(), "key"),
        Strategy("1 MiB, shard", Limits(), "shard", shards),
        Strategy("1 MiB, shard, 10 lanes", Limits(), "shard", shards, lanes=10),
        Strategy("1 MiB, any", Limits()),
        Strategy("1 MiB, any, lookahead 4", Limits(), lookahead=4),
        Strategy("10 MiB, any", Limits.large()),
    )
