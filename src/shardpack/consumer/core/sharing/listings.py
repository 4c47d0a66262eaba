"""When this worker lists the stream's shards and all leases, and how old its lists are."""

from __future__ import annotations

from random import Random

from ...config import ConsumerConfig
from ..actions import Action, ListLeases, ListShards
from ..fleet.actions import SurveyFleet
from ..fleet.member import Member
from ..periodic import Periodic

_NEVER = float("-inf")


class Listings:
    """The two lists that a worker goes by.

    Args:
        config: the settings.
        random: for waits.
        member: this worker's part in a fleet that may be led.

    Attributes:
        leases_listed: when the leases were last listed.
    """

    def __init__(self, config: ConsumerConfig, random: Random, member: Member) -> None:
        self._failover_time = config.failover_time
        self._member = member
        self._shards = Periodic(config.shard_sync_interval, random)
        self._leases = Periodic(config.failover_time, random)
        self._shards_asked_for = self._leases_asked_for = _NEVER
        self._looks = 0  # at all leases
        self._looks_before = -1  # the shards were last asked for
        self.leases_listed = self._leases_as_of = _NEVER

    def poll(self, now: float) -> list[Action]:
        """The lists to ask for now."""
        actions: list[Action] = []
        if self._shards.begin(now):
            self._shards_asked_for = now
            self._looks_before = self._looks
            actions.append(ListShards())
        if self._member.is_known and self._leases.begin(now):
            self._leases_asked_for = now
            actions.append(SurveyFleet(self._member.tables) if self._member.is_leader(now) else ListLeases())
        return actions

    def deadlines(self) -> list[float | None]:
        """When there may be a list to ask for."""
        return [self._shards.due, self._leases.due if self._member.is_known else None]

    def looks_at_all(self, now: float) -> bool:
        """Whether this worker looks at all leases and shards: the leader does, or everyone where nobody leads."""
        return not self._member.is_led or self._member.is_leader(now)

    def look_at_shards(self, moment: float) -> None:
        """List the shards at this moment, if not before."""
        self._shards.request(moment)

    def look_at_leases(self, moment: float) -> None:
        """List the leases at this moment, if not before; where somebody else leads, that is left to the leader."""
        if self.looks_at_all(moment):
            self._leases.request(moment)

    def look_at_all_leases(self, now: float) -> None:
        """List the leases now, whoever leads."""
        self._leases.request(now)

    @property
    def has_leases(self) -> bool:
        """Whether the leases were ever listed."""
        return self._leases.has_succeeded

    @property
    def are_shards_younger(self) -> bool:
        """Whether the shards were asked for when the leases had been listed."""
        return self._shards_asked_for >= self.leases_listed

    @property
    def has_looked_since(self) -> bool:
        """Whether the leases were listed since the shards were last asked for."""
        return self._looks_before < self._looks

    def are_leases_old(self, now: float, times: int) -> bool:
        """Whether the leases were asked for longer ago than so many times the failover time."""
        return now - self._leases_as_of > times * self._failover_time

    def took(self, now: float) -> float:
        """How many seconds the list of leases took that has come now."""
        return now - self._leases_asked_for

    # How it went.

    def got_shards(self, now: float) -> None:
        """The shards were listed."""
        self._shards.succeeded(now, None if self.looks_at_all(now) else float("inf"))

    def got_leases(self, now: float, *, can_find: bool) -> None:
        """The leases were listed; `can_find`: and the store can tell a worker which are its own."""
        self._leases.succeeded(now, self._member.listing_interval(now) if can_find else None)
        self.leases_listed, self._leases_as_of = now, self._leases_asked_for
        self._looks += 1

    def failed(self, action: Action, now: float) -> None:
        """A list could not be had."""
        if isinstance(action, ListShards):
            self._shards.failed(now)
        else:
            self._leases.failed(now)
            self._member.survey_failed(now)
