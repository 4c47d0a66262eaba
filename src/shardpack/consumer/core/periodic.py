"""A call that is made again and again."""

from __future__ import annotations

from random import Random

from ...aws.errors import backoff

_NEVER = float("inf")


class Periodic:
    """When to make a call: after an interval, sooner when it is asked for, later when it failed.

    Attributes:
        due: when to make it; None: it is under way.
        has_succeeded: whether it ever did.
    """

    def __init__(self, interval: float, random: Random) -> None:
        self._interval = interval
        self._random = random.random
        self._failures = 0
        self._asked_for = _NEVER
        self.due: float | None = float("-inf")
        self.has_succeeded = False

    def request(self, moment: float) -> None:
        """Make it at this moment, if not before; again, if it is under way, which may have begun too early."""
        if self.due is None:
            self._asked_for = min(self._asked_for, moment)
        else:
            self.due = min(self.due, moment)

    def begin(self, now: float) -> bool:
        """Whether to make it now; then it is under way."""
        if self.due is None or self.due > now:
            return False
        self.due = None
        return True

    def succeeded(self, now: float, after: float | None = None) -> None:
        """It did; the next is due when it was asked for, or after a while.

        Args:
            now: seconds.
            after: how many seconds later; None: the interval.
        """
        self.has_succeeded = True
        self._failures = 0
        self.due = min(self._asked_for, now + (self._interval if after is None else after))
        self._asked_for = _NEVER

    def failed(self, now: float) -> None:
        """It did not; it is due again after a while."""
        self._failures += 1
        self.due = now + backoff(self._failures, self._random)
