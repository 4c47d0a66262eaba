"""The consumer's settings, under the KCL's names where it has them.

Its ``LeaseManagementConfig`` says what the leases' settings mean, and its ``PollingConfig`` those of reading.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..limits import MIB
from ..unpacking.unpacker import OnCorrupt, OutOfRange


@dataclass(frozen=True, slots=True)
class ConsumerConfig:
    """How a consumer shares shards with other workers, and how it reads them.

    Attributes:
        failover_time: seconds after which a lease whose counter has not moved may be taken by another worker; also how
            long this worker goes on without being able to renew. Leases are renewed three times as often, and looked
            through as often as this. The same for all workers. 1 to 3,600.
        shard_sync_interval: seconds between looking for shards that nobody has found at the end of their parents.
        max_leases_for_worker: most shards to read at once.
        max_leases_to_steal_at_one_time: most leases to take at a time from a worker that holds more than its share.
        max_records: most Kinesis records in a `GetRecords` call, 1 to 10,000.
        batch_max_records: most user records in a batch, from 1.
        idle_time_between_reads: seconds to wait after a `GetRecords` call that brought nothing and found that there is
            no more, from 0.2.
        prefetch_max_bytes: stop reading a shard ahead when so many bytes of Kinesis records wait, from 1. One response
            may go beyond it, by up to 10 MiB.
        max_connections: most calls at once, 2 to 1,000.
        connect_timeout: seconds to wait for a connection, 0.1 to 300.
        request_timeout: seconds to wait for a response, 0.1 to 600.
        on_corrupt: see `unpack`.
        out_of_range: see `unpack`; the hash range is that of the shard that is read.

    Raises:
        ValueError: a setting is out of its range.
    """

    failover_time: float = 10.0
    shard_sync_interval: float = 60.0
    max_leases_for_worker: int = 1_000_000
    max_leases_to_steal_at_one_time: int = 1
    max_records: int = 10_000
    batch_max_records: int = 10_000
    idle_time_between_reads: float = 1.0
    prefetch_max_bytes: int = 8 * MIB
    max_connections: int = 24
    connect_timeout: float = 6.0
    request_timeout: float = 30.0
    on_corrupt: OnCorrupt = "raw"
    out_of_range: OutOfRange = "keep"

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise ValueError(f"{name} is {value!r}; it takes {least:,} to {most:,}")
        if self.on_corrupt not in ("raw", "raise", "kcl"):
            raise ValueError(f'on_corrupt is {self.on_corrupt!r}; choose "raw", "raise" or "kcl"')
        if self.out_of_range not in ("keep", "drop_record", "drop_aggregate", "raise"):
            raise ValueError(
                f'out_of_range is {self.out_of_range!r}; choose "keep", "drop_record", "drop_aggregate" or "raise"'
            )


_UNBOUNDED = float("inf")
_RANGES: dict[str, tuple[float, float]] = {
    "failover_time": (1, 3600),
    "shard_sync_interval": (1, _UNBOUNDED),
    "max_leases_for_worker": (1, _UNBOUNDED),
    "max_leases_to_steal_at_one_time": (1, _UNBOUNDED),
    "max_records": (1, 10_000),
    "batch_max_records": (1, _UNBOUNDED),
    "idle_time_between_reads": (0.2, _UNBOUNDED),
    "prefetch_max_bytes": (1, _UNBOUNDED),
    "max_connections": (2, 1000),
    "connect_timeout": (0.1, 300),
    "request_timeout": (0.1, 600),
}
