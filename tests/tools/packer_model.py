"""A slow packer to measure the real one by: protobuf's own classes, and the rules of docs/architecture.md.

It measures an aggregate by writing it, finds a shard by looking at all of them, and remembers nothing but the records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import xxhash
from hypothesis import strategies as st

import shardpack as sp
from shardpack.packing.settings import By, HashKeys
from shardpack.wire._generated.kpl_pb2 import AggregatedRecord

MAGIC = bytes.fromhex("f3899ac2")
MAX_HASH_KEY = 2**128 - 1
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Setting(NamedTuple):
    """How a packer is made."""

    by: By = "any"
    hash_keys: HashKeys = "pinned"
    lanes: int = 1
    limits: sp.Limits = sp.Limits()
    shards: tuple[sp.Shard, ...] = (sp.Shard("only"),)

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "shard_map": sp.ShardMap(self.shards) if self.by == "shard" else None,
            "limits": self.limits,
            "hash_keys": self.hash_keys,
            "lanes": self.lanes,
        }


class Route(NamedTuple):
    """What may share an aggregate."""

    shard_id: str | None
    lane: int | None
    partition_key: str | None
    explicit_hash_key: str | None


class TooLargeError(Exception):
    """The model's RecordTooLargeError; its argument is the size."""


def hash_key_of(record: sp.UserRecord) -> int:
    if record.explicit_hash_key is not None:
        return int(record.explicit_hash_key)
    return int(hashlib.md5(record.partition_key.encode()).hexdigest(), 16)


def is_sound(data: bytes) -> bool:
    return data[:4] == MAGIC and len(data) > 20 and hashlib.md5(data[4:-16]).digest() == data[-16:]


def aggregate(records: Sequence[sp.UserRecord], pin: str | None = None) -> bytes:
    """What the KPL's KinesisRecord writes, with the pin in place of explicit hash keys if there is one."""
    message = AggregatedRecord()
    keys: dict[str, int] = {}
    explicit_hash_keys: dict[str, int] = {}
    for given in records:
        record = message.records.add(data=given.data)
        record.partition_key_index = keys.setdefault(given.partition_key, len(keys))
        explicit = pin or given.explicit_hash_key
        if explicit is not None:
            record.explicit_hash_key_index = explicit_hash_keys.setdefault(explicit, len(explicit_hash_keys))
        for key, value in given.tags:
            record.tags.add(key=key.encode(), value=None if value is None else value.encode())
    message.partition_key_table.extend(key.encode() for key in keys)
    message.explicit_hash_key_table.extend(key.encode() for key in explicit_hash_keys)
    body = message.SerializeToString(deterministic=True)
    return MAGIC + body + hashlib.md5(body).digest()


