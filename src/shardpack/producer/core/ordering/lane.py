"""A queue of user records for one shard, and what is under way of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ....hashing import Shard
from ..pending import Pending

NEVER = float("inf")


@dataclass(slots=True, eq=False)
class Lane:
    """User records for one shard.

    Attributes:
        size: bytes that wait.
        unanswered: Kinesis records that must be stored, or have failed, before the next turn.
        is_held: whether it must wait until a list of the shards explains where its keys' records lie.
        alarm: when it is looked at next.
    """

    shard: Shard
    queue: deque[Pending] = field(default_factory=deque)
    size: int = 0
    unanswered: int = 0
    is_held: bool = False
    alarm: float = NEVER

    @property
    def pin(self) -> int:
        """The hash key by which it sends."""
        return self.shard.starting_hash_key


@dataclass(slots=True, eq=False)
class Sent:
    """A Kinesis record that is not answered yet.

    Attributes:
        pin: the hash key by which it goes.
        holds: the lanes that wait for it; not only its own when that is closed by now.
        is_special: whether a key in it is not at home, or its lane is closed by now.
    """

    lane: Lane
    pin: int
    holds: list[Lane]
    is_special: bool
