"""Who is given which lease: a round of the leader, without I/O and without a clock.

The KCL 3.5 does it in ``LeaseAssignmentManager``. Who else believes to lead may decide otherwise at the same time; the
conditions of the writes see to it that one of the two comes first, and the other changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from random import Random
from typing import NamedTuple

from ..lease import Lease
from .settings import FleetConfig
from .states import WorkerStats


class Candidate(NamedTuple):
    """A lease, as the leader sees it.

    Attributes:
        lease: As it was read.
        since: When its counter was last seen to change.
        is_free: Whether nobody has it, or who has it is dead.
        is_moving: Whether it is being handed over, so that it is to be left alone.
    """

    lease: Lease
    since: float
    is_free: bool
    is_moving: bool

    @property
    def holder(self) -> str | None:
        """Who reads it: in a hand-over the worker that still checkpoints (KCL: ``actualOwner``)."""
        return self.lease.checkpoint_owner or self.lease.owner


class Assignment(NamedTuple):
    """A lease that a worker is to have.

    Attributes:
        lease: As it was read.
        worker: Who is to have it.
        is_asked_for: Whether a live worker has it, who is to finish its work first.
    """

    lease: Lease
    worker: str
    is_asked_for: bool


class Round(NamedTuple):
    """What a leader found and decided in one round, as the KCL's ``LeaseAssignmentManager`` counts it.

    Attributes:
        assignments: Who is to have which lease besides those that they have.
        total: Leases that there is work on.
        workers: Workers that may be given leases.
        expired: Leases that nobody has, or whose holder is dead.
        spillover: Those of them that nobody may be given, because all workers have as many as they may.
        reassigned: Leases of live workers that move so that the load is even.
        invalid_reports: Reports that cannot be used.
        failing_reports: Workers that could not measure how busy they are.
    """

    assignments: list[Assignment]
    total: int
    workers: int
    expired: int
    spillover: int
    reassigned: int
    invalid_reports: int
    failing_reports: int


class Board:
    """Leases and workers, as they will be when what was decided so far has happened.

    Args:
        candidates: All leases that there is work on.
        workers: The reports of the workers that may be given leases.
        config: The settings.
        most: The most leases that a worker is given.
        random: Which of a worker's leases move is left to chance.

    Attributes:
        free: The leases that nobody has, those that have waited longest first.
        held: The leases of each worker.
        load: KiB a second of the leases of each worker.
        moved: What was decided.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        workers: Iterable[WorkerStats],
        config: FleetConfig,
        most: int,
        random: Random,
    ) -> None:
        self.config = config
        self.most = most
        self.random = random
        self.total = len(candidates)
        self.workers = sorted(workers, key=lambda worker: worker.worker_id)
        known = [rate for one in candidates if (rate := one.lease.throughput) is not None]
        self._mean = sum(known) / len(known) if known else 0.0
        self.held: defaultdict[str, dict[str, Candidate]] = defaultdict(dict)
        self.load: Counter[str] = Counter()
        self._loads: dict[str, float] = {}
        self.moved: list[Assignment] = []
        free: list[Candidate] = []
        for one in sorted(candidates, key=lambda one: (one.lease.owner is not None, one.since, one.lease.key)):
            if one.is_free:
                free.append(one)
            elif (worker := one.lease.owner if one.is_moving else one.holder) is not None:
                self._add(worker, one)
        self.free = free

    def throughput(self, candidate: Candidate) -> float:
        """KiB a second of a lease; what is not known is taken for the mean of the others."""
        known = candidate.lease.throughput
        return self._mean if known is None else known

    @property
    def target(self) -> float:
        """KiB a second that each worker should have."""
        return self._mean * self.total / max(1, len(self.workers))

    def has_room(self, worker: str) -> bool:
        """Whether a worker may be given more."""
        return len(self.held[worker]) < self.most and self.load_of(worker) <= self.config.max_throughput

    def load_of(self, worker: str) -> float:
        """KiB a second of a worker's leases."""
        return self._loads.get(worker, 0.0)

    def give(self, candidate: Candidate, worker: str) -> None:
        """A worker is to have a lease."""
        holder = candidate.holder
        if holder is not None and self.held[holder].pop(candidate.lease.key, None) is not None:
            self._loads[holder] -= self.throughput(candidate)
        self._add(worker, candidate)
        if candidate.is_free and candidate.lease.owner == worker and candidate.lease.checkpoint_owner is None:
            return  # it has its name on it already, and finds it when it is back
        self.moved.append(Assignment(candidate.lease, worker, not candidate.is_free))

    def _add(self, worker: str, candidate: Candidate) -> None:
        self.held[worker][candidate.lease.key] = candidate
        self._loads[worker] = self._loads.get(worker, 0.0) + self.throughput(candidate)

    def movable(self, worker: str) -> list[Candidate]:
        """The leases of a worker that can be moved, in the order of their keys."""
        held = self.held[worker]
        return [held[key] for key in sorted(held) if not held[key].is_moving and not held[key].is_free]


def active(workers: Iterable[WorkerStats], alive: Collection[str]) -> list[WorkerStats]:
    """The newest report of each worker that may be given leases."""
    newest: dict[str, WorkerStats] = {}
    for worker in workers:
        if worker.is_valid and worker.worker_id in alive:
            other = newest.get(worker.worker_id)
            if other is None or (other.updated or 0) <= (worker.updated or 0):
                newest[worker.worker_id] = worker
    return [worker for worker in newest.values() if not worker.is_failing]
