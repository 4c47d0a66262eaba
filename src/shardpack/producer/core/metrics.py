"""What a producer has done, in numbers, under the KPL's names (its ``metrics_constants.h``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from .bulk import measured
from .pending import Parcel


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of a value that was taken many times, as CloudWatch and the KPL keep them.

    Attributes:
        count: how many times.
        total: the sum.
        minimum: the least; 0 when there is none.
        maximum: the most; 0 when there is none.
    """

    count: int = 0
    total: float = 0
    minimum: float = 0
    maximum: float = 0

    @property
    def mean(self) -> float:
        """The average; 0 when there is none."""
        return self.total / self.count if self.count else 0.0


_NOTHING = Statistics()


@dataclass(frozen=True, slots=True)
class ProducerStats:
    """What a producer has done since it was made: a snapshot that does not change any more.

    The names are those of the KPL's metrics. Every user record received is pending, put or failed:
    ``user_records_received == user_records_pending + user_records_put + user_records_failed``.

    Attributes:
        user_records_received: taken by `put`.
        user_records_pending: on their way.
        user_records_data_pending: their bytes, partition keys counted.
        user_records_put: delivered.
        user_records_data_put: their bytes of data.
        user_records_failed: given back with `DeliveryError`.
        user_record_expired: those of them that ``record_ttl`` ended.
        kinesis_records_put: Kinesis records delivered, each with one user record or more.
        kinesis_records_data_put: their bytes of data.
        errors_by_code: failed attempts by `Attempt.error_code`, counted once for each Kinesis record.
        request_time: seconds that `PutRecords` calls took.
        buffering_time: seconds from `put` to the first `PutRecords` call, of the oldest user record in each Kinesis
            record. (The KPL counts every user record.)
        retries_per_record: calls after the first, for each Kinesis record that was delivered or failed. (The KPL
            counts every user record.)
        user_records_per_kinesis_record: in each Kinesis record delivered: how full aggregates are.
        data_per_kinesis_record: bytes of data in each Kinesis record delivered: the same in bytes. (The KPL has no
            such metric.)
        kinesis_records_per_put_records_request: in each call.
        user_records_per_put_records_request: in each call.
        keys_astray: with ``ordering="key"``, partition keys that now go where their last record went, and not home,
            because a shard was split or merged unseen or an outcome is unknown. (The KPL has no such thing.)
    """

    user_records_received: int = 0
    user_records_pending: int = 0
    user_records_data_pending: int = 0
    user_records_put: int = 0
    user_records_data_put: int = 0
    user_records_failed: int = 0
    user_record_expired: int = 0
    kinesis_records_put: int = 0
    kinesis_records_data_put: int = 0
    errors_by_code: Mapping[str, int] = field(default_factory=dict)
    request_time: Statistics = _NOTHING
    buffering_time: Statistics = _NOTHING
    retries_per_record: Statistics = _NOTHING
    user_records_per_kinesis_record: Statistics = _NOTHING
    data_per_kinesis_record: Statistics = _NOTHING
    kinesis_records_per_put_records_request: Statistics = _NOTHING
    user_records_per_put_records_request: Statistics = _NOTHING
    keys_astray: int = 0

    @property
    def all_errors(self) -> int:
        """Failed attempts, whatever their code."""
        return sum(self.errors_by_code.values())


class Report(Protocol):
    """Where metrics go as they happen, besides the snapshot."""

    def add(self, name: str, amount: int, shard_id: str | None = None, error_code: str | None = None) -> None:
        """Change a count, such as ``"UserRecordsPut"``."""

    def record(self, name: str, value: float, shard_id: str | None = None) -> None:
        """Take a value once more, such as ``"RequestTime"``; times in milliseconds, as the KPL has them."""


