"""Records that expired before they were read: how it shows, and what is told of it. Decisions only.

Kinesis does not tell. After a checkpoint whose record has expired, reading goes on with the oldest record that is left,
and nothing says whether there were others in between. What tells is time: a shard of which everything was read that had
arrived up to a moment has lost nothing as long as that moment is within the stream's retention period.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ..leases.keys import stream_identifier_of
from ..leases.lease import Lease
from ..records import Position
from .log_fields import about

_HOUR = 3600.0
_LEAST_RETENTION = 24 * _HOUR  # `DescribeStreamSummary` API reference: no stream keeps its records for less
_FRESH = 600.0  # seconds for which a retention period that was asked for is used
_LEAST_GAP = 1.0  # seconds; neighbours in time are no gap

_log = logging.getLogger("shardpack.consumer")


@dataclass(frozen=True, slots=True)
class DataLoss:
    """Records of a shard have expired before they were read, as far as the stream's retention period tells.

    Attributes:
        shard_id: the shard.
        after: the last position that was done when the reading began; nothing of the shard, if it is a start such as
            `Position.TRIM_HORIZON`.
        since: everything that had arrived up to this moment was read; None: not known, because the lease was last
            written by a worker that does not say, such as the KCL's.
        until: from this moment on nothing is missing; None: the shard is gone, with all that was left in it.
    """

    shard_id: str
    after: Position
    since: datetime | None
    until: datetime | None

    def __str__(self) -> str:
        since = f"{self.since:%Y-%m-%dT%H:%M:%SZ}" if self.since else f"a moment not known, after {self.after},"
        until = f"{self.until:%Y-%m-%dT%H:%M:%SZ}" if self.until else "its end"
        return f"what arrived in {self.shard_id} from {since} to {until} has expired unread"


class Suspicion(NamedTuple):
    """That something may have expired, because it was not read for longer than the shortest retention period.

    Attributes:
        since: seconds since the epoch up to which everything was read; None: not known.
        first: when the first record that is left arrived; None: there is none.
        asked: when the records were asked for.
        is_gone: whether the record of the checkpoint is not there any more.
    """

    since: float | None
    first: float | None
    asked: float
    is_gone: bool


class Expiry:
    """Until when everything of a shard is read, and what has expired before.

    Args:
        lease: where reading begins.

    Attributes:
        read_until: everything that had arrived by this moment is read, in seconds since the epoch; None: not known.
        suspicion: what is to be looked into before more of the shard is handed out.
        losses: what the application is to be told.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        number = lease.checkpoint.sequence_number
        self._expected = int(number) if number.isdigit() else None
        self.read_until: float | None = lease.done_until
        self.suspicion: Suspicion | None = None
        self.losses: tuple[DataLoss, ...] = ()

    @property
    def shard_id(self) -> str:
        """Of the lease's shard."""
        return self._lease.key

    @property
    def stream(self) -> str | None:
        """Which of several streams the shard is of; None: there is one."""
        return stream_identifier_of(self._lease.key)

    def answered(self, records: Sequence[Mapping[str, Any]], asked: float, *, is_at_end: bool) -> None:
        """`GetRecords` has answered a call that was made at this moment."""
        if not records and not is_at_end:
            return
        since, expected, self._expected = self.read_until, self._expected, None
        is_gone = expected is not None and not (records and int(records[0]["SequenceNumber"]) == expected)
        last = _arrival(records[-1]) if records else asked
        if last is not None:
            self.read_until = max(self.read_until or 0.0, last)
        if (is_gone or (expected is None and since is not None)) and (since or 0.0) < asked - _LEAST_RETENTION:
            self.suspicion = Suspicion(since, _arrival(records[0]) if records else None, asked, is_gone)

    def judge(self, retention: float | None) -> DataLoss | None:
        """What has expired, with a retention period of so many seconds; None: not known."""
        suspicion, self.suspicion = self.suspicion, None
        if suspicion is None or (retention is None and not suspicion.is_gone):
            return None
        until = suspicion.asked - (retention or _LEAST_RETENTION)
        if suspicion.first is not None:
            until = min(until, suspicion.first)
        if suspicion.since is not None and until - suspicion.since < _LEAST_GAP:
            return None
        return self._lost(suspicion.since, until)

    def gone(self) -> DataLoss:
        """The shard is gone before its end was reached."""
        self.suspicion = None
        return self._lost(self.read_until, None)

    def take(self) -> tuple[DataLoss, ...]:
        """What the application is to be told, once."""
        losses, self.losses = self.losses, ()
        return losses

    @property
    def is_open(self) -> bool:
        """Whether something is to be looked into, or told, so that nobody else may take it for read."""
        return self.suspicion is not None or bool(self.losses)

    def _lost(self, since: float | None, until: float | None) -> DataLoss:
        moments = [None if moment is None else datetime.fromtimestamp(moment, UTC) for moment in (since, until)]
        loss = DataLoss(self._lease.key, self._lease.checkpoint, *moments)
        self.losses = (*self.losses, loss)
        return loss


class Losses:
    """Looks into suspicions, with the retention period of the stream, or of each, and says what has expired.

    Args:
        stream_name: for messages.
        report: told of each loss.
    """

    def __init__(self, stream_name: str, report: Callable[[DataLoss], object]) -> None:
        self._stream_name = stream_name
        self._report = report
        self._suspected: list[Expiry] = []
        self._known: dict[str | None, tuple[float, float | None]] = {}  # by stream: when it was asked, and what it said
        self._asking: Expiry | None = None  # of whose stream it is being asked

    def look_into(self, expiry: Expiry, now: float) -> None:
        """Something may have expired."""
        asked, retention = self._known.get(expiry.stream, (float("-inf"), None))
        is_asking = self._asking is not None and self._asking.stream == expiry.stream
        if now - asked < _FRESH and not is_asking:
            self._judge(expiry, retention)
        else:
            self._suspected.append(expiry)

    def begin(self, now: float) -> str | None:
        """A shard whose stream is to be asked for its retention period now; then that is under way. None: none is."""
        if not self._suspected or self._asking is not None:
            return None
        self._asking = self._suspected[0]
        self._known[self._asking.stream] = now, None
        return self._asking.shard_id

    def answered(self, summary: Mapping[str, Any] | None) -> None:
        """`DescribeStreamSummary` has answered; None: it has failed, and is perhaps not allowed."""
        if self._asking is None:
            return
        stream, self._asking = self._asking.stream, None
        hours = None if summary is None else summary.get("RetentionPeriodHours")
        retention = None if hours is None else hours * _HOUR
        self._known[stream] = self._known[stream][0], retention
        suspected, self._suspected = self._suspected, []
        for expiry in suspected:
            if expiry.stream == stream:
                self._judge(expiry, retention)
            else:
                self._suspected.append(expiry)

    def gone(self, expiry: Expiry) -> None:
        """A shard is gone before its end was reached."""
        self._tell(expiry.gone())

    def _judge(self, expiry: Expiry, retention: float | None) -> None:
        if (loss := expiry.judge(retention)) is not None:
            self._tell(loss)

    def _tell(self, loss: DataLoss) -> None:
        _log.warning("%s: %s", self._stream_name, loss, extra=about(loss.shard_id, loss.after))
        self._report(loss)


def _arrival(record: Mapping[str, Any]) -> float | None:
    arrived = record.get("ApproximateArrivalTimestamp")
    return arrived.timestamp() if isinstance(arrived, datetime) else None
