"""What Kinesis Data Streams costs, and by what it is counted."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..limits import shown

_MOST = 1_000_000_000  # above it, sums may be too large for a number
HOURS_PER_MONTH = 730
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
ON_DEMAND_STEP_BYTES = 1024
"""On-demand data is billed by the Kinesis record, rounded up to this (Amazon Kinesis Data Streams pricing)."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in US dollars, of writing alone: reading costs the same whatever is aggregated, or less.

    The defaults are of us-east-1 in November 2025; `from_file` replaces them. The price of advantage mode follows from
    the developer guide ("Choose the right mode to stream in"), by which it is at least 60 % below that of standard
    on-demand mode. It was not held against the price page, nor were the 25 MiB.

    Attributes:
        shard_hour: a provisioned shard for an hour.
        million_put_units: a million PUT payload units of 25 KiB, in provisioned mode.
        stream_hour: an on-demand stream for an hour.
        on_demand_gigabyte: 10^9 bytes written to an on-demand stream, each record rounded up to 1 KiB.
        source: where they are from, and of when.
        advantage_gigabyte: the same in on-demand advantage mode, in which streams cost nothing by the hour, and the
            account pays for 25 MiB a second at least, over all of them.
    """

    shard_hour: float = 0.015
    million_put_units: float = 0.014
    stream_hour: float = 0.04
    on_demand_gigabyte: float = 0.08
    source: str = (
        "us-east-1, standard prices of November 2025, https://aws.amazon.com/kinesis/data-streams/pricing/ (advantage"
        " mode: 60 % below on demand, not verified)"
    )
    advantage_gigabyte: float = 0.032

    def __post_init__(self) -> None:
        if not isinstance(self.source, str):
            what = f"source is {shown(self.source)}; give a text with the region and the date"
            raise ValueError(what)  # noqa: TRY004  # it may come from a file, of which every fault is a ValueError
        for name in _PRICES:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
                raise ValueError(f"{name} is {shown(value)}; give a price in US dollars, from 0 to {_MOST:,}")

    @classmethod
    def from_file(cls, path: str | Path) -> Prices:
        """Prices of another region or date: a JSON object with the names of the attributes; what it lacks stays.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no such object, or holds a price that is none.
        """
        try:
            found: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: not JSON ({error})") from None
        names = (*_PRICES, "source")
        if not isinstance(found, dict) or not found.keys() <= set(names):
            wrong = shown(sorted(found.keys() - set(names))[0]) if isinstance(found, dict) else shown(found)
            raise ValueError(f"{path}: {wrong} is no price; give an object with some of {', '.join(names)}")
        try:
            return cls(**{**found, "source": found.get("source", f"of {path}")})
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def provisioned(self, shards: int, put_units_per_second: float) -> float:
        """Dollars a month."""
        units = put_units_per_second * SECONDS_PER_MONTH / 1e6
        return shards * self.shard_hour * HOURS_PER_MONTH + units * self.million_put_units

    def on_demand(self, billed_bytes_per_second: float) -> float:
        """Dollars a month."""
        return self.stream_hour * HOURS_PER_MONTH + billed_bytes_per_second * SECONDS_PER_MONTH / 1e9 * (
            self.on_demand_gigabyte
        )

    def advantage(self, billed_bytes_per_second: float) -> float:
        """Dollars a month, where the streams of the account together use what it has committed to."""
        return billed_bytes_per_second * SECONDS_PER_MONTH / 1e9 * self.advantage_gigabyte


_PRICES = tuple(one.name for one in fields(Prices) if one.name != "source")
