"""Which leases this worker creates, takes and deletes, and when it looks around for that. Decisions only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, TypeAlias

from ...leases.balance import LeaseView
from ...leases.lease import Lease
from ...records import Position
from ..config import ConsumerConfig
from ..start import Start
from .actions import Action, CreateLease, DeleteLease, ListLeases, ListShards, TakeLease
from .periodic import Periodic
from .shards import ListedShard, ancestors, leases_to_create, listed_shards

LeaseChange: TypeAlias = CreateLease | TakeLease | DeleteLease

_RETRY_SECONDS = 1.0  # before looking again at what did not work out


class Coordinator:
    """One worker among those that share the leases.

    Attributes:
        view: the leases as this worker last saw them.
        shards: by shard id, as last listed; None before the first listing.
        held: the keys of the leases that this worker holds; the engine says so.
    """

    def __init__(self, worker_id: str, config: ConsumerConfig, start: Start, random: Random) -> None:
        self._worker_id = worker_id
        self._config = config
        self._start = start
        self._random = random
        self._shard_listing = Periodic(config.shard_sync_interval, random)
        self._lease_listing = Periodic(config.failover_time, random)
        self._queue: list[LeaseChange] = []
        self._under_way: set[str] = set()  # leases that are being created, taken or deleted, or are about to be
        self._create_due = float("-inf")  # not before, because the last try has failed
        self._closing = False
        self._shards_asked_for = self._leases_listed = float("-inf")
        self.view = LeaseView(worker_id, config, random)
        self.shards: Mapping[str, ListedShard] | None = None
        self.held: set[str] = set()

    # What to do.

    def poll(self, now: float) -> list[Action]:
        """The calls to make now."""
        actions: list[Action] = []
        if not self._closing and self._shard_listing.begin(now):
            self._shards_asked_for = now
            actions.append(ListShards())
        if not self._closing and self._lease_listing.begin(now):
            actions.append(ListLeases())
        queue, self._queue = self._queue, []
        return [*actions, *queue]

    def deadline(self) -> float | None:
        """When there may be a call to make, or None."""
        if self._queue:
            return float("-inf")
        if self._closing:
            return None
        return min((due for due in (self._shard_listing.due, self._lease_listing.due) if due is not None), default=None)

    def ensure(self, children: Iterable[ListedShard], now: float) -> bool:
        """Whether these shards have leases; those that are missing are created.

        What was merged gets its lease after all its parents have theirs: a missing one would count as over.
        """
        missing = {shard.shard_id: shard for shard in children if shard.shard_id not in self.view.leases}
        if missing and now >= self._create_due:
            shards = {**(self.shards or {}), **missing}
            parents = {shard.shard_id: shard.parents for shard in shards.values()}
            needed = missing.keys() | ancestors(missing, parents)
            self._create(lease for lease in self._missing(shards) if lease.key in needed)
            # Somebody has leases of their children already. Rather read them twice than not at all.
            over = missing.keys() & ancestors(self.view.leases, parents)
            self._create(missing[key].lease(Position.TRIM_HORIZON) for key in over)
        return not missing

    def look_at_shards(self, moment: float) -> None:
        """List the shards at this moment, if not before."""
        self._shard_listing.request(moment)

    def look_at_leases(self, moment: float) -> None:
        """List the leases at this moment, if not before."""
        self._lease_listing.request(moment)

    def close(self) -> None:
        """Begin nothing more."""
        self._closing = True
        self._under_way -= {action.lease.key for action in self._queue}
        self._queue = []

    @property
    def is_idle(self) -> bool:
        """Whether no lease is being created, taken or deleted."""
        return not self._under_way

    @property
    def is_settled(self) -> bool:
        """Whether every lease is there, and none waits for this worker."""
        has_all = self._lease_listing.has_succeeded and self.shards is not None and bool(self.view.leases)
        return has_all and self.is_idle and not self.view.waiting(self.held)

    # How it went.

    def shards_listed(self, shards: Iterable[Mapping[str, Any]], now: float) -> None:
        """`ListShards` has succeeded.

        Raises:
            ValueError: the application wants to start in a shard that is not there.
        """
        self.shards = listed_shards(shards)
        self._shard_listing.succeeded(now)
        self._create_missing(now)

    def leases_listed(self, leases: Iterable[Lease], now: float) -> None:
        """`ListLeases` has succeeded.

        Raises:
            ValueError: the application wants to start in a shard that is not there.
        """
        self._lease_listing.succeeded(now)
        self._leases_listed = now
        self.view.observe(leases, now)
        if self._closing:
            return
        self._create_missing(now)
        for lease in self.view.to_take(self.held | self._under_way, now):
            self._enqueue(TakeLease(lease, self._worker_id))
        for lease in self.view.to_delete(now):
            if lease.key not in self.held:
                self._enqueue(DeleteLease(lease))

    def changed(self, action: LeaseChange, answer: Any, now: float) -> None:
        """A lease was created, taken or deleted, or somebody else was faster."""
        key = action.lease.key
        self._under_way.discard(key)
        if isinstance(action, DeleteLease):
            if answer:
                self.view.remove(key)
        elif isinstance(action, TakeLease):
            if answer is not None:
                self.view.update(answer, now)
            else:  # not at once, because whoever was faster would be met again
                self.look_at_leases(now + self._random.random() * _RETRY_SECONDS)
        else:
            if key not in self.view.leases:  # if somebody else was faster, the next look shows how it is
                self.view.update(action.lease, now)
            if not self._under_way:  # to take them, and to see what others have made of theirs
                self.look_at_leases(now)

    def failed(self, action: Action, now: float) -> None:
        """One of its calls has failed."""
        if isinstance(action, ListShards):
            self._shard_listing.failed(now)
        elif isinstance(action, ListLeases):
            self._lease_listing.failed(now)
        elif isinstance(action, LeaseChange):
            self._under_way.discard(action.lease.key)
            self._create_due = now + _RETRY_SECONDS
            self.look_at_leases(now + _RETRY_SECONDS)

    def _create_missing(self, now: float) -> None:
        if self.shards is None or not self._lease_listing.has_succeeded or self._closing:
            return
        missing = self._missing(self.shards)
        if not missing:
            return
        # A lease that is made again has its shard read again. That it was deleted because the shard is done shows only
        # in its descendants, and these only in a list of shards that is younger than the list of leases.
        if self._shards_asked_for < self._leases_listed:
            self.look_at_shards(now)
        elif now - self._leases_listed > 2 * self._config.failover_time:
            self.look_at_leases(now)
        else:
            self._create(missing)

    def _missing(self, shards: Mapping[str, ListedShard]) -> list[Lease]:
        return leases_to_create(shards, self.view.leases, self._start)

    def _create(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            self._enqueue(CreateLease(lease))

    def _enqueue(self, action: LeaseChange) -> None:
        if action.lease.key not in self._under_way and not self._closing:
            self._under_way.add(action.lease.key)
            self._queue.append(action)
