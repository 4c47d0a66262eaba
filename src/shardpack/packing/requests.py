"""What fits into one call, and what fits into one second.

For applications with their own boto3 loop. Nothing here does I/O or asks what time it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import DeliveryError
from ..limits import (
    DEFAULT_REQUEST_BYTES,
    MAX_RECORD_BYTES,
    MAX_REQUEST_BYTES,
    MAX_REQUEST_RECORDS,
    SHARD_BYTES_PER_SECOND,
    SHARD_RECORDS_PER_SECOND,
    check_integer,
    check_iterable,
    check_number,
    check_type,
    shown,
)
from ..records import PackedRecord


@dataclass(frozen=True, slots=True)
class PutRequest:
    """The Kinesis records of one `PutRecords` call.

    Attributes:
        records: The Kinesis records, in their order.
    """

    records: tuple[PackedRecord, ...]

    @property
    def entries(self) -> list[dict[str, str | bytes]]:
        """The list that boto3's ``put_records`` takes as ``Records``."""
        return [record.entry for record in self.records]

    @property
    def size(self) -> int:
        """The size of the call in bytes, as Kinesis counts them: data and partition keys."""
        return sum(record.size for record in self.records)

    def retry(self, response: Mapping[str, Any]) -> PutRequest | None:
        """The request for the records that a partial failure left.

        Args:
            response: What ``put_records`` returned.

        Returns:
            The request, or None when every record was stored.

        Raises:
            DeliveryError: The response does not have one result for each record, so nobody knows which records were
                stored. The error's ``records`` are all records of this request.
        """
        results = (response.get("Records") if isinstance(response, Mapping) else None) or ()
        if not isinstance(results, list | tuple) or not all(isinstance(result, Mapping) for result in results):
            results = ()
        if len(results) != len(self.records):
            raise DeliveryError(
                f"PutRecords answered {len(results)} results for {len(self.records)} records; which of them were"
                " stored is unknown. Put all again if duplicates are better than loss",
                records=self.records,
                retriable=True,
            )
        failed = tuple(
            record for record, result in zip(self.records, results, strict=True) if result.get("ErrorCode") is not None
        )
        return PutRequest(failed) if failed else None


def put_requests(
    packed_records: Iterable[PackedRecord],
    *,
    max_records: int = MAX_REQUEST_RECORDS,
    max_bytes: int = DEFAULT_REQUEST_BYTES,
) -> Iterator[PutRequest]:
    """Group Kinesis records into `PutRecords` calls, lazily and in their order.

    The bounds are those of the `PutRecords` API reference.

    Args:
        packed_records: What `pack` or a `Packer` gave.
        max_records: The largest number of records in a call, from 1 to 500.
        max_bytes: The largest size of a call in bytes, partition keys counted, up to 10 MiB. A record that is larger
            than this goes alone.

    Raises:
        ValueError: A setting is out of its range, or a record is larger than any call takes (10 MiB).
        TypeError: A setting is not an int, or something is not a `PackedRecord`.
    """
    check_integer("max_records", max_records)
    check_integer("max_bytes", max_bytes)
    if not 1 <= max_records <= MAX_REQUEST_RECORDS:
        raise ValueError(f"max_records is {shown(max_records)}; PutRecords takes 1 to {MAX_REQUEST_RECORDS}")
    if not 1 <= max_bytes <= MAX_REQUEST_BYTES:
        raise ValueError(f"max_bytes is {shown(max_bytes, ',')}; PutRecords takes up to {MAX_REQUEST_BYTES:,}")
    check_iterable("packed_records", packed_records, "PackedRecord objects, such as pack() gives")
    return _grouped(packed_records, max_records, max_bytes)


def _grouped(packed_records: Iterable[PackedRecord], max_records: int, max_bytes: int) -> Iterator[PutRequest]:
    group: list[PackedRecord] = []
    group_bytes = 0
    for record in packed_records:
        check_type("a packed record", record, PackedRecord, "PackedRecord objects, such as pack() gives")
        size = record.size
        if size > MAX_RECORD_BYTES:
            raise ValueError(
                f"a Kinesis record has {size:,} bytes; PutRecords takes up to {MAX_RECORD_BYTES:,}, partition key"
                " counted"
            )
        if group and (len(group) == max_records or group_bytes + size > max_bytes):
            yield PutRequest(tuple(group))
            group, group_bytes = [], 0
        group.append(record)
        group_bytes += size
    if group:
        yield PutRequest(tuple(group))


