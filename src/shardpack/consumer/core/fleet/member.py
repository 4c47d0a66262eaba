"""Which way of sharing leases holds, and what this worker does for it beside its leases.

The settings say whether a leader is wanted. Whether there is one is written down in the store, where the KCL writes it
too (``Migration3.0``), so that all workers go over from one way to the other together: while the item speaks of 2.x,
leases are taken, and then they are assigned.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from ....leases.fleet.assigning import Candidate, Round
from ....leases.fleet.states import FleetState, Tables, WorkerStats
from ...config import ConsumerConfig
from ..periodic import Periodic
from .actions import (
    BeginFleet,
    DeleteLock,
    Forget,
    MemberAction,
    ReadLock,
    ReadState,
    ReportStats,
    WriteLock,
)
from .election import Election
from .leading import Leading

_FAILURES = 3  # of surveys in a row, as the KCL has it
_VALUES = 10  # of a metric in a report, as the KCL has them
_CPU = "C"
_FULL = 100.0

_log = logging.getLogger("shardpack.consumer")


class Member:
    """A worker's part in a fleet.

    Args:
        worker_id: its name.
        config: the settings.
        random: for waits and for chance; None: made.
        used: seconds of processor time that this process has used so far.
        wall_clock_offset: seconds since the epoch at time 0 of the clock.
        is_alone: whether it takes leases in any case, and tells the others nothing.

    Attributes:
        is_alone: as given.
        election: whether it leads.
    """

    def __init__(
        self,
        worker_id: str,
        config: ConsumerConfig,
        random: Random | None = None,
        used: Callable[[], float] = lambda: 0.0,
        wall_clock_offset: float = 0.0,
        *,
        is_alone: bool = False,
    ) -> None:
        random = random or Random()  # jitter, not secrets
        self._worker_id = worker_id
        self.is_alone = is_alone
        self._begins = config.lease_assignment == "leader"
        self._can_hand_over = config.graceful_lease_handoff_timeout > 0
        self._config = config.fleet
        self._interval = config.fleet.assignment_interval or config.failover_time
        self._leading = Leading(worker_id, config, random, wall_clock_offset)
        self._failed_surveys = 0
        self._used = used
        self._state = FleetState(None, Tables.COMPLETE) if is_alone else None
        self._reading = Periodic(config.shard_sync_interval, random)
        self._reporting = Periodic(config.fleet.reporting_interval, random)
        self._values: deque[float] = deque(maxlen=_VALUES)
        self._used_before: tuple[float, float] | None = None
        self._reported_to: Tables | None = None
        self._queue: list[MemberAction] = []
        self._under_way = 0
        self._is_closing = False
        self.election = Election(worker_id, config.fleet, random)

    @property
    def is_known(self) -> bool:
        """Whether it is known which way of sharing holds."""
        return self._state is not None

    @property
    def is_led(self) -> bool:
        """Whether leases are assigned by a leader."""
        return self._state is not None and self._state.is_led

    @property
    def tables(self) -> Tables:
        """Which tables are used."""
        return Tables.COMPLETE if self._state is None else self._state.tables

    def is_leader(self, now: float) -> bool:
        """Whether leases are assigned by this worker."""
        return self.is_led and not self._is_closing and self.election.is_leader(now)

    def poll(self, now: float) -> list[MemberAction]:
        """The calls to make now."""
        if self._is_closing and self._reported_to is not None and self._reporting.due is not None:
            # The leader is not to reckon with this worker until its last report is old.
            self._queue.append(Forget(WorkerStats(self._worker_id, is_apart=self._reported_to.has_reports_apart)))
            self._reported_to = None
        actions, self._queue = self._queue, []
        if not self._is_closing and not self.is_alone and self._reading.begin(now):
            actions.append(ReadState())
        state = self._state
        if state is not None:
            if state.wants_reports and not self._is_closing and self._reporting.begin(now):
                self._reported_to = state.tables
                actions.append(ReportStats(state.tables, self._stats(now)))
            actions += self.election.poll(state.tables, now, may_lead=state.is_led and not self._is_closing)
        self._under_way += len(actions)
        return actions

    def deadline(self) -> float | None:
        """When there may be a call to make, or None."""
        if self._queue or (self._is_closing and self._reported_to is not None and self._reporting.due is not None):
            return float("-inf")
        dues = [self.election.deadline(may_lead=self.is_led and not self._is_closing)]
        if not self._is_closing:
            dues.append(None if self.is_alone else self._reading.due)
            dues.append(self._reporting.due if self._state is not None and self._state.wants_reports else None)
        return min((due for due in dues if due is not None), default=None)

    def _stats(self, now: float) -> WorkerStats:
        if self._config.worker_metric != "cpu":
            return WorkerStats(self._worker_id)
        used, before = self._used(), self._used_before
        self._used_before = (now, used)
        if before is not None and now > before[0]:
            self._values.append(round(100 * (used - before[1]) / (now - before[0]), 6))
        # In the first moment nothing is measured yet. A worker that says 0 is given leases.
        return WorkerStats(self._worker_id, None, {_CPU: tuple(self._values) or (0.0,)}, {_CPU: (_FULL,)})

    def close(self, now: float) -> None:
        """Lead no more, and be reckoned with no more."""
        self._is_closing = True
        self.election.close(now)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do after `close`."""
        is_quiet = not self._queue and not self._under_way and self._reported_to is None
        return self.is_alone or (is_quiet and self.election.is_over)

    # What a leader does.

    def listing_interval(self, now: float) -> float | None:
        """After how many seconds to list the leases again; None: as often as workers that take them."""
        if self.is_leader(now):
            return self._interval
        return float("inf") if self.is_led else None

    def assignments(self, candidates: Sequence[Candidate], workers: Iterable[WorkerStats], now: float) -> Round:
        """Who is to have which lease, after a survey."""
        self._failed_surveys = 0
        workers = list(workers)
        done = self._leading.round(candidates, workers, now)
        self._queue += [Forget(stats) for stats in self._leading.gone(workers, now)]
        if self._can_hand_over:
            return done
        return done._replace(assignments=[one._replace(is_asked_for=False) for one in done.assignments])

    def survey_failed(self, now: float) -> None:
        """All leases could not be read; after some failures in a row another leader may have more luck."""
        self._failed_surveys += 1
        if self._failed_surveys >= _FAILURES and self.is_leader(now):
            _log.warning("%s could not read the leases %d times, and leads no more", self._worker_id, _FAILURES)
            self._failed_surveys = 0
            self.election.resign(now)

    # How it went.

    def answered(self, action: MemberAction, answer: Any, now: float) -> bool:
        """A call has succeeded; whether this worker has become the leader, or leases are shared in another way now."""
        self._under_way -= 1
        if isinstance(action, ReadState):
            return self._state_read(answer, now)
        if isinstance(action, BeginFleet):
            self._reading.request(now)
        elif isinstance(action, ReadLock):
            self.election.read(answer, now)
        elif isinstance(action, WriteLock):
            if self.election.written(action, bool(answer), now):
                self._leading.begin()
                self._failed_surveys = 0
                _log.info("%s leads: it shares the leases out", self._worker_id)
                return True
        elif isinstance(action, DeleteLock):
            self.election.deleted()
        elif isinstance(action, ReportStats):
            self._reporting.succeeded(now)
        return False

    def _state_read(self, state: FleetState, now: float) -> bool:
        self._reading.succeeded(now)
        if state.client_version is None and self._begins:  # and until that is done, nobody is to take anything
            self._queue.append(BeginFleet(state.tables, self._worker_id))
            return False
        before, self._state = self._state, state
        if before is None or before.is_led != state.is_led:
            if not state.is_led:
                self.election.resign(now)
            how = "a leader assigns the leases" if state.is_led else "workers take the leases"
            level = logging.INFO if state.is_understood else logging.WARNING
            _log.log(level, "%s: %s (%s, %s)", self._worker_id, how, state.client_version, state.tables.value)
            return True
        return False

    def failed(self, action: MemberAction, now: float) -> None:
        """A call has failed, and is made again where that is of use."""
        self._under_way -= 1
        if isinstance(action, ReadState):
            self._reading.failed(now)
        elif isinstance(action, ReportStats):
            self._reporting.failed(now)
        elif isinstance(action, BeginFleet):
            self._reading.request(now + 1.0)
        elif isinstance(action, ReadLock | WriteLock | DeleteLock):
            self.election.failed(now)
