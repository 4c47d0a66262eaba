"""What may share an aggregate, and the aggregate that is open for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from ..records import UserRecord
from ..wire.core import Builder

AGGREGATE_PARTITION_KEY = "a"
"""The outer partition key of an aggregate that mixes keys: the KPL's constant
(``KinesisRecord::partition_key``), which the explicit hash key overrides."""


class Route:
    """What may share an aggregate, and the aggregate that is open for it, if any."""

    __slots__ = ("add", "builder", "first", "key", "outer_size", "partition_key", "shard_id")

    def __init__(
        self, key: Hashable, shard_id: str | None = None, partition_key: str = AGGREGATE_PARTITION_KEY
    ) -> None:
        self.key = key
        self.shard_id = shard_id
        self.partition_key = partition_key
        self.outer_size = len(partition_key.encode())
        self.builder: Builder | None = None
        self.first: UserRecord | None = None
        self.add: Callable[[str, bytes], bool] = _refuse  # the open builder's, looked up once

    def open(self, builder: Builder, first: UserRecord) -> None:
        """Make `builder` the open aggregate; `first` is the record that it holds, or that is to go alone."""
        self.first, self.add = first, builder.add
        self.builder = builder

    def close(self) -> None:
        """Have nothing open any more."""
        self.builder = None
        self.first, self.add = None, _refuse


def _refuse(_partition_key: str, _data: bytes) -> bool:
    return False


class Closed(NamedTuple):
    """An aggregate that nothing more may join: its route, its builder, and its first record."""

    route: Route
    builder: Builder
    first: UserRecord
