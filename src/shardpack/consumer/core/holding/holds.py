"""All leases that this worker holds: they are taken, give batches in turn, are written, and lost. Decisions only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random
from typing import Any, TypeAlias

from ....leases.lease import Lease
from ....records import Position
from ...config import ConsumerConfig
from ...log_fields import tell
from ...loss import Losses
from ...metrics import Metrics
from ...origin import wrong_shard
from ...start import Start
from ..actions import Checkpoint, GetRecords, GetShardIterator, ReleaseLease, RenewLease
from ..shards import is_of_another
from ..sharing.coordinator import Coordinator
from .delivered import Delivered, batch_of
from .hold import Hold, lost
from .reader import Reader

_RETRY_SECONDS = 1.0

Finished: TypeAlias = tuple[Any, Exception | None]
Read: TypeAlias = GetShardIterator | GetRecords
Write: TypeAlias = RenewLease | Checkpoint | ReleaseLease


class Holds:
    """What this worker holds.

    Args:
        stream_name: for messages.
        config: the settings.
        start: where to read from when nothing is done yet.
        coordinator: is told what is held, and looks around when something is lost.
        metrics: counts what happens.
        losses: of records that expired unread.
        wall_clock_offset: seconds since the epoch at time 0 of the shell's clock.
        random: for jitter.

    Attributes:
        finished: (token, None or why not) of every checkpoint that was written or refused, until the shell takes them.
        is_closing: whether nothing more is given; the engine says so.
    """

    def __init__(
        self,
        stream_name: str,
        config: ConsumerConfig,
        start: Start,
        coordinator: Coordinator,
        metrics: Metrics,
        losses: Losses,
        wall_clock_offset: float,
        random: Random,
    ) -> None:
        self._stream_name = stream_name
        self._config = config
        self._start = start
        self._coordinator = coordinator
        self._metrics = metrics
        self._losses = losses
        self._wall_clock_offset = wall_clock_offset
        self._random = random.random
        self._numbers = itertools.count(1)
        self._holds: dict[int, Hold] = {}  # in the order in which they give batches
        self._in_hand: set[str] = set()  # shards; a lease may be lost and taken again while its last batch is in hand
        self.finished: list[Finished] = []
        self.is_closing = False

    def __iter__(self) -> Iterator[Hold]:
        return iter(list(self._holds.values()))

    def __len__(self) -> int:
        return len(self._holds)

    def of(self, action: Read | Write) -> Hold | None:
        """What a call was made for; None: the lease was lost meanwhile."""
        return self._holds.get(action.hold)

    # What the application gets and wants.

    def may_give(self, hold: Hold, now: float) -> bool:
        """Whether the application may be given something of a shard."""
        is_free = hold.lease.key not in self._in_hand and not hold.is_stopped and not hold.is_ending
        return is_free and hold.is_valid(now)

    def given(self, hold: Hold, now: float) -> Delivered | None:
        """The next user records of a shard, which are in the application's hand from now on; or None."""
        delivered = batch_of(hold)
        if delivered is None:
            return None
        hold.in_hand, hold.given_at = True, now
        self._metrics.delivered(hold.lease.key, delivered.records, delivered.millis_behind_latest)
        self._in_hand.add(hold.lease.key)
        self._holds[hold.number] = self._holds.pop(hold.number)  # behind the others
        return delivered

    def done(self, hold: Hold, *, stop: bool, now: float | None) -> None:
        """See `Engine.done`."""
        if hold.in_hand:
            self._in_hand.discard(hold.lease.key)
            self._coordinator.overdue.discard(hold.lease.key)
            if now is not None:
                self._metrics.took("ProcessTask.Time", now - hold.given_at, hold.lease.key)
        hold.in_hand = False
        hold.is_stopped = hold.is_stopped or stop

    def checkpoint(self, hold: Hold, position: Position, token: object) -> None:
        """See `Engine.checkpoint`."""
        if self._holds.get(hold.number) is not hold and hold.lease.checkpoint != Position.SHARD_END:
            raise lost(hold.lease.key)
        if not hold.checkpoint(position, token):
            self.finished.append((token, None))

    # What happens to them.

    def taken(self, lease: Lease, now: float) -> None:
        """A lease is this worker's."""
        has_parents = self._coordinator.view.has_parents(lease)
        seen = self._coordinator.view.first_seen(lease.key) + self._wall_clock_offset
        since = None if lease.counter <= 1 + self._coordinator.member.is_led else seen  # nobody has read by it yet
        where = self._start.iterator_arguments(lease.key, lease.checkpoint, has_parents=has_parents, latest_since=since)
        listed = (self._coordinator.shards or {}).get(lease.key)
        reader = Reader(lease, listed, where, self._config, self._random)
        hold = Hold(next(self._numbers), lease, reader, self._config, self._random, now)
        if is_of_another(self._coordinator.shards, lease):
            reader.error = wrong_shard(lease, self._stream_name)
        self._holds[hold.number] = hold
        self._coordinator.held.add(lease.key)
        self._metrics.taken(lease.key)
        tell(lease, "%s: reading %s from %s", self._stream_name, lease.key, lease.checkpoint)

    def read(self, hold: Hold, action: Read, answer: Any, now: float) -> None:
        """A read of a shard has succeeded."""
        started = hold.read_finished()
        if isinstance(action, GetShardIterator):
            hold.reader.iterator_answered(answer, self._wall_clock_offset + now)
            return
        hold.reader.records_answered(answer, started, self._wall_clock_offset + started)
        if hold.reader.expiry.suspicion is not None:
            self._losses.look_into(hold.reader.expiry, now)
        self._metrics.took("KinesisDataFetcher.getRecords.Time", now - started, hold.lease.key)

    def read_failed(self, hold: Hold, action: Read, error: Exception, code: str, now: float) -> bool:
        """A read has failed; whether that is dealt with, because it says something of this shard alone."""
        hold.read_finished()
        is_expired = code == "ExpiredIteratorException"
        hold.reader.failed(now, expired=is_expired, throttled=code == "ProvisionedThroughputExceededException")
        self._metrics.read_failed(hold.lease.key, is_expired=is_expired)
        if code == "InvalidArgumentException" and isinstance(action, GetShardIterator) and hold.is_begun:
            hold.reader.error = wrong_shard(hold.lease, self._stream_name, str(error))
            hold.reader.error.__cause__ = error
            return True
        if code == "ResourceNotFoundException":  # the shard's records may all be gone; the listing will tell
            hold.is_missing = True
            self._coordinator.look_at_shards(now)
            return True
        return is_expired

    def written(self, hold: Hold, action: Write, lease: Lease, now: float) -> None:
        """The lease was renewed, or its checkpoint written."""
        if isinstance(action, RenewLease):
            self._metrics.took("RenewLease.Time", now - hold.write_began, hold.lease.key)
        tokens = hold.written(lease)
        self._coordinator.view.update(lease, now)
        if hold.is_ending and lease.checkpoint == Position.SHARD_END:
            tokens += hold.take_tokens()
            self._drop(hold)
            self._coordinator.look_at_leases(now)  # its children can be taken now
            tell(lease, "%s: %s is done to its end", self._stream_name, lease.key)
        self.finished += [(token, None) for token in tokens]

    def write_failed(self, hold: Hold, error: Exception, now: float, *, is_permanent: bool) -> None:
        """The lease could not be written; what was to be is tried again, or refused."""
        if is_permanent:
            self.finished += [(token, error) for token in hold.take_tokens()]
        hold.write_failed(now)
        self._metrics.count("RenewLease.Failures", 1, hold.lease.key)

    def lose(self, hold: Hold, now: float, *, is_let_go: bool = False) -> None:
        """The lease is another worker's, or nobody's; `is_let_go`: because this worker wanted it so."""
        if hold.is_overdue(now):
            self._coordinator.overdue.add(hold.lease.key)
        self.finished += [(token, lost(hold.lease.key)) for token in hold.take_tokens()]
        self._drop(hold)
        if self.is_closing:
            return
        if not hold.is_handed_over and not is_let_go:
            self._coordinator.lost(hold.lease)
        if not hold.is_handed_over:
            self._metrics.count("LostLeases", 1, hold.lease.key)
        tell(hold.lease, "%s: the lease of %s is not held any more", self._stream_name, hold.lease.key)
        self._coordinator.look_at_leases(now + _RETRY_SECONDS)

    def abandon(self) -> list[tuple[str, Any]]:
        """See `Engine.abandon`."""
        left = [(hold.lease.key, token) for hold in self for token in hold.take_tokens()]
        for hold in self:
            self._drop(hold)
        return left

    def _drop(self, hold: Hold) -> None:
        del self._holds[hold.number]
        self._coordinator.held.discard(hold.lease.key)
        self._metrics.count("CurrentLeases", -1, hold.lease.key)
