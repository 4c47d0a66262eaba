"""Which leases to take, which to ask for, and which to delete.

When a lease is free, and when a worker may have it, are the KCL's rules: those of ``DynamoDBLeaseTaker``,
``BlockOnParentShardTask`` and ``LeaseCleanupManager`` in KCL 3.5. Who gets how many is said in `plan`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from operator import attrgetter
from random import Random
from typing import NamedTuple, Protocol

from ..records import Position
from .fleet.assigning import Candidate
from .lease import Lease, is_started
from .plan import part_of, shares

_KEY = attrgetter("key")
_ABANDONED = 3  # times the failover time: nobody has taken it though it expired, so it is taken out of turn
SETTLED = 3
"""Times the failover time: by then no worker has a call on its way that would create a finished lease again."""


class BalanceSettings(Protocol):
    """What a worker's settings say about sharing leases; `ConsumerConfig` explains them."""

    @property
    def failover_time(self) -> float:
        """Seconds after which a lease whose counter has not moved may be taken."""

    @property
    def max_leases_for_worker(self) -> int:
        """Most leases that this worker holds."""

    @property
    def graceful_lease_handoff_timeout(self) -> float:
        """Seconds for which a holder may finish what it has when another worker asks for the lease."""

    @property
    def max_leases_to_steal_at_one_time(self) -> int:
        """Most leases that this worker asks for, or takes, at a time from those that hold more than their shares."""


class Moves(NamedTuple):
    """What a worker should do to have its share.

    Attributes:
        take: leases that nobody holds.
        ask_for: leases that live workers hold, to be handed over.
        is_first_of_more: whether there are more to take once these are its own, and after another look.
    """

    take: list[Lease]
    ask_for: list[Lease]
    is_first_of_more: bool


class Look(NamedTuple):
    """What a worker found when it looked at all leases, as the KCL's ``DynamoDBLeaseTaker`` counts it.

    Attributes:
        total: leases.
        expired: those of a worker whose counters have stood still for the failover time.
        very_old: those of them that have for three times as long.
        workers: workers that have leases, this one counted.
        to_take: leases that this worker is to take, or to ask for.
        spillover: leases by which this worker's share is more than it may hold.
        seconds: how long listing them took.
    """

    total: int
    expired: int
    very_old: int
    workers: int
    to_take: int
    spillover: int
    seconds: float


