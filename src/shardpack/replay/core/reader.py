"""Reading a stretch of a shard again: which call comes next, when it is read, and what of it has expired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from ...aws.errors import backoff, error_of, may_pass
from .stretch import Stretch

_MOST_IN_A_PAGE = 10_000  # GetRecords API reference
_PAUSE = 0.2  # seconds; a shard takes five reads a second, of all who read it
_MOST_FAILURES = 10  # in a row; with the waits in between they take half a minute


class AskIterator(NamedTuple):
    """Call ``GetShardIterator``."""

    kind: str
    sequence_number: str


class AskRecords(NamedTuple):
    """Call ``GetRecords``."""

    iterator: str
    limit: int


class AskStream(NamedTuple):
    """Call ``DescribeStreamSummary``: is it the shard that is gone, or the stream?"""


Call: TypeAlias = AskIterator | AskRecords | AskStream


class StretchReader:
    """Says which call comes next until a stretch is read.

    Args:
        stretch: what to read.
        random: gives a number from 0 to 1, for the waits between failures.

    Attributes:
        call: the next call; None: everything that is there has been read.
        wait: seconds to wait before it.
    """

    def __init__(self, stretch: Stretch, random: Callable[[], float]) -> None:
        self._stretch = stretch
        self._random = random
        self._last = int(stretch.last)
        self._found: tuple[str, str] | None = None
        self._failures = 0
        self.call: Call | None = AskIterator("AT_SEQUENCE_NUMBER", stretch.first)
        self.wait = 0.0

    @property
    def missing(self) -> str | None:
        """What is no longer there, in words, once everything is read; None: nothing is missing."""
        if self._found is None:
            return "none is left"
        first, last = self._found
        if int(first) != int(self._stretch.first):
            return f"only those from {first} on are left"
        return None if int(last) == self._last else f"only those up to {last} are there"

    def answered(self, answer: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Take the answer to the call; the records of the stretch that it has."""
        call, self.wait = self.call, 0.0
        if isinstance(call, AskStream):
            self.call = None  # the stream is there, so the shard has expired with all of its records
            return ()
        if isinstance(call, AskIterator):
            self._go_on(answer["ShardIterator"])
            return ()
        self._failures = 0
        page = answer["Records"]
        records = [record for record in page if int(record["SequenceNumber"]) <= self._last]
        if records:
            last: str = records[-1]["SequenceNumber"]
            self._found = (self._found[0] if self._found else records[0]["SequenceNumber"], last)
        is_over = len(records) < len(page) or (records and int(records[-1]["SequenceNumber"]) == self._last)
        at_tip = not page and not answer.get("MillisBehindLatest")
        iterator = answer.get("NextShardIterator")
        if is_over or at_tip or not iterator:
            self.call = None
        else:
            self._go_on(iterator)
            self.wait = _PAUSE
        return records

    def failed(self, error: Exception) -> None:
        """The call has raised an error; says what to do about it, or raises it once more."""
        code, _ = error_of(error)
        is_gone = code == "ResourceNotFoundException"
        if is_gone and not isinstance(self.call, AskStream):
            self.call, self.wait = AskStream(), 0.0
            return
        self._failures += 1
        if is_gone or not may_pass(error, code) or self._failures > _MOST_FAILURES:
            raise error
        self.wait = backoff(self._failures, self._random)
        if code == "ExpiredIteratorException":
            kind, number = ("AFTER", self._found[1]) if self._found else ("AT", self._stretch.first)
            self.call = AskIterator(f"{kind}_SEQUENCE_NUMBER", number)

    def _go_on(self, iterator: str) -> None:
        # No more than the batch had, as long as it says: what comes after it is not wanted.
        self.call = AskRecords(iterator, min(self._stretch.batch_size or _MOST_IN_A_PAGE, _MOST_IN_A_PAGE))
