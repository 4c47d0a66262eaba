"""An aggregate by columns, as Python makes it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count, repeat
from typing import TYPE_CHECKING, NamedTuple

from ..records import ReceivedRecord, Tags

if TYPE_CHECKING:
    from datetime import datetime


class Columns(NamedTuple):
    """See `core.Aggregate`."""

    partition_keys: list[str]
    data: list[bytes]
    explicit_hash_keys: list[str | None]
    tags: list[Tags]

    def received(
        self, sequence_number: str | None, timestamp: datetime | None, shard_id: str | None
    ) -> Iterable[ReceivedRecord]:
        """See `core.Aggregate.received`."""
        # Made by C-level loops throughout: this is where unpacking spends its time.
        return map(
            tuple.__new__,
            repeat(ReceivedRecord),
            zip(
                self.partition_keys,
                self.data,
                self.explicit_hash_keys,
                repeat(sequence_number),
                count(),
                repeat(True),
                repeat(timestamp),
                repeat(shard_id),
                self.tags,
                strict=False,
            ),
        )
