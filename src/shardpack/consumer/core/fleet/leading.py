"""What a leader decides: whom it reckons with, and who is to have which lease.

A worker is reckoned with while its reports change, by the leader's clock: clocks of workers are compared only once, to
tell old reports from new ones when a leader begins. (The KCL compares them always, so that a worker whose clock is a
minute behind is given nothing.) A worker that lets a lease expire, or go, is given no more until it has reported again.
(The KCL goes on giving leases to a worker that was stopped, for as long as its last report is fresh: its issue 1452.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from ....leases.fleet import counting, loads
from ....leases.fleet.assigning import Board, Candidate, Round, active
from ....leases.fleet.states import WorkerStats
from ...config import ConsumerConfig

_DAY = 86_400  # seconds: older reports are removed, as the KCL does


class Leading:
    """What a worker knows of the others while it leads.

    Args:
        worker_id: its name.
        config: the settings.
        random: for what is left to chance.
        wall_clock_offset: seconds since the epoch at time 0 of the clock.
    """

    def __init__(self, worker_id: str, config: ConsumerConfig, random: Random, wall_clock_offset: float) -> None:
        self._worker_id = worker_id
        self._config = config
        self._random = random
        self._wall_clock_offset = wall_clock_offset
        self._reports: dict[str, tuple[int | None, float]] = {}  # the last one, and when it was first seen
        self._suspects: dict[str, int | None] = {}  # who let a lease expire, or go, and its last report then
        self._holders: dict[str, str] = {}  # of leases, a round ago
        self._rounds = 0

    def begin(self) -> None:
        """It has just become the leader; what it knew before is old."""
        self._reports.clear()
        self._suspects.clear()
        self._holders.clear()
        self._rounds = 0

    def round(self, candidates: Sequence[Candidate], workers: Iterable[WorkerStats], now: float) -> Round:
        """Who is to have which lease besides those that they have.

        Args:
            candidates: all leases that there is work on.
            workers: all reports.
            now: seconds.
        """
        workers = list(workers)
        self._observe(workers, now)
        for one in candidates:
            # Whose it was a round ago, if it is nobody's: a worker that ends lets its leases go.
            holder = one.holder or self._holders.get(one.lease.key)
            if one.is_free and holder is not None and holder != self._worker_id and holder not in self._suspects:
                self._suspects[holder] = self._reports.get(holder, (None, 0.0))[0]
        self._holders = {one.lease.key: one.holder for one in candidates if one.holder is not None}
        fleet = self._config.fleet
        able = active(workers, self._alive(now))
        if all(worker.worker_id != self._worker_id for worker in able):
            able.append(WorkerStats(self._worker_id, 0))  # it is alive, whether it has reported yet or not
        board = Board(candidates, able, fleet, self._config.max_leases_for_worker, self._random)
        way = counting if fleet.strategy == "lease_count_based" else loads
        way.give_free(board)
        if self._rounds % fleet.balancing_frequency == 0:
            way.even_out(board)
        self._rounds += 1
        moved = board.moved
        given = {key for leases in board.held.values() for key in leases}
        return Round(
            assignments=moved,
            total=len(candidates),
            workers=len(able),
            expired=len(board.free),
            spillover=sum(one.lease.key not in given for one in board.free),
            reassigned=sum(one.is_asked_for for one in moved),
            invalid_reports=sum(not worker.is_valid for worker in workers),
            failing_reports=len({worker.worker_id for worker in workers if worker.is_valid and worker.is_failing}),
        )

    def gone(self, workers: Iterable[WorkerStats], now: float) -> list[WorkerStats]:
        """The reports of workers that are gone for long."""
        wall = self._wall_clock_offset + now
        return [
            worker
            for worker in workers
            if worker.updated is not None and worker.worker_id not in self._alive(now) and wall - worker.updated > _DAY
        ]

    def _observe(self, workers: Iterable[WorkerStats], now: float) -> None:
        newest: dict[str, int | None] = {}
        for worker in workers:
            newest[worker.worker_id] = max(worker.updated or 0, newest.get(worker.worker_id) or 0)
        for name, updated in newest.items():
            known = self._reports.get(name)
            if known is None:
                age = abs(self._wall_clock_offset + now - (updated or 0))
                self._reports[name] = updated, now if age < self._patience else float("-inf")
            elif known[0] != updated:
                self._reports[name] = updated, now
            if name in self._suspects and self._suspects[name] != updated:
                del self._suspects[name]
        for name in self._reports.keys() - newest.keys():
            del self._reports[name]

    @property
    def _patience(self) -> float:
        return 2 * self._config.fleet.reporting_interval

    def _alive(self, now: float) -> set[str]:
        alive = {name for name, (_, since) in self._reports.items() if now - since < self._patience}
        return alive - self._suspects.keys() | {self._worker_id}
