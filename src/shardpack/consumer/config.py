"""The consumer's settings, under the KCL's names where it has them.

Its ``LeaseManagementConfig`` says what the leases' settings mean, and its ``PollingConfig`` those of reading.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..leases.fleet.settings import FleetConfig
from ..limits import MIB, shown
from ..unpacking.unpacker import OnCorrupt, OutOfRange


@dataclass(frozen=True, slots=True)
class ConsumerConfig:
    """How a consumer shares shards with other workers, and how it reads them.

    Attributes:
        failover_time: After how many seconds another worker may take a lease whose counter has not moved, from 1 to
            3,600. It is also how long this worker goes on when it cannot renew. A lease is renewed three times in this
            time, and the leases are looked through once. Give all workers the same value.
        shard_sync_interval: How many seconds to wait between two searches for shards that nobody has found at the end
            of their parents, from 1.
        max_leases_for_worker: The largest number of shards to read at a time, from 1.
        max_leases_to_steal_at_one_time: The largest number of leases to ask for, or to take, at a time from workers
            that hold more than their shares, from 1.
        graceful_lease_handoff_timeout: For how many seconds a worker that is asked for a lease may finish what it has
            in hand and checkpoint it, from 0 to 3,600; then the lease moves anyway. 0: nobody is asked, leases are
            taken from live workers as the KCL 2.x does, and what these have not checkpointed is repeated.
        longest_batch: For how many seconds the application may have a batch in hand, from 1. So long its lease is
            renewed, whatever the application does. Then the worker counts as stuck: it is not healthy, and lets the
            lease go, so that another worker reads the shard on from the last checkpoint.
        lease_discovery_interval: How many seconds to wait between two looks for leases that other workers have handed
            over, from 0.1. A look asks for the keys of this worker's leases, and only where there are other workers.
        lease_assignment: Who says which worker has which lease. ``"take"``: each worker takes its share. ``"leader"``:
            one of them leads and assigns the leases, as in the KCL 3.x; only `DynamoDBLeases` can do that.
            ``"auto"``: as is written down in the lease table, by the KCL 3.x or by workers that were told
            ``"leader"``; where nothing is, they take. Give all workers the same value.
        fleet: How a leader assigns the leases; see `FleetConfig`.
        max_records: The largest number of Kinesis records in a `GetRecords` call, from 1 to 10,000.
        batch_max_records: The largest number of user records in a batch, from 1.
        idle_time_between_reads: How many seconds to wait after a `GetRecords` call that brought nothing and said that
            there is no more, from 0.2.
        prefetch_max_bytes: How many bytes of Kinesis records of a shard may wait before no more are read ahead, from 1.
            One response may go beyond it by up to 10 MiB.
        max_connections: The largest number of calls at a time, from 2 to 1,000.
        connect_timeout: For how many seconds to wait for a connection, from 0.1 to 300.
        request_timeout: For how many seconds to wait for a response, from 0.1 to 600.
        metrics_level: Which metrics go to OpenTelemetry, if it is installed: ``"none"``, ``"summary"``, or
            ``"detailed"``, which is all of them.
        metrics_granularity: Which attributes the metrics have: ``"global"`` none, ``"stream"`` the stream's name,
            ``"shard"`` the shard's id too.
        on_corrupt: What to do with a corrupt aggregate; see `unpack`.
        out_of_range: What to do with a sub-record whose hash key the shard does not own; see `unpack`.

    Raises:
        ValueError: A setting is out of its range.
    """

    failover_time: float = 10.0
    shard_sync_interval: float = 60.0
    max_leases_for_worker: int = 1_000_000
    max_leases_to_steal_at_one_time: int = 100
    graceful_lease_handoff_timeout: float = 30.0
    longest_batch: float = 3600.0
    lease_discovery_interval: float = 1.0
    lease_assignment: Literal["auto", "take", "leader"] = "auto"
    fleet: FleetConfig = field(default_factory=FleetConfig)
    max_records: int = 10_000
    batch_max_records: int = 10_000
    idle_time_between_reads: float = 1.0
    prefetch_max_bytes: int = 8 * MIB
    max_connections: int = 24
    connect_timeout: float = 6.0
    request_timeout: float = 30.0
    metrics_level: Literal["none", "summary", "detailed"] = "detailed"
    metrics_granularity: Literal["global", "stream", "shard"] = "shard"
    on_corrupt: OnCorrupt = "raw"
    out_of_range: OutOfRange = "keep"

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise ValueError(f"{name} is {shown(value)}; it takes {least:,} to {most:,}")
        if self.lease_assignment not in ("auto", "take", "leader"):
            raise ValueError(f'lease_assignment is {shown(self.lease_assignment)}; choose "auto", "take" or "leader"')
        if not isinstance(self.fleet, FleetConfig):
            raise TypeError(f"fleet is {shown(self.fleet)}; give a FleetConfig")
        if self.metrics_level not in ("none", "summary", "detailed"):
            raise ValueError(f'metrics_level is {shown(self.metrics_level)}; choose "none", "summary" or "detailed"')
        if self.metrics_granularity not in ("global", "stream", "shard"):
            raise ValueError(
                f'metrics_granularity is {shown(self.metrics_granularity)}; choose "global", "stream" or "shard"'
            )
        if self.on_corrupt not in ("raw", "raise", "kcl"):
            raise ValueError(f'on_corrupt is {shown(self.on_corrupt)}; choose "raw", "raise" or "kcl"')
        if self.out_of_range not in ("keep", "drop_record", "drop_aggregate", "raise"):
            raise ValueError(
                f'out_of_range is {shown(self.out_of_range)}; choose "keep", "drop_record", "drop_aggregate" or "raise"'
            )


_UNBOUNDED = float("inf")
_RANGES: dict[str, tuple[float, float]] = {
    "failover_time": (1, 3600),
    "shard_sync_interval": (1, _UNBOUNDED),
    "max_leases_for_worker": (1, _UNBOUNDED),
    "max_leases_to_steal_at_one_time": (1, _UNBOUNDED),
    "graceful_lease_handoff_timeout": (0, 3600),
    "longest_batch": (1, _UNBOUNDED),
    "lease_discovery_interval": (0.1, _UNBOUNDED),
    "max_records": (1, 10_000),
    "batch_max_records": (1, _UNBOUNDED),
    "idle_time_between_reads": (0.2, _UNBOUNDED),
    "prefetch_max_bytes": (1, _UNBOUNDED),
    "max_connections": (2, 1000),
    "connect_timeout": (0.1, 300),
    "request_timeout": (0.1, 600),
}
