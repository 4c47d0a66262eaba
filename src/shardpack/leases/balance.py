"""Which leases to take, and which to delete: the KCL's rules.

They are those of ``DynamoDBLeaseTaker``, ``BlockOnParentShardTask`` and ``LeaseCleanupManager`` in KCL 3.5.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from random import Random
from typing import Protocol

from ..records import Position
from .lease import Lease, is_started

_ABANDONED = 3  # times the failover time: nobody has taken it though it expired, so it is taken out of turn
_SETTLED = 3  # times the failover time: no worker has a call on its way that would create the lease again


class BalanceSettings(Protocol):
    """What a worker's settings say about sharing leases; `ConsumerConfig` explains them."""

    @property
    def failover_time(self) -> float:
        """Seconds after which a lease whose counter has not moved may be taken."""

    @property
    def max_leases_for_worker(self) -> int:
        """Most leases that this worker holds."""

    @property
    def max_leases_to_steal_at_one_time(self) -> int:
        """Most leases that this worker takes at a time from one that holds more than its share."""


class LeaseView:
    """The leases as this worker last saw them, and since when their counters stand still.

    Attributes:
        leases: by key.
    """

    def __init__(self, worker_id: str, config: BalanceSettings, random: Random) -> None:
        self._worker_id = worker_id
        self._config = config
        self._random = random
        self.leases: dict[str, Lease] = {}
        self._unchanged_since: dict[str, float] = {}
        self._first_seen: dict[str, float] = {}

    def observe(self, leases: Iterable[Lease], now: float) -> None:
        """All leases have been listed."""
        gone = set(self.leases)
        for lease in leases:
            self.update(lease, now)
            gone.discard(lease.key)
        for key in gone:
            self.remove(key)

    def update(self, lease: Lease, now: float) -> None:
        """One lease has been seen or written."""
        known = self.leases.get(lease.key)
        if known is None or (known.counter, known.owner) != (lease.counter, lease.owner):
            self._unchanged_since[lease.key] = now
        self._first_seen.setdefault(lease.key, now)
        self.leases[lease.key] = lease

    def remove(self, key: str) -> None:
        """A lease is gone."""
        self.leases.pop(key, None)
        self._unchanged_since.pop(key, None)
        self._first_seen.pop(key, None)

    def first_seen(self, key: str) -> float:
        """When this worker first saw the lease."""
        return self._first_seen[key]

    def has_parents(self, lease: Lease) -> bool:
        """Whether leases of the shard's parents are there."""
        return any(parent in self.leases for parent in lease.parents)

    def waiting(self, held: Collection[str]) -> bool:
        """Whether there are leases that nobody holds, and whose shards are not at their ends."""
        return any(
            lease.checkpoint != Position.SHARD_END and lease.owner in (None, self._worker_id) and lease.key not in held
            for lease in self.leases.values()
        )

    def has_work(self, held: Collection[str]) -> bool:
        """Whether there are leases that this worker may take, and read at once."""
        return len(held) < self._config.max_leases_for_worker and any(
            lease.owner in (None, self._worker_id) and lease.key not in held and self._is_active(lease)
            for lease in self.leases.values()
        )

    def to_take(self, held: Collection[str], now: float) -> list[Lease]:
        """The leases that this worker should take now, so that all are held, and evenly.

        Args:
            held: the keys of those that it holds.
            now: seconds.
        """
        active = [lease for lease in self.leases.values() if self._is_active(lease)]
        free = [lease for lease in active if lease.key not in held and self._is_free(lease, now)]
        free_keys = {lease.key for lease in free}
        counts = Counter(lease.owner for lease in active if lease.key not in free_keys and lease.key not in held)
        mine = sum(lease.key in held for lease in active)
        target = math.ceil(len(active) / (len(counts) + 1))
        room = self._config.max_leases_for_worker - mine
        needed = min(target - mine, room)
        if not free:
            return self._to_steal(active, counts, target, needed)
        self._random.shuffle(free)
        free.sort(key=lambda lease: not self._is_unchanged(lease, now, _ABANDONED))
        abandoned = sum(self._is_unchanged(lease, now, _ABANDONED) for lease in free)
        return free[: max(0, min(room, max(needed, abandoned)))]

    def to_delete(self, now: float) -> list[Lease]:
        """The leases of shards that are done, and whose children are begun: nobody needs them any more."""
        return [
            lease
            for lease in self.leases.values()
            if lease.checkpoint == Position.SHARD_END
            and self._is_unchanged(lease, now, _SETTLED)
            and self._are_begun(lease.children)
        ]

    def _to_steal(self, active: list[Lease], counts: Counter[str | None], target: int, needed: int) -> list[Lease]:
        if needed <= 0 or not counts:
            return []
        owner, most = counts.most_common(1)[0]
        count = min(needed, most - target) if most > target else int(needed > 1 and most == target)
        stealable = [lease for lease in active if lease.owner == owner and lease.checkpoint_owner is None]
        return self._random.sample(stealable, min(count, self._config.max_leases_to_steal_at_one_time, len(stealable)))

    def _is_active(self, lease: Lease) -> bool:
        """Whether there is something to read: not at its end, and its parents are (a missing parent does not count)."""
        parents = (self.leases.get(key) for key in lease.parents)
        return lease.checkpoint != Position.SHARD_END and all(
            parent is None or parent.checkpoint == Position.SHARD_END for parent in parents
        )

    def _is_free(self, lease: Lease, now: float) -> bool:
        # This worker's own name on a lease that it does not hold is left from before it was restarted; or a KCL 3.x
        # gives it the lease, and whoever had it may finish.
        is_left = lease.owner in (None, self._worker_id) and lease.checkpoint_owner is None
        return is_left or self._is_unchanged(lease, now, 1)

    def _is_unchanged(self, lease: Lease, now: float, times: int) -> bool:
        return now - self._unchanged_since[lease.key] > times * self._config.failover_time

    def _are_begun(self, children: tuple[str, ...]) -> bool:
        leases = [self.leases.get(key) for key in children]
        return bool(leases) and all(lease is not None and is_started(lease.checkpoint) for lease in leases)
