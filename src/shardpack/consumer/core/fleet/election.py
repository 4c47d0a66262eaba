"""Who leads: one worker holds a lock, and shows that it is alive by giving the lock a new version again and again.

The rules are those of the lock client that the KCL uses (``AmazonDynamoDBLockClient``). No clocks are compared: a
worker watches the version, and takes the lock when that has stood still for as long as the lock itself says. The
leader stops to lead when it has not renewed for so long, which by its own clock is before anybody else may begin.
"""

from __future__ import annotations

import uuid
from random import Random

from ....aws.errors import backoff
from ....leases.fleet.settings import FleetConfig
from ....leases.fleet.states import LeaderLock, Tables
from .actions import DeleteLock, MemberAction, ReadLock, WriteLock


class Election:
    """One worker that would lead.

    Args:
        worker_id: its name in the lock.
        config: the settings.
        random: for versions, and for waits.
    """

    def __init__(self, worker_id: str, config: FleetConfig, random: Random) -> None:
        self._worker_id = worker_id
        self._config = config
        self._random = random
        self._tables: Tables | None = None
        self._mine: LeaderLock | None = None
        self._renewed_at = float("-inf")
        self._seen: LeaderLock | None = None
        self._seen_since = 0.0
        self._began = 0.0
        self._due = float("-inf")
        self._is_busy = False
        self._is_revoked = False  # whether it has resigned since the call was begun
        self._failures = 0
        self._to_take: tuple[LeaderLock | None] | None = None  # the lock that is to be taken, as it is now
        self._to_delete: DeleteLock | None = None
        self._is_closing = False

    def is_leader(self, now: float) -> bool:
        """Whether this worker leads."""
        return self._mine is not None and now - self._renewed_at < self._config.leader_lease_duration

    def poll(self, tables: Tables, now: float, *, may_lead: bool = True) -> list[MemberAction]:
        """The call to make now, if any.

        Args:
            tables: where the lock is; when it moves, one that is held is let go.
            now: seconds.
            may_lead: whether it would lead; else a lock that it let go is only to be deleted.
        """
        if self._tables is not None and self._tables.has_leader_apart != tables.has_leader_apart:
            self.resign(now)
            self._due = now
        if self._is_busy:
            return []
        self._tables = tables
        if self._to_delete is not None:
            delete, self._to_delete = self._to_delete, None
            return [self._begin(delete, now)]
        if self._is_closing or not may_lead:
            return []
        if self._to_take is not None:
            (before,), self._to_take = self._to_take, None
            return [self._begin(WriteLock(tables, before, self._next()), now)]
        if now < self._due:
            return []
        if self._mine is None:
            return [self._begin(ReadLock(tables), now)]
        return [self._begin(WriteLock(tables, self._mine, self._next()), now)]

    def deadline(self, *, may_lead: bool = True) -> float | None:
        """When there may be a call to make; None: one is under way, or there is none."""
        if self._is_busy:
            return None
        if self._to_delete is not None:
            return float("-inf")
        if self._is_closing or not may_lead:
            return None
        return self._due if self._to_take is None else float("-inf")

    def resign(self, now: float) -> None:
        """Lead no more, and let others."""
        if self._mine is not None and self._tables is not None:
            self._to_delete = DeleteLock(self._tables, self._mine)
        self._mine = self._to_take = None
        self._is_revoked = True
        self._due = now + self._config.leader_heartbeat

    def close(self, now: float) -> None:
        """Neither lead nor try to, any more."""
        self._is_closing = True
        self.resign(now)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do after `close`."""
        return self._is_closing and not self._is_busy and self._to_delete is None

    def _begin(self, action: MemberAction, now: float) -> MemberAction:
        self._is_busy, self._is_revoked = True, False
        self._began = now
        return action

    def _next(self) -> LeaderLock:
        version = str(uuid.UUID(int=self._random.getrandbits(128)))
        return LeaderLock(self._worker_id, version, self._config.leader_lease_duration)

    # How it went.

    def read(self, lock: LeaderLock | None, now: float) -> None:
        """`ReadLock` has answered."""
        self._is_busy = False
        self._failures = 0
        if lock != self._seen:
            self._seen, self._seen_since = lock, now
        if lock is None or lock.owner == self._worker_id or now - self._seen_since > lock.duration:
            self._to_take = (lock,)
            return
        heartbeat = self._config.leader_heartbeat
        expires = self._seen_since + lock.duration
        self._due = now + max(heartbeat / 4, min(heartbeat, expires - now))

    def written(self, action: WriteLock, answer: bool, now: float) -> bool:
        """`WriteLock` has answered; whether this worker has become the leader."""
        self._is_busy = False
        self._failures = 0
        was_leader = self._mine is not None
        self._due = self._began + self._config.leader_heartbeat
        if not answer:
            self._mine = None
            if was_leader:  # perhaps an answer was lost: the next look tells who has it
                self._due = now
            return False
        if self._is_revoked:
            self._to_delete = DeleteLock(action.tables, action.lock)
            return False
        is_new = not self.is_leader(now)  # also after a pause in which the lock ran out, and nobody took it
        self._mine, self._renewed_at = action.lock, self._began
        return is_new

    def deleted(self) -> None:
        """`DeleteLock` has answered."""
        self._is_busy = False

    def failed(self, now: float) -> None:
        """A call has failed; what it wrote, if anything, shows in the next look."""
        self._is_busy = False
        self._failures += 1
        self._due = now + min(self._config.leader_heartbeat, backoff(self._failures, self._random.random))
        if self._mine is not None and not self.is_leader(now):
            self._mine = None
