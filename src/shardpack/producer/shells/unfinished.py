"""The puts whose fate the application waits for: which future gets which outcomes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from ...errors import BatchDeliveryError, DeliveryError
from ...records import UserRecord
from ..core.settling import Finished
from ..delivery import Delivery

Outcome: TypeAlias = Delivery | DeliveryError


class Put:
    """A `put`: one user record, one outcome.

    Attributes:
        records: its user records.
        future: gets the outcome.
        size: bytes, partition keys counted.
        arrived: when it was put.
        number: its place among the puts that were taken, once it is.
    """

    __slots__ = ("_outcome", "arrived", "future", "number", "records", "size")

    def __init__(self, records: Sequence[UserRecord], future: Any, size: int, arrived: float) -> None:
        self.records = records
        self.future = future
        self.size = size
        self.arrived = arrived
        self.number = -1
        self._outcome: Outcome | None = None

    def take(self, _indices: Sequence[int], outcomes: Iterable[Outcome]) -> bool:
        """Take the outcomes of some of its user records; whether all are there."""
        (self._outcome,) = outcomes
        return True

    def left(self) -> Sequence[int]:
        """Which of its user records have no outcome yet."""
        return range(0) if self._outcome else range(1)

    def abandon(self, message: str) -> None:
        """Fail what has no outcome yet."""
        self._outcome = self._outcome or DeliveryError(message, records=self.records, retriable=True)

    def outcome(self) -> Any:
        """What the future gets, once all outcomes are there; an exception if it is a `DeliveryError`."""
        return self._outcome


class PutMany:
    """A `put_many`: the outcomes come in parts, as its user records went out. Attributes: see `Put`."""

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
        """See `Put.take`."""
        for index, outcome in zip(indices, outcomes, strict=True):
            self._outcomes[index] = outcome
        self._left -= len(indices)
        return not self._left

    def left(self) -> Sequence[int]:
        """See `Put.left`. The count is taken anew, because `take` may have been cut short."""
        left = [index for index, outcome in enumerate(self._outcomes) if outcome is None]
        self._left = len(left)
        return left

    def abandon(self, message: str) -> None:
        """See `Put.abandon`."""
        self._outcomes = [
            outcome or DeliveryError(message, records=(record,), retriable=True)
            for record, outcome in zip(self.records, self._outcomes, strict=True)
        ]

    def outcome(self) -> Any:
        """See `Put.outcome`."""
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


AnyPut: TypeAlias = Put | PutMany


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
        """Take outcomes; the puts that are complete by that, which stay among these until `remove`."""
        complete = []
        for put, indices, outcomes in finished:
            if put.take(indices, outcomes):
                complete.append(put)
        return complete

    def remove(self, puts: Iterable[AnyPut]) -> None:
        """Forget puts whose futures have their outcomes."""
        for put in puts:
            self._puts.pop(put.number, None)

    def has_any_before(self, number: int) -> bool:
        """Whether one with a lower number is there."""
        return next(iter(self._puts), number) < number


def finish(put: AnyPut) -> None:
    """Give a put's future its outcome."""
    outcome = put.outcome()
    if isinstance(outcome, DeliveryError):
        put.future.set_exception(outcome)
    else:
        put.future.set_result(outcome)
