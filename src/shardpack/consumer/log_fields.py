"""What log records say besides their message, for those who search logs by fields."""

from __future__ import annotations

import logging

from ..leases.lease import Lease
from ..records import Position

_log = logging.getLogger("shardpack.consumer")


def about(shard_id: str, position: Position | None = None) -> dict[str, object]:
    """The ``extra`` of a log record about a shard, and about a position in it.

    Args:
        shard_id: becomes ``shard_id``.
        position: becomes ``sequence_number`` and ``sub_sequence_number``; None: there is none.
    """
    fields: dict[str, object] = {"shard_id": shard_id}
    if position is not None:
        fields["sequence_number"] = position.sequence_number
        fields["sub_sequence_number"] = position.sub_sequence_number
    return fields


def tell(lease: Lease, message: str, *values: object) -> None:
    """Log what has become of a lease."""
    _log.info(message, *values, extra=about(lease.key, lease.checkpoint))
