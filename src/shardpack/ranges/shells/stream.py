"""A stream as the driver asks about it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from ...aws.streams import ALL_SHARDS, stream_argument
from ...consumer.core.shards import ListedShard, listed_shards
from ...errors import CallError
from ..core.ends import First, Page, found_of
from ..core.marks import Mark
from .clients import Caller

_CALL_PAUSE = 0.2  # seconds between two calls for one shard, which takes five a second (`GetRecords` API reference)
_MOST_EMPTY = 50  # answers in a row without a record that say that there are more
_ITERATOR_SECONDS = 240  # of the five minutes that an iterator is valid
_STALE = 6.0  # seconds that the date in an answer may be old
_MOST_SKEW = 600_000  # milliseconds; AWS refuses requests of clients whose clocks are off by half of it


class Identity(NamedTuple):
    """Which stream it is.

    Attributes:
        arn: its ARN.
        created: when it was created, in milliseconds since the epoch.
        retention: for how many milliseconds it keeps a record.
        name: its name.
    """

    arn: str
    created: int
    retention: int
    name: str


class KinesisStream:
    """A stream; a `Probe`. Threads may share it.

    Args:
        call: makes calls.
        name: the stream's name or ARN.
        max_records: the largest number of Kinesis records in a page.
        clock: the time, in seconds since the epoch.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        call: Caller,
        name: str,
        *,
        max_records: int = 1000,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.argument = stream_argument(name)
        self._call = call
        self._name = name
        self._max_records = max_records
        self._clock = clock
        self._sleep = sleep
        self._closed: set[str] = set()
        self._kept: dict[str, tuple[Mark, str, float]] = {}
        self._lock = threading.Lock()
        self._ahead = 0  # milliseconds of our clock before the service's

    def now(self) -> int:
        """The service's time, in milliseconds since the epoch, as far as it is known to differ from ours."""
        return round(self._clock() * 1000) - self._ahead

    def identity(self) -> Identity:
        """Which stream it is; sets the clock by the answer.

        Raises:
            CallError: it is not there, or may not be described.
        """
        asked = self._clock()
        answer = self._call("describe_stream_summary", **self.argument)
        self._set_clock(answer, asked)
        told = answer["StreamDescriptionSummary"]
        created = round(told["StreamCreationTimestamp"].timestamp() * 1000)
        return Identity(told["StreamARN"], created, told["RetentionPeriodHours"] * 3_600_000, told["StreamName"])

    def shards(self) -> dict[str, ListedShard]:
        """Every shard that is listed, by its id."""
        answer = self._call("list_shards", **self.argument, **ALL_SHARDS)
        shards = list(answer["Shards"])
        while answer.get("NextToken"):
            answer = self._call("list_shards", NextToken=answer["NextToken"])
            shards += answer["Shards"]
        found = listed_shards(shards, self._name)
        self._closed = {key for key, shard in found.items() if not shard.is_open}
        return found

    def first(self, shard_id: str, mark: Mark) -> First:
        """The first Kinesis record of a shard at or after a mark."""
        if mark.place == "AT_TIMESTAMP" and mark.time > self.now():
            return First(None)  # nothing can have arrived yet, and the service refuses to look
        iterator = self._kept_iterator(shard_id, mark) or self._iterator(shard_id, mark)
        for _ in range(_MOST_EMPTY) if iterator else ():
            answer = self._records(shard_id, mark, iterator, 1)
            if answer["Records"]:
                return First(found_of(answer["Records"][0]))
            iterator = answer.get("NextShardIterator")
            if not iterator:
                return First(None, is_over=True)
            if not answer.get("MillisBehindLatest") and shard_id not in self._closed:
                break
            self._sleep(_CALL_PAUSE)
        if iterator:
            with self._lock:
                self._kept[shard_id] = mark, iterator, self._clock()
        return First(None)

    def page(self, shard_id: str, mark: Mark) -> Page:
        """Kinesis records of a shard from a mark on, as many as one call gives."""
        iterator = self._iterator(shard_id, mark)
        for _ in range(_MOST_EMPTY) if iterator else ():
            answer = self._records(shard_id, mark, iterator, self._max_records)
            iterator = answer.get("NextShardIterator")
            if not iterator:
                return Page(answer["Records"], "end")
            if answer["Records"]:
                return Page(answer["Records"], "more" if answer.get("MillisBehindLatest") else "tip")
            if not answer.get("MillisBehindLatest") and shard_id not in self._closed:
                break
            self._sleep(_CALL_PAUSE)
        return Page((), "tip")

    def _records(self, shard_id: str, mark: Mark, iterator: str | None, limit: int) -> Mapping[str, Any]:
        try:
            return self._call("get_records", ShardIterator=iterator, Limit=limit)
        except CallError as error:
            if error.code != "ExpiredIteratorException":
                raise
        return self._call("get_records", ShardIterator=self._iterator(shard_id, mark), Limit=limit)

    def _kept_iterator(self, shard_id: str, mark: Mark) -> str | None:
        """The iterator that a look from the same mark has left, so that a quiet shard costs one call."""
        with self._lock:
            of_mark, iterator, since = self._kept.pop(shard_id, (None, "", 0.0))
        return iterator if of_mark == mark and self._clock() - since < _ITERATOR_SECONDS else None

    def _iterator(self, shard_id: str, mark: Mark) -> str | None:
        """None for a moment that has not come yet by the service's clock."""
        try:
            return str(
                self._call("get_shard_iterator", **self.argument, ShardId=shard_id, **arguments_of(mark))[
                    "ShardIterator"
                ]
            )
        except CallError as error:
            is_recent = mark.place == "AT_TIMESTAMP" and mark.time > self.now() - _MOST_SKEW
            if error.code == "InvalidArgumentException" and is_recent:
                return None
            raise

    def _set_clock(self, answer: Mapping[str, Any], asked: float) -> None:
        """Learn by how much our clock differs at least: the answer was made after it was asked for, and before now.

        Its time is in whole seconds, and a server that is busy may have written it down a while ago. Neither that nor
        the answer's way is a difference: to set the time back would leave what was put last out of what there is to
        read. A time that is a little late only costs calls.
        """
        told = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if told is None:
            return
        try:
            of_service = parsedate_to_datetime(told).timestamp()
        except ValueError:
            return
        ahead = asked - of_service
        self._ahead = round((ahead if ahead > _STALE else min(0.0, self._clock() - of_service)) * 1000)


def arguments_of(mark: Mark) -> dict[str, Any]:
    """What `GetShardIterator` takes to read from a mark on."""
    if mark.place == "AT":
        return {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": mark.sequence_number}
    if mark.place == "AFTER":
        return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": mark.sequence_number}
    if mark.place == "AT_TIMESTAMP":
        return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": datetime.fromtimestamp(mark.time / 1000, UTC)}
    return {"ShardIteratorType": "TRIM_HORIZON"}
