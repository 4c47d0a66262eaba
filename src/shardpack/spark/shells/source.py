"""Spark's data source ``kinesis``: the classes that Spark calls, which hand on to what needs no Spark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, DataSourceStreamReader, InputPartition

from ...consumer.reading.fan_out import FanOut
from ...limits import shown
from ...ranges.core.limits import Limits
from ...ranges.core.offsets import Offset
from ...ranges.core.options import SourceOptions
from ...ranges.core.ranges import Range, in_turns
from ...ranges.shells.backfill import ranges_between
from ...ranges.shells.clients import Caller, kinesis_of, shared_kinesis_of
from ...ranges.shells.driver import NO_LIMITS, Driver
from ...ranges.shells.leases import marks_of_leases
from ...ranges.shells.stream import KinesisStream
from ...ranges.shells.tasks import RangeReader
from ..core.options import sink_options, source_options
from ..core.rows import COLUMNS, DDL, Rows
from .sink import BatchWriter, StreamWriter, check_columns

_limits: Any = None
if find_spec("pyspark.sql.streaming.datasource") is not None:  # since Spark 4.2
    _limits = import_module("pyspark.sql.streaming.datasource")

_NO_LIMIT_OF_ITS_OWN = 2**62  # so that Spark tells Trigger.Once, which takes all, from a query with a limit by time


class KinesisSource(DataSource):
    """The data source ``kinesis``, for `register`."""

    @classmethod
    def name(cls) -> str:
        """What ``format`` takes."""
        return "kinesis"

    def schema(self) -> str:
        """The columns of a row."""
        source_options(self.options, is_stream=None)
        return DDL

    def reader(self, schema: Any) -> BatchReader:
        """For ``spark.read``."""
        return BatchReader(source_options(self.options, is_stream=False), _names(schema))

    def streamReader(self, schema: Any) -> StreamReader:
        """For ``spark.readStream``."""
        return StreamReader(source_options(self.options, is_stream=True), _names(schema))

    def writer(self, schema: Any, overwrite: bool) -> BatchWriter:
        """For ``df.write``."""
        if overwrite:
            raise ValueError('the mode is "overwrite", and a stream can only be added to; write .mode("append")')
        return BatchWriter(sink_options(self.options), check_columns(schema))

    def streamWriter(self, schema: Any, overwrite: bool) -> StreamWriter:
        """For ``df.writeStream``."""
        if overwrite:
            raise ValueError('the output mode is "complete", and a stream can only be added to; use "append"')
        return StreamWriter(sink_options(self.options), check_columns(schema))


class RangePartition(InputPartition):
    """A range, as Spark sends it to a task."""

    def __init__(self, one: Range) -> None:
        super().__init__(one)


class _Reader:
    """What the readers of streams and batches share. It travels to the executors, without clients."""

    def __init__(self, options: SourceOptions, names: Sequence[str]) -> None:
        self._options = options
        self._names = names
        self._made: tuple[Driver, KinesisStream] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_options": self._options, "_names": self._names, "_made": None}

    def _driver(self) -> tuple[Driver, KinesisStream]:
        if self._made is None:
            connection = self._options.connection
            stream = KinesisStream(Caller(connection, kinesis_of(connection)), connection.stream)
            self._made = Driver(stream, self._options, marks_of_leases), stream
        return self._made

    def _partitions(self, ranges: Sequence[Range]) -> list[RangePartition]:
        return [RangePartition(one) for one in ranges]

    def read(self, partition: InputPartition | None) -> Iterator[pa.RecordBatch]:
        """The rows of a partition; where there are none, Spark makes one without a range, or gives None for it."""
        one = None if partition is None else partition.value
        if not isinstance(one, Range):
            return
        options, connection = self._options, self._options.connection
        client = shared_kinesis_of(connection)
        fan_out = FanOut(client, connection.argument, options.consumer_name) if options.consumer_mode == "efo" else None
        call = Caller(connection, fan_out or client)
        try:
            rows = Rows(connection.stream.rpartition("/")[2], self._names, options.on_corrupt)
            yield from RangeReader(call, options, rows.of).read(one)
        finally:
            if fan_out is not None:
                fan_out.close()


class BatchReader(_Reader, DataSourceReader):
    """Reads what a stream holds between two moments or positions."""

    def partitions(self) -> list[RangePartition]:
        """The parts to read, which Spark runs in this order."""
        driver, stream = self._driver()
        return self._partitions(in_turns(ranges_between(driver, stream, self._options)))


class StreamReader(_Reader, DataSourceStreamReader):
    """Reads a stream, batch after batch."""

    def __init__(self, options: SourceOptions, names: Sequence[str]) -> None:
        super().__init__(options, names)
        self._last: Offset | None = None
        self._initial: Offset | None = None

    def initialOffset(self) -> dict[str, Any]:
        """Where a new query starts."""
        return self._first().as_json()

    def latestOffset(self, start: Mapping[str, Any] | None = None, limit: Any = None) -> dict[str, Any]:
        """Where the next batch ends. Spark gives the start since 4.2; before, it is the end that was planned last."""
        driver, _ = self._driver()
        before = (self._last or self._first()) if start is None else Offset.from_json(start)
        return driver.next(before, self._limits_of(limit)).as_json()

    def partitions(self, start: Mapping[str, Any], end: Mapping[str, Any]) -> list[RangePartition]:
        """What a batch reads, one partition for each shard."""
        driver, _ = self._driver()
        self._last = Offset.from_json(end)
        return self._partitions(driver.plan(Offset.from_json(start), self._last))

    def getDefaultReadLimit(self) -> Any:
        """The limit that the options give."""
        options = self._options
        if options.max_rows is not None:
            return _limits.ReadMaxRows(options.max_rows)
        if options.max_bytes is not None or options.max_time is not None:
            return _limits.ReadMaxBytes(options.max_bytes or _NO_LIMIT_OF_ITS_OWN)
        return _limits.ReadAllAvailable()

    def prepareForTriggerAvailableNow(self) -> None:
        """Read no further than to what is there now."""
        self._driver()[0].stop_at()

    def reportLatestOffset(self) -> dict[str, Any]:
        """How far the query is behind, for its progress."""
        driver, stream = self._driver()
        behind = driver.behind()
        moment = datetime.fromtimestamp(stream.now() / 1000, UTC).isoformat(timespec="milliseconds")
        return {"time": moment, "millisBehindLatest": max(behind.values(), default=0), "shards": behind}

    def commit(self, end: Mapping[str, Any]) -> None:
        """Nothing: the checkpoint of the query is all there is."""

    def stop(self) -> None:
        """Nothing is held."""

    def _first(self) -> Offset:
        if self._initial is None:
            self._initial = self._driver()[0].initial(self._options.initial)
        return self._initial

    def _limits_of(self, limit: Any) -> Limits:
        of_options = Limits(self._options.max_rows, self._options.max_bytes, self._options.max_time)
        if limit is None or _limits is None:
            return of_options
        if isinstance(limit, _limits.ReadMaxRows):
            return Limits(limit.max_rows, of_options.size, of_options.time)
        if isinstance(limit, _limits.ReadMaxBytes):
            size = None if limit.max_bytes == _NO_LIMIT_OF_ITS_OWN else limit.max_bytes
            return Limits(of_options.rows, size, of_options.time)
        return NO_LIMITS


if _limits is not None:
    _limits.SupportsTriggerAvailableNow.register(StreamReader)


def _names(schema: Any) -> list[str]:
    """The columns that a schema asks for.

    Raises:
        ValueError: one of them is none of ours, or has another type.
    """
    for field in schema.fields:
        kind = COLUMNS.get(field.name, ("none",))[0].lower()
        if field.dataType.simpleString() != kind:
            raise ValueError(
                f"the schema has {shown(field.name)} as {field.dataType.simpleString()}; leave .schema(...) out, or"
                f" choose from {DDL}"
            )
    return [field.name for field in schema.fields]
