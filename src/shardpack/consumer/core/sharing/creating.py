"""Which leases are missing, and when they may be created: never one of a shard that is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ....leases.balance import LeaseView
from ....leases.lease import Lease
from ....records import Position
from ...config import ConsumerConfig
from ...start import Start
from ..actions import CreateLease
from ..shards import ListedShard, ancestors, check_epochs, leases_to_create
from .changes import Changes
from .listings import Listings


class Creating:
    """Creates the leases of shards that have none.

    Args:
        config: the settings.
        start: where to read from when nothing is done yet.
        view: the leases as this worker last saw them.
        listings: how old that is.
        changes: takes the calls.
    """

    def __init__(
        self, config: ConsumerConfig, start: Start, view: LeaseView, listings: Listings, changes: Changes
    ) -> None:
        self._failover_time = config.failover_time
        self._start = start
        self._view = view
        self._listings = listings
        self._changes = changes
        self._due = float("-inf")  # not before, because the last try has failed

    def ensure(self, children: Iterable[ListedShard], listed: Mapping[str, ListedShard], now: float) -> bool:
        """Whether these shards have leases; those that are missing are created.

        What was merged gets its lease after all its parents have theirs: a missing one would count as over.
        """
        missing = {shard.shard_id: shard for shard in children if shard.shard_id not in self._view.leases}
        if missing and not self._listings.looks_at_all(now) and self._listings.are_leases_old(now, 1):
            self._listings.look_at_all_leases(now)  # what this worker knows of the others' is old
            return False
        if missing and now >= self._due:
            shards = {**listed, **missing}
            parents = {shard.shard_id: shard.parents for shard in shards.values()}
            needed = missing.keys() | ancestors(missing, parents)
            self._create((lease for lease in self._missing(shards) if lease.key in needed), now)
            # Somebody has leases of their children already. Rather read them twice than not at all.
            over = missing.keys() & ancestors(self._view.leases, parents)
            self._create((missing[key].lease(Position.TRIM_HORIZON) for key in over), now)
        return not missing

    def create_missing(self, shards: Mapping[str, ListedShard] | None, now: float) -> None:
        """Create the leases of all shards that have none, as soon as that is safe.

        Raises:
            ValueError: the application wants to start in a shard that is not there.
            LeaseStoreError: there are leases of the same shards that an application of the KCL has named otherwise.
        """
        if shards is None or not self._listings.has_leases or not self._listings.looks_at_all(now):
            return
        if not (missing := self._missing(shards)):
            return
        check_epochs(shards, self._view.leases)
        # A lease that is made again has its shard read again. That it was deleted because the shard is done shows only
        # in its descendants, and these only in a list of shards that is younger than the list of leases.
        if not self._listings.are_shards_younger:
            self._listings.look_at_shards(now)
        elif self._listings.are_leases_old(now, 2):
            self._listings.look_at_leases(now)
        else:
            self._create(missing, now)

    def failed(self, moment: float) -> None:
        """A lease could not be created; none is to be before this moment."""
        self._due = moment

    def _missing(self, shards: Mapping[str, ListedShard]) -> list[Lease]:
        return leases_to_create(shards, self._view.leases, self._start)

    def _create(self, leases: Iterable[Lease], now: float) -> None:
        for lease in leases:
            # With the age that the list of leases may have, that is when leases are deleted at the earliest.
            self._changes.add(CreateLease(lease, now + self._failover_time))
