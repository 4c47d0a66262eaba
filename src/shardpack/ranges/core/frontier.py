"""Which shards are read: parents before children; and which have been lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...consumer.core.shards import ListedShard, ancestors
from .marks import BEGINNING, END, Mark

Shards = Mapping[str, ListedShard]
Marks = Mapping[str, Mark]


def roots(shards: Shards) -> list[str]:
    """The oldest shards: those whose parents are not listed any more."""
    return [key for key, shard in shards.items() if not any(parent in shards for parent in shard.parents)]


def joining(shards: Shards, marks: Marks) -> list[str]:
    """The shards that begin now: their parents have been read to the end.

    A shard that has no mark, and from which one that has was split or merged, was read to its end before.
    """
    over = ancestors(marks, {key: shard.parents for key, shard in shards.items()})
    return [
        key
        for key, shard in shards.items()
        if key not in marks
        and key not in over
        and all(_is_over(parent, shards, marks, over) for parent in shard.parents)
    ]


def _is_over(key: str, shards: Shards, marks: Marks, over: set[str]) -> bool:
    if key in marks:
        return marks[key].place == "SHARD_END"
    return key in over or key not in shards


def remembered(shards: Shards, marks: Marks) -> dict[str, Mark]:
    """The marks without those of shards that are over and whose children have begun."""
    children: dict[str, list[str]] = {}
    for key, shard in shards.items():
        for parent in shard.parents:
            children.setdefault(parent, []).append(key)
    kept = {}
    for key, mark in marks.items():
        if mark.place == "SHARD_END":
            of_it = children.get(key, [])
            if key not in shards and not of_it:
                continue
            if of_it and all(child in marks for child in of_it):
                continue
        kept[key] = mark
    return kept


def gone(shards: Shards, marks: Marks) -> list[str]:
    """The shards that are not read to their end, and are not listed any more."""
    return [key for key, mark in marks.items() if mark.place != "SHARD_END" and key not in shards]


def has_children(key: str, shards: Shards) -> bool:
    """Whether a shard that was split or merged into others is known by them."""
    return any(key in shard.parents for shard in shards.values())


def may_have_expired(marks: Marks, now: int, retention: int) -> list[str]:
    """The shards of which a record that is not read may be older than the stream keeps it.

    Args:
        marks: how far they are read.
        now: the time, in milliseconds since the epoch.
        retention: for how many milliseconds the stream keeps a record.
    """
    return [key for key, mark in marks.items() if mark.is_numbered and mark.time + retention <= now]


def from_beginning(shards: Shards) -> dict[str, Mark]:
    """Marks to read everything that is there."""
    return dict.fromkeys(roots(shards), BEGINNING)


def from_now_on(shards: Shards, now: int) -> dict[str, Mark]:
    """Marks to read what arrives from a moment on, which has just passed."""
    return {key: Mark("AT_TIMESTAMP", time=now) for key, shard in shards.items() if shard.is_open}


def passed(keys: Iterable[str]) -> dict[str, Mark]:
    """Marks of shards of which nothing is to be read."""
    return dict.fromkeys(keys, END)
