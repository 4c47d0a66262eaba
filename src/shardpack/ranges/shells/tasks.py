"""Reads one range of a shard, in the time that the shard's budget takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from ...errors import CallError, DataLossError
from ...limits import MIB
from ..core.options import SourceOptions
from ..core.ranges import Range
from ..core.rows import part_of
from .clients import Caller
from .stream import arguments_of

_log = logging.getLogger("shardpack.ranges")

_PATIENCE = 30.0
"""For how many seconds the end of a range, which the driver has seen, may not be there to be read."""


Rows: TypeAlias = Callable[[Sequence[Mapping[str, Any]], Range], Iterator[pa.RecordBatch]]
"""Makes rows of Kinesis records of a range, as boto3 gives them."""


class RangeReader:
    """Reads ranges of a stream.

    Args:
        call: makes calls.
        options: of the query.
        rows: makes rows of what is read.
        clock: seconds that pass.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        call: Caller,
        options: SourceOptions,
        rows: Rows,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._call = call
        self._argument = options.connection.argument
        self._options = options
        self._words = options.connection.words
        self._rows = rows
        self._clock = clock
        self._sleep = sleep

    def read(self, one: Range) -> Iterator[pa.RecordBatch]:
        """The rows of a range: the same ones whenever it is read, as long as they have not expired.

        Raises:
            DataLossError: some of them have expired; see ``failOnDataLoss``.
            CallError: a call failed for good.
            DecodeError: an aggregate is corrupt, and the option onCorrupt is ``raise``.
        """
        iterator = self._iterator(one, arguments_of(one.begin))
        last: str | None = None
        silent_since: float | None = None
        while True:
            started = self._clock()
            try:
                answer = self._call("get_records", ShardIterator=iterator, Limit=self._options.max_records_per_fetch)
            except CallError as error:
                if error.code != "ExpiredIteratorException":
                    raise
                iterator = self._iterator(one, self._after(one, last))
                continue
            records = answer["Records"]
            if records and last is None:
                self._check_first(one, records[0]["SequenceNumber"])
            part = part_of(records, one.end)
            yield from self._rows(part.records, one)
            if part.is_last:
                return
            if records:
                last, silent_since = records[-1]["SequenceNumber"], None
            iterator = answer.get("NextShardIterator")
            if not iterator:
                self._check_end(one)
                return
            if not records and not answer.get("MillisBehindLatest"):
                silent_since = started if silent_since is None else silent_since
                if self._clock() - silent_since > _PATIENCE:
                    self._lose(one, "its end is not there any more")
                    return
            self._pause(started, sum(len(record["Data"]) for record in records))

    def _iterator(self, one: Range, arguments: dict[str, Any]) -> Any:
        return self._call("get_shard_iterator", **self._argument, ShardId=one.shard_id, **arguments)["ShardIterator"]

    def _after(self, one: Range, last: str | None) -> dict[str, Any]:
        if last is None:
            return arguments_of(one.begin)
        return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": last}

    def _pause(self, started: float, size: int) -> None:
        """Leave of the shard's five calls and 2 MiB a second what belongs to others (`GetRecords` API reference)."""
        pause = max(self._options.min_fetch_period, size / (self._options.max_fetch_rate * MIB))
        left = started + pause - self._clock()
        if left > 0:
            self._sleep(left)

    def _check_first(self, one: Range, sequence_number: str) -> None:
        if one.begin.place == "AT" and sequence_number != one.begin.sequence_number:
            self._lose(one, f"the first record there now is {sequence_number}")

    def _check_end(self, one: Range) -> None:
        if one.end.place != "SHARD_END":
            self._lose(one, "the shard ends before its end")

    def _lose(self, one: Range, why: str) -> None:
        message = (
            f"{one.shard_id} was to be read from {one.begin.sequence_number or one.begin.place} to"
            f" {one.end.sequence_number or one.end.place}, and {why}: records have expired since the batch was planned."
            f" To go on without them, {self._words.go_on}; to keep them longer, raise the stream's retention period"
        )
        if self._options.fail_on_data_loss:
            raise DataLossError(message)
        _log.warning("%s (%s)", message, self._words.gone_on)
