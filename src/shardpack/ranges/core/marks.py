"""How far one shard has been read: a mark in front of the first user record that has not been."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ...limits import shown

Place: TypeAlias = Literal["AT", "AFTER", "TRIM_HORIZON", "AT_TIMESTAMP", "SHARD_END"]

_UNNUMBERED: dict[str, Place] = {
    "TRIM_HORIZON": "TRIM_HORIZON",
    "AT_TIMESTAMP": "AT_TIMESTAMP",
    "SHARD_END": "SHARD_END",
}
_MOST_DIGITS = 129  # of a sequence number (`GetShardIterator` API reference)


@dataclass(frozen=True, slots=True)
class Mark:
    """Everything of a shard before this is read, and nothing after it.

    Attributes:
        place: ``AT`` a user record, which is the next to read; ``AFTER`` a Kinesis record, the last that was read;
            ``TRIM_HORIZON``: nothing is read; ``AT_TIMESTAMP``: nothing is read, and nothing before `time` will be;
            ``SHARD_END``: everything is read, and nothing can follow.
        sequence_number: of that Kinesis record; empty where there is none.
        sub_sequence_number: of that user record, which is its index in the aggregate.
        time: what arrived in the shard before this moment lies before the mark, in milliseconds since the epoch. It
            tells what may have expired, and how far behind the query is; it decides nothing about what is read, but for
            ``AT_TIMESTAMP``.
    """

    place: Place
    sequence_number: str = ""
    sub_sequence_number: int = 0
    time: int = 0

    @property
    def is_numbered(self) -> bool:
        """Whether it stands at or after a record, so that it means the same whenever it is used."""
        return self.place in ("AT", "AFTER")

    @property
    def order(self) -> tuple[int, int, int]:
        """Marks of one shard compare by this, as far as they are numbered, or the end."""
        if self.place == "SHARD_END":
            return 2, 0, 0
        if not self.is_numbered:
            return 0, 0, 0
        return 1, int(self.sequence_number), 2**32 if self.place == "AFTER" else self.sub_sequence_number

    def as_json(self) -> dict[str, Any]:
        """As an offset holds it."""
        if not self.is_numbered:
            return {"position": self.place, **({"time": self.time} if self.time else {})}
        if self.place == "AFTER":
            return {"after": self.sequence_number, "time": self.time}
        return {"at": self.sequence_number, "subSequenceNumber": self.sub_sequence_number, "time": self.time}

    @classmethod
    def from_json(cls, shard_id: str, told: object) -> Mark:
        """The mark that `as_json` told.

        Raises:
            ValueError: it is none; the message names the shard and what is wrong.
        """
        if not isinstance(told, Mapping):
            raise wrong(f"shards.{shard_id}", told, "an offset has an object for each shard")
        time = told.get("time", 0)
        sub = told.get("subSequenceNumber", 0)
        for name, number in (("time", time), ("subSequenceNumber", sub)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise wrong(f"shards.{shard_id}.{name}", number, "it is a number from 0")
        if "at" in told:
            return cls("AT", _digits(shard_id, "at", told["at"]), sub, time)
        if "after" in told:
            return cls("AFTER", _digits(shard_id, "after", told["after"]), 0, time)
        position = _UNNUMBERED.get(str(told.get("position")))
        if position is None:
            kinds = ", ".join(_UNNUMBERED)
            remedy = f'it has "at" or "after" with a sequence number, or "position" with {kinds}'
            raise wrong(f"shards.{shard_id}", dict(told), remedy)
        return cls(position, time=time)


END = Mark("SHARD_END")
BEGINNING = Mark("TRIM_HORIZON")


def _digits(shard_id: str, name: str, text: object) -> str:
    if not isinstance(text, str) or not (0 < len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit()):
        raise wrong(f"shards.{shard_id}.{name}", text, "a sequence number is a text of digits")
    return text


def wrong(name: str, value: object, remedy: str) -> ValueError:
    """What to raise for a part of an offset that is not as it must be."""
    return ValueError(f"{name} is {shown(value)}; {remedy}")
