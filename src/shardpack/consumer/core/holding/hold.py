"""A lease that this worker holds: what it reads of the shard, gives to the application, and writes to the lease."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ....aws.errors import backoff
from ....errors import CheckpointError, LeaseLostError
from ....leases.lease import Lease, is_started
from ....limits import KIB
from ....records import Position, ReceivedRecord
from ...config import ConsumerConfig
from ..actions import Action, Checkpoint, GetRecords, GetShardIterator, ReleaseLease, RenewLease
from .reader import Reader


@dataclass(slots=True)
class _Pending:
    """A checkpoint that is to be written."""

    position: Position
    children: tuple[str, ...]
    tokens: list[object]


class Hold:
    """From the taking of a lease to its end, loss or release.

    One write of the lease is under way at a time, because each is conditional on the one before, and one read.

    Attributes:
        number: no other hold of this worker has it.
        lease: as last written.
        reader: of the shard.
        in_hand: whether the application has a batch and is not done with it.
        given_at: when the application was given what it has, or had, in hand.
        delivered: position of the last user record that the application was given; None before the first.
        is_stopped: the application wants no more of this shard.
        told_end: whether the application was told that nothing follows.
        told_request: whether the application was told that another worker waits for the lease.
        is_missing: a read failed because there is no such shard; the next listing tells whether that is so.
        searching_since: when everything was done, and the search for what the shard was split or merged into began.
    """

    def __init__(
        self,
        number: int,
        lease: Lease,
        reader: Reader,
        config: ConsumerConfig,
        random: Callable[[], float],
        now: float,
    ) -> None:
        self.number = number
        self.lease = lease
        self.reader = reader
        self.in_hand = False
        self.given_at = now
        self.delivered: Position | None = None
        self.is_stopped = False
        self.told_end = False
        self.told_request = False
        self.is_missing = False
        self.searching_since: float | None = None
        self._measured = (now, 0)
        self._config = config
        self._random = random
        self._renewed_at = now
        self._asked_at: float | None = None  # when it was seen that another worker waits for the lease
        self._first_given: Position | None = None  # of the last batch
        self._given_from: float | None = None  # when the first record of the last batch arrived
        self._given_until: float | None = None  # and the last
        self._pending: _Pending | None = None
        self._writing: _Pending | None = None
        self._is_writing = False
        self._is_reading = False
        self._write_failures = 0
        self._write_due = now + self._renewal_interval
        self._write_started = self._read_started = now

    @property
    def _renewal_interval(self) -> float:
        return self._config.failover_time / 3

    def is_valid(self, now: float) -> bool:
        """Whether no other worker can have taken the lease for being expired."""
        return now - self._renewed_at < self._config.failover_time

    def is_stuck(self, now: float) -> bool:
        """Whether a read has been under way for longer than its time-outs allow, twice over."""
        longest = 2 * (self._config.connect_timeout + self._config.request_timeout)
        return self._is_reading and now - self._read_started > longest

    @property
    def write_began(self) -> float:
        """When the last write of the lease was begun."""
        return self._write_started

    @property
    def position(self) -> Position:
        """The last position that is done, or will be once what is pending is written."""
        for pending in (self._pending, self._writing):
            if pending is not None:
                return pending.position
        return self.lease.checkpoint

    @property
    def is_read_to_the_end(self) -> bool:
        """Whether the application has been given everything that the shard will ever hold."""
        return self.reader.is_ended and not self.reader.has_records and self.reader.error is None

    @property
    def is_ending(self) -> bool:
        """Whether the shard's end is recorded, or about to be; not where that was another shard's end."""
        return self.position == Position.SHARD_END and self.reader.error is None

    @property
    def is_begun(self) -> bool:
        """Whether something of the shard was done or read before, so that reading goes on after a position."""
        return is_started(self.lease.checkpoint) or self.reader.has_read

    @property
    def is_done(self) -> bool:
        """Whether everything that the shard will ever hold is done, and its end can be recorded."""
        return (
            self.is_read_to_the_end
            and not self.in_hand
            and not self.is_ending
            and not self.reader.expiry.is_open
            and self._is_all_done
        )

    @property
    def _is_all_done(self) -> bool:
        return self.delivered is None or self.position >= self.delivered

    @property
    def is_handed_over(self) -> bool:
        """Whether another worker has asked for the lease, and waits for this one to be done."""
        return self.lease.checkpoint_owner is not None

    @property
    def is_caught_up(self) -> bool:
        """Whether everything is handed out, and no longer in hand, that the shard held when it was last read."""
        return self.reader.is_at_end and not self.in_hand and not self.reader.has_records

    @property
    def owes_word(self) -> bool:
        """Whether the application must still be told that another worker waits, because it has to checkpoint."""
        is_unsaved = self.delivered is not None and self.position < self.delivered
        return self.is_handed_over and is_unsaved and not self.is_stopped and not self.told_request

    def is_overdue(self, now: float) -> bool:
        """Whether the application has had its batch for longer than it may, so that the lease is let go."""
        return self.in_hand and now - self.given_at >= self._config.longest_batch

    def may_go(self, now: float, *, closing: bool) -> bool:
        """Whether the lease may be let go: nothing of it is in hand, or whoever has asked for it has waited enough."""
        if self._asked_at is not None and now >= self._asked_at + self._config.graceful_lease_handoff_timeout:
            return True
        if self.is_overdue(now):
            return True
        return not self.in_hand and (closing or not self.owes_word)

    # What the application gets and wants.

    def has_given(self, records: Sequence[ReceivedRecord]) -> None:
        """The application is given these user records."""
        first, last = records[0], records[-1]
        self.delivered, self._first_given = last.position, first.position
        arrivals = [one.approximate_arrival_timestamp for one in (first, last)]
        self._given_from, self._given_until = (None if at is None else at.timestamp() for at in arrivals)

    def checkpoint(self, position: Position, token: object) -> bool:
        """Have a position recorded; False if it is already.

        Raises:
            CheckpointError: it lies before what is recorded, or after what was delivered.
        """
        shard_id, done = self.lease.key, self.position
        if self.lease.checkpoint == Position.SHARD_END:
            return False
        if self.delivered is None or position > self.delivered:
            raise CheckpointError(
                f"{shard_id}: {position} lies after {self.delivered}, the last user record that was delivered; check"
                " which record is given to checkpoint",
                shard_id=shard_id,
            )
        if position < done != Position.SHARD_END:
            raise CheckpointError(
                f"{shard_id}: {position} lies before the checkpoint {done}; a checkpoint only moves on",
                shard_id=shard_id,
            )
        if position == self.lease.checkpoint and self._pending is None and self._writing is None:
            return False
        self._add(position, (), [token])
        return True

    def finish(self, children: tuple[str, ...]) -> None:
        """Have it recorded that everything is done, and what the shard was split or merged into."""
        self._add(Position.SHARD_END, children, [])

    def _add(self, position: Position, children: tuple[str, ...], tokens: list[object]) -> None:
        earlier = self._pending
        if earlier is not None:
            tokens = [*earlier.tokens, *tokens]
            if earlier.position > position:
                position, children = earlier.position, earlier.children
        self._pending = _Pending(position, children, tokens)

    # What to do.

    def actions(self, now: float, *, closing: bool, leaving: bool) -> list[Action]:
        """The calls to make now; `closing`: nothing more is to be read, `leaving`: and the lease is to be let go."""
        actions: list[Action] = []
        if not self._is_writing and (write := self._write(now, closing=closing, leaving=leaving)) is not None:
            self._is_writing = True
            self._write_started = now
            actions.append(write)
        if not closing and not self.is_handed_over and (read := self._read(now)) is not None:
            self._is_reading = True
            self._read_started = now
            actions.append(read)
        return actions

    def deadline(self, now: float, *, closing: bool, leaving: bool) -> float | None:
        """When there may be a call to make, or None."""
        deadlines = []
        if not self._is_writing:
            leaves = (leaving or self.is_handed_over or self.is_overdue(now)) and self.may_go(now, closing=closing)
            if self.in_hand and not leaves:
                deadlines.append(self.given_at + self._config.longest_batch)
            is_waiting = self._pending is not None or leaves
            deadlines.append(float("-inf") if is_waiting and not self._write_failures else self._write_due)
            if self._asked_at is not None and not leaves:
                deadlines.append(self._asked_at + self._config.graceful_lease_handoff_timeout)
        may_read = not self._is_reading and not self.is_stopped and not closing and not self.is_handed_over
        if may_read and self.is_valid(now) and (due := self.reader.due) is not None:
            deadlines.append(due)
        return min(deadlines, default=None)

    def _write(self, now: float, *, closing: bool, leaving: bool) -> Action | None:
        if self._write_failures and now < self._write_due:
            return None
        if self._pending is not None:
            self._writing, self._pending = self._pending, None
            return Checkpoint(self._told(), self.number, self._writing.position, self._writing.children)
        if (leaving or self.is_handed_over or self.is_overdue(now)) and self.may_go(now, closing=closing):
            return ReleaseLease(self.lease, self.number)
        return RenewLease(self._told(now), self.number) if now >= self._write_due else None

    def _told(self, now: float | None = None) -> Lease:
        """The lease, with the moment up to which everything that has arrived is done, and how much is read."""
        until = self._done_until()
        known = self.lease.done_until
        told = replace(self.lease, done_until=known if until is None else max(int(until), known or 0))
        return told if now is None else replace(told, throughput=self._throughput(now))

    def _throughput(self, now: float) -> float | None:
        """The mean of KiB a second that are read, in which the time since the last renewal counts one half."""
        (since, before), read = self._measured, self.reader.bytes_read
        known = self.lease.throughput
        if now <= since:
            return known
        self._measured = (now, read)
        rate = (read - before) / KIB / (now - since)
        return rate if known is None else (rate + known) / 2

    def _done_until(self) -> float | None:
        if self.reader.expiry.is_open:
            return None
        if self._is_all_done:
            return self._given_until if self.reader.has_records else self.reader.expiry.read_until
        is_within = self._first_given is not None and self.position >= self._first_given
        return self._given_from if is_within else None

    def _read(self, now: float) -> Action | None:
        due = self.reader.due
        if self._is_reading or self.is_stopped or due is None or due > now or not self.is_valid(now):
            return None
        request = self.reader.request()
        if isinstance(request, str):
            return GetRecords(self.lease.key, self.number, request, self._config.max_records)
        return GetShardIterator(self.lease.key, self.number, request)

    # How it went.

    def written(self, lease: Lease) -> list[object]:
        """A write has succeeded; the tokens of the checkpoints that it recorded."""
        self.lease = lease
        self._is_writing = False
        self._write_failures = 0
        if self.is_handed_over and self._asked_at is None:
            self._asked_at = self._write_started
        self._renewed_at = self._write_started  # others may have seen the counter move no later than this
        self._write_due = self._renewed_at + self._renewal_interval
        written, self._writing = self._writing, None
        return [] if written is None else written.tokens

    def renewal_refused(self) -> None:
        """The lease is lost, or another worker has asked for it; a checkpoint tells, and is still allowed then."""
        self._is_writing = False
        self._add(self.lease.checkpoint, (), [])

    def write_failed(self, now: float) -> None:
        """A write failed in a way that may pass; it is tried again."""
        self._is_writing = False
        self._write_failures += 1
        self._write_due = now + backoff(self._write_failures, self._random)
        failed, self._writing = self._writing, None
        if failed is not None:
            self._add(failed.position, failed.children, failed.tokens)

    def read_finished(self) -> float:
        """A read came back; when it was begun."""
        self._is_reading = False
        return self._read_started

    def take_tokens(self) -> list[object]:
        """The tokens of all checkpoints that are not written; none of them is left here."""
        tokens = [
            token for pending in (self._writing, self._pending) if pending is not None for token in pending.tokens
        ]
        self._writing = self._pending = None
        return tokens


def lost(shard_id: str) -> LeaseLostError:
    """The error for a lease that is not held any more."""
    return LeaseLostError(
        f"the lease of {shard_id} is not held any more: another worker has it, and reads on from the last checkpoint",
        shard_id=shard_id,
    )
