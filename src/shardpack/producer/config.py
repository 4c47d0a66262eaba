"""The producer's settings, under the KPL's names and with its defaults (``KinesisProducerConfiguration``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..limits import (
    DEFAULT_REQUEST_BYTES,
    KPL_AGGREGATION_MAX_SIZE,
    MAX_RECORD_BYTES,
    MAX_REQUEST_BYTES,
    MAX_REQUEST_RECORDS,
    MIB,
    MIN_RECORD_BYTES,
    shown,
)


@dataclass(frozen=True, slots=True)
class ProducerConfig:
    """How a producer aggregates, batches and retries, and when it makes its caller wait.

    Names and defaults are those of the KPL's ``KinesisProducerConfiguration`` where it has the setting.

    Attributes:
        aggregation_enabled: Whether many user records share a Kinesis record. The producer turns this off by itself on
            a stream whose ``RecordDistributionStrategy`` is ``AUTO``, because every aggregate may be dropped there.
        aggregation_max_count: The largest number of user records in an aggregate, from 1.
        aggregation_max_size: The largest size of an aggregate in bytes, its partition key counted. From 64 to
            10,485,760. Never more is used than the stream's ``MaxRecordSizeInKiB`` allows. A user record that does not
            fit goes alone.
        collection_max_count: The largest number of Kinesis records in a `PutRecords` call, from 1 to 500.
        collection_max_size: The largest size of a `PutRecords` call in bytes, partition keys counted. From 52,224 to
            10,485,760.
        record_max_buffered_time: For how many seconds a user record may wait for others before it is sent.
        record_ttl: After how many seconds a user record fails if it is still not stored, from 0.1.
        rate_limit: How much of a shard's 1,000 records and 1 MiB a second to use, in percent. The default is above 100,
            because a shard's short-term limit is higher than its nominal one; Kinesis throttles the rest.
        fail_if_throttled: Whether a user record that Kinesis throttles fails at once. Otherwise it is put again.
        max_connections: The largest number of `PutRecords` calls at a time, from 1 to 256.
        connect_timeout: For how many seconds to wait for a connection, from 0.1 to 300.
        request_timeout: For how many seconds to wait for a response, from 0.1 to 600.
        max_outstanding_records: How many user records may be on their way before `put` waits, from 1. The KPL has no
            such setting, because it never makes its caller wait.
        max_outstanding_bytes: How many bytes of data and keys may be on their way before `put` waits, from 1.
        hash_keys: ``"pinned"`` or ``"kpl"``; see `Packer`.
        route: Which user records may share an aggregate, and where it goes. With ``"shard"``, those that the shards'
            hash ranges send to one shard; a partition key stays on its shard. With ``"key"``, those of one partition
            key, which stays the outer key. With ``"any"``, all: one aggregate fills at a time, and when it closes it
            goes to the shard with the most budget left. So aggregates are full and shards share the load evenly,
            whatever their number and the keys; but the records of a key go to any shard, in no order. A user record
            with an explicit hash key of its own keeps it, under each of them.
        ordering: ``"none"``, or ``"key"``: for each partition key, the acknowledged records lie in put order, and the
            shards in which they lie form a path of the lineage of shards, each the same as the one before or a
            descendant of it. An aggregate may then grow up to 1 MiB while the one before it is on its way. A record
            with an explicit hash key is kept in order with those that have the same one.
        on_failure: What becomes of the younger records of a key when one has failed for good, with ``ordering="key"``:
            they go on (``"continue"``), or all of them fail until `resume` is called (``"halt_key"``).
        metrics_level: Which metrics go to OpenTelemetry, if it is installed: ``"none"``, ``"summary"``, or
            ``"detailed"``, which is all of them. `stats` has all of them in any case.
        metrics_granularity: Which attributes the metrics have. ``"global"`` gives them only the error code,
            ``"stream"`` also the stream, and ``"shard"`` also the shard.

    Raises:
        ValueError: A setting is out of its range, or two settings exclude each other.
    """

    aggregation_enabled: bool = True
    aggregation_max_count: int = 4_294_967_295
    aggregation_max_size: int = KPL_AGGREGATION_MAX_SIZE
    collection_max_count: int = MAX_REQUEST_RECORDS
    collection_max_size: int = DEFAULT_REQUEST_BYTES
    record_max_buffered_time: float = 0.1
    record_ttl: float = 30.0
    rate_limit: int = 150
    fail_if_throttled: bool = False
    max_connections: int = 24
    connect_timeout: float = 6.0
    request_timeout: float = 6.0
    max_outstanding_records: int = 200_000
    max_outstanding_bytes: int = 64 * MIB
    hash_keys: Literal["pinned", "kpl"] = "pinned"
    route: Literal["shard", "key", "any"] = "shard"
    ordering: Literal["none", "key"] = "none"
    on_failure: Literal["continue", "halt_key"] = "continue"
    metrics_level: Literal["none", "summary", "detailed"] = "detailed"
    metrics_granularity: Literal["global", "stream", "shard"] = "shard"

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise ValueError(f"{name} is {shown(value)}; it takes {least:,} to {most:,}")
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                *others, last = (f'"{choice}"' for choice in choices)
                raise ValueError(f"{name} is {shown(value)}; choose {', '.join(others)} or {last}")
        self._check_route()
        if self.ordering == "key" and self.hash_keys == "kpl":
            raise ValueError(
                'ordering is "key" and hash_keys is "kpl"; the KPL\'s aggregates cannot keep their place when shards'
                " split unseen, and those that the KCL would drop must be put again behind younger ones. Choose"
                ' hash_keys="pinned", which every reader of the KPL\'s format reads too'
            )
        if self.ordering == "none" and self.on_failure != "continue":
            raise ValueError(
                f'on_failure is "{self.on_failure}" and ordering is "none"; without order there is no older record to'
                ' wait for. Choose ordering="key", or leave on_failure at "continue"'
            )

    def _check_route(self) -> None:
        if self.route == "any" and self.hash_keys == "kpl":
            raise ValueError(
                'hash_keys="kpl" with route="any" loses records: the KCL drops a whole aggregate when the hash key of'
                ' one sub-record is outside the shard that holds it. Choose hash_keys="pinned", or route="shard" or'
                ' "key"'
            )
        if self.route == "any" and self.ordering == "key":
            raise ValueError(
                'ordering is "key" and route is "any"; the records of a key have no order when they go to any shard.'
                ' Choose route="shard", or ordering="none"'
            )
        if self.route == "key" and self.ordering == "key":
            raise ValueError(
                'ordering is "key" and route is "key"; what keeps the order fills one aggregate for each shard. Choose'
                ' route="shard", or ordering="none"'
            )


_CHOICES = {
    "hash_keys": ("pinned", "kpl"),
    "route": ("shard", "key", "any"),
    "ordering": ("none", "key"),
    "on_failure": ("continue", "halt_key"),
    "metrics_level": ("none", "summary", "detailed"),
    "metrics_granularity": ("global", "stream", "shard"),
}
_UNBOUNDED = float("inf")
_RANGES: dict[str, tuple[float, float]] = {
    "aggregation_max_count": (1, 4_294_967_295),
    "aggregation_max_size": (MIN_RECORD_BYTES, MAX_RECORD_BYTES),
    "collection_max_count": (1, MAX_REQUEST_RECORDS),
    "collection_max_size": (52_224, MAX_REQUEST_BYTES),
    "record_max_buffered_time": (0, _UNBOUNDED),
    "record_ttl": (0.1, _UNBOUNDED),
    "rate_limit": (1, _UNBOUNDED),
    "max_connections": (1, 256),
    "connect_timeout": (0.1, 300),
    "request_timeout": (0.1, 600),
    "max_outstanding_records": (1, _UNBOUNDED),
    "max_outstanding_bytes": (1, _UNBOUNDED),
}
