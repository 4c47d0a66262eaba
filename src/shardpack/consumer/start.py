"""Where reading starts in a shard of which nothing is done yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from ..leases.lease import is_started
from ..limits import shown
from ..records import Position

_CLOCK_SKEW = 300.0  # AWS refuses requests of clients whose clocks are off by more
_BY_SEQUENCE_NUMBER = ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")

IteratorArguments: TypeAlias = dict[str, str | datetime]
"""What `GetShardIterator` takes, but for the stream and the shard."""


_WHERE = 'give {shard_id: ("AT_SEQUENCE_NUMBER" or "AFTER_SEQUENCE_NUMBER", sequence number)}'


@dataclass(frozen=True, slots=True)
class Start:
    """The five starting positions of `GetShardIterator`, for a whole stream.

    Attributes:
        position: `Position.TRIM_HORIZON`, `Position.LATEST` or `Position.AT_TIMESTAMP`, for shards not named below.
        timestamp: the moment, for `Position.AT_TIMESTAMP`.
        shards: {shard id: (``AT_SEQUENCE_NUMBER`` or ``AFTER_SEQUENCE_NUMBER``, sequence number)}. A sequence number
            belongs to one shard. What a named shard was split or merged into is read from its beginning.
    """

    position: Position = Position.TRIM_HORIZON
    timestamp: datetime | None = None
    shards: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, start: str | datetime, start_at: Mapping[str, tuple[str, str]] | None) -> Start:
        """What an application gives, checked.

        Raises:
            ValueError: it is no starting position; the message says which there are.
        """
        if not isinstance(start_at, Mapping | None):
            raise TypeError(f"start_at is {shown(start_at)}; {_WHERE}")
        shards = dict(start_at or {})
        for shard_id, where in shards.items():
            if not isinstance(where, tuple) or len(where) != 2:
                raise ValueError(f"start_at[{shown(shard_id)}] is {shown(where)}; {_WHERE}")
            kind, sequence_number = where
            if kind not in _BY_SEQUENCE_NUMBER:
                raise ValueError(
                    f"start_at[{shown(shard_id)}] is {shown(kind)}; choose {' or '.join(_BY_SEQUENCE_NUMBER)}"
                )
            Position(sequence_number)
        if isinstance(start, datetime):
            if start.tzinfo is None:
                raise ValueError(f"start is {shown(start)}, without a time zone; say which: datetime(..., tzinfo=UTC)")
            return cls(Position.AT_TIMESTAMP, start, shards)
        if start not in ("TRIM_HORIZON", "LATEST"):
            raise ValueError(
                f'start is {shown(start)}; choose "TRIM_HORIZON", "LATEST" or a datetime, and for single shards'
                ' start_at={shard_id: ("AT_SEQUENCE_NUMBER" or "AFTER_SEQUENCE_NUMBER", sequence number)}'
            )
        return cls(Position(start), None, shards)

    def iterator_arguments(
        self, shard_id: str, checkpoint: Position, *, has_parents: bool, latest_since: float | None = None
    ) -> IteratorArguments:
        """What `GetShardIterator` takes to read a shard on from its checkpoint.

        Args:
            shard_id: the shard.
            checkpoint: the last position that is done, or where to start when nothing is.
            has_parents: whether leases of the shard's parents are known. Such a shard is read from its beginning,
                because what was put into it after the last record of its parents comes next.
            latest_since: since when ``LATEST`` holds, in seconds since the epoch, because another worker has read the
                shard from then on, and has checkpointed nothing; None: it means now.
        """
        if is_started(checkpoint):
            return _by_sequence_number("AT_SEQUENCE_NUMBER", checkpoint.sequence_number)
        if shard_id in self.shards:
            return _by_sequence_number(*self.shards[shard_id])
        if checkpoint == Position.AT_TIMESTAMP and self.timestamp is not None:
            return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": self.timestamp}
        if checkpoint == Position.LATEST and not has_parents:
            return {"ShardIteratorType": "LATEST"} if latest_since is None else from_moment(latest_since)
        return {"ShardIteratorType": "TRIM_HORIZON"}


def from_moment(wall_time: float) -> IteratorArguments:
    """What `GetShardIterator` takes to read on from a moment by this machine's clock, in seconds since the epoch."""
    return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": datetime.fromtimestamp(wall_time - _CLOCK_SKEW, UTC)}


def _by_sequence_number(kind: str, sequence_number: str) -> IteratorArguments:
    return {"ShardIteratorType": kind, "StartingSequenceNumber": sequence_number}
