"""Which leases this worker creates, takes and deletes, and when it looks around for that. Decisions only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from ...leases.balance import LeaseView, Look
from ...leases.fleet.states import WorkerStats
from ...leases.lease import Lease
from ...records import Position
from ..config import ConsumerConfig
from ..origin import check_stream
from ..start import Start
from .actions import (
    Action,
    AskForLease,
    CreateLease,
    DeleteLease,
    FindLeases,
    GetLease,
    LeaseChange,
    ListLeases,
    ListShards,
    TakeBack,
    TakeLease,
    key_of,
)
from .fleet.actions import AssignLease, MemberAction, SurveyFleet
from .fleet.departure import Departure
from .fleet.member import Member
from .fleet.parents import Parents
from .periodic import Periodic
from .shards import ListedShard, is_of_another, leases_of, leases_to_create, listed_shards

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
        self._start = start
        self._random = random
        self._shard_listing = Periodic(config.shard_sync_interval, random)
        self._lease_listing = Periodic(config.failover_time, random)
        self._finding = Periodic(config.lease_discovery_interval, random)
        self._can_find = True
        self._may_find = False  # whether others can hand leases over, and the store can tell
        self._asked: set[str] = set()  # leases that may come to this worker, as it has asked for them
        self._takes_more = False
        self._queue: list[LeaseChange | GetLease] = []
        self._under_way: set[str] = set()  # leases that are being created, taken or deleted, or are about to be
        self._create_due = float("-inf")  # not before, because the last try has failed
        self._closing = False
        self._departure = Departure(config.failover_time / 2)
        self._shards_asked_for = self._leases_asked_for = self._leases_listed = float("-inf")
        self._looks = 0  # at all leases
        self._looks_before = -1  # the shards were last asked for
        self.view = LeaseView(worker_id, config, random)
        self.shards: Mapping[str, ListedShard] | None = None
        self.held: set[str] = set()
        self.member = member or Member(worker_id, config, random, is_alone=True)
        self._parents = Parents(self.view, config)
        self.overdue: set[str] = set()
        self.look: Look | None = None

    # What to do.

    def poll(self, now: float) -> list[Action]:
        """The calls to make now."""
        actions: list[Action] = []
        if self._closing and not self._departure.is_begun:
            self._departure.begin(now)
            self.member.close(now)
        if self._departure.gives_up(now):
            self._asked.clear()
        if not self._closing and self._shard_listing.begin(now):
            self._shards_asked_for = now
            self._looks_before = self._looks
            actions.append(ListShards())
        actions += self.member.poll(now)
        if not self._closing and self.member.is_known and self._lease_listing.begin(now):
            self._leases_asked_for = now
            actions.append(SurveyFleet(self.member.tables) if self.member.is_leader(now) else ListLeases())
        if self._is_finding and self._finding.begin(now):
            self._departure.look_begins(is_known=self.member.is_over)
            actions.append(FindLeases(self._worker_id))
        queue, self._queue = self._queue, []
        return [*actions, *queue]

    def deadline(self) -> float | None:
        """When there may be a call to make, or None."""
        leases_due = self._lease_listing.due if self.member.is_known else None
        dues = [self.member.deadline(), *([] if self._closing else [self._shard_listing.due, leases_due])]
        dues += [self._finding.due if self._is_finding else None, float("-inf") if self._queue else None]
        dues.append(self._departure.deadline(is_waiting=bool(self._asked) or self._may_be_given))
        return min((due for due in dues if due is not None), default=None)

    @property
    def _is_finding(self) -> bool:
        return bool(self._asked) or (self._may_find and (not self._closing or self.member.is_led))

    @property
    def _may_be_given(self) -> bool:
        return self._closing and self._is_finding and not self._departure.has_looked

    def _looks_at_all(self, now: float) -> bool:
        """Whether this worker looks at all leases and shards: the leader does, or everyone where nobody leads."""
        return not self.member.is_led or self.member.is_leader(now)

    def ensure(self, children: Iterable[ListedShard], now: float) -> bool:
        """Whether these shards have leases; those that are missing are created.

        What was merged gets its lease after all its parents have theirs: a missing one would count as over.
        """
        missing = {shard.shard_id: shard for shard in children if shard.shard_id not in self.view.leases}
        if missing and not self._looks_at_all(now) and now - self._leases_listed > self._config.failover_time:
            self._lease_listing.request(now)  # what this worker knows of the others' is old
            return False
        if missing and now >= self._create_due:
            self._create(leases_of(missing, self.shards or {}, self.view.leases, self._start), now)
        return not missing

    def look_at_shards(self, moment: float) -> None:
        """List the shards at this moment, if not before."""
        self._shard_listing.request(moment)

    def look_at_leases(self, moment: float) -> None:
        """List the leases at this moment, if not before; where somebody else leads, that is left to the leader."""
        if self._looks_at_all(moment):
            self._lease_listing.request(moment)

    def close(self) -> None:
        """Begin nothing more."""
        self._closing = True
        self._under_way -= {key_of(action) for action in self._queue}
        self._queue = []

    @property
    def is_idle(self) -> bool:
        """Whether no lease is being created, taken, asked for or deleted."""
        is_ending = self._closing and (self._asked or self._may_be_given or not self.member.is_over)
        return not (self._under_way or is_ending)

    def is_changing(self, key: str) -> bool:
        """Whether a call about a lease is under way."""
        return key in self._under_way

    @property
    def is_settled(self) -> bool:
        """Whether every lease is there, and none waits for this worker."""
        has_all = self._lease_listing.has_succeeded and self.shards is not None and bool(self.view.leases)
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
            if self._closing and self.member.is_over:
                self._finding.request(now)
            if self.member.answered(action, answer, now):
                self.view.is_partial = self.member.is_led
                self._lease_listing.request(now)
                self.look_at_shards(now)
        elif isinstance(action, LeaseChange):
            self.changed(action, answer, now)

    def shards_listed(self, shards: Iterable[Mapping[str, Any]], now: float) -> None:
        """`ListShards` has succeeded.

        Raises:
            ValueError: the application wants to start in a shard that is not there.
        """
        self.shards = listed_shards(shards, self._stream_name)
        self._shard_listing.succeeded(now, None if self._looks_at_all(now) else float("inf"))
        self._look_for_others(now)
        self._create_missing(now)

    def leases_listed(self, leases: Iterable[Lease], now: float, workers: Iterable[WorkerStats] | None = None) -> None:
        """`ListLeases` has succeeded, or a leader's `SurveyFleet`.

        Raises:
            ValueError: the application wants to start in a shard that is not there.
            LeaseStoreError: the leases are another stream's.
        """
        self._lease_listing.succeeded(now, self.member.listing_interval(now) if self._can_find else None)
        self._leases_listed = now
        self._looks += 1
        self.view.observe(leases, now)
        if self._closing:
            return
        for lease in self.view.leases.values():
            check_stream(lease, self._stream_name)
        self._create_missing(now)
        if not self.member.is_led:
            self._take_share(now)
        else:
            self._may_find = self._can_find
            self._look_at(lease.key for lease in self.view.leases.values() if lease.owner == self._worker_id)
            if workers is not None and self.member.is_leader(now):
                apart = self._under_way | self._look_for_others(now)
                for assigned in self.member.assignments(self.view.candidates(apart, now), workers, now):
                    self._enqueue(AssignLease(*assigned))
        for lease in self.view.to_delete(self.held, now) if self._looks_at_all(now) else ():
            self._enqueue(DeleteLease(lease))

    def _take_share(self, now: float) -> None:
        """Nobody leads: take what is this worker's share, or ask for it."""
        suspects = self._look_for_others(now)
        self._may_find = self._can_find and self.view.has_others
        moves = self.view.moves(self.held | self.overdue | self._under_way | suspects, now)
        self._takes_more = moves.is_first_of_more
        self.look = self.view.look(moves, now - self._leases_asked_for, now)
        for lease in moves.take:
            self._take(lease)
        for lease in moves.ask_for:
            if self._config.graceful_lease_handoff_timeout > 0:
                self._enqueue(AskForLease(lease, self._worker_id))
            else:
                self._take(lease)

    def changed(self, action: LeaseChange, answer: Any, now: float) -> None:
        """A lease was created, taken or deleted, or somebody else was faster."""
        key = action.lease.key
        self._under_way.discard(key)
        if isinstance(action, DeleteLease):
            if answer:
                self.view.remove(key)
        elif isinstance(action, TakeLease | AskForLease | AssignLease):
            self._moved(action, answer, now)
        elif isinstance(action, TakeBack):
            self._asked.discard(key)
        else:
            if key not in self.view.leases:  # if somebody else was faster, the next look shows how it is
                self.view.update(action.lease, now)
            if not self._under_way:  # to take them, and to see what others have made of theirs
                self.look_at_leases(now)

    def _moved(self, action: TakeLease | AskForLease | AssignLease, answer: Lease | None, now: float) -> None:
        """A lease was taken, asked for or assigned; None: somebody else was faster."""
        if answer is None:  # not at once, because whoever was faster would be met again
            self.look_at_leases(now + self._random.random() * _RETRY_SECONDS)
            return
        self.view.update(answer, now)
        if isinstance(action, AssignLease) or answer.checkpoint_owner is not None:
            if action.owner == self._worker_id:
                self._follow(answer.key)
            return
        self._asked.discard(answer.key)
        if self._takes_more and not self._under_way:
            self.look_at_leases(now)

    def found(self, keys: Iterable[str] | None, now: float) -> None:
        """`FindLeases` has succeeded: these leases have this worker's name on them."""
        self._finding.succeeded(now)
        self._departure.looked()
        if keys is None:
            self._can_find = self._may_find = False
            self._asked.clear()
            self._lease_listing.request(now)
            return
        if self.member.is_led and self._departure.is_early(now):  # a leader has given it more, before it knew
            self._asked.update({*keys} - self.held)
        self._look_at(key for key in (*keys, *self._asked) if self._parents.may_look(key, now))

    def _look_at(self, keys: Iterable[str]) -> None:
        for key in sorted({*keys} - self.held - self._under_way):
            if key in self._asked or (self.view.is_worth_a_look(key) and not self._closing):
                self._under_way.add(key)
                self._queue.append(GetLease(key))

    def seen(self, key: str, lease: Lease | None, now: float) -> None:
        """`GetLease` has succeeded."""
        self._under_way.discard(key)
        self._parents.seen(key, lease)
        if lease is None:
            self._asked.discard(key)
            self.view.remove(key)
            return
        self.view.update(lease, now)
        if lease.owner != self._worker_id or lease.checkpoint_owner is None or lease.checkpoint == Position.SHARD_END:
            self._asked.discard(key)  # who held it is done with it, and hands nothing over
        if self.view.is_partial and lease.owner == self._worker_id and not self._closing:
            if self._parents.is_over(lease, now):
                self._enqueue(DeleteLease(lease))
                return
            if (others := self._parents.to_ask_for(lease, now)) is not None:
                self._look_at(others)
                return
        if not self.view.may_take(lease, now, is_to_read=not self._closing) or key in self.overdue:
            return
        if self._closing:  # nobody waits for it here any more
            self._under_way.add(key)
            self._queue.append(TakeBack(lease))
        elif len(self.held) < self._config.max_leases_for_worker:
            self._take(lease)

    def failed(self, action: Action, now: float) -> None:
        """One of its calls has failed."""
        if isinstance(action, ListShards):
            self._shard_listing.failed(now)
        elif isinstance(action, ListLeases | SurveyFleet):
            self._lease_listing.failed(now)
            self.member.survey_failed(now)
        elif isinstance(action, MemberAction):
            self.member.failed(action, now)
        elif isinstance(action, FindLeases):
            self._finding.failed(now)
        elif isinstance(action, GetLease):
            self._under_way.discard(action.key)
        elif isinstance(action, LeaseChange):
            self._under_way.discard(action.lease.key)
            if isinstance(action, TakeLease | AskForLease | TakeBack):
                self._follow(action.lease.key)  # it may have this worker's name on it, even if that one ends now
            self._create_due = now + _RETRY_SECONDS
            self.look_at_leases(now + _RETRY_SECONDS)

    def _follow(self, key: str) -> None:
        """Look at a lease until it is this worker's or somebody else's, if the store can do so."""
        if self._can_find:
            self._asked.add(key)

    def _look_for_others(self, now: float) -> set[str]:
        """Note leases of a stream that is no more; the keys of those of which that is not certain yet."""
        suspects = {key for key, lease in self.view.leases.items() if is_of_another(self.shards, lease)}
        if suspects and self._looks_before < self._looks:  # a younger list of shards will tell
            self.look_at_shards(now)
            return suspects - self.view.foreign
        self.view.foreign = suspects
        return set()

    def _take(self, lease: Lease) -> None:
        shard = (self.shards or {}).get(lease.key)
        if lease.origin is None and shard is not None and lease.key not in self.view.foreign:
            lease = replace(lease, origin=shard.origin)  # a worker made it that does not write one
        self._enqueue(TakeLease(lease, self._worker_id))

    def _create_missing(self, now: float) -> None:
        if self.shards is None or not self._lease_listing.has_succeeded or self._closing or not self._looks_at_all(now):
            return
        if not (missing := leases_to_create(self.shards, self.view.leases, self._start)):
            return
        # A lease that is made again has its shard read again. That it was deleted because the shard is done shows only
        # in its descendants, and these only in a list of shards that is younger than the list of leases.
        if self._shards_asked_for < self._leases_listed:
            self.look_at_shards(now)
        elif now - self._leases_listed > 2 * self._config.failover_time:
            self.look_at_leases(now)
        else:
            self._create(missing, now)

    def _create(self, leases: Iterable[Lease], now: float) -> None:
        for lease in leases:
            # With the age that the list of leases may have, that is when leases are deleted at the earliest.
            self._enqueue(CreateLease(lease, now + self._config.failover_time))

    def _enqueue(self, action: LeaseChange) -> None:
        if action.lease.key not in self._under_way and not self._closing:
            self._under_way.add(action.lease.key)
            self._queue.append(action)
