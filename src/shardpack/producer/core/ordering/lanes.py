"""The queues in which user records wait for their turn: one for each open shard.

A lane has at most one turn under way. The next begins when each Kinesis record of it is stored or has failed, so what
is tried again is never overtaken, and meanwhile more user records come together. All that a lane sends goes by one hash
key, its pin (docs/producer.md says why that keeps a key's records in order when shards split and merge unseen).
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Collection, Iterable, Iterator

from ....aws.errors import PERMANENT, THROTTLED
from ....hashing import Shard
from ....limits import MIB, SHARD_BYTES_PER_SECOND
from ....packing.route import AGGREGATE_PARTITION_KEY
from ....records import PackedRecord, UserRecord
from ...config import ProducerConfig
from ..pending import Landed, Parcel, Pending
from ..settling import Settling
from ..stream import StreamWatch
from .keys import Identity, Kept, Keys, identity_of
from .lane import NEVER, Lane, Sent
from .turn import Turn

_UNLISTED = Shard("")
_MARGIN, _OTHER_TIME = 1.2, 0.1  # seconds between an answer and the next call
_PAUSE = 0.2  # seconds between two lists of the shards that do not explain where a record has landed
_MOST_KEPT = 50_000  # partition keys to remember while the shards cannot be listed
_HALTED = (
    'not sent, because an older record of its key has failed and on_failure is "halt_key";'
    " call resume() of the producer when its records may go on"
)
_CERTAIN = THROTTLED | PERMANENT | {"Expired"}
"""Errors after which a Kinesis record is known not to be stored; after any other it may be."""


class Lanes:
    """All lanes, and what is under way.

    Args:
        config: the settings.
        watch: knows the shards; it is told of everything first.
        settling: is told of user records that are not sent any more, and tells of Kinesis records that have failed.
        keys: what outlives this.
    """

    def __init__(self, config: ProducerConfig, watch: StreamWatch, settling: Settling, keys: Keys) -> None:
        self._config = config
        self._watch = watch
        self._settling = settling
        self._keys = keys
        keys.begin()
        self._limbo = Lane(_UNLISTED, is_held=True)  # until the shards are listed
        self._lanes: dict[str, Lane] = {}
        self._sent: dict[Parcel, Sent] = {}
        self._listing_failed = False
        self._refusal: str | None = None
        self._call_time = 0.3  # seconds, of the slower calls lately
        self._now = self._flushed_at = -NEVER
        self._alarms: list[tuple[float, int, Lane]] = []
        self._numbers = itertools.count()
        settling.on_failed = self._failed

    @property
    def keys_astray(self) -> int:
        """How many partition keys do not go where their own hash keys belong."""
        return len(self._keys.kept)

    # User records come.

    def add(self, pending: Pending, now: float) -> None:
        """Take user records."""
        self._now = now
        if self._refusal is not None:
            self._fail((pending,), self._refusal, retriable=False)
            return
        sound, halted = self._sorted_out((pending,)) if self._keys.halted else ((pending,), ())
        for part in sound:
            for lane in self._append(part):
                self._schedule(lane)
        self._fail(halted, _HALTED, retriable=True)

    def _append(self, pending: Pending) -> list[Lane]:
        records = pending.records
        if len(records) == 1:
            parts = {self._lane_of(records[0]): pending}
        else:
            places: dict[Lane, tuple[list[UserRecord], list[int]]] = {}
            for record, index in zip(records, pending.indices, strict=True):
                of_lane, indices = places.setdefault(self._lane_of(record), ([], []))
                of_lane.append(record)
                indices.append(index)
            parts = {lane: pending.only(*part) for lane, part in places.items()}
        for lane, part in parts.items():
            lane.queue.append(part)
            lane.size += part.size
        return list(parts)

    def _lane_of(self, record: UserRecord) -> Lane:
        own = record.explicit_hash_key
        return self._lane_of_key(record.partition_key) if own is None else self._owner(int(own))

    def _lane_of_key(self, partition_key: str) -> Lane:
        kept = self._keys.kept.get(partition_key)
        return self._home(partition_key) if kept is None else self._owner(kept.pin)

    def _home(self, partition_key: str) -> Lane:
        shard_map = self._watch.shard_map
        return (
            self._limbo if shard_map is None else self._lanes[shard_map.shard_for_partition_key(partition_key).shard_id]
        )

    def _owner(self, hash_key: int) -> Lane:
        shard_map = self._watch.shard_map
        return self._limbo if shard_map is None else self._lanes[shard_map.shard_for(hash_key).shard_id]

    def flush(self, now: float) -> None:
        """Send what is there without waiting for more."""
        self._now = self._flushed_at = now
        self._schedule_all()

    def refuse(self, message: str, now: float) -> None:
        """Send nothing any more: fail what waits, and what comes."""
        self._now = now
        self._refusal = message
        for lane in (self._limbo, *self._lanes.values()):
            queue, lane.queue, lane.size = lane.queue, deque(), 0
            self._fail(queue, message, retriable=False)

    def resume(self, identity: Identity) -> None:
        """Send records of a key again that was halted."""
        self._keys.halted.discard(identity)

    # Kinesis records go.

    @property
    def deadline(self) -> float | None:
        """When to look again."""
        while self._alarms and self._alarms[0][0] != self._alarms[0][2].alarm:
            heapq.heappop(self._alarms)  # an earlier one has taken its place, and it has come
        return self._alarms[0][0] if self._alarms else None

    def due(self, now: float) -> list[Parcel]:
        """The Kinesis records that may go now."""
        self._now = now
        parcels: list[Parcel] = []
        while self._alarms and self._alarms[0][0] <= now:
            when, _, lane = heapq.heappop(self._alarms)
            if when == lane.alarm:
                lane.alarm = NEVER
                parcels += self._look_at(lane)
        return parcels

    def _look_at(self, lane: Lane) -> list[Parcel]:
        expired: deque[Pending] = deque()
        while lane.queue and self._expires(lane) <= self._now:
            lane.size -= lane.queue[0].size
            expired.append(lane.queue.popleft())
        if expired:
            self._settling.expire(self._unsent(expired), self._now)
        parcels = self._take_turn(lane) if self._is_free(lane) and self._is_due(lane) else []
        self._schedule(lane)
        return parcels

    def _is_free(self, lane: Lane) -> bool:
        return bool(lane.queue) and not lane.unanswered and not lane.is_held and self._watch.is_described

    def _is_due(self, lane: Lane) -> bool:
        return lane.size >= self._config.aggregation_max_size or self._due(lane) <= self._now

    def _due(self, lane: Lane) -> float:
        arrived = lane.queue[0].arrived
        return arrived if arrived <= self._flushed_at else arrived + self._config.record_max_buffered_time

    def _expires(self, lane: Lane) -> float:
        return lane.queue[0].arrived + self._config.record_ttl

    def _schedule(self, lane: Lane) -> None:
        """Have it looked at when there may be something to do."""
        if not lane.queue:
            return
        when = self._expires(lane)
        if self._is_free(lane):
            when = self._now if self._is_due(lane) else min(when, self._due(lane))
        if when < lane.alarm:
            lane.alarm = when
            heapq.heappush(self._alarms, (when, next(self._numbers), lane))
            if len(self._alarms) > 64 + 4 * len(self._lanes):
                self._alarms = [one for one in self._alarms if one[0] == one[2].alarm]
                heapq.heapify(self._alarms)

    def _schedule_all(self) -> None:
        for lane in self._lanes.values():
            self._schedule(lane)

    def _take_turn(self, lane: Lane) -> list[Parcel]:
        parcels = self._turn(lane).take(lane.queue)
        kept = self._keys.kept
        for parcel in parcels:
            lane.size -= sum([pending.size for pending in parcel.pending])
            lane.unanswered += 1
            has_kept = bool(kept) and any(key in kept for key in _shared_keys(parcel))
            self._sent[parcel] = Sent(lane, lane.pin, [lane], has_kept)
        return parcels

    def _turn(self, lane: Lane) -> Turn:
        # Large enough to use the shard fully while one is on its way; beyond that, smaller ones are throttled less.
        enough = min(MIB, int(_MARGIN * (self._call_time + _OTHER_TIME) * SHARD_BYTES_PER_SECOND))
        limit = min(self._watch.max_record_bytes or MIB, max(enough, self._config.aggregation_max_size))
        return Turn(self._config, lane.shard.shard_id, lane.pin, limit)

    def _unsent(self, waiting: Iterable[Pending]) -> Parcel:
        """User records that will not be sent, all as if in one Kinesis record: to fill some takes long for many."""
        pending = [*waiting]
        count = sum([len(one.records) for one in pending])
        return Parcel(PackedRecord(b"", AGGREGATE_PARTITION_KEY, None, count, None), pending, self._now)

    # What became of Kinesis records.

    def landed(self, landed: Landed, now: float) -> None:
        """A Kinesis record was stored."""
        self._now = now
        self._call_time = max(landed.duration, 0.8 * self._call_time)
        parcel, shard_id = landed.parcel, landed.shard_id
        sent = self._sent.pop(parcel)
        if sent.is_special or shard_id != sent.lane.shard.shard_id:
            self._remember({key: Kept(sent.pin, shard_id, self._watch.listings) for key in _shared_keys(parcel)})
            self._explain(now)
        self._release(sent)

    def _failed(self, parcel: Parcel) -> None:
        """A Kinesis record has failed for good."""
        sent = self._sent.pop(parcel, None)
        if sent is not None:
            if any(attempt.error_code not in _CERTAIN for attempt in parcel.attempts):
                self._remember({key: Kept(sent.pin, None, self._watch.listings) for key in _shared_keys(parcel)})
                self._explain(self._now)
            self._release(sent)
        if self._config.on_failure == "halt_key":
            records = [record for pending in parcel.pending for record in pending.records]
            new = {identity_of(record) for record in records} - self._keys.halted
            if new:  # else nothing waits of them, and to look through all that does would take long for each
                self._keys.halted |= new
                self._fail_halted({self._lane_of(record) for record in records})

    def _release(self, sent: Sent) -> None:
        for lane in sent.holds:
            lane.unanswered -= 1
            self._schedule(lane)

    def _fail_halted(self, lanes: Iterable[Lane]) -> None:
        """Fail what waits of keys that are halted."""
        for lane in lanes:
            sound, halted = self._sorted_out(lane.queue)
            if halted:
                lane.queue = deque(sound)
                lane.size = sum([pending.size for pending in sound])
                self._fail(halted, _HALTED, retriable=True)

    def _sorted_out(self, waiting: Iterable[Pending]) -> tuple[list[Pending], list[Pending]]:
        """What may be sent, and what is halted."""
        sound: list[Pending] = []
        halted: list[Pending] = []
        for pending in waiting:
            at = 0
            for is_halted, run in itertools.groupby(map(self._is_halted, pending.records)):
                end = at + sum(1 for _ in run)
                (halted if is_halted else sound).append(pending.part(at, end))
                at = end
        return sound, halted

    def _is_halted(self, record: UserRecord) -> bool:
        return identity_of(record) in self._keys.halted

    def _fail(self, waiting: Collection[Pending], message: str, *, retriable: bool) -> None:
        if waiting:
            self._settling.fail(self._unsent(waiting), message, retriable=retriable)

    # What is known of the shards.

    def described(self, now: float) -> None:
        """The stream was described, or that has failed."""
        self._now = now
        self._schedule_all()

    def shards_listed(self, now: float) -> None:
        """The shards were listed, and the watch has taken the list."""
        shard_map = self._watch.shard_map
        if shard_map is None:
            return
        self._now = now
        self._listing_failed = False
        before = self._lanes or {"": self._limbo}
        self._lanes = {shard.shard_id: before.get(shard.shard_id) or Lane(shard) for shard in shard_map.shards}
        closed = [lane for lane in before.values() if lane.shard.shard_id not in self._lanes]
        self._remember({key: self._found(kept) for key, kept in self._keys.kept.items()})
        self._divide_again(closed)
        for parcel, sent in self._sent.items():
            if sent.is_special or sent.lane in closed:
                self._hold(parcel, sent)
        self._explain(now + _PAUSE)

    def _found(self, kept: Kept) -> Kept:
        """Whichever shard has stored it: the owner of the pin is that one by now, or descends from it."""
        if kept.last is None and kept.listings < self._watch.listings:
            return kept._replace(last=self._owner(kept.pin).shard.shard_id)
        return kept

    def _hold(self, parcel: Parcel, sent: Sent) -> None:
        """Have the lanes wait for it in which its keys are now."""
        holds = {self._lane_of(record) for pending in parcel.pending for record in pending.records}
        for lane in sent.holds:
            lane.unanswered -= 1
        for lane in holds:
            lane.unanswered += 1
        sent.holds, sent.is_special = list(holds), True

    def listing_failed(self, now: float) -> None:
        """The shards could not be listed."""
        self._now = now
        self._listing_failed = True
        self._explain(now + _PAUSE)

    def _remember(self, kept: dict[str, Kept]) -> None:
        """Where the last records of some keys are; they wait in other lanes now, if need be."""
        moved = set()
        for key, one in kept.items():
            lane = self._lane_of_key(key)
            if one.last is not None and self._watch.descends(self._home(key).shard.shard_id, one.last):
                self._keys.kept.pop(key, None)
            else:
                self._keys.kept[key] = one
            if self._lane_of_key(key) is not lane:
                moved.add(lane)
        self._divide_again(moved)

    def _divide_again(self, lanes: Iterable[Lane]) -> None:
        """Give what waits in some lanes to those in which it belongs now."""
        waiting: list[Pending] = []
        for lane in lanes:
            waiting += lane.queue
            lane.queue, lane.size = deque(), 0
        changed = {lane for pending in waiting for lane in self._append(pending)}
        for lane in changed:
            lane.queue = deque(sorted(lane.queue, key=lambda pending: pending.arrived))
            self._schedule(lane)

    def _explain(self, list_at: float) -> None:
        """Hold the lanes of keys whose last record lies in a shard that the last list does not explain.

        A lane with another pin than theirs must not take them until then. One with the same pin could; but all keys
        that it sent would have to be remembered. So it waits too, unless the shards cannot be listed.

        Args:
            list_at: when to list the shards again, if that is needed.
        """
        held, is_explained = set(), True
        may_go_on = self._listing_failed and len(self._keys.kept) < _MOST_KEPT
        for kept in self._keys.kept.values():
            lane = self._owner(kept.pin)
            if kept.last is not None and self._watch.descends(lane.shard.shard_id, kept.last):
                continue
            is_explained = False
            if kept.pin != lane.pin or (kept.last is not None and not may_go_on):
                held.add(lane)
        for lane in self._lanes.values():
            if lane.is_held and lane not in held:
                lane.is_held = False
                self._schedule(lane)
        for lane in held:
            lane.is_held = True
        if not is_explained:
            self._watch.list_again(list_at)


def _shared_keys(parcel: Parcel) -> Iterator[str]:
    """The partition keys of the user records in it that have no explicit hash key."""
    for pending in parcel.pending:
        for record in pending.records:
            if record.explicit_hash_key is None:
                yield record.partition_key
