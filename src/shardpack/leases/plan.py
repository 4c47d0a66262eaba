"""Who should have how many leases, and which of them move: the same answer for everyone who sees the same leases.

No worker leads. Each works out the whole plan, and does its own part of it, so two workers that see the same do not go
for the same lease, and together they do not ask a third for more than it has too many. What they see differently is
put right by the conditions of the writes, and by the next look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .lease import Lease


def shares(counts: Mapping[str, int], total: int) -> dict[str, int]:
    """How many leases each worker should have: the same number, but for the odd ones, one each.

    Those who have most keep the odd ones, so that nothing moves that need not.

    Args:
        counts: how many each worker has; not empty.
        total: how many leases there are, also those that nobody has.
    """
    base, odd = divmod(total, len(counts))
    order = sorted(counts, key=lambda worker: (-counts[worker], worker))
    return {worker: base + (place < odd) for place, worker in enumerate(order)}


def part_of(
    worker: str, owned: Mapping[str, Sequence[Lease]], free: Sequence[Lease], share: Mapping[str, int]
) -> list[Lease]:
    """The leases that should become one worker's: of those that nobody has first, then of those with too many.

    Args:
        worker: the worker.
        owned: the leases of each worker, sorted; one that moves already counts as its new owner's.
        free: the leases that nobody has, sorted.
        share: how many each worker should have.
    """
    movable = list(free)
    for owner in sorted(owned):
        surplus = len(owned[owner]) - share[owner]
        if surplus > 0:
            movable += [lease for lease in owned[owner] if lease.checkpoint_owner is None][:surplus]
    first = 0
    for other in sorted(share):
        lacking = max(0, share[other] - len(owned.get(other, ())))
        if other == worker:
            return movable[first : first + lacking]
        first += lacking
    return []
