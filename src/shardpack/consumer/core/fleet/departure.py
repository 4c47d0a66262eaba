"""The end of a worker's part in a fleet: what a leader gave it before it knew, it gives back."""

from __future__ import annotations


class Departure:
    """Until when a worker that ends looks for leases that have its name on them, so that none is left behind.

    Args:
        patience: for how many seconds it does so at most.

    Attributes:
        is_begun: whether the worker ends.
        has_looked: whether it has looked since the leader was told.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._until = 0.0
        self._is_looking = False
        self.is_begun = False
        self.has_looked = False

    def begin(self, now: float) -> None:
        """The worker ends."""
        self.is_begun = True
        self._until = now + self._patience

    def deadline(self, *, is_waiting: bool) -> float | None:
        """When it looks no longer; None: it does not end, or waits for no lease."""
        return self._until if self.is_begun and is_waiting else None

    def gives_up(self, now: float) -> bool:
        """Whether it has looked for long enough: whoever gets leases under its name has nobody to wait for."""
        self.has_looked = self.has_looked or (self.is_begun and now >= self._until)
        return self.is_begun and now >= self._until

    def is_early(self, now: float) -> bool:
        """Whether it ends, and looks."""
        return self.is_begun and now < self._until

    def look_begins(self, *, is_known: bool) -> None:
        """It looks for leases.

        Args:
            is_known: whether the leader can know by now that it ends.
        """
        self._is_looking = self.is_begun and is_known

    def looked(self) -> None:
        """It has."""
        self.has_looked = self.has_looked or self._is_looking