class Model:
    """`Packer`, by lists."""

    def __init__(self, given: Setting) -> None:
        self.given = given
        self.waiting: dict[Route, list[sp.UserRecord]] = {}  # in the order in which they were opened

    def add(self, record: sp.UserRecord) -> list[sp.PackedRecord]:
        route = self.route(record)
        waiting = self.waiting.get(route, [])
        closed = []
        if not waiting or not self.fits(route, [*waiting, record]):
            size = self.packed(route, [record]).size
            if size > self.given.limits.max_record_bytes:
                raise TooLargeError(size)
            if waiting:
                closed.append(self.close(route))
            waiting = self.waiting[route] = []
        waiting.append(record)
        if len(waiting) == self.given.limits.max_user_records or not self.fits(route, waiting):
            closed.append(self.close(route))
        return closed

    def flush(self) -> list[sp.PackedRecord]:
        return [self.close(route) for route in list(self.waiting)]

    def close(self, route: Route) -> sp.PackedRecord:
        return self.packed(route, self.waiting.pop(route))

    def route(self, record: sp.UserRecord) -> Route:
        explicit = record.explicit_hash_key
        if self.given.by == "key":
            return Route(None, None, record.partition_key, explicit)
        own = explicit if self.given.hash_keys == "pinned" else None
        if self.given.by == "any":
            return Route(None, None, None, own)
        (shard_id,) = [shard.shard_id for shard in self.given.shards if hash_key_of(record) in shard]
        lanes = self.given.lanes
        lane = xxhash.xxh3_64(record.partition_key.encode()).intdigest() % lanes if lanes > 1 else None
        return Route(shard_id, lane, None, own)

    def fits(self, route: Route, records: Sequence[sp.UserRecord]) -> bool:
        limits = self.given.limits
        return self.wrapped(route, records).size <= (limits.max_aggregate_bytes or limits.max_record_bytes)

    def packed(self, route: Route, records: Sequence[sp.UserRecord]) -> sp.PackedRecord:
        first = records[0]
        if len(records) > 1 or first.tags or is_sound(first.data) or route.lane is not None:
            return self.wrapped(route, records)
        return sp.PackedRecord(first.data, first.partition_key, first.explicit_hash_key, 1, route.shard_id)

    def wrapped(self, route: Route, records: Sequence[sp.UserRecord]) -> sp.PackedRecord:
        explicit: str | None = str(hash_key_of(records[0]))
        pin = explicit if self.given.hash_keys == "pinned" else None
        partition_key = "a"
        if route.lane is not None:
            partition_key = DIGITS[route.lane] if route.lane < len(DIGITS) else str(route.lane)
        if route.partition_key is not None:
            partition_key, explicit, pin = route.partition_key, route.explicit_hash_key, None
        return sp.PackedRecord(aggregate(records, pin), partition_key, explicit, len(records), route.shard_id)


@st.composite
def shard_maps(draw: st.DrawFn) -> tuple[sp.Shard, ...]:
    """One to five shards; some own a single hash key."""
    borders = st.integers(1, MAX_HASH_KEY) | st.sampled_from([1, 2, 7, 8, 2**127, MAX_HASH_KEY])
    starts = sorted({0} | draw(st.sets(borders, max_size=4)))
    ends = [start - 1 for start in starts[1:]] + [MAX_HASH_KEY]
    return tuple(sp.Shard(f"shard-{nth}", *bounds) for nth, bounds in enumerate(zip(starts, ends, strict=True)))


@st.composite
def settings_of(draw: st.DrawFn, *routings: By) -> Setting:
    by = draw(st.sampled_from(routings))
    return Setting(
        by,
        "pinned" if by == "any" else draw(st.sampled_from(["pinned", "kpl"])),
        draw(st.sampled_from([1, 1, 2, 70])) if by == "shard" else 1,
        draw(limits()),
        draw(shard_maps()),
    )


@st.composite
def limits(draw: st.DrawFn) -> sp.Limits:
    """Small ones, so that aggregates close, and records go alone or are refused."""
    record = draw(st.integers(64, 400) | st.sampled_from([64, 1000, 51_200, 2**20]))
    return sp.Limits(record, draw(st.none() | st.integers(1, 4)), draw(st.none() | st.integers(64, min(record, 400))))


text = st.text(st.characters(codec="utf-8"), max_size=8)
keys = st.sampled_from(["a", "k", "key", "\u00e9", "\U0001f600", "long " * 12]) | text.filter(bool)
explicit_hash_keys = st.sampled_from(["0", "7", "8", str(2**127), str(MAX_HASH_KEY)])
data = st.binary(max_size=140) | st.sampled_from(
    [
        MAGIC,
        MAGIC + hashlib.md5(b"").digest(),  # too short for the KCL, so plain
        MAGIC + b"\xff" + hashlib.md5(b"\xff").digest(),  # no message, but a sum that is right
        aggregate([sp.UserRecord("inner", b"data")]),
        aggregate([sp.UserRecord("inner", b"data")]) + b"\0",
    ]
)
user_records = st.builds(
    sp.UserRecord,
    keys,
    data,
    st.none() | st.none() | explicit_hash_keys,
    st.just(()) | st.just(()) | st.lists(st.tuples(text, st.none() | text), max_size=2).map(tuple),
)
