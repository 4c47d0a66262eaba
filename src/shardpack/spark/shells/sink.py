"""Spark's writers: rows into a stream, by the producer, which says of each whether it is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSourceArrowWriter, DataSourceStreamWriter, WriterCommitMessage

from ...limits import listed
from ...producer import ProducerConfig
from ...ranges.shells.clients import Caller, kinesis_of
from ...ranges.shells.putting import Columns, meaning_of, put_batches
from ..core.options import SinkOptions

_KINDS = {"partition_key": ("string",), "data": ("binary", "string"), "explicit_hash_key": ("string",)}


def check_columns(schema: Any) -> Columns:
    """Which columns hold what; others are not written.

    Raises:
        ValueError: one is missing, there twice, or of another type.
    """
    found: dict[str, str] = {}
    for field in schema.fields:
        name = meaning_of(field.name)
        if name is None:
            continue
        if name in found:
            raise ValueError(f"the columns {found[name]!r} and {field.name!r} both mean {name}; drop one")
        kind = field.dataType.simpleString()
        if kind not in _KINDS[name]:
            raise ValueError(
                f"the column {field.name!r} has the type {kind}; it takes {' or '.join(_KINDS[name])}: cast it, for"
                f' instance with .withColumn("{field.name}", col("{field.name}").cast("{_KINDS[name][0]}"))'
            )
        found[name] = field.name
    for name, as_written in (("partition_key", "partitionKey"), ("data", "data")):
        if name not in found:
            raise ValueError(
                f"the rows have no column {as_written}, but {listed(schema.fieldNames()) or 'none'}; name one so:"
                f' df.withColumnRenamed("...", "{as_written}")'
            )
    return found


@dataclass
class Written(WriterCommitMessage):
    """What a task has put.

    Attributes:
        rows: how many.
    """

    rows: int


class _Writer:
    """Puts the rows of a task. It travels to the executors, without a client.

    Raises:
        CallError: the stream is not there, or may not be described; raised on the driver, before the first task.
    """

    def __init__(self, options: SinkOptions, columns: Columns) -> None:
        self._options = options
        self._columns = columns
        connection = options.connection
        Caller(connection, kinesis_of(connection))("describe_stream_summary", **connection.argument)

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Written:
        """Put all rows of a task, and return when all of them are stored.

        Raises:
            DeliveryError: some are not; Spark runs the task again, and it puts all of them once more.
            InvalidRecordError, RecordTooLargeError: a row breaks a rule of the service.
        """
        options = self._options
        config = ProducerConfig(
            aggregation_enabled=options.aggregation,
            aggregation_max_size=options.aggregation_max_size,
            record_ttl=options.record_ttl,
            route=options.route,
            ordering=options.ordering,
            metrics_level="none",
        )
        client = kinesis_of(options.connection)
        return Written(put_batches(options.connection.stream, config, client, iterator, lambda _: self._columns))


class BatchWriter(_Writer, DataSourceArrowWriter):
    """For ``df.write``."""


class StreamWriter(_Writer, DataSourceStreamWriter, DataSourceArrowWriter):
    """For ``df.writeStream``. Spark asks by the second class whether to hand over Arrow."""

    def commit(self, messages: Sequence[Any], batchId: int) -> None:
        """Nothing: what a task has put is stored."""

    def abort(self, messages: Sequence[Any], batchId: int) -> None:
        """Nothing can be taken back."""
