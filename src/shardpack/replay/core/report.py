"""What has become of the messages of a replay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from .stretch import Stretch


class ExpiredStretch(NamedTuple):
    """A stretch of a shard that is no longer there as a whole.

    Attributes:
        stretch: which one.
        left: what is left of it, in words, such as "none is left".
        message: the message that names it.
    """

    stretch: Stretch
    left: str
    message: str


class FailedMessage(NamedTuple):
    """A message of which not all is done.

    Attributes:
        message: which one: its id in the queue, its object's name, or its file and line.
        error: why.
    """

    message: str
    error: Exception


@dataclass
class ReplayReport:
    """What has become of the messages.

    Attributes:
        messages: those that were read.
        done: those of which everything is done: each user record handled now, or before, and they themselves deleted if
            they were to be.
        kinesis_records: those that were read again, or came in a message.
        user_records: those that were handed over; in a dry run, those that would be.
        skipped: user records that were done before, as the progress says.
        expired: what Kinesis no longer has. What was left of it has been handed over.
        failed: messages that could not be read or deleted, or whose user records could not be handed over.
    """

    messages: int = 0
    done: int = 0
    kinesis_records: int = 0
    user_records: int = 0
    skipped: int = 0
    expired: list[ExpiredStretch] = field(default_factory=list)
    failed: list[FailedMessage] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing has failed and nothing had expired."""
        return not self.failed and not self.expired
