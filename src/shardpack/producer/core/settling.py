"""What has become of user records: the tries so far, and the outcome of each at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from ...errors import DeliveryError
from ..config import ProducerConfig
from ..delivery import Attempt, Delivery
from .bulk import deliveries
from .metrics import Metrics
from .pending import Landed, Parcel, Pending, since_arrival

Finished: TypeAlias = tuple[Any, Sequence[int], Iterable[Delivery | DeliveryError]]
"""User records whose fate is settled: the put's token, which of its records, and the outcome of each."""


class Settling:
    """Settles user records, and counts those that are not settled yet.

    Args:
        config: the settings.
        metrics: counts what happens.

    Attributes:
        outstanding_records: user records without an outcome.
        outstanding_bytes: their bytes, partition keys counted.
        waiting_since: when the first user record came after the last that was delivered; None: nothing waits.
        on_failed: told of each Kinesis record that is given up.
    """

    def __init__(self, config: ProducerConfig, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._finished: list[Finished] = []
        self.outstanding_records = 0
        self.outstanding_bytes = 0
        self.waiting_since: float | None = None
        self.on_failed: Callable[[Parcel], None] | None = None

    def expect(self, records: int, size: int, now: float) -> None:
        """So many user records more are on their way."""
        if self.waiting_since is None:
            self.waiting_since = now
        self.outstanding_records += records
        self.outstanding_bytes += size

    def forget(self) -> None:
        """Nobody waits any more for those that are on their way."""
        self._metrics.abandoned(self.outstanding_records)
        self.outstanding_records = self.outstanding_bytes = 0

    @property
    def has_finished(self) -> bool:
        """Whether anything was settled since the last call of `take_finished`."""
        return bool(self._finished)

    def take_finished(self) -> list[Finished]:
        """What was settled since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def note(self, parcel: Parcel, failure: Attempt) -> None:
        """A try has failed."""
        parcel.attempts.append(failure)
        self._metrics.refused(parcel, failure.error_code or "")

    def deliver(self, landed: Landed) -> None:
        """A Kinesis record is stored, where it may stay."""
        parcel = landed.parcel
        parcel.attempts.append(Attempt(landed.started, landed.duration))
        self._metrics.stored(parcel, landed.shard_id)
        aggregated = parcel.packed.data is not parcel.pending[0].records[0].data
        sub_sequence_number = 0
        for pending in parcel.pending:
            count = len(pending.records)
            attempts = since_arrival(pending, parcel)
            first = Delivery(landed.shard_id, landed.sequence_number, sub_sequence_number, aggregated, attempts)
            self._finish(pending, deliveries(first, count))
            sub_sequence_number += count
        self.waiting_since = landed.started + landed.duration if self.outstanding_records else None

    def expire(self, parcel: Parcel, now: float) -> None:
        """A Kinesis record's time is over."""
        message = f"not stored within the record_ttl of {self._config.record_ttl:g} s"
        self.note(parcel, Attempt(now, 0.0, "Expired", message))
        waiting_since = self.waiting_since
        self.fail(parcel, f"Expired: {message}", retriable=True)
        self.waiting_since = waiting_since  # a stream that takes nothing is no better for having lost its records

    def fail(self, parcel: Parcel, message: str, *, retriable: bool) -> None:
        """A Kinesis record is given up."""
        self._metrics.failed(parcel)
        for pending in parcel.pending:
            attempts = since_arrival(pending, parcel)
            errors = [
                DeliveryError(message, records=(record,), attempts=attempts, retriable=retriable)
                for record in pending.records
            ]
            self._finish(pending, errors)
        if not self.outstanding_records:
            self.waiting_since = None
        if self.on_failed is not None:
            self.on_failed(parcel)

    def _finish(self, pending: Pending, outcomes: Iterable[Delivery | DeliveryError]) -> None:
        self.outstanding_records -= len(pending.records)
        self.outstanding_bytes -= pending.size
        self._finished.append((pending.token, pending.indices, outcomes))
