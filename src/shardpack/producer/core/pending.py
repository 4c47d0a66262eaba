"""User records on their way: those of one put that share a Kinesis record, and the Kinesis records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ...hashing import hash_key
from ...records import PackedRecord, UserRecord
from ..delivery import Attempt
from .bulk import measured


@dataclass(slots=True, eq=False)
class Pending:
    """User records of one put that are not delivered yet, and that are together so far.

    One for many, because the garbage collector looks at each again and again while a hundred thousand are outstanding.

    Attributes:
        token: what the caller knows the put by.
        records: in the order in which they were put.
        indices: which of the put's records they are.
        size: bytes, partition keys counted.
        arrived: when they were put.
        earlier: tries in other aggregates than the one that they are in now.
    """

    token: object
    records: Sequence[UserRecord]
    indices: Sequence[int]
    size: int
    arrived: float
    earlier: tuple[Attempt, ...] = ()

    def part(self, start: int, end: int) -> Pending:
        """Some of them."""
        if end - start == len(self.records):
            return self
        return self.only(self.records[start:end], self.indices[start:end])

    def only(self, records: Sequence[UserRecord], indices: Sequence[int]) -> Pending:
        """These of them."""
        return Pending(self.token, records, indices, measured(records)[0], self.arrived, self.earlier)


@dataclass(slots=True, eq=False)
class Parcel:
    """A Kinesis record on its way, with the user records in it, in the order of their sub-sequence numbers.

    Attributes:
        expires: when it fails if it is not stored by then.
        attempts: tries so far, their `start` by the shell's clock.
        failures: how many of them count for the back-off.
        ready: when it may go, by its shard's budget and the back-off.
    """

    packed: PackedRecord
    pending: list[Pending]
    expires: float
    attempts: list[Attempt] = field(default_factory=list)
    failures: int = 0
    ready: float = 0.0


class Landed(NamedTuple):
    """A parcel that was stored; `listings` is how many lists of the shards had been begun by then."""

    parcel: Parcel
    shard_id: str
    sequence_number: str
    started: float
    duration: float
    listings: int


def hash_key_of(record: UserRecord) -> int:
    """Where a user record belongs."""
    return hash_key(record.partition_key) if record.explicit_hash_key is None else int(record.explicit_hash_key)


def since_arrival(pending: Pending, parcel: Parcel) -> tuple[Attempt, ...]:
    """The tries to store user records, by their own clock."""
    if not pending.earlier and len(parcel.attempts) == 1:  # as nearly always
        start, duration, code, message = parcel.attempts[0]
        return (Attempt(start - pending.arrived, duration, code, message),)
    tries = (*pending.earlier, *parcel.attempts)
    return tuple([Attempt(t.start - pending.arrived, t.duration, t.error_code, t.error_message) for t in tries])
