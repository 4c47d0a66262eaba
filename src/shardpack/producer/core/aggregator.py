"""The aggregates in which user records wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...errors import RecordTooLargeError
from ...hashing import ShardMap
from ...limits import MAX_RECORD_BYTES, MIB, Limits
from ...packing.packer import Packer
from ...packing.placing import Place, PlacingPacker
from ...records import PackedRecord, UserRecord
from ...wire import encode
from ..config import ProducerConfig
from .bulk import Shares, measured
from .pending import Parcel, Pending


@dataclass(slots=True, eq=False)
class _Open:
    packer: Packer
    shard_id: str | None
    due: float
    pending: list[Pending] = field(default_factory=list)

    def first(self, count: int) -> list[Pending]:
        """Take out what holds the first so many user records."""
        end = 0
        while count > 0:
            oldest = self.pending[end]
            end += 1
            count -= len(oldest.records)
        taken, self.pending = self.pending[:end], self.pending[end:]
        if count < 0:  # the last one goes on in the next aggregate
            last = taken[-1]
            here = len(last.records) + count
            self.pending.insert(0, last.part(here, len(last.records)))
            taken[-1] = last.part(0, here)
        return taken


class Aggregator:
    """Open aggregates: for each predicted shard, each partition key, or one for all, as the route says.

    Explicit hash keys of users have aggregates of their own where they are pinned, and with the route by key.

    Args:
        config: the producer's settings.
        place: says where an aggregate goes that may go anywhere, by its bytes.
    """

    def __init__(self, config: ProducerConfig, place: Callable[[int], Place | None]) -> None:
        self._config = config
        self._place = place
        self._limits = self._within(MIB)  # which every stream takes
        self._open: dict[Hashable, _Open] = {}  # in the order of their deadlines
        self.enabled = config.aggregation_enabled
        self._shares: Shares | None = None

    def limit_to(self, max_record_bytes: int) -> None:
        """The stream takes Kinesis records of so many bytes: no aggregate that is opened from now on exceeds that."""
        self._limits = self._within(max_record_bytes)

    def _within(self, max_record_bytes: int) -> Limits:
        """A user record that fits into no aggregate goes alone; whether the stream takes it is seen to elsewhere."""
        most = min(self._config.aggregation_max_size, max_record_bytes)
        # No more user records than bytes fit anyway, and a packer that need not count them is faster.
        count = self._config.aggregation_max_count
        return Limits(MAX_RECORD_BYTES, count if count < most else None, most)

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def deadline(self) -> float | None:
        """When the oldest aggregate must close."""
        return next(iter(self._open.values())).due if self._open else None

    def add(self, pending: Pending, shard_map: ShardMap | None, now: float) -> list[Parcel]:
        """Take user records; what is now full comes out."""
        records = pending.records
        if len(records) == 1:
            shard_id = self._predicted(records[0], shard_map)
            return self._join(shard_id, self._route(records[0], shard_id), pending, now)
        full: list[Parcel] = []
        for route, shard_id, part in self._parts(pending, shard_map):
            full += self._join(shard_id, route, part, now)
        return full

    def _parts(self, pending: Pending, shard_map: ShardMap | None) -> Iterable[tuple[Hashable, str | None, Pending]]:
        """The user records of each route."""
        records, indices = pending.records, pending.indices
        shares = None if self._config.route == "key" else self._by_shard(records, shard_map)
        if shares is not None:
            return [
                (self._route_of_shard(shard_id), shard_id, pending.only(*_picked(records, indices, places)))
                for shard_id, places in shares.items()
            ]
        parts: dict[Hashable, tuple[str | None, list[UserRecord], list[int]]] = {}
        for record, index in zip(records, indices, strict=True):
            shard_id = self._predicted(record, shard_map)
            route = self._route(record, shard_id)
            part = parts.get(route)
            if part is None:
                part = parts[route] = shard_id, [], []
            part[1].append(record)
            part[2].append(index)
        return [(route, shard_id, pending.only(own, places)) for route, (shard_id, own, places) in parts.items()]

    def _by_shard(
        self, records: Sequence[UserRecord], shard_map: ShardMap | None
    ) -> Mapping[str | None, Sequence[int]] | None:
        """Which records go to which shard; None where each must be looked at."""
        if shard_map is None and self._config.hash_keys != "pinned":
            return None
        of_keys = None if self._config.route == "any" else shard_map
        if self._shares is None or self._shares.shard_map is not of_keys:
            self._shares = Shares(of_keys)
        return self._shares.of(records)

    def _join(self, shard_id: str | None, route: Hashable, part: Pending, now: float) -> list[Parcel]:
        """Put user records into the open aggregate of their route; what is now full comes out."""
        count = len(part.records)
        if not self.enabled:
            return [self._alone(part.part(at, at + 1), route, shard_id) for at in range(count)]
        due = now + self._config.record_max_buffered_time
        opened = self._open.get(route)
        if opened is None:
            opened = self._open[route] = _Open(self._packer(route, shard_id, self._limits), shard_id, due)
        full = self._added(opened, part, route, shard_id)
        if full:  # what is open now is younger than all others
            del self._open[route]
            if opened.pending:
                opened.due = due
                self._open[route] = opened
        return full

    def _added(self, opened: _Open, part: Pending, route: Hashable, shard_id: str | None) -> list[Parcel]:
        """Put user records into an open aggregate; what is now full comes out."""
        count = len(part.records)
        full: list[Parcel] = []
        if measured(part.records)[1] + _MOST_AROUND_ONE <= self._limits.max_record_bytes:
            opened.pending.append(part)
            for packed in opened.packer.add_all(part.records):
                full += self._take(opened, [packed])
            return full
        begun = 0  # where what is in the open aggregate begins
        for end, record in enumerate(part.records, 1):
            try:
                closed = opened.packer.add(*record)
            except RecordTooLargeError:  # for what it is wrapped in, not as it is
                opened.pending += [part.part(begun, end - 1)] * (begun < end - 1)
                full += self._take(opened, opened.packer.flush())
                full.append(self._alone(part.part(end - 1, end), route, shard_id))
                begun = end
                continue
            if closed:
                opened.pending.append(part.part(begun, end))
                full += self._take(opened, closed)
                begun = end
        if begun < count:
            opened.pending.append(part.part(begun, count))
        return full

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
        return [self._parcel(packed, opened.first(packed.user_record_count), opened.shard_id) for packed in closed]

    def _alone(self, pending: Pending, route: Hashable, shard_id: str | None) -> Parcel:
        record = pending.records[0]
        try:
            (packed,) = self._packer(route, shard_id, _ALONE).add(*record)
        except RecordTooLargeError:  # its outcome will be that it is too large for the stream
            packed = PackedRecord(encode([record]), record.partition_key, None, 1, shard_id)
        return self._parcel(packed, [pending], shard_id)

    def _parcel(self, packed: PackedRecord, pending: list[Pending], shard_id: str | None) -> Parcel:
        if packed.shard_id is None and shard_id is not None:  # a packer by key does not know it
            key, explicit = packed.partition_key, packed.explicit_hash_key
            packed = PackedRecord(packed.data, key, explicit, packed.user_record_count, shard_id)
        return Parcel(packed, pending, pending[0].arrived + self._config.record_ttl)

    def _predicted(self, record: UserRecord, shard_map: ShardMap | None) -> str | None:
        """The shard that a user record belongs to; None: not known, or to be chosen when its aggregate closes."""
        if shard_map is None:
            return None
        if record.explicit_hash_key is not None:
            return shard_map.shard_for(int(record.explicit_hash_key)).shard_id
        if self._config.route == "any":
            return None
        return shard_map.shard_for_partition_key(record.partition_key).shard_id

    def _route_of_shard(self, shard_id: str | None) -> Hashable:
        """What `_route` gives for a record without explicit hash key."""
        return (shard_id, None) if self._config.hash_keys == "pinned" else shard_id

    def _route(self, record: UserRecord, shard_id: str | None) -> Hashable:
        if self._config.route == "key":
            return record.partition_key, record.explicit_hash_key
        if self._config.hash_keys == "pinned":
            return shard_id, record.explicit_hash_key
        if shard_id is None:  # mixed keys would be lost on a shard that is not theirs
            return record.partition_key, record.explicit_hash_key
        return shard_id

    def _packer(self, route: Hashable, shard_id: str | None, limits: Limits) -> Packer:
        hash_keys = self._config.hash_keys
        if self._config.route == "key":
            return Packer(by="key", limits=limits, hash_keys=hash_keys)
        if self._config.route == "any" and route == _FOR_ALL:
            return PlacingPacker(limits, self._place)
        if shard_id is not None:
            return Packer(shard_map=ShardMap.single(shard_id), limits=limits, hash_keys=hash_keys)
        return Packer(by="any" if hash_keys == "pinned" else "key", limits=limits, hash_keys=hash_keys)


_FOR_ALL = None, None  # no shard, no explicit hash key
_ALONE = Limits(MAX_RECORD_BYTES, max_user_records=1)
_MOST_AROUND_ONE = 2400
"""More bytes than a Kinesis record with one user record has around its data: keys, twice, the pin, and framing."""


def _picked(
    records: Sequence[UserRecord], indices: Sequence[int], places: Sequence[int]
) -> tuple[list[UserRecord], Sequence[int]]:
    at_home = isinstance(indices, range) and indices.start == 0 and indices.step == 1
    return [records[place] for place in places], places if at_home else [indices[place] for place in places]
