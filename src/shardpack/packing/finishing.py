"""Closed aggregates in, Kinesis records out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from ..errors import RecordTooLargeError
from ..hashing import hash_key
from ..limits import MIB, Limits
from ..records import PackedRecord, UserRecord
from ..wire import is_aggregated
from ..wire.core import Builder
from .route import Closed

_MOST_TOGETHER_BYTES = 64 * MIB


def finished(
    closed: Sequence[Closed],
    build_many: Callable[[Sequence[Builder]], list[bytes]],
    *,
    by_key: bool,
    lanes: int,
) -> list[PackedRecord]:
    """What was closed, as Kinesis records; the checksums of several are made side by side.

    Args:
        closed: the aggregates; those of a lone record go out as the record itself, unless `must_wrap`.
        build_many: see `wire.core.Core`.
        by_key: whether the outer explicit hash key is the user's own, and none where there is none.
        lanes: of each shard.
    """
    aggregated = [one.builder.count > 1 or must_wrap(one.first, lanes) for one in closed]
    blobs = iter(build_many([one.builder for one in itertools.compress(closed, aggregated)]))
    return [
        _aggregate(one, next(blobs), by_key=by_key) if is_aggregate else _lone(one)
        for one, is_aggregate in zip(closed, aggregated, strict=True)
    ]


def together(most: int, limits: Limits) -> int:
    """How many Kinesis records may wait to come out together: so many at most, and fewer where they may be large."""
    return max(1, min(most, _MOST_TOGETHER_BYTES // limits.max_record_bytes))


def must_wrap(record: UserRecord, lanes: int) -> bool:
    """Whether a lone record goes out as an aggregate, and not as it is, the way the KPL's ``KinesisRecord`` does.

    Data that is itself a sound aggregate would come out expanded, tags would be lost, and a lane is known by its
    partition key.
    """
    return lanes > 1 or bool(record.tags) or is_aggregated(record.data)


def too_large(record: UserRecord, size: int, limit: int) -> RecordTooLargeError:
    """What to raise for a user record that takes so many bytes as a Kinesis record."""
    return RecordTooLargeError(
        f"a user record of {len(record.data):,} bytes takes {size:,} bytes as a Kinesis record; the limit is {limit:,}."
        " Send it in pieces, or raise Limits.max_record_bytes if the stream's MaxRecordSizeInKiB allows it",
        size=size,
        limit=limit,
    )


def effective_hash_key(record: UserRecord) -> str:
    """The hash key that routes a record, as a decimal string."""
    return record.explicit_hash_key or str(hash_key(record.partition_key))


def _aggregate(closed: Closed, blob: bytes, *, by_key: bool) -> PackedRecord:
    route, builder, first = closed
    outer = first.explicit_hash_key if by_key else effective_hash_key(first)
    return PackedRecord(blob, route.partition_key, outer, builder.count, route.shard_id)


def _lone(closed: Closed) -> PackedRecord:
    first = closed.first
    return PackedRecord(first.data, first.partition_key, first.explicit_hash_key, 1, closed.route.shard_id)
