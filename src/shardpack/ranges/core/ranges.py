"""What one task reads of a shard: from a mark to a mark, whenever it is run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from .marks import Mark
from .offsets import Offset


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a shard.

    Attributes:
        shard_id: the shard.
        begin: the first user record to read; ``TRIM_HORIZON`` for a shard that is read from its beginning.
        end: the first user record not to read, or ``AFTER`` the last Kinesis record to read, or ``SHARD_END``.
    """

    shard_id: str
    begin: Mark
    end: Mark


def ranges_of(start: Offset, end: Offset) -> list[Range]:
    """What a batch between two offsets of a stream reads; nothing between an offset and itself."""
    if start == end:
        return []
    begins = end.starts(start)
    return [
        Range(key, begins[key], mark)
        for key, mark in sorted(end.shards.items())
        if begins[key].order < mark.order and begins[key].place != "AT_TIMESTAMP"
    ]


def in_turns(ranges: Iterable[Range]) -> list[Range]:
    """The first range of each shard, then the second ones, and so on.

    Who runs them in this order, some at a time, has few at a time of one shard, which share its 2 MiB a second
    (`GetRecords` API reference).
    """
    by_shard: dict[str, list[Range]] = {}
    for one in ranges:
        by_shard.setdefault(one.shard_id, []).append(one)
    return [one for turn in zip_longest(*by_shard.values()) for one in turn if one is not None]