class Metrics:
    """Counts what the engine tells it: once for each Kinesis record or call, never for each user record.

    Args:
        report: who is told of it too.
    """

    def __init__(self, report: Report | None = None) -> None:
        self._report = report
        self._counts: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._taken: dict[str, list[float]] = {}  # count, total, minimum, maximum
        self._reported = 0, 0  # user records received and pending
        self._keys_astray = 0  # as reported

    def snapshot(self, pending: int, pending_bytes: int) -> ProducerStats:
        """What there is to tell, with so much on its way."""
        counts = self._counts
        taken = {name: Statistics(int(count), *rest) for name, (count, *rest) in self._taken.items()}
        return ProducerStats(
            user_records_received=self._received(pending),
            user_records_pending=pending,
            user_records_data_pending=pending_bytes,
            user_records_put=counts["UserRecordsPut"],
            user_records_data_put=counts["UserRecordsDataPut"],
            user_records_failed=counts["failed"],
            user_record_expired=counts["UserRecordExpired"],
            kinesis_records_put=counts["KinesisRecordsPut"],
            kinesis_records_data_put=counts["KinesisRecordsDataPut"],
            errors_by_code=MappingProxyType(dict(self._errors)),
            request_time=taken.get("RequestTime", _NOTHING),
            buffering_time=taken.get("BufferingTime", _NOTHING),
            retries_per_record=taken.get("RetriesPerRecord", _NOTHING),
            data_per_kinesis_record=taken.get("DataPerKinesisRecord", _NOTHING),
            user_records_per_kinesis_record=taken.get("UserRecordsPerKinesisRecord", _NOTHING),
            kinesis_records_per_put_records_request=taken.get("KinesisRecordsPerPutRecordsRequest", _NOTHING),
            user_records_per_put_records_request=taken.get("UserRecordsPerPutRecordsRequest", _NOTHING),
        )

    def pending(self, pending: int, keys_astray: int = 0) -> None:
        """So many user records are on their way now; what was received follows from it."""
        if self._report is not None and keys_astray != self._keys_astray:
            self._report.add("KeysAstray", keys_astray - self._keys_astray)
            self._keys_astray = keys_astray
        now = self._received(pending), pending
        before, self._reported = self._reported, now
        if self._report is None:
            return
        if now[0] != before[0]:
            self._report.add("UserRecordsReceived", now[0] - before[0])
        if now[1] != before[1]:
            self._report.add("UserRecordsPending", now[1] - before[1])

    def called(self, parcels: Sequence[Parcel], now: float) -> None:
        """A `PutRecords` call starts."""
        for parcel in parcels:
            oldest = parcel.pending[0]
            if not parcel.attempts and not oldest.earlier:
                self._take("BufferingTime", now - oldest.arrived, parcel.packed.shard_id, unit=1000)
        self._take("KinesisRecordsPerPutRecordsRequest", len(parcels))
        self._take("UserRecordsPerPutRecordsRequest", sum(parcel.packed.user_record_count for parcel in parcels))

    def answered(self, seconds: float) -> None:
        """A `PutRecords` call has ended, well or not."""
        self._take("RequestTime", seconds, unit=1000)

    def refused(self, parcel: Parcel, error_code: str) -> None:
        """An attempt has failed, or time has run out."""
        shard_id = parcel.packed.shard_id  # the predicted one: an error names none
        self._errors[error_code] += 1
        if self._report is not None:
            self._report.add("ErrorsByCode", 1, shard_id, error_code)
            self._report.add("AllErrors", 1, shard_id)

    def stored(self, parcel: Parcel, shard_id: str) -> None:
        """A Kinesis record is delivered."""
        count = parcel.packed.user_record_count
        self._count("UserRecordsPut", count, shard_id)
        size = sum([measured(pending.records)[2] for pending in parcel.pending])
        self._count("UserRecordsDataPut", size, shard_id)
        self._count("KinesisRecordsPut", 1, shard_id)
        self._count("KinesisRecordsDataPut", len(parcel.packed.data), shard_id)
        self._take("UserRecordsPerKinesisRecord", count, shard_id)
        self._take("DataPerKinesisRecord", len(parcel.packed.data), shard_id)
        self._take("RetriesPerRecord", _retries(parcel), shard_id)

    def failed(self, parcel: Parcel) -> None:
        """A Kinesis record is given up, after `refused`, if there was an attempt."""
        count = parcel.packed.user_record_count
        self._counts["failed"] += count
        if parcel.attempts and parcel.attempts[-1].error_code == "Expired":
            self._count("UserRecordExpired", count, parcel.packed.shard_id)
        self._take("RetriesPerRecord", _retries(parcel), parcel.packed.shard_id)

    def abandoned(self, count: int) -> None:
        """So many user records were on their way when the producer was closed."""
        self._counts["failed"] += count
        self.pending(0)

    def _received(self, pending: int) -> int:
        return self._counts["UserRecordsPut"] + self._counts["failed"] + pending

    def _count(self, name: str, amount: int, shard_id: str | None) -> None:
        self._counts[name] += amount
        if self._report is not None:
            self._report.add(name, amount, shard_id)

    def _take(self, name: str, value: float, shard_id: str | None = None, unit: int = 1) -> None:
        taken = self._taken.get(name)
        if taken is None:
            taken = self._taken[name] = [0, 0, value, value]
        taken[0] += 1
        taken[1] += value
        if value < taken[2]:
            taken[2] = value
        elif value > taken[3]:
            taken[3] = value
        if self._report is not None:
            self._report.record(name, value * unit, shard_id)


def _retries(parcel: Parcel) -> int:
    """Calls after the first."""
    attempts = (*parcel.pending[0].earlier, *parcel.attempts)
    if len(attempts) <= 1:  # as nearly always
        return 0
    return max(0, sum(attempt.error_code != "Expired" for attempt in attempts) - 1)