class LeaseView:
    """The leases as this worker last saw them, and since when their counters stand still.

    Attributes:
        leases: by key.
        foreign: keys of leases whose shards the stream does not have any more, though it has others with their ids.
            That they are at their ends means nothing, so they are taken like others, to be told of.
        disputed: keys of leases that another process of this worker's name has taken from it. They are left alone until
            they expire.
        is_partial: whether only this worker's leases are looked at, because a leader looks at all of them.
    """

    def __init__(self, worker_id: str, config: BalanceSettings, random: Random) -> None:
        self._worker_id = worker_id
        self._config = config
        self._random = random
        self.leases: dict[str, Lease] = {}
        self.foreign: set[str] = set()
        self.disputed: AbstractSet[str] = frozenset()
        self.is_partial = False
        self._unchanged_since: dict[str, float] = {}
        self._owned_since: dict[str, float] = {}
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
        if known is None or known.owner != lease.owner:
            self._owned_since[lease.key] = now
        self._first_seen.setdefault(lease.key, now)
        self.leases[lease.key] = lease

    def remove(self, key: str) -> None:
        """A lease is gone."""
        self.leases.pop(key, None)
        self._unchanged_since.pop(key, None)
        self._owned_since.pop(key, None)
        self._first_seen.pop(key, None)

    def first_seen(self, key: str) -> float:
        """When this worker first saw the lease."""
        return self._first_seen[key]

    def has_parents(self, lease: Lease) -> bool:
        """Whether leases of the shard's parents are there."""
        return any(parent in self.leases for parent in lease.parents)

    def waiting(self, held: Collection[str]) -> bool:
        """Whether there are leases that wait for this worker or for anybody, and whose shards are not at their ends."""
        return any(
            lease.checkpoint != Position.SHARD_END and self._may_be_mine(lease) and lease.key not in held
            for lease in self.leases.values()
        )

    def has_work(self, held: Collection[str]) -> bool:
        """Whether there are leases that this worker may take, and read at once."""
        return len(held) < self._config.max_leases_for_worker and any(
            self._may_be_mine(lease) and lease.key not in held and self._is_active(lease)
            for lease in self.leases.values()
        )

    def _may_be_mine(self, lease: Lease) -> bool:
        return lease.owner == self._worker_id or (lease.owner is None and not self.is_partial)

    def moves(self, held: Collection[str], now: float) -> Moves:
        """The leases that this worker should have besides those that it has, so that all are held, and evenly.

        Args:
            held: the keys of those that it holds, or is about to.
            now: seconds.
        """
        me, free = self._worker_id, list[Lease]()
        owned: defaultdict[str, list[Lease]] = defaultdict(list)
        total = mine = 0
        for lease in self._active():
            total += 1
            mine += lease.key in held
            if lease.key not in held and self._is_free(lease, now):
                free.append(lease)
            elif lease.owner is not None:
                owned[lease.owner].append(lease)
            elif lease.key in held:  # it was just taken, and this has not been seen yet
                owned[me].append(lease)
        asked = sum(lease.key not in held for lease in owned[me])  # those on their way to it
        room = self._config.max_leases_for_worker - mine - asked
        is_known = bool(owned[me])
        part = self._part(owned, free, total)
        take, is_first_of_more = self._to_take(free, part, math.ceil(total / len(owned)), len(owned[me]), room, now)
        return Moves(take, self._to_ask_for(part, room - len(take), now, is_known=is_known), is_first_of_more)

    def look(self, moves: Moves, seconds: float, now: float) -> Look:
        """What there is to tell of a look at all leases, which took so long, and of which this follows."""
        old = [lease for lease in self.leases.values() if lease.owner is not None and self._is_unchanged(lease, now, 1)]
        workers = {lease.owner for lease in self.leases.values()} - {None} | {self._worker_id}
        share = math.ceil(sum(1 for _ in self._active()) / len(workers))
        return Look(
            total=len(self.leases),
            expired=len(old),
            very_old=sum(self._is_unchanged(lease, now, _ABANDONED) for lease in old),
            workers=len(workers),
            to_take=len(moves.take) + len(moves.ask_for),
            spillover=max(0, share - self._config.max_leases_for_worker),
            seconds=seconds,
        )

    def _part(self, owned: Mapping[str, list[Lease]], free: list[Lease], total: int) -> list[Lease]:
        for leases in (free, *owned.values()):
            leases.sort(key=_KEY)
        share = shares({owner: len(leases) for owner, leases in owned.items()}, total)
        return part_of(self._worker_id, owned, free, share)

    def _to_take(
        self, free: list[Lease], part: list[Lease], most: int, mine: int, room: int, now: float
    ) -> tuple[list[Lease], bool]:
        """Of the free leases: its own, those that nobody has taken for long, then its part, then what it lacks.

        And whether it lacks more of them.
        """
        if not free or room <= 0:
            return [], False
        own = [lease for lease in free if lease.owner == self._worker_id]
        abandoned = [lease for lease in free if self._is_unchanged(lease, now, _ABANDONED)]
        parted = {lease.key for lease in part}
        rest = [lease for lease in free if lease.key not in parted]
        self._random.shuffle(rest)
        chosen = {lease.key: lease for lease in (*own, *abandoned)}
        # Who else begins at this moment cannot be seen yet. It shows after the first few, and takes its part then.
        at_once = max(1, 2 * mine)
        for lease in (*(lease for lease in free if lease.key in parted), *rest):
            if len(chosen) >= min(most - mine, at_once):
                break
            chosen[lease.key] = lease
        return list(chosen.values())[:room], at_once < min(most - mine, room, len(free))

    def _to_ask_for(self, part: list[Lease], room: int, now: float, *, is_known: bool) -> list[Lease]:
        """Of the leases that others have too many of: its part, or one, so that the others see that it is there."""
        most = max(0, min(room, self._config.max_leases_to_steal_at_one_time))
        part = [lease for lease in part if self._may_be_asked_for(lease, now)]
        if is_known:
            return part[:most]
        # Others that nobody sees yet have worked out the same part.
        return self._random.sample(part, min(1, most, len(part)))

    def _may_be_asked_for(self, lease: Lease, now: float) -> bool:
        """Whether somebody holds it, and has had the time to work on it."""
        settled = now - self._owned_since[lease.key] >= self._config.failover_time
        return lease.owner not in (None, self._worker_id) and settled and not self._is_free(lease, now)

    def may_take(self, lease: Lease, now: float, *, is_to_read: bool = True) -> bool:
        """Whether a lease has come to this worker, because who had it has let it go; and whether it can be read."""
        is_mine = lease.owner == self._worker_id and self._is_free(lease, now)
        return is_mine and (not is_to_read or self._is_active(lease))

    def is_worth_a_look(self, key: str) -> bool:
        """Whether a lease that is this worker's by an index may be one that it can take."""
        lease = self.leases.get(key)
        return self.is_partial or lease is None or self._is_active(lease)

    def open_parents(self, lease: Lease) -> list[str]:
        """The shard's parents that are not known to be at their ends."""
        parents = ((key, self.leases.get(key)) for key in lease.parents)
        return [key for key, parent in parents if parent is None or parent.checkpoint != Position.SHARD_END]

    def candidates(self, under_way: Collection[str], now: float) -> list[Candidate]:
        """All leases that there is work on, as a leader sees them.

        Args:
            under_way: those about which a call is under way, which are left alone.
            now: seconds.
        """
        found = []
        for lease in self._active():
            owner, is_moving = lease.owner, lease.checkpoint_owner is not None or lease.key in under_way
            # Who was given a lease must find it first, and renew it; the KCL looks for its leases once in this time.
            is_settled = now - self._owned_since[lease.key] > 2 * self._config.failover_time
            is_free = lease.key not in under_way and (
                (owner is None and lease.checkpoint_owner is None)
                or (is_settled and self._is_unchanged(lease, now, 1))
                or (lease.checkpoint_owner is not None and self._is_overdue(lease, now))
            )
            since = float("-inf") if owner is None else self._unchanged_since[lease.key]
            found.append(Candidate(lease, since, is_free, is_moving and not is_free))
        return found

    def peers(self, now: float) -> Counter[str]:
        """How many leases each other worker has, of those whose counters still move."""
        counts = Counter(lease.owner for lease in self._active() if lease.owner not in (None, self._worker_id))
        alive = {lease.owner for lease in self.leases.values() if not self._is_unchanged(lease, now, 1)}
        return Counter({owner: count for owner, count in counts.items() if owner is not None and owner in alive})

    @property
    def has_others(self) -> bool:
        """Whether other workers have leases."""
        return bool({lease.owner for lease in self.leases.values()} - {None, self._worker_id})

    def to_delete(self, held: Collection[str], now: float) -> list[Lease]:
        """The leases of shards that are done, and whose children are begun: nobody needs them any more.

        Parents' go first. A worker of the KCL that holds a parent's would keep it for ever without the children's.
        """
        return [
            lease
            for lease in self.leases.values()
            if lease.checkpoint == Position.SHARD_END
            and lease.key not in self.foreign
            and lease.key not in held
            and self._is_unchanged(lease, now, SETTLED)
            and self.are_begun(lease.children)
            and not any(parent in self.leases and lease.key in self.leases[parent].children for parent in lease.parents)
        ]

    def _active(self) -> Iterator[Lease]:
        return (lease for lease in self.leases.values() if self._is_active(lease))

    def _is_active(self, lease: Lease) -> bool:
        """Whether there is something to read: not at its end, and its parents are (a missing parent does not count)."""
        if lease.checkpoint == Position.SHARD_END:
            return lease.key in self.foreign
        parents = (self.leases.get(key) for key in lease.parents)
        return all(parent is None or parent.checkpoint == Position.SHARD_END for parent in parents)

    def _is_free(self, lease: Lease, now: float) -> bool:
        # This worker's own name on a lease that it does not hold is left from before it was restarted, or another has
        # given it the lease. While there is a checkpoint owner, that one may finish, but not for ever.
        is_let_go = lease.checkpoint_owner is None or self._is_overdue(lease, now)
        if lease.owner in (None, self._worker_id) and is_let_go and lease.key not in self.disputed:
            return True
        return self._is_unchanged(lease, now, 1)

    def _is_overdue(self, lease: Lease, now: float) -> bool:
        """Whether who holds a lease that this worker has asked for should have let go long ago."""
        patience = self._config.graceful_lease_handoff_timeout + self._config.failover_time
        return now - self._owned_since[lease.key] > patience

    def _is_unchanged(self, lease: Lease, now: float, times: int) -> bool:
        return now - self._unchanged_since[lease.key] > times * self._config.failover_time

    def are_begun(self, children: tuple[str, ...]) -> bool:
        """Whether these are known, and something of each is done."""
        leases = [self.leases.get(key) for key in children]
        return bool(leases) and all(lease is not None and is_started(lease.checkpoint) for lease in leases)
