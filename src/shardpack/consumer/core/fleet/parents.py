"""What a worker does with a lease that a leader has given it, and whose shard it cannot read: it looks at others.

Who does not lead looks at no leases but its own, so it asks for those of parents and children, one by one. A shard may
be begun when its parents' leases are at their ends. One that is at its end itself has a lease to be deleted: the leader
of a fleet of the KCL assigns such leases too, and leaves them to whoever has them (KCL: ``LeaseCleanupManager``).
"""

from __future__ import annotations

import math
from collections.abc import Collection

from ....leases.balance import SETTLED, LeaseView
from ....leases.lease import Lease
from ....records import Position
from ...config import ConsumerConfig

_TO_AND_FRO = 10
"""For so many times the time after which it may be deleted, a finished lease may be given to others and come back."""


class Parents:
    """The leases that this worker was given, and cannot begin yet, or not any more.

    Args:
        view: the leases as this worker last saw them.
        config: the settings.
    """

    def __init__(self, view: LeaseView, config: ConsumerConfig) -> None:
        self._view = view
        self._config = config
        self._later: dict[str, float] = {}  # when to look at a lease again
        self._children: dict[str, set[str]] = {}  # those that wait for a parent's
        self._gone: set[str] = set()  # parents' leases that were looked for, and are not there
        self._ended: dict[str, float] = {}  # since when leases that it was given are known to be at their ends

    def keep(self, keys: Collection[str], now: float) -> None:
        """These leases have this worker's name on them; what is known on account of others is not needed any more.

        But for when it was seen that a lease is at its end: it may be given to others in between, and come back.
        """
        mine = (self._view.leases.get(key) for key in keys)
        self._gone &= {parent for lease in mine if lease is not None for parent in lease.parents}
        self._later = {key: moment for key, moment in self._later.items() if key in keys}
        old = now - _TO_AND_FRO * self._settling
        self._ended = {key: since for key, since in self._ended.items() if key in keys or since > old}
        waiting = {key: children.intersection(keys) for key, children in self._children.items()}
        self._children = {key: children for key, children in waiting.items() if children}

    def may_look(self, key: str, now: float) -> bool:
        """Whether it is worth it to look at a lease now."""
        return self._later.get(key, now) <= now

    def to_ask_for(self, lease: Lease, now: float) -> list[str] | None:
        """The leases to look at before a lease can be begun; none may be there already. None: it can be begun."""
        if lease.checkpoint == Position.SHARD_END:
            return self._to_ask_for_of_finished(lease, now)
        unknown = [key for key in self._view.open_parents(lease) if key not in self._gone]
        if not unknown:
            return None
        for key in unknown:
            self._children.setdefault(key, set()).add(lease.key)
        self._later[lease.key] = now + self._config.failover_time / 3
        return unknown

    def _to_ask_for_of_finished(self, lease: Lease, now: float) -> list[str]:
        """Those that tell whether a lease can be deleted."""
        settled = self._ended.setdefault(lease.key, now) + self._settling
        self._later[lease.key] = settled if settled > now else now + self._config.shard_sync_interval
        children = [key for key in lease.children if not self._view.are_begun((key,))]
        return children + [key for key in lease.parents if key not in self._gone]

    @property
    def _settling(self) -> float:
        return SETTLED * self._config.failover_time

    def seen(self, key: str, lease: Lease | None) -> None:
        """How a lease is; its shard's children may be begun if it is at its end, or gone."""
        if lease is None:
            self._gone.add(key)
            self._ended.pop(key, None)
        else:
            self._gone.discard(key)
        if lease is None or lease.checkpoint == Position.SHARD_END:
            for child in self._children.pop(key, ()):
                self._later.pop(child, None)

    def is_over(self, lease: Lease, now: float) -> bool:
        """Whether a lease that this worker was given is to be deleted, because nobody needs it any more.

        All children of its shard are begun, and the leases of its parents are gone.
        """
        ended = self._ended.get(lease.key, math.inf)
        is_settled = now >= ended + self._settling and lease.key not in self._view.foreign
        return is_settled and self._view.are_begun(lease.children) and self._gone.issuperset(lease.parents)
