"""What a member of a fleet asks a shell to do beside the actions that are about leases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ....leases.fleet.states import LeaderLock, Tables, WorkerStats
from ....leases.lease import Lease


@dataclass(frozen=True, slots=True)
class ReadState:
    """`Fleet.state`; the answer is the state."""


@dataclass(frozen=True, slots=True)
class BeginFleet:
    """`Fleet.begin`; there is no answer."""

    tables: Tables
    worker_id: str


@dataclass(frozen=True, slots=True)
class ReadLock:
    """`Fleet.lock`; the answer is the lock, or None."""

    tables: Tables


@dataclass(frozen=True, slots=True)
class WriteLock:
    """`Fleet.write_lock`; the answer is whether it was written."""

    tables: Tables
    before: LeaderLock | None
    lock: LeaderLock


@dataclass(frozen=True, slots=True)
class DeleteLock:
    """`Fleet.delete_lock`; there is no answer."""

    tables: Tables
    lock: LeaderLock


@dataclass(frozen=True, slots=True)
class ReportStats:
    """`Fleet.report`; there is no answer."""

    tables: Tables
    stats: WorkerStats


@dataclass(frozen=True, slots=True)
class Forget:
    """`Fleet.forget`; there is no answer."""

    stats: WorkerStats


@dataclass(frozen=True, slots=True)
class SurveyFleet:
    """`Fleet.survey`; the answer is all leases and reports."""

    tables: Tables


@dataclass(frozen=True, slots=True)
class AssignLease:
    """`HandsOver.ask_for`, or `Leases.take`, for any worker; the answer is the lease, or None."""

    lease: Lease
    owner: str
    is_asked_for: bool


MemberAction: TypeAlias = ReadState | BeginFleet | ReadLock | WriteLock | DeleteLock | ReportStats | Forget
