"""User records on their way, and the aggregates in which they wait for each other."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from ..errors import RecordTooLargeError
from ..hashing import ShardMap
from ..limits import MAX_RECORD_BYTES, Limits
from ..packer import Packer
from ..records import PackedRecord, UserRecord
from .config import ProducerConfig
from .delivery import Attempt


@dataclass(slots=True, eq=False)
class Pending:
    """A user record that is not delivered yet.

    Attributes:
        token: what the caller knows it by.
        arrived: when it was put.
        earlier: tries in other aggregates than the one that it is in now.
    """

    record: UserRecord
    token: object
    arrived: float
    size: int
    earlier: tuple[Attempt, ...] = ()


@dataclass(slots=True, eq=False)
class Parcel:
    """A Kinesis record on its way, with the user records in it, in the order of their sub-sequence numbers.

    Attributes:
        expires: when it fails if it is not stored by then.
        attempts: tries so far, their `start` by the shell's clock.
        failures: how many of them count for the back-off.
        ready: when it may go, by its shard's budget and the back-off.
    """

    packed: PackedRecord
    pending: list[Pending]
    expires: float
    attempts: list[Attempt] = field(default_factory=list)
    failures: int = 0
    ready: float = 0.0


@dataclass(slots=True, eq=False)
class _Open:
    packer: Packer
    due: float
    pending: list[Pending] = field(default_factory=list)


class Aggregator:
    """Open aggregates, one for each predicted shard (and explicit hash key, where they are pinned).

    Args:
        config: the producer's settings.
    """

    def __init__(self, config: ProducerConfig) -> None:
        self._config = config
        self._limits = Limits(config.aggregation_max_size, config.aggregation_max_count)
        self._open: dict[Hashable, _Open] = {}  # in the order of their deadlines
        self.enabled = config.aggregation_enabled

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def deadline(self) -> float | None:
        """When the oldest aggregate must close."""
        return next(iter(self._open.values())).due if self._open else None

    def add(self, pending: Pending, shard_map: ShardMap | None, now: float) -> list[Parcel]:
        """Take a user record; what is now full comes out."""
        record = pending.record
        shard_id = _predicted(record, shard_map)
        if not self.enabled:
            return [self._alone(pending, shard_id)]
        route = self._route(record, shard_id)
        opened = self._open.get(route)
        if opened is None:
            opened = self._open[route] = _Open(
                self._packer(shard_id, self._limits), now + self._config.record_max_buffered_time
            )
        try:
            closed = opened.packer.add(*record)
        except RecordTooLargeError:  # for an aggregate, not for the stream
            return [*self._close(route), self._alone(pending, shard_id)]
        opened.pending.append(pending)
        if not closed:
            return []
        parcels = self._take(opened, closed)
        del self._open[route]
        if opened.pending:  # what is open now is younger than all others
            opened.due = now + self._config.record_max_buffered_time
            self._open[route] = opened
        return parcels

    def close_due(self, now: float) -> Iterator[Parcel]:
        """Close what has waited long enough."""
        while self._open:
            route, opened = next(iter(self._open.items()))
            if opened.due > now:
                return
            yield from self._close(route)

    def close_all(self) -> Iterator[Parcel]:
        """Close everything."""
        for route in list(self._open):
            yield from self._close(route)

    def _close(self, route: Hashable) -> list[Parcel]:
        opened = self._open.pop(route)
        return self._take(opened, opened.packer.flush())

    def _take(self, opened: _Open, closed: list[PackedRecord]) -> list[Parcel]:
        parcels = []
        for packed in closed:
            inside = opened.pending[: packed.user_record_count]
            del opened.pending[: packed.user_record_count]
            parcels.append(self._parcel(packed, inside))
        return parcels

    def _alone(self, pending: Pending, shard_id: str | None) -> Parcel:
        (packed,) = self._packer(shard_id, _ALONE).add(*pending.record)
        return self._parcel(packed, [pending])

    def _parcel(self, packed: PackedRecord, pending: list[Pending]) -> Parcel:
        return Parcel(packed, pending, pending[0].arrived + self._config.record_ttl)

    def _route(self, record: UserRecord, shard_id: str | None) -> Hashable:
        if self._config.hash_keys == "pinned":
            return shard_id, record.explicit_hash_key
        if shard_id is None:  # mixed keys would be lost on a shard that is not theirs
            return record.partition_key, record.explicit_hash_key
        return shard_id

    def _packer(self, shard_id: str | None, limits: Limits) -> Packer:
        hash_keys = self._config.hash_keys
        if shard_id is not None:
            return Packer(shard_map=ShardMap.single(shard_id), limits=limits, hash_keys=hash_keys)
        return Packer(by="any" if hash_keys == "pinned" else "key", limits=limits, hash_keys=hash_keys)


_ALONE = Limits(MAX_RECORD_BYTES, max_user_records=1)


def _predicted(record: UserRecord, shard_map: ShardMap | None) -> str | None:
    if shard_map is None:
        return None
    if record.explicit_hash_key is not None:
        return shard_map.shard_for(int(record.explicit_hash_key)).shard_id
    return shard_map.shard_for_partition_key(record.partition_key).shard_id
