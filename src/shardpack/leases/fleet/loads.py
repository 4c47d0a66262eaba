"""The same load for each worker (KCL: ``VarianceBasedLeaseAssignmentDecider``).

A worker's load is what it reports, such as the processor's, or else the throughput of its leases in percent of what
each worker should have. Each kind of load is evened out among those who report it.

Where nothing is read yet, all throughputs are 0 and say nothing; the KCL then divides by zero. Here the numbers of
leases count until there is something to measure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from . import counting
from .assigning import Board, Candidate
from .states import WorkerStats

_ALPHA = 0.5  # the KCL's workerMetricsEMAAlpha
_BY_THROUGHPUT = "T"
_FULL = 100.0
_NOISE = 0.05  # of full load


class Worker:
    """A worker's load, as it is and as it will be.

    Attributes:
        name: The worker's id.
        load: Its load by the metric's name.
        limits: What is full load.
    """

    def __init__(self, stats: WorkerStats, board: Board) -> None:
        self.name = stats.worker_id
        if stats.has_no_metrics:
            self.load = {_BY_THROUGHPUT: _FULL * board.load_of(self.name) / board.target}
            self.limits = {_BY_THROUGHPUT: _FULL}
        else:
            self.load = {name: average(values) for name, values in stats.metrics.items()}
            self.limits = {name: limit[0] for name, limit in stats.limits.items()}

    def is_over(self, name: str) -> bool:
        """Whether it has more than it can bear."""
        return self.load.get(name, 0.0) > self.limits.get(name, float("inf"))

    def distance(self, means: dict[str, float]) -> float:
        """How far it is below the mean, as a part of its load; 1: it has nothing to do."""
        return min((means[name] - load) / load if load else 1.0 for name, load in self.load.items())

    def after(self, name: str, extra: float, means: dict[str, float], target: float) -> float:
        """A load of it with so many more KiB a second."""
        return self.load[name] + extra * means[name] / target

    def can_bear(self, extra: float, giver: Worker, round_: Round) -> bool:
        """Whether things are more even once a lease of so many KiB a second has come to it from another worker."""
        for name in self.load:
            load = self.after(name, extra, round_.means, round_.target)
            most = giver.load[name] - round_.spread(name) if name in giver.load else round_.means[name]
            if load > min(most, self.limits[name]):
                return False
        return True

    def add(self, extra: float, means: dict[str, float], target: float) -> None:
        """It has so many more KiB a second."""
        self.load = {name: self.after(name, extra, means, target) for name in self.load}


def give_free(board: Board) -> None:
    """Give away what nobody has, each to the worker that is farthest below the mean."""
    if board.target <= 0:
        counting.give_free(board)
        return
    round_ = Round(board, [Worker(stats, board) for stats in board.workers])
    for candidate in board.free:
        worker = round_.idlest()
        if worker is None:
            return
        worker.add(board.throughput(candidate), round_.means, board.target)
        board.give(candidate, worker.name)


def even_out(board: Board) -> None:
    """Move leases away from workers that are above the mean, as far as others can bear them."""
    if board.target <= 0:
        counting.even_out(board)
        return
    round_ = Round(board, [Worker(stats, board) for stats in board.workers])
    for giver, amount in round_.to_take():
        for candidate in _chosen(board, giver.name, amount):
            taker = round_.idlest()
            if taker is None or taker is giver or not round_.may_move(candidate, giver, taker):
                break
            extra = board.throughput(candidate)
            taker.add(extra, round_.means, board.target)
            giver.add(-extra, round_.means, board.target)
            board.give(candidate, taker.name)


class Round:
    """What one round of evening out goes by.

    Attributes:
        means: The mean of each kind of load.
        target: KiB a second that each worker should have.
    """

    def __init__(self, board: Board, workers: list[Worker]) -> None:
        self._board = board
        self._workers = workers
        self.means = means_of(workers)
        self.target = board.target

    def spread(self, metric: str) -> float:
        """How much a load may differ from the mean before it is worth a move.

        The KCL goes by percents of the mean alone, so that leases of idle workers are moved for ever by noise.
        """
        full = max(worker.limits[metric] for worker in self._workers if metric in worker.load)
        return max(self.means[metric] * self._board.config.rebalance_threshold / 100, _NOISE * full)

    def idlest(self) -> Worker | None:
        """The worker that is farthest below the mean, of those that may be given more."""
        able = [worker for worker in self._workers if self._board.has_room(worker.name)]
        held = self._board.held
        return max(
            able, key=lambda worker: (worker.distance(self.means), -len(held[worker.name]), worker.name), default=None
        )

    def may_move(self, candidate: Candidate, giver: Worker, taker: Worker) -> bool:
        """Whether a lease is better with the taker; a worker that has none is given one in any case."""
        held = self._board.held
        is_without = not held[taker.name] and len(held[giver.name]) > 1
        return is_without or taker.can_bear(self._board.throughput(candidate), giver, self)

    def to_take(self) -> list[tuple[Worker, float]]:
        """The workers that give leases away, and how many KiB a second, by the kind of load of which most is moved."""
        most: list[tuple[Worker, float]] = []
        for metric, mean in self.means.items():
            part = self._board.config.dampening / 100
            amounts = [
                (worker, self._board.load_of(worker.name) * (1 - mean / (worker.load[metric] or mean or 1.0)) * part)
                for worker in self._above(metric)
            ]
            if not most or sum(amount for _, amount in amounts) > sum(amount for _, amount in most):
                most = amounts
        return sorted(most, key=lambda one: (-one[1], one[0].name))

    def _above(self, metric: str) -> list[Worker]:
        """The workers that have too much; the one that has most, if others have too little; none, if all is well."""
        workers = [worker for worker in self._workers if metric in worker.load]
        mean, spread = self.means[metric], self.spread(metric)
        above = [worker for worker in workers if worker.load[metric] >= mean + spread or worker.is_over(metric)]
        if above or all(worker.load[metric] >= mean - spread and self._has_some(worker) for worker in workers):
            return above
        held = self._board.held
        return [max(workers, key=lambda worker: (bool(held[worker.name]), worker.load[metric], worker.name))]

    def _has_some(self, worker: Worker) -> bool:
        return bool(self._board.held[worker.name])


def average(values: Iterable[float]) -> float:
    """The exponential mean of what could be measured, in which the newest value counts one half."""
    mean: float | None = None
    for value in values:
        if value != -1:
            mean = value if mean is None else _ALPHA * value + (1 - _ALPHA) * mean
    return mean or 0.0


def means_of(workers: Iterable[Worker]) -> dict[str, float]:
    """The mean of each kind of load over those who report it."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for worker in workers:
        for name, load in worker.load.items():
            values[name].append(load)
    return {name: sum(loads) / len(loads) for name, loads in values.items()}


def _chosen(board: Board, name: str, amount: float) -> list[Candidate]:
    """Leases of a worker that come to so many KiB a second and no more, picked by chance."""
    movable = board.movable(name)
    board.random.shuffle(movable)
    chosen: list[Candidate] = []
    left = amount
    for candidate in movable:
        if left - board.throughput(candidate) > 0:
            left -= board.throughput(candidate)
            chosen.append(candidate)
    if not chosen and movable and board.config.allow_throughput_overshoot:
        return [min(movable, key=board.throughput)]
    return chosen
