"""The puts whose fate the application waits for: which future gets which outcomes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from ...errors import BatchDeliveryError, DeliveryError
from ...records import UserRecord
from ..core.engine import Finished
from ..delivery import Delivery

Outcome: TypeAlias = Delivery | DeliveryError


class Put:
    """A `put`: one user record, one outcome."""

    __slots__ = ("_outcome", "future", "records")

    def __init__(self, records: Sequence[UserRecord], future: Any) -> None:
        self.records = records
        self.future = future
        self._outcome: Outcome | None = None

    def take(self, _indices: Sequence[int], outcomes: Iterable[Outcome]) -> bool:
        """Take the outcomes of some of its user records; whether all are there."""
        (self._outcome,) = outcomes
        return True

    def abandon(self, message: str) -> None:
        """Fail what has no outcome yet."""
        self._outcome = DeliveryError(message, records=self.records, retriable=True)

    def outcome(self) -> Any:
        """What the future gets, once all outcomes are there; an exception if it is a `DeliveryError`."""
        return self._outcome


class PutMany:
    """A `put_many`: the outcomes come in parts, as its user records went out."""

    __slots__ = ("_left", "_outcomes", "future", "records")

    def __init__(self, records: Sequence[UserRecord], future: Any) -> None:
        self.records = records
        self.future = future
        self._outcomes: list[Any] = [None] * len(records)
        self._left = len(records)

    def take(self, indices: Sequence[int], outcomes: Iterable[Outcome]) -> bool:
        """See `Put.take`."""
        for index, outcome in zip(indices, outcomes, strict=True):
            self._outcomes[index] = outcome
        self._left -= len(indices)
        return not self._left

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


class Unfinished:
    """Puts by number, in the order in which they were made."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._puts: dict[int, Put | PutMany] = {}

    def next_number(self) -> int:
        """A number for a put, which the engine knows it by; higher than those before."""
        return next(self._numbers)

    def add(self, number: int, put: Put | PutMany) -> None:
        """Wait for its outcomes."""
        self._puts[number] = put

    def settle(self, finished: Iterable[Finished]) -> dict[int, Put | PutMany]:
        """Take outcomes; the puts that are complete by that, which are no longer among these."""
        settled = {}
        for number, indices, outcomes in finished:
            put = self._puts.get(number)
            # None if Ctrl-C fell into it: then nobody has its future.
            if put is not None and put.take(indices, outcomes):
                settled[number] = self._puts.pop(number)
        return settled

    def has_any_before(self, number: int) -> bool:
        """Whether one with a lower number is there."""
        return next(iter(self._puts), number) < number

    def abandon(self, message: str) -> list[Put | PutMany]:
        """Fail what is left, and forget it."""
        left, self._puts = list(self._puts.values()), {}
        for put in left:
            put.abandon(message)
        return left


def finish(put: Put | PutMany) -> None:
    """Give a put's future its outcome."""
    outcome = put.outcome()
    if isinstance(outcome, DeliveryError):
        put.future.set_exception(outcome)
    else:
        put.future.set_result(outcome)
