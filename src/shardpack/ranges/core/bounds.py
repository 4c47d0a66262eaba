"""Between what a stream is read as a table: moments for all of it, and positions in single shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from ...consumer.core.shards import ListedShard, ancestors
from ...limits import check_type, listed, shown
from ...records import Position
from .marks import BEGINNING, END, Mark
from .ranges import Range

Moment: TypeAlias = str | datetime
"""``"TRIM_HORIZON"`` or ``"LATEST"``, or a `datetime` with a time zone."""

Positions: TypeAlias = Mapping[str, Position]
"""{shard id: a user record's position}."""

_POSITION = "{shard_id: Position(sequence_number, sub_sequence_number)}, as a row has them"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where reading starts and ends.

    Attributes:
        start: what arrived in a shard before this moment is left out; None: nothing is.
        end: what arrived at or after this moment is left out; None: what comes from now on. Both are in milliseconds
            since the epoch.
        after: where single shards begin.
        until: where single shards end.
    """

    start: int | None = None
    end: int | None = None
    after: Mapping[str, Mark] = field(default_factory=dict)
    until: Mapping[str, Mark] = field(default_factory=dict)

    @classmethod
    def of(cls, start: Moment, end: Moment, after: Positions | None, until: Positions | None) -> Bounds:
        """What an application gives, checked.

        Raises:
            ValueError, TypeError: it makes no sense; the message names the argument and what to give.
        """
        bounds = cls(
            _moment("start", start, "TRIM_HORIZON"),
            _moment("end", end, "LATEST"),
            _marks("after", after),
            _marks("until", until),
        )
        if bounds.start is not None and bounds.end is not None and bounds.start >= bounds.end:
            raise ValueError(f"start is {start}, and end is {end}; give a start that is before the end")
        for key, mark in bounds.until.items():
            if key in bounds.after and bounds.after[key].order > mark.order:
                raise ValueError(
                    f"after[{shown(key)}] is {shown((after or {})[key])}, which comes after until[{shown(key)}],"
                    f" {shown((until or {})[key])}; exchange them"
                )
        return bounds

    def check(self, shards: Mapping[str, ListedShard], now: int) -> None:
        """Refuse what the stream does not have.

        Raises:
            ValueError: a shard is not there and was not split or merged into one that is, or the start is to come.
        """
        if self.start is not None and self.start > now:
            raise ValueError("start is a moment to come, at which nothing can have arrived; give one that has passed")
        known = shards.keys() | {parent for shard in shards.values() for parent in shard.parents}
        for name, marks in (("after", self.after), ("until", self.until)):
            if unknown := sorted(marks.keys() - known):
                raise ValueError(
                    f"{name} names {listed(unknown)}; the stream has {listed(list(shards)) or 'no shards'}. Leave out"
                    " what is another stream's, or has expired"
                )


def begun(marks: Mapping[str, Mark], after: Mapping[str, Mark], shards: Mapping[str, ListedShard]) -> dict[str, Mark]:
    """Marks to begin at, with those of single shards in their places.

    What such a shard was split or merged from is not read. What it was itself split or merged into is read from its
    beginning, after it.
    """
    if not after:
        return dict(marks)
    parents = {key: shard.parents for key, shard in shards.items()}
    before = ancestors(after, parents)
    # What the start leaves out without a mark, because a child has one, may lose that child here.
    marks = {**dict.fromkeys(ancestors(marks, parents) & shards.keys(), END), **marks}
    kept = {
        key: mark for key, mark in marks.items() if key not in before and ancestors([key], parents).isdisjoint(after)
    }
    return kept | dict(after)


def cut(ranges: Iterable[Range], until: Mapping[str, Mark], shards: Mapping[str, ListedShard]) -> list[Range]:
    """Ranges that end no later than single shards are to end.

    What such a shard was split or merged into comes after its end, and is left out, but for what leads to another such
    shard.
    """
    parents = {key: shard.parents for key, shard in shards.items()}
    cut_off = {key for key, mark in until.items() if mark.place != "SHARD_END"}
    leading = ancestors(until, parents) | until.keys()
    kept = []
    for one in ranges:
        if one.shard_id not in leading and not ancestors([one.shard_id], parents).isdisjoint(cut_off):
            continue
        end = min(one.end, until.get(one.shard_id, END), key=lambda mark: mark.order)
        if one.begin.order < end.order:
            kept.append(replace(one, end=end))
    return kept


def _moment(name: str, given: Moment, word: str) -> int | None:
    if given == word:
        return None
    remedy = f'give "{word}" or a datetime with a time zone, such as datetime(2026, 7, 21, tzinfo=UTC)'
    if not isinstance(given, datetime):
        kind = ValueError if isinstance(given, str) else TypeError
        raise kind(f"{name} is {shown(given)}; {remedy}. Positions in single shards go in after and until")
    if given.tzinfo is None:
        raise ValueError(f"{name} is {shown(given)}, without a time zone; {remedy}")
    return max(0, int(given.timestamp() * 1000))


def _marks(name: str, given: Positions | None) -> dict[str, Mark]:
    if given is None:
        return {}
    check_type(name, given, Mapping, _POSITION)
    marks = {}
    for key, position in given.items():
        if not isinstance(key, str) or not isinstance(position, Position):
            raise TypeError(f"{name} has {shown(key)}: {shown(position)}; give {_POSITION}")
        if position == Position.SHARD_END:
            marks[key] = END
        elif position == Position.TRIM_HORIZON and name == "after":
            marks[key] = BEGINNING
        elif position < Position("0"):
            raise ValueError(f"{name}[{shown(key)}] is {position.sequence_number}; give {_POSITION}")
        else:
            marks[key] = Mark("AT", position.sequence_number, position.sub_sequence_number + 1)
    return marks
