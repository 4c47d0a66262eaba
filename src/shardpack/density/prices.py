"""What Kinesis Data Streams costs, and by what it is counted."""

from __future__ import annotations

from dataclasses import dataclass

from ..limits import shown

_MOST = 1_000_000_000  # above it, sums may be too large for a number
HOURS_PER_MONTH = 730
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
ON_DEMAND_STEP_BYTES = 1024
"""On-demand data is billed by the Kinesis record, rounded up to this (Amazon Kinesis Data Streams pricing)."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in US dollars, of writing alone: reading costs the same whatever is aggregated, or less.

    Attributes:
        shard_hour: a provisioned shard for an hour.
        million_put_units: a million PUT payload units of 25 KiB, in provisioned mode.
        stream_hour: an on-demand stream for an hour.
        on_demand_gigabyte: 10^9 bytes written to an on-demand stream, each record rounded up to 1 KiB.
        source: where they are from, and of when.
    """

    shard_hour: float = 0.015
    million_put_units: float = 0.014
    stream_hour: float = 0.04
    on_demand_gigabyte: float = 0.08
    source: str = "us-east-1, standard prices of 2025, https://aws.amazon.com/kinesis/data-streams/pricing/"

    def __post_init__(self) -> None:
        for name in ("shard_hour", "million_put_units", "stream_hour", "on_demand_gigabyte"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
                raise ValueError(f"{name} is {shown(value)}; give a price in US dollars, from 0 to {_MOST:,}")

    def provisioned(self, shards: int, put_units_per_second: float) -> float:
        """Dollars a month."""
        units = put_units_per_second * SECONDS_PER_MONTH / 1e6
        return shards * self.shard_hour * HOURS_PER_MONTH + units * self.million_put_units

    def on_demand(self, billed_bytes_per_second: float) -> float:
        """Dollars a month."""
        return self.stream_hour * HOURS_PER_MONTH + billed_bytes_per_second * SECONDS_PER_MONTH / 1e9 * (
            self.on_demand_gigabyte
        )
