"""What may share an aggregate, and the aggregate that is open for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from ..records import UserRecord
from ..wire.core import Builder

AGGREGATE_PARTITION_KEY = "a"
"""The outer partition key of an aggregate that mixes keys: the KPL's constant (A5), which an EHK overrides."""


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
        self.builder, self.first, self.add = builder, first, builder.add

    def close(self) -> tuple[Builder, UserRecord]:
        builder, first = self.builder, self.first
        if builder is None or first is None:
            raise AssertionError(f"route {self.key!r} is not open")
        self.builder = self.first = None
        self.add = _refuse
        return builder, first


def _refuse(_partition_key: str, _data: bytes) -> bool:
    return False


class Closed(NamedTuple):
    """An aggregate that nothing more may join: its route, its builder, and its first record."""

    route: Route
    builder: Builder
    first: UserRecord
