"""Other packers, for comparison; each is imported only when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..limits import Limits
from ..records import PackedRecord, UserRecord
from .rows import Spread
from .strategy import Strategy

_LOST_WITHIN = 256  # short of the limit: nearer than 20 bytes it loses records


class AwsKinesisAgg:
    """The aws_kinesis_agg package, by the loop of its README.

    Args:
        limit: most bytes of a Kinesis record.

    Raises:
        ModuleNotFoundError: it is not installed.
    """

    def __init__(self, limit: int) -> None:
        path = list(sys.path)
        from aws_kinesis_agg.aggregator import AggRecord, RecordAggregator

        sys.path[:] = path  # which it has put its own folder before
        self._aggregator = RecordAggregator(limit - _LOST_WITHIN)
        self._alone: Callable[[], Any] = lambda: AggRecord(limit - _LOST_WITHIN)
        self.strategy = Strategy(f"aws_kinesis_agg, {limit:,} B", Limits(limit), hash_keys="pinned")

    def add_all(self, batch: list[tuple[UserRecord, float]]) -> Iterator[PackedRecord]:
        """See `measuring.Packing`."""
        for record, _ in batch:
            full = self._aggregator.add_user_record(record.partition_key, record.data, record.explicit_hash_key)
            if full:
                yield _packed(full)

    def flush(self) -> Iterable[PackedRecord]:
        """See `measuring.Packing`."""
        rest = self._aggregator.clear_and_get()
        return [_packed(rest)] if rest else []

    def takes(self, record: UserRecord) -> bool:
        """See `measuring.Peer`."""
        try:
            return bool(self._alone().add_user_record(record.partition_key, record.data, record.explicit_hash_key))
        except ValueError:  # what it says of a record that is too large by itself
            return False

    @property
    def wait(self) -> Spread | None:
        """It has no clock."""
        return None


def _packed(record: Any) -> PackedRecord:
    partition_key, explicit_hash_key, data = record.get_contents()
    return PackedRecord(data, partition_key, explicit_hash_key, record.get_num_user_records())
