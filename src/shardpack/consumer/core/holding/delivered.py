"""What the engine hands to the application: the next user records of one shard."""

from __future__ import annotations

from typing import NamedTuple

from ....records import ReceivedRecord
from ...loss import DataLoss
from .hold import Hold


class Delivered(NamedTuple):
    """The next user records of a shard, for the application.

    Attributes:
        hold: which holding of which lease they were read under.
        records: none if only the shard's end is to be told.
        millis_behind_latest: of the response that brought them.
        is_shard_end: nothing follows.
        error: what stopped the shard; then there are no records.
        shutdown_requested: another worker waits for the lease, and nothing follows; then there are no records.
        losses: what has expired unread before these records.
    """

    hold: Hold
    records: list[ReceivedRecord]
    millis_behind_latest: int | None
    is_shard_end: bool
    error: Exception | None
    shutdown_requested: bool = False
    losses: tuple[DataLoss, ...] = ()

    def ends_with(self, part: list[ReceivedRecord]) -> bool:
        """Whether nothing of the shard follows after some of the records."""
        return self.is_shard_end and (not part or part[-1] is self.records[-1])


def batch_of(hold: Hold) -> Delivered | None:
    """The next user records of a shard that is held, or the word that there will be none; None: nothing to tell yet."""
    reader = hold.reader
    if hold.is_handed_over:
        if not hold.owes_word:
            return None
        hold.told_request = True
        return Delivered(hold, [], reader.taken_millis_behind_latest, False, None, shutdown_requested=True)
    if reader.expiry.suspicion is not None:
        return None  # something may be missing before what comes next
    records = reader.take()
    if records:
        hold.has_given(records)
        hold.told_end = hold.is_read_to_the_end
        losses = reader.expiry.take()
        return Delivered(hold, records, reader.taken_millis_behind_latest, hold.told_end, None, losses=losses)
    if reader.error is not None:
        return Delivered(hold, [], reader.taken_millis_behind_latest, False, reader.error)
    if hold.is_read_to_the_end and not hold.told_end and (reader.expiry.losses or not hold.is_done):
        hold.told_end = True
        return Delivered(hold, [], reader.millis_behind_latest, True, None, losses=reader.expiry.take())
    return None
