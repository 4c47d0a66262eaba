"""Leases in memory that a leader can share out, and the clocks of the workers in the test's hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import shardpack as sp
from shardpack.leases.fleet.states import FleetState, LeaderLock, Survey, Tables, WorkerStats


class MemoryFleet:
    """What workers tell each other, in memory. A `Fleet`.

    Attributes:
        version: the client version.
        tables: which tables are used.
        begun_by: who has written down that leases are assigned.
        holders: the leader's lock, in the one place and in the other.
        reports: what workers reported, in the one place or in the other.
        skew: how many seconds each worker's clock is ahead.
    """

    def __init__(self, leases: sp.MemoryLeases, clock: Callable[[], float]) -> None:
        self._leases = leases
        self._clock = clock
        self._lock = threading.Lock()
        self.version: str | None = None
        self.tables = Tables.COMPLETE
        self.begun_by: tuple[Tables, str] | None = None
        self.holders: dict[bool, LeaderLock] = {}
        self.reports: dict[str, WorkerStats] = {}
        self.skew: Mapping[str, float] = {}

    def state(self) -> FleetState:
        return FleetState(self.version, self.tables)

    def begin(self, tables: Tables, worker_id: str) -> None:
        if self.version is None:
            self.version, self.begun_by = "CLIENT_VERSION_3X", (tables, worker_id)

    @property
    def holder(self) -> LeaderLock | None:
        """Who leads, in the lease table."""
        return self.holders.get(False)

    def lock(self, tables: Tables) -> LeaderLock | None:
        return self.holders.get(tables.has_leader_apart)

    def write_lock(self, tables: Tables, before: LeaderLock | None, lock: LeaderLock) -> bool:
        with self._lock:
            if self.lock(tables) != before:
                return False
            self.holders[tables.has_leader_apart] = lock
            return True

    def delete_lock(self, tables: Tables, lock: LeaderLock) -> None:
        with self._lock:
            if self.lock(tables) == lock:
                del self.holders[tables.has_leader_apart]

    def report(self, tables: Tables, stats: WorkerStats) -> None:
        updated = int(self._clock() + self.skew.get(stats.worker_id, 0.0))
        is_apart = tables.has_reports_apart
        self.reports[stats.worker_id] = WorkerStats(stats.worker_id, updated, stats.metrics, stats.limits, is_apart)

    def survey(self, tables: Tables) -> Survey:
        is_all = tables is not Tables.COMPLETE
        reports = [one for one in self.reports.values() if is_all or not one.is_apart]
        return Survey(self._leases.list(), reports)

    def forget(self, stats: WorkerStats) -> None:
        known = self.reports.get(stats.worker_id)
        if known is not None and known.is_apart == stats.is_apart and stats.updated in (None, known.updated):
            del self.reports[stats.worker_id]


class LedLeases(sp.MemoryLeases):
    """A store in memory with a fleet.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.fleet = MemoryFleet(self, clock)
