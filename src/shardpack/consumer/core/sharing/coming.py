"""The leases that are on their way to this worker, because it has asked for them or was given them."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from random import Random

from ....leases.balance import LeaseView
from ....leases.lease import Lease
from ....records import Position
from ...config import ConsumerConfig
from ..actions import Action, DeleteLease, FindLeases, GetLease
from ..fleet.member import Member
from ..fleet.parents import Parents
from ..periodic import Periodic
from .changes import Changes


class Coming:
    """Looks for them until they are this worker's, or somebody else's.

    Args:
        worker_id: this worker, as it signs leases.
        config: the settings.
        random: for waits.
        view: the leases as this worker last saw them.
        changes: takes the calls.
        member: this worker's part in a fleet that may be led.
        held: the keys of the leases that this worker holds.

    Attributes:
        can_find: whether the store can tell which leases are a worker's.
        may_find: whether others can hand leases over.
    """

    def __init__(
        self,
        worker_id: str,
        config: ConsumerConfig,
        random: Random,
        view: LeaseView,
        changes: Changes,
        member: Member,
        held: AbstractSet[str],
    ) -> None:
        self._worker_id = worker_id
        self._patience = config.failover_time / 2
        self._view = view
        self._changes = changes
        self._member = member
        self._held = held
        self._finding = Periodic(config.lease_discovery_interval, random)
        self._parents = Parents(view, config)
        self._asked: set[str] = set()  # leases that may come to this worker, as it has asked for them
        self._is_closing = False
        self._until: float | None = None  # after this moment, a worker that ends waits for none any more
        self._is_last_look = False  # whether it was told that it ends when it last began to look for them
        self._has_looked = False  # since it was told
        self.can_find = True
        self.may_find = False

    def poll(self, now: float) -> list[Action]:
        """The calls to make now, beside looks at single leases."""
        if self._is_closing and self._until is None:
            self._until = now + self._patience
        if self._until is not None and now >= self._until:
            self._asked.clear()  # whoever gets them under this worker's name has nobody to wait for
            self._has_looked = True
        if self._is_finding and self._finding.begin(now):
            self._is_last_look = self._is_closing and self._member.is_over
            return [FindLeases(self._worker_id)]
        return []

    def deadlines(self) -> list[float | None]:
        """When there may be a call to make."""
        return [self._finding.due if self._is_finding else None, None if self.is_over else self._until]

    @property
    def _is_finding(self) -> bool:
        return bool(self._asked) or (self.may_find and (not self._is_closing or self._member.is_led))

    def close(self) -> None:
        """Wish for nothing more; what was asked for may still come."""
        self._is_closing = True

    @property
    def is_over(self) -> bool:
        """Whether nothing is waited for, and no leader has given this worker anything before it knew that it ends."""
        return not self._asked and (self._has_looked or not (self._is_closing and self._is_finding))

    def leader_knows(self, now: float) -> None:
        """A worker that ends has taken back what it had told the leader: look once more."""
        if self._is_closing:
            self._finding.request(now)

    def follow(self, key: str) -> None:
        """Look at a lease until it is this worker's or somebody else's, if the store can do so."""
        if self.can_find:
            self._asked.add(key)

    def came(self, key: str) -> None:
        """A lease is this worker's, or need not be looked for any more."""
        self._asked.discard(key)

    def found(self, keys: AbstractSet[str], now: float) -> None:
        """These leases have this worker's name on them."""
        self._finding.succeeded(now)
        self._parents.keep(keys | self._asked, now)
        self._has_looked = self._has_looked or self._is_last_look
        is_new = self._until is not None and now < self._until
        if self._member.is_led and is_new:  # a leader has given it more, before it knew
            self._asked.update({*keys} - self._held)
        # Who ends gives back at once what it could not read yet, or was about to delete.
        self.look_at(key for key in (*keys, *self._asked) if self._is_closing or self._parents.may_look(key, now))

    def found_nothing(self, now: float) -> None:
        """The store cannot tell which leases are a worker's."""
        self._finding.succeeded(now)
        self.can_find = self.may_find = False
        self._asked.clear()

    def failed(self, now: float) -> None:
        """The store could not be asked."""
        self._finding.failed(now)

    def look_at(self, keys: Iterable[str]) -> None:
        """Look at those of these leases that may be ready to be taken."""
        for key in sorted({*keys} - self._held - self._changes.under_way):
            if key in self._asked or (self._view.is_worth_a_look(key) and not self._is_closing):
                self._changes.add(GetLease(key))

    def seen(self, key: str, lease: Lease | None, now: float) -> bool:
        """How a lease is now; whether this worker may take it."""
        self._parents.seen(key, lease)
        if lease is None:
            self._asked.discard(key)
            self._view.remove(key)
            return False
        self._view.update(lease, now)
        is_over = lease.checkpoint == Position.SHARD_END  # who held it is done with it, and hands nothing over
        if lease.owner != self._worker_id or lease.checkpoint_owner is None or is_over:
            self._asked.discard(key)
        if self._view.is_partial and lease.owner == self._worker_id and not self._is_closing:
            if self._parents.is_over(lease, now):
                self._changes.add(DeleteLease(lease))
                return False
            if (others := self._parents.to_ask_for(lease, now)) is not None:
                self.look_at(others)
                return False
        return self._view.may_take(lease, now, is_to_read=not self._is_closing)
