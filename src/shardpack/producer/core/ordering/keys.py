"""Partition keys of which the producer must remember something."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from ....records import UserRecord

Identity: TypeAlias = tuple[str, str | None]
"""Whose records are kept in order: a partition key, or, in its place, an explicit hash key."""


class Kept(NamedTuple):
    """Why a partition key is not sent where its own hash key belongs.

    Attributes:
        pin: the hash key by which its last record was sent.
        last: the shard in which that record lies; None: unknown, or the record was not stored at all.
        listings: how many lists of the shards had been begun by then.
    """

    pin: int
    last: str | None
    listings: int


class Keys:
    """What must outlive an engine, because it says where records already lie.

    Attributes:
        kept: partition keys that keep a pin. These are few: the keys of one aggregate for each shard and reshard.
        halted: those of which no record is sent until the application says so.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.halted: set[Identity] = set()

    def begin(self) -> None:
        """A new engine begins; it has listed no shards yet."""
        for key, kept in self.kept.items():
            self.kept[key] = kept._replace(listings=0)


def identity_of(record: UserRecord) -> Identity:
    """With which other records a user record is kept in order."""
    own = record.explicit_hash_key
    return (record.partition_key, None) if own is None else ("", own)
