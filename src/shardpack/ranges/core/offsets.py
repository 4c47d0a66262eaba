"""How far a query has come in all shards of a stream: what Spark writes into its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .marks import BEGINNING, Mark, wrong

VERSION = 1


@dataclass(frozen=True, slots=True)
class Offset:
    """The end of a batch, and the start of the next one.

    Attributes:
        stream: the ARN of the stream.
        created: when the stream was created, in milliseconds since the epoch; a stream that was deleted and made again
            has the same name and ARN.
        shards: how far each shard is read, by its id.
        begun: where this batch begins in a shard, for those shards of which the offset before did not say it to the
            record. So a batch that is replayed begins where it began, and not where its time means another record by
            now.
        initial: whether nothing is read yet. Spark keeps no initial offset, and asks for it once more when it replays
            the first batch; so that batch's offset says in `begun` where all its shards begin.
    """

    stream: str
    created: int
    shards: Mapping[str, Mark]
    begun: Mapping[str, Mark] = field(default_factory=dict)
    initial: bool = False

    def as_json(self) -> dict[str, Any]:
        """A dict that Spark writes as JSON."""
        return {
            "version": VERSION,
            "stream": self.stream,
            "created": self.created,
            "shards": {key: mark.as_json() for key, mark in sorted(self.shards.items())},
            **({"initial": True} if self.initial else {}),
            **({"begun": {key: mark.as_json() for key, mark in sorted(self.begun.items())}} if self.begun else {}),
        }

    @classmethod
    def from_json(cls, told: object) -> Offset:
        """The offset that `as_json` told.

        Raises:
            ValueError: it is none of this source's; the message says what is wrong, and what to do.
        """
        try:
            return cls._from_json(told)
        except ValueError as error:
            raise ValueError(
                f"this is no offset of the kinesis source of shardpack: {error}. Give the query a checkpointLocation of"
                " its own"
            ) from None

    @classmethod
    def _from_json(cls, told: object) -> Offset:
        if not isinstance(told, Mapping):
            raise wrong("it", told, "an offset is a JSON object")
        if told.get("version") != VERSION:
            raise wrong("version", told.get("version"), f"this release of shardpack writes {VERSION}")
        stream, created = told.get("stream"), told.get("created")
        if not isinstance(stream, str) or isinstance(created, bool) or not isinstance(created, int):
            raise wrong("stream, created", (stream, created), "it names an ARN and a time")
        parts = {name: told.get(name, {}) for name in ("shards", "begun")}
        for name, part in parts.items():
            if not isinstance(part, Mapping):
                raise wrong(name, part, "it has an object for each shard")
        shards, begun = ({key: Mark.from_json(key, mark) for key, mark in part.items()} for part in parts.values())
        return cls(stream, created, shards, begun, told.get("initial") is True)

    def starts(self, before: Offset) -> dict[str, Mark]:
        """Where the batch that ends here begins in each shard, `before` being the offset before it."""
        return {key: self.begun.get(key) or before.shards.get(key, BEGINNING) for key in self.shards}
