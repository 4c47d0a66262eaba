"""What became of a user record."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

from ..records import Position


class Attempt(NamedTuple):
    """One try to store a user record.

    Attributes:
        start: seconds from `put` to the start of the `PutRecords` call.
        duration: seconds that the call took.
        error_code: why it failed, by Kinesis' name (``ProvisionedThroughputExceededException``), the AWS SDK's
            (``EndpointConnectionError``), or the KPL's (``Wrong Shard``, ``Record Count Mismatch``, ``Expired``); None
            if it did not.
        error_message: the same for people.
    """

    start: float
    duration: float
    error_code: str | None = None
    error_message: str | None = None


class Delivery(NamedTuple):
    """Where a user record is stored.

    Attributes:
        shard_id: the shard.
        sequence_number: of the Kinesis record that holds it.
        sub_sequence_number: its index in the aggregate, from 0; 0 for a plain record.
        aggregated: whether it went out in an aggregate.
        attempts: every try, the successful one last.
    """

    shard_id: str
    sequence_number: str
    sub_sequence_number: int
    aggregated: bool
    attempts: tuple[Attempt, ...]

    @property
    def position(self) -> Position:
        """(sequence number, sub-sequence number): where a consumer finds it."""
        return Position(self.sequence_number, self.sub_sequence_number)


class Deliveries:
    """Of user records that were put together into one Kinesis record; each is made when it is asked for.

    Args:
        first: the first one's.
        count: how many, with the sub-sequence numbers that follow.
    """

    __slots__ = ("_count", "_first")

    def __init__(self, first: Delivery, count: int) -> None:
        self._first = first
        self._count = count

    def __iter__(self) -> Iterator[Delivery]:
        first = self._first
        return map(
            Delivery,
            repeat(first.shard_id),
            repeat(first.sequence_number),
            range(first.sub_sequence_number, first.sub_sequence_number + self._count),
            repeat(first.aggregated),
            repeat(first.attempts),
        )
