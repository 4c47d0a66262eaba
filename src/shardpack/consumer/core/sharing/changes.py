"""The calls about leases that this worker does not hold: one at a time for each lease."""

from __future__ import annotations

from ..actions import GetLease, LeaseChange, key_of


class Changes:
    """What is to be asked of the store about leases, and what is under way.

    Attributes:
        under_way: keys of leases that are being created, taken, looked at or deleted, or are about to be.
    """

    def __init__(self) -> None:
        self._queue: list[LeaseChange | GetLease] = []
        self.under_way: set[str] = set()

    def add(self, action: LeaseChange | GetLease) -> None:
        """Have a call made, unless one about the same lease is under way."""
        key = key_of(action)
        if key not in self.under_way:
            self.under_way.add(key)
            self._queue.append(action)

    def take(self) -> list[LeaseChange | GetLease]:
        """The calls to make now."""
        queue, self._queue = self._queue, []
        return queue

    def over(self, key: str) -> None:
        """A call about a lease has come back."""
        self.under_way.discard(key)

    def drop(self) -> None:
        """Make none of the calls that are only about to be made."""
        self.under_way -= {key_of(action) for action in self._queue}
        self._queue = []

    @property
    def is_waiting(self) -> bool:
        """Whether there are calls to make."""
        return bool(self._queue)
