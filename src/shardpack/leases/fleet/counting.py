"""The same number of leases for each worker (KCL: ``LeaseCountBasedLeaseAssignmentDecider``).

The KCL fills workers up to the rounded-up mean, so that 10 leases of 4 workers may stay as 3, 3, 3 and 1. Here the
numbers differ by one at most, 3, 3, 2 and 2, which a KCL that leads afterwards leaves as it is.
"""

from __future__ import annotations

from ..plan import shares
from .assigning import Board


def give_free(board: Board) -> None:
    """Give away what nobody has, to those who have fewest."""
    for candidate in board.free:
        able = [worker.worker_id for worker in board.workers if len(board.held[worker.worker_id]) < board.most]
        if not able:
            return
        board.give(candidate, min(able, key=lambda worker: (len(board.held[worker]), worker)))


def even_out(board: Board) -> None:
    """Move leases from those who have more than their shares to those who have fewer."""
    counts = {worker.worker_id: len(board.held[worker.worker_id]) for worker in board.workers}
    if not counts:
        return
    share = {worker: min(count, board.most) for worker, count in shares(counts, sum(counts.values())).items()}
    lacking = [worker for worker in sorted(counts) for _ in range(share[worker] - counts[worker])]
    for worker in sorted(counts, key=lambda worker: (share[worker] - counts[worker], worker)):
        for candidate in board.movable(worker)[: max(0, counts[worker] - share[worker])]:
            if not lacking:
                return
            board.give(candidate, lacking.pop())
