"""Where a replay of the past ends: at a moment in every shard, or at positions in some."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from ....leases.lease import Lease
from ....records import Position, ReceivedRecord


class Until:
    """The end of what is to be written, shard by shard.

    Args:
        moment: what arrived at this moment or later is left out; None: there is no such end.
        positions: {shard id: sequence number of the last Kinesis record that is written}.
    """

    def __init__(self, moment: datetime | None, positions: Mapping[str, int]) -> None:
        self._moment = moment
        self._positions = positions
        self._passed: set[str] = set()

    def cut(self, shard_id: str, records: Sequence[ReceivedRecord]) -> Sequence[ReceivedRecord]:
        """Those of a shard's next records that are to be written."""
        if shard_id in self._passed:
            return []
        for index, record in enumerate(records):
            if self._is_beyond(shard_id, record):
                self._passed.add(shard_id)
                return records[:index]
        return records

    def is_reached(self, leases: Collection[Lease], at_end: Collection[str]) -> bool:
        """Whether nothing more is to be written.

        Args:
            leases: all leases; none: the shards are not known yet.
            at_end: the ids of shards of which everything was handed out that they hold now.
        """
        if self._moment is not None and datetime.now(UTC) < self._moment:
            at_end = ()  # more may come
        ended = {lease.key for lease in leases if lease.checkpoint == Position.SHARD_END}
        known = {lease.key for lease in leases}
        over = ended | self._passed | set(at_end)
        return bool(leases) and all(
            lease.key in over or any(parent in known and parent not in ended for parent in lease.parents)
            for lease in leases
        )

    def _is_beyond(self, shard_id: str, record: ReceivedRecord) -> bool:
        last = self._positions.get(shard_id)
        if last is not None and record.sequence_number is not None and int(record.sequence_number) > last:
            return True
        arrived = record.approximate_arrival_timestamp
        return self._moment is not None and arrived is not None and arrived >= self._moment
