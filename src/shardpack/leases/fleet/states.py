"""What the workers of a fleet tell each other beside the leases.

The rules are those of the KCL 3.5: ``MigrationState``, ``TableMigrationState``, ``WorkerMetricStats`` and the lock
client of ``DynamoDBLockBasedLeaderDecider``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

from ..lease import Lease


class Tables(StrEnum):
    """How far the fleet is on its way from three tables to one (KCL: ``TableMigrationStatus``).

    Before the KCL 3.5 the leader and the workers' reports had tables of their own. In the first two states they are
    written there, in the last two to the lease table. They are read in both, and in the last state in the lease table
    alone. The lock of the leader moves in the last step.
    """

    INIT = "TABLE_MIGRATION_STATUS_INIT"
    DEPLOYED = "TABLE_MIGRATION_STATUS_DEPLOYED"
    PENDING = "TABLE_MIGRATION_STATUS_PENDING"
    COMPLETE = "TABLE_MIGRATION_STATUS_COMPLETE"

    @property
    def has_reports_apart(self) -> bool:
        """Whether a worker writes its report to the table that the reports have for themselves."""
        return self in (Tables.INIT, Tables.DEPLOYED)

    @property
    def has_leader_apart(self) -> bool:
        """Whether the leader's lock is in the table that the KCL before 3.5 has for it."""
        return self is not Tables.COMPLETE


LED = "CLIENT_VERSION_3X"
"""The client version of a fleet that has never known another way than a leader."""


class FleetState(NamedTuple):
    """Which way of sharing holds, and where it is written down.

    Attributes:
        client_version: The KCL's ``ClientVersion``, such as ``CLIENT_VERSION_3X``; None: nobody has set it.
        tables: Which tables are used.
    """

    client_version: str | None
    tables: Tables

    @property
    def is_led(self) -> bool:
        """Whether leases are assigned by a leader; else workers take them."""
        return self.client_version in (LED, "CLIENT_VERSION_3X_WITH_ROLLBACK")

    @property
    def is_understood(self) -> bool:
        """Whether it is known what the client version means; of others, a worker takes leases."""
        return self.client_version in (None, "CLIENT_VERSION_2X") or self.wants_reports

    @property
    def wants_reports(self) -> bool:
        """Whether workers report, be it only that the fleet may go over to a leader once all of them do."""
        return self.is_led or self.client_version == "CLIENT_VERSION_UPGRADE_FROM_2X"


@dataclass(frozen=True, slots=True)
class LeaderLock:
    """Who leads.

    Attributes:
        owner: The worker.
        version: What the leader changes to show that it is alive (``recordVersionNumber``).
        duration: Seconds for which it may be silent (``leaseDuration``, there in milliseconds).
    """

    owner: str
    version: str
    duration: float


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """What a worker has reported.

    Attributes:
        worker_id: The worker.
        updated: When, in seconds since the epoch by the worker's clock (``lut``); None: missing.
        metrics: Its last values by the metric's name, the newest last, -1 for what could not be measured (``sts``).
        limits: What is full load, by the metric's name (``opr``).
        is_apart: Whether it was found in the table that reports had for themselves before the KCL 3.5.
    """

    worker_id: str
    updated: int | None = None
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    limits: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    is_apart: bool = False

    @property
    def has_no_metrics(self) -> bool:
        """Whether the leader is to reckon with the throughput of the worker's leases (the KCL's "default")."""
        return not self.metrics

    @property
    def is_valid(self) -> bool:
        """Whether it can be used: every metric has a limit, and no limit is 0."""
        if self.updated is None:
            return False
        return self.metrics.keys() <= self.limits.keys() and all(limit and limit[0] for limit in self.limits.values())

    @property
    def is_failing(self) -> bool:
        """Whether the last value of a metric could not be measured."""
        return any(values and values[-1] == -1 for values in self.metrics.values())


class Survey(NamedTuple):
    """All leases, and what all workers have reported."""

    leases: list[Lease]
    workers: list[WorkerStats]


class Fleet(Protocol):
    """Where the workers of a fleet tell each other who leads and how busy they are. Implementations are thread-safe.

    A write that finds something else than its caller last saw changes nothing. Every method raises `LeaseStoreError`
    if the store cannot be used; whether a write then happened is not known.
    """

    def state(self) -> FleetState:
        """Which way of sharing holds, and which tables are used."""

    def begin(self, tables: Tables, worker_id: str) -> None:
        """Write down that leases are assigned by a leader, if nothing is written down yet."""

    def lock(self, tables: Tables) -> LeaderLock | None:
        """Who leads; None: nobody, or the lock was let go."""

    def write_lock(self, tables: Tables, before: LeaderLock | None, lock: LeaderLock) -> bool:
        """Take the lock, or show that one is alive; False if it is not any more as it was `before`."""

    def delete_lock(self, tables: Tables, lock: LeaderLock) -> None:
        """Let the lock go, if it is still this one."""

    def report(self, tables: Tables, stats: WorkerStats) -> None:
        """Write what a worker reports, and the time."""

    def survey(self, tables: Tables) -> Survey:
        """All leases and all reports, read together."""

    def forget(self, stats: WorkerStats) -> None:
        """Remove a worker's report, if it is not a newer one; `updated` None: whichever it is."""


@runtime_checkable
class HasFleet(Protocol):
    """A store of leases that a leader can share out."""

    @property
    def fleet(self) -> Fleet:
        """Where the workers tell each other who leads."""
