"""The puts whose fate the application waits for: which future gets which outcomes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from ...errors import BatchDeliveryError, DeliveryError
from ...records import UserRecord
from ..core.settling import Finished
from ..delivery import Delivery

Outcome: TypeAlias = Delivery | DeliveryError
Settle: TypeAlias = Callable[[Any, Any], None]
"""Gives a future its outcome: a result, or a `DeliveryError` to raise; one that has its outcome keeps it."""


class Run:
    """Single puts in a row: each user record with a future of its own, and an outcome of its own.

    They go through the engine together, because that costs a fraction of taking them one by one.

    Attributes:
        records: their user records.
        futures: each gets its outcome as soon as that is there.
        size: bytes, partition keys counted.
        arrived: when the first was put.
        number: its place among the puts that were taken, once it is.
    """

    __slots__ = ("_left", "_outcomes", "_ready", "arrived", "futures", "number", "records", "size")

    def __init__(self, records: Sequence[UserRecord], futures: Sequence[Any], size: int, arrived: float) -> None:
        self.records = records
        self.futures = futures
        self.size = size
        self.arrived = arrived
        self.number = -1
        self._outcomes: list[Outcome | None] = [None] * len(records)
        self._ready: list[int] = []  # have an outcome that their futures may not have
        self._left = len(records)  # how many have none

    def take(self, indices: Sequence[int], outcomes: Iterable[Outcome]) -> bool:
        """Take the outcomes of some of its user records; whether `finish` has something to do."""
        for index, outcome in zip(indices, outcomes, strict=True):
            self._outcomes[index] = outcome
        self._ready += indices
        self._left -= len(indices)
        return True

    def left(self) -> Sequence[int]:
        """Which of its user records have no outcome yet; all others are for `finish`, because that was cut short."""
        left = [index for index, outcome in enumerate(self._outcomes) if outcome is None]
        self._ready = [index for index, outcome in enumerate(self._outcomes) if outcome is not None]
        self._left = len(left)
        return left

    def abandon(self, message: str) -> None:
        """Fail what has no outcome yet."""
        for index in self.left():
            self._outcomes[index] = DeliveryError(message, records=(self.records[index],), retriable=True)
        self.left()

    def finish(self, settle: Settle) -> bool:
        """Give the futures their outcomes; whether it needs no more."""
        outcomes, futures = self._outcomes, self.futures
        for index in self._ready:
            settle(futures[index], outcomes[index])
        self._ready = []
        return not self._left


class PutMany:
    """A `put_many`: the outcomes come in parts, as its user records went out. Attributes: see `Run`, and its future."""

    __slots__ = ("_left", "_outcomes", "arrived", "future", "number", "records", "size")

    def __init__(self, records: Sequence[UserRecord], future: Any, size: int, arrived: float) -> None:
        self.records = records
        self.future = future
        self.size = size
        self.arrived = arrived
        self.number = -1
        self._outcomes: list[Any] = [None] * len(records)
        self._left = len(records)

    def take(self, indices: Sequence[int], outcomes: Iterable[Outcome]) -> bool:
        """Take the outcomes of some of its user records; whether `finish` has something to do: all are there."""
        for index, outcome in zip(indices, outcomes, strict=True):
            self._outcomes[index] = outcome
        self._left -= len(indices)
        return not self._left

    def left(self) -> Sequence[int]:
        """Which of its user records have no outcome yet; counted anew, because `take` may have been cut short."""
        left = [index for index, outcome in enumerate(self._outcomes) if outcome is None]
        self._left = len(left)
        return left

    def abandon(self, message: str) -> None:
        """Fail what has no outcome yet."""
        self._outcomes = [
            outcome or DeliveryError(message, records=(record,), retriable=True)
            for record, outcome in zip(self.records, self._outcomes, strict=True)
        ]
        self._left = 0

    def finish(self, settle: Settle) -> bool:
        """Give the future its outcome, once all are there; whether it needs no more."""
        if self._left:
            return False
        settle(self.future, self.outcome())
        return True

    def outcome(self) -> Any:
        """What the future gets; an exception if it is a `DeliveryError`."""
        failed = [outcome for outcome in self._outcomes if isinstance(outcome, DeliveryError)]
        if not failed:
            return self._outcomes
        return BatchDeliveryError(
            f"{len(failed):,} of {len(self._outcomes):,} user records were not delivered; the first: {failed[0]}",
            records=[record for error in failed for record in error.records],
            attempts=failed[0].attempts,
            retriable=any(error.retriable for error in failed),
            outcomes=self._outcomes,
        )


AnyPut: TypeAlias = Run | PutMany


class Unfinished:
    """Puts in the order in which they were taken."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._puts: dict[int, AnyPut] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._puts)

    def __iter__(self) -> Iterator[AnyPut]:
        """The puts, the oldest first."""
        return iter(tuple(self._puts.values()))

    def next_number(self) -> int:
        """A number higher than those of all puts before, and lower than those of all after."""
        return next(self._numbers)

    def add(self, put: AnyPut) -> bool:
        """Wait for its outcomes; False if that was so already."""
        if self._puts.get(put.number) is put:
            return False
        put.number = next(self._numbers)
        self._puts[put.number] = put
        return True

    def settle(self, finished: Iterable[Finished]) -> list[AnyPut]:
        """Take outcomes; the puts that have something to finish by that, and stay among these until `remove`."""
        ready: dict[int, AnyPut] = {}
        for put, indices, outcomes in finished:
            if put.take(indices, outcomes):
                ready[put.number] = put
        return [*ready.values()]

    def remove(self, puts: Iterable[AnyPut]) -> None:
        """Forget puts whose futures have their outcomes."""
        for put in puts:
            self._puts.pop(put.number, None)

    def has_any_before(self, number: int) -> bool:
        """Whether one with a lower number is there."""
        return next(iter(self._puts), number) < number
