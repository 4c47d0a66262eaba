"""Whether a shard that a leader has given this worker may be begun: its parents' leases must be at their ends.

Who does not lead looks at no leases but its own, so it asks for those of the parents, one by one.
"""

from __future__ import annotations

from ....leases.balance import LeaseView
from ....leases.lease import Lease
from ....records import Position
from ...config import ConsumerConfig


class Parents:
    """The leases that this worker was given, and cannot begin yet.

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

    def may_look(self, key: str, now: float) -> bool:
        """Whether it is worth it to look at a lease now."""
        return self._later.get(key, now) <= now

    def to_ask_for(self, lease: Lease, now: float) -> list[str] | None:
        """The leases to look at before a lease can be begun; none may be there already. None: it can be begun."""
        if lease.checkpoint == Position.SHARD_END:
            self._later[lease.key] = now + self._config.shard_sync_interval
            return []
        unknown = [key for key in self._view.open_parents(lease) if key not in self._gone]
        if not unknown:
            return None
        for key in unknown:
            self._children.setdefault(key, set()).add(lease.key)
        self._later[lease.key] = now + self._config.failover_time / 3
        return unknown

    def seen(self, key: str, lease: Lease | None) -> None:
        """How a lease is; its shard's children may be begun if it is at its end, or gone."""
        if lease is None:
            self._gone.add(key)
        else:
            self._gone.discard(key)
        if lease is None or lease.checkpoint == Position.SHARD_END:
            for child in self._children.pop(key, ()):
                self._later.pop(child, None)
