"""The consumer's decisions, without I/O and without a clock.

A shell (threads or asyncio) tells the engine what happened and when, does what `Engine.poll` asks for, hands out what
`Engine.next_batch` gives, and comes back at `Engine.deadline`. Times are seconds on the shell's clock, which must not
run backwards. Nothing blocks or locks.

    leases -> one to hold -> GetShardIterator -> GetRecords -> batch -> checkpoint -> ... -> shard end -> its children
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any

from ...errors import LeaseStoreError
from ...leases.lease import Lease
from ...records import Position
from ..config import ConsumerConfig
from ..failures import Failures
from ..loss import Losses
from ..metrics import ConsumerStats, Metrics
from ..start import Start
from .actions import (
    Action,
    AskForLease,
    DescribeStream,
    GetLease,
    Listing,
    ListShards,
    ReleaseLease,
    RenewLease,
    TakeBack,
    TakeLease,
    is_permanent,
    key_of,
)
from .fleet.actions import AssignLease, SurveyFleet
from .fleet.member import Member
from .holding.delivered import Delivered
from .holding.ending import Ending
from .holding.hold import Hold
from .holding.holds import Finished, Holds, Read, Write
from .sharing.coordinator import Coordinator
from .sharing.leaving import Leaving


class Engine:
    """What a consumer decides.

    Args:
        stream_name: for messages.
        worker_id: this worker, as it signs leases.
        config: the settings.
        start: where to read from when nothing is done yet.
        wall_clock_offset: seconds since the epoch at time 0 of the shell's clock.
        random: for jitter, and for not taking the same leases as other workers.
        metrics: counts what happens.
        member: this worker's part in a fleet that may be led; None: it knows of no leader.

    Attributes:
        stream_name: as given.
        fatal: why nothing can go on, or None.
        needs_poll: whether `next_batch` has made room or has found an end since the last `poll`, be it that it gave
            nothing because everything was to be skipped.
    """

    def __init__(
        self,
        stream_name: str,
        worker_id: str,
        config: ConsumerConfig,
        start: Start,
        *,
        wall_clock_offset: float = 0.0,
        random: Random | None = None,
        metrics: Metrics | None = None,
        member: Member | None = None,
    ) -> None:
        self.stream_name = stream_name
        random = random or Random()  # jitter, not secrets
        self._metrics = metrics or Metrics()
        self._coordinator = Coordinator(stream_name, worker_id, config, start, random, member)
        self._ending = Ending(stream_name, self._coordinator)
        self._leaving = Leaving(config, self._coordinator.view)
        self._failures = Failures(stream_name)
        self._losses = Losses(stream_name, self._metrics.lost)
        self._holds = Holds(
            stream_name, config, start, self._coordinator, self._metrics, self._losses, wall_clock_offset, random
        )
        self._closing = False
        self.fatal: Exception | None = None
        self.needs_poll = True

    # What the application does.

    def next_batch(self, now: float) -> Delivered | None:
        """The next user records of a shard of which the application has none in hand, until `done`; or None."""
        if self._closing:
            return None
        for hold in self._holds:
            if not self._holds.may_give(hold, now):
                continue
            self.needs_poll |= hold.reader.has_records and not hold.is_handed_over
            if (delivered := self._holds.given(hold, now)) is not None:
                return delivered
        return None

    def done(self, hold: Hold, *, stop: bool = False, now: float | None = None) -> None:
        """The application is done with what it had in hand of a shard; `stop`: and wants no more of it."""
        self._holds.done(hold, stop=stop, now=now)

    def checkpoint(self, hold: Hold, position: Position, token: object) -> None:
        """Have it recorded that everything up to and including a position is done.

        The token comes out of `take_finished`.

        Raises:
            LeaseLostError: the lease is not held any more.
            CheckpointError: the position lies before the checkpoint, or after what was delivered.
        """
        self._holds.checkpoint(hold, position, token)

    def close(self) -> None:
        """Read no more, and let each lease go as soon as its checkpoints are written and nothing of it is in hand.

        It goes to another worker, if one is alive, else to nobody.
        """
        self._closing = self._holds.is_closing = True
        self._coordinator.close()

    def abandon(self) -> list[tuple[str, Any]]:
        """Give everything up as it is; (shard id, token) of every checkpoint that is not written."""
        return self._holds.abandon()

    @property
    def is_closed(self) -> bool:
        """Whether no lease is held, and nothing is under way, after `close`."""
        return self._closing and not self._holds and self._coordinator.is_idle and self._leaving.is_over

    @property
    def holds(self) -> Collection[Hold]:
        """The leases that are held."""
        return list(self._holds)

    @property
    def millis_behind_latest(self) -> dict[str, int | None]:
        """For each shard that is held, how many milliseconds its reading is behind; None: not known yet."""
        return {hold.lease.key: hold.reader.millis_behind_latest for hold in self.holds}

    @property
    def stats(self) -> ConsumerStats:
        """What was done so far."""
        return self._metrics.snapshot(self.millis_behind_latest, self._coordinator.view.leases.values())

    def is_healthy(self, now: float) -> bool:
        """Whether all leases are renewed in time, and no reader hangs."""
        are_well = all(hold.is_valid(now) and not hold.is_stuck(now) for hold in self.holds)
        return self.fatal is None and are_well and not self._coordinator.overdue

    @property
    def is_caught_up(self) -> bool:
        """Whether everything is handed out that this worker's shards held when they were last read."""
        return self._coordinator.is_settled and all(hold.is_caught_up for hold in self.holds)

    @property
    def caught_up_shards(self) -> set[str]:
        """Of the shards that are held, those of which everything is handed out."""
        return {hold.lease.key for hold in self.holds if hold.is_caught_up}

    @property
    def is_all_stopped(self) -> bool:
        """Whether the application wants no more of any shard that this worker can have."""
        return (
            bool(self._holds)
            and all(hold.is_stopped for hold in self._holds)
            and self._coordinator.is_idle
            and not self._coordinator.view.has_work(self._coordinator.held)
        )

    # What the shell asks.

    def poll(self, now: float) -> list[Action]:
        """What to do now."""
        self.needs_poll = False
        for hold in self._holds:
            if hold.is_done and hold.is_valid(now) and not self._closing:
                self._ending.end(hold, now)
        actions = self._coordinator.poll(now)
        self._metrics.leads(is_leader=self._coordinator.member.is_leader(now))
        if (shard_id := self._losses.begin(now)) is not None:
            actions.append(DescribeStream(shard_id))
        if self._closing:
            actions += self._leaving.poll(now)
        leaving = self._closing and self._leaving.is_ready
        for hold in self._holds:
            actions += hold.actions(now, closing=self._closing, leaving=leaving)
        return [self._leaving.directed(action) for action in actions] if leaving else actions

    def deadline(self, now: float) -> float | None:
        """When to poll again if nothing happens before, or None."""
        closing, leaving = self._closing, self._closing and self._leaving.is_ready
        deadlines = [hold.deadline(now, closing=closing, leaving=leaving) for hold in self._holds]
        deadlines += [self._coordinator.deadline(), self._leaving.deadline() if closing else None]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def take_finished(self) -> list[Finished]:
        """(token, None or why not) of every checkpoint that was written or refused since the last call."""
        finished, self._holds.finished = self._holds.finished, []
        return finished

    # What the shell reports.

    def answered(self, action: Action, answer: Any, now: float) -> None:
        """What was asked for has been done: the action, its answer, and seconds on the shell's clock."""
        self._failures.succeeded(type(action).__name__)
        try:
            if isinstance(action, ListShards):
                self._coordinator.shards_listed(answer, now)
                self._ending.look_for_gone(self.holds, self._losses)
            elif isinstance(action, DescribeStream):
                self._losses.answered(answer)
            elif isinstance(action, GetLease | TakeBack):
                self._looked(action, answer, now)
            elif isinstance(action, Read | Write):
                if (hold := self._holds.of(action)) is not None:
                    self._answered(hold, action, answer, now)
            else:
                self._coordinator.answered(action, answer, now)
                if isinstance(action, AssignLease) and answer is None:
                    self._metrics.count("LeaseAssignmentManager.FailedAssignmentCount", 1, None)
                if isinstance(action, Listing):
                    self._looked_at_all(action)
                    if self._closing:
                        self._leaving.listed(now)
                # A store that cannot hand over takes a lease that it is asked for.
                if isinstance(action, TakeLease | AskForLease) and answer and answer.checkpoint_owner is None:
                    self._holds.taken(answer, now)
        except (ValueError, LeaseStoreError) as error:  # start_at names no shard; the leases are another stream's
            self.fatal = self.fatal or error

    def failed(self, action: Action, error: Exception, code: str, now: float) -> None:
        """What was asked for has failed; whether a write happened is unknown.

        Args:
            action: as it came from `poll`.
            error: what was raised.
            code: its name, by AWS or by Python.
            now: seconds on the shell's clock.
        """
        if isinstance(action, Read | Write):
            hold = self._holds.of(action)
            if hold is None:
                return  # the lease was lost meanwhile
            if isinstance(action, Write):
                self._holds.write_failed(hold, error, now, is_permanent=is_permanent(action, error, code))
            elif self._holds.read_failed(hold, action, error, code, now):
                return
        elif isinstance(action, DescribeStream):
            self._losses.answered(None)  # it may not be allowed
            return
        else:
            self._coordinator.failed(action, now)
            if isinstance(action, AssignLease):
                self._metrics.count("LeaseAssignmentManager.FailedAssignmentCount", 1, None)
            if isinstance(action, GetLease | TakeBack) and self._leaving.is_watching(key_of(action)):
                self._leaving.failed(key_of(action), now)
            if isinstance(action, Listing) and self._closing:
                self._leaving.listed(now)
        if is_permanent(action, error, code):
            self.fatal = self.fatal or error
        else:
            self._failures.failed(type(action).__name__, code, error)

    def _answered(self, hold: Hold, action: Read | Write, answer: Any, now: float) -> None:
        if isinstance(action, Read):
            self._holds.read(hold, action, answer, now)
        elif isinstance(action, RenewLease) and answer is None:
            hold.renewal_refused()
        elif isinstance(action, ReleaseLease) or answer is None:
            if isinstance(answer, Lease) and answer.checkpoint_owner is None:
                self._leaving.given(answer, now)
            self._holds.lose(hold, now, is_let_go=isinstance(action, ReleaseLease))
        else:
            self._holds.written(hold, action, answer, now)

    def _looked_at_all(self, action: Listing) -> None:
        if isinstance(action, SurveyFleet):
            self._metrics.assigned(self._coordinator.round)
        else:
            self._metrics.looked(self._coordinator.look)

    def _looked(self, action: GetLease | TakeBack, answer: Any, now: float) -> None:
        # A lease may have been given away, and be looked for under this worker's name, at the same time.
        key = key_of(action)
        if self._coordinator.is_changing(key):
            if isinstance(action, GetLease):
                self._coordinator.seen(key, answer, now)
            else:
                self._coordinator.changed(action, answer, now)
        if self._leaving.is_watching(key):
            if isinstance(action, GetLease):
                self._leaving.seen(key, answer, now)
            else:
                self._leaving.taken_back(key)
