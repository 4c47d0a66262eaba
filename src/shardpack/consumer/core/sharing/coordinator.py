"""Which leases this worker creates, takes and deletes, and when it looks around for that. Decisions only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from ....leases.balance import LeaseView, Look
from ....leases.fleet.assigning import Round
from ....leases.fleet.states import WorkerStats
from ....leases.lease import Lease
from ...config import ConsumerConfig
from ...origin import check_stream
from ...start import Start
from ..actions import (
    Action,
    AskForLease,
    DeleteLease,
    FindLeases,
    GetLease,
    LeaseChange,
    ListLeases,
    ListShards,
    TakeBack,
    TakeLease,
)
from ..fleet.actions import AssignLease, MemberAction, SurveyFleet
from ..fleet.member import Member
from ..shards import ListedShard, is_of_another, listed_shards
from .changes import Changes
from .coming import Coming
from .creating import Creating
from .listings import Listings
from .namesakes import Namesakes

_RETRY_SECONDS = 1.0  # before looking again at what did not work out


class Coordinator:
    """One worker among those that share the leases.

    Args:
        stream_name: the stream's name or ARN.
        worker_id: this worker, as it signs leases.
        config: the settings.
        start: where to read from when nothing is done yet.
        random: for not taking the same leases as other workers.

    Attributes:
        view: the leases as this worker last saw them.
        shards: by shard id, as last listed; None before the first listing.
        held: the keys of the leases that this worker holds; the engine says so.
        member: this worker's part in a fleet that may be led.
        overdue: the keys of leases that were let go because the application has had a batch for too long. They are not
            taken before it is done with it; the engine says so.
        look: what was found when all leases were last looked at.
        round: what this worker found and decided then, if it leads.
    """

    def __init__(
        self,
        stream_name: str,
        worker_id: str,
        config: ConsumerConfig,
        start: Start,
        random: Random,
        member: Member | None = None,
    ) -> None:
        self._stream_name = stream_name
        self._worker_id = worker_id
        self._config = config
        self._random = random
        self._takes_more = False
        self._is_closing = self._has_closed = False
        self.view = LeaseView(worker_id, config, random)
        self.shards: Mapping[str, ListedShard] | None = None
        self.held: set[str] = set()
        self.overdue: set[str] = set()
        self.look: Look | None = None
        self.round: Round | None = None
        self.member = member or Member(worker_id, config, random, is_alone=True)
        self._namesakes = Namesakes(stream_name, worker_id)
        self.view.disputed = self._namesakes.disputed
        self._changes = Changes()
        self._listings = Listings(config, random, self.member)
        self._creating = Creating(config, start, self.view, self._listings, self._changes)
        self._coming = Coming(worker_id, config, random, self.view, self._changes, self.member, self.held)

    # What to do.

    def poll(self, now: float) -> list[Action]:
        """The calls to make now."""
        if self._is_closing and not self._has_closed:
            self._has_closed = True
            self.member.close(now)
        actions: list[Action] = [*self.member.poll(now)]
        if not self._is_closing:
            actions += self._listings.poll(now)
        return [*actions, *self._coming.poll(now), *self._changes.take()]

    def deadline(self) -> float | None:
        """When there may be a call to make, or None."""
        if self._changes.is_waiting:
            return float("-inf")
        dues = [self.member.deadline(), *self._coming.deadlines()]
        if not self._is_closing:
            dues += self._listings.deadlines()
        return min((due for due in dues if due is not None), default=None)

    def ensure(self, children: Iterable[ListedShard], now: float) -> bool:
        """See `Creating.ensure`."""
        return self._creating.ensure(children, self.shards or {}, now)

    def lost(self, lease: Lease) -> None:
        """Somebody else has a lease that this worker held, as it was last written; who, shows in a look at it."""
        self._namesakes.lost(lease)
        if self.member.is_led and self._coming.can_find:  # else all leases are listed soon
            self._changes.add(GetLease(lease.key))

    def look_at_shards(self, moment: float) -> None:
        """See `Listings.look_at_shards`."""
        self._listings.look_at_shards(moment)

    def look_at_leases(self, moment: float) -> None:
        """See `Listings.look_at_leases`."""
        self._listings.look_at_leases(moment)

    def close(self) -> None:
        """Begin nothing more."""
        self._is_closing = True
        self._coming.close()
        self._changes.drop()

    @property
    def is_idle(self) -> bool:
        """Whether no lease is being created, taken, asked for or deleted."""
        is_over = self._coming.is_over and self.member.is_over
        return not self._changes.under_way and (is_over or not self._is_closing)

    def is_changing(self, key: str) -> bool:
        """Whether a call about a lease is under way."""
        return key in self._changes.under_way

    @property
    def is_settled(self) -> bool:
        """Whether every lease is there, and none waits for this worker."""
        has_all = self._listings.has_leases and self.shards is not None and bool(self.view.leases)
        return has_all and self.is_idle and not self.view.waiting(self.held)

    # How it went.

    def answered(self, action: Action, answer: Any, now: float) -> None:
        """A call has succeeded that is about no lease that this worker holds or looks at."""
        if isinstance(action, ListLeases | SurveyFleet):
            leases, workers = (answer, None) if isinstance(action, ListLeases) else answer
            self.leases_listed(leases, now, workers)
        elif isinstance(action, FindLeases):
            self.found(answer, now)
        elif isinstance(action, MemberAction):
            if self.member.answered(action, answer, now):
                self.view.is_partial = self.member.is_led
                self._coming.can_find = True  # the KCL makes the index while it goes over to a leader
                self._listings.look_at_all_leases(now)
                self._listings.look_at_shards(now)
            if self.member.is_over:
                self._coming.leader_knows(now)
        elif isinstance(action, LeaseChange):
            self.changed(action, answer, now)

    def shards_listed(self, shards: Iterable[Mapping[str, Any]], now: float) -> None:
        """`ListShards` has succeeded.

        Raises:
            ValueError: the application wants to start in a shard that is not there.
        """
        self.shards = listed_shards(shards, self._stream_name)
        self._listings.got_shards(now)
        self._look_for_others(now)
        self._create_missing(now)

    def leases_listed(self, leases: Iterable[Lease], now: float, workers: Iterable[WorkerStats] | None = None) -> None:
        """`ListLeases` has succeeded, or a leader's `SurveyFleet`.

        Raises:
            ValueError: the application wants to start in a shard that is not there.
            LeaseStoreError: the leases are another stream's.
        """
        self._listings.got_leases(now, can_find=self._coming.can_find)
        self.view.observe(leases, now)
        for key in self._namesakes.lost_keys - self.held:
            self._namesakes.seen(key, self.view.leases.get(key), now)
        self.round = None
        if self._is_closing:
            return
        for lease in self.view.leases.values():
            check_stream(lease, self._stream_name)
        self._create_missing(now)
        if self.member.is_led:
            self._coming.may_find = self._coming.can_find
            self._coming.look_at(lease.key for lease in self.view.leases.values() if lease.owner == self._worker_id)
            if workers is not None and self.member.is_leader(now):
                self._assign(workers, now)
        else:
            self._take_share(now)
        for lease in self.view.to_delete(self.held, now) if self._listings.looks_at_all(now) else ():
            self._changes.add(DeleteLease(lease))

    def _assign(self, workers: Iterable[WorkerStats], now: float) -> None:
        """This worker leads: give each of these its share."""
        apart = self._changes.under_way | self._look_for_others(now)
        self.round = self.member.assignments(self.view.candidates(apart, now), workers, now)
        for assigned in self.round.assignments:
            self._changes.add(AssignLease(*assigned))

    def _take_share(self, now: float) -> None:
        """Nobody leads: take what is this worker's share, or ask for it."""
        suspects = self._look_for_others(now)
        self._coming.may_find = self._coming.can_find and self.view.has_others
        moves = self.view.moves(self.held | self.overdue | self._changes.under_way | suspects, now)
        self._takes_more = moves.is_first_of_more
        self.look = self.view.look(moves, self._listings.took(now), now)
        for lease in moves.take:
            self._take(lease)
        for lease in moves.ask_for:
            if self._config.graceful_lease_handoff_timeout > 0:
                self._changes.add(AskForLease(lease, self._worker_id))
            else:
                self._take(lease)

    def changed(self, action: LeaseChange, answer: Any, now: float) -> None:
        """A lease was created, taken or deleted, or somebody else was faster."""
        key = action.lease.key
        self._changes.over(key)
        if isinstance(action, DeleteLease):
            if answer:
                self.view.remove(key)
        elif isinstance(action, TakeLease | AskForLease | AssignLease):
            self._moved(action, answer, now)
        elif isinstance(action, TakeBack):
            self._coming.came(key)
        else:
            if key not in self.view.leases:  # if somebody else was faster, the next look shows how it is
                self.view.update(action.lease, now)
            if not self._changes.under_way:  # to take them, and to see what others have made of theirs
                self.look_at_leases(now)

    def _moved(self, action: TakeLease | AskForLease | AssignLease, answer: Lease | None, now: float) -> None:
        """A lease was taken, asked for or assigned; None: somebody else was faster."""
        if answer is None:  # not at once, because whoever was faster would be met again
            self.look_at_leases(now + self._random.random() * _RETRY_SECONDS)
            return
        self._namesakes.taken(answer.key)
        self.view.update(answer, now)
        if isinstance(action, AssignLease) or answer.checkpoint_owner is not None:
            if action.owner == self._worker_id:
                self._coming.follow(answer.key)
            return
        self._coming.came(answer.key)
        if self._takes_more and not self._changes.under_way:
            self.look_at_leases(now)

    def found(self, keys: Iterable[str] | None, now: float) -> None:
        """`FindLeases` has succeeded: these leases have this worker's name on them; None: the store cannot tell."""
        if keys is None:
            self._coming.found_nothing(now)
            self._listings.look_at_all_leases(now)
        else:
            keys = set(keys)
            self._namesakes.found(keys)
            self._coming.found(keys, now)

    def seen(self, key: str, lease: Lease | None, now: float) -> None:
        """`GetLease` has succeeded."""
        self._changes.over(key)
        if key not in self.held:
            self._namesakes.seen(key, lease, now)
        if not self._coming.seen(key, lease, now) or lease is None or key in self.overdue:
            return
        if self._is_closing:  # nobody waits for it here any more
            self._changes.add(TakeBack(lease))
        elif len(self.held) < self._config.max_leases_for_worker:
            self._take(lease)

    def failed(self, action: Action, now: float) -> None:
        """One of its calls has failed."""
        if isinstance(action, ListShards | ListLeases | SurveyFleet):
            self._listings.failed(action, now)
        elif isinstance(action, MemberAction):
            self.member.failed(action, now)
            if self.member.is_over:  # it could not tell the leader, and tries no more
                self._coming.leader_knows(now)
        elif isinstance(action, FindLeases):
            self._coming.failed(now)
        elif isinstance(action, GetLease):
            self._changes.over(action.key)
        elif isinstance(action, LeaseChange):
            self._changes.over(action.lease.key)
            if isinstance(action, TakeLease | AskForLease | TakeBack):
                self._coming.follow(action.lease.key)  # it may have this worker's name on it, even if that one ends now
            self._creating.failed(now + _RETRY_SECONDS)
            self.look_at_leases(now + _RETRY_SECONDS)

    def _look_for_others(self, now: float) -> set[str]:
        """Note leases of a stream that is no more; the keys of those of which that is not certain yet."""
        suspects = {key for key, lease in self.view.leases.items() if is_of_another(self.shards, lease)}
        if suspects and self._listings.has_looked_since:  # a younger list of shards will tell
            self.look_at_shards(now)
            return suspects - self.view.foreign
        self.view.foreign = suspects
        return set()

    def _take(self, lease: Lease) -> None:
        shard = (self.shards or {}).get(lease.key)
        if lease.origin is None and shard is not None and lease.key not in self.view.foreign:
            lease = replace(lease, origin=shard.origin)  # a worker made it that does not write one
        self._changes.add(TakeLease(lease, self._worker_id))

    def _create_missing(self, now: float) -> None:
        if not self._is_closing:
            self._creating.create_missing(self.shards, now)