class ShardBudget:
    """Says how long to wait so that each shard gets at most 1,000 records and 1 MiB in a second.

    Each shard has two token buckets, one for records and one for bytes, as in the KPL's ``Limiter``. They start full.
    The caller gives the time, from any clock that runs evenly, such as ``time.monotonic()``. A budget is for one
    thread. Several that share one guard it with a lock; otherwise a shard may get more than it takes.

    Args:
        rate_limit: The part of the shard's budget to use; 1.0 is all of it. The KPL uses 1.5, because a shard's
            short-term limit is higher than its nominal one, and lets Kinesis throttle the rest.
        burst_bytes: How many bytes a shard takes at once after a rest. A larger record waits until the bucket is full,
            and the records after it wait until it is paid for.

    Raises:
        ValueError: A setting is not positive.
        TypeError: A setting is not a number.
    """

    def __init__(self, *, rate_limit: float = 1.0, burst_bytes: int = SHARD_BYTES_PER_SECOND) -> None:
        check_number("rate_limit", rate_limit)
        check_integer("burst_bytes", burst_bytes)
        if not 0 < rate_limit < float("inf"):
            raise ValueError(
                f"rate_limit is {shown(rate_limit)}; give a positive factor, 1.0 for the shard's whole budget"
            )
        if burst_bytes < 1:
            raise ValueError(f"burst_bytes is {shown(burst_bytes)}; give at least 1")
        self._rate_limit = rate_limit
        self._burst_bytes = burst_bytes
        self._buckets: dict[str | None, tuple[_TokenBucket, _TokenBucket]] = {}

    def wait_for(self, packed: PackedRecord, now: float) -> float:
        """Reserve a record's place in its shard's budget, and say how long to wait before putting it.

        Every call takes its share of the budget. So ask once for each time that a record is put. Records without a
        shard id share one budget.

        Args:
            packed: The Kinesis record.
            now: The time in seconds on the caller's clock. A time before that of an earlier call counts as that one.

        Returns:
            How many seconds after `now` the record may go. 0.0 means at once.

        Raises:
            TypeError: ``packed`` is not a `PackedRecord`, or ``now`` is not a number.
            ValueError: ``now`` is not finite.
        """
        check_type("packed", packed, PackedRecord, "a PackedRecord, such as pack() gives")
        check_number("now", now)
        buckets = self._buckets.get(packed.shard_id)
        if buckets is None:
            buckets = self._buckets[packed.shard_id] = (
                _TokenBucket(SHARD_RECORDS_PER_SECOND * self._rate_limit, SHARD_RECORDS_PER_SECOND, now),
                _TokenBucket(SHARD_BYTES_PER_SECOND * self._rate_limit, self._burst_bytes, now),
            )
        records, size = buckets
        # Both are charged for the moment when the record goes: neither refills while it waits for the other.
        then = max(now, records.ready_at(1), size.ready_at(packed.size))
        records.take(1, then)
        size.take(packed.size, then)
        return then - now

    def busy_until(self, shard_id: str | None) -> float:
        """When a shard's whole budget is there again, on the caller's clock; minus infinity if it was never asked for.

        Of two shards, the one that is busy for less long has more of its budget left.
        """
        buckets = self._buckets.get(shard_id)
        return float("-inf") if buckets is None else max(bucket.full_at for bucket in buckets)

    def seconds(self, size: int) -> float:
        """For how long a Kinesis record of so many bytes keeps a shard busy."""
        return max(1 / SHARD_RECORDS_PER_SECOND, size / SHARD_BYTES_PER_SECOND) / self._rate_limit

    def keep_only(self, shard_ids: Iterable[str]) -> None:
        """Forget all shards but these."""
        self._buckets = {shard_id: self._buckets[shard_id] for shard_id in shard_ids if shard_id in self._buckets}


class _TokenBucket:
    """Tokens that come in evenly, up to a capacity; `take` may leave it in debt, which the next one waits for."""

    __slots__ = ("_capacity", "_rate", "_seen", "_tokens")

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        self._rate = rate
        self._capacity = capacity
        self._tokens = capacity
        self._seen = now  # when there were so many tokens: the moment of the last `take`, which may lie ahead

    def ready_at(self, cost: float) -> float:
        return self._seen + max(0.0, (min(cost, self._capacity) - self._tokens) / self._rate)

    @property
    def full_at(self) -> float:
        return self._seen + (self._capacity - self._tokens) / self._rate

    def take(self, cost: float, then: float) -> None:
        self._tokens = min(self._capacity, self._tokens + (then - self._seen) * self._rate) - cost
        self._seen = then
