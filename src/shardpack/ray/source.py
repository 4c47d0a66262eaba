"""`KinesisDatasource`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from ..arrow import unpacked_schema
from ..limits import MAX_PARTITION_KEY_CHARACTERS
from ..ranges.core.bounds import Bounds, Moment, Positions
from ..ranges.core.options import MAX_RECORDS, Connection
from ..ranges.core.ranges import Range
from ..ranges.shells.reading import StreamTable, checked_columns
from ..unpacking.unpacker import OnCorrupt

_SCHEMA = unpacked_schema(pa.schema({"data": pa.binary()}), repeated="plain")


class KinesisDatasource(Datasource):
    """The user records of a stream between two bounds, for ``ray.data.read_datasource``.

    Each shard is a read task. What is to be read is decided, to the record, before the first task runs, so a task that
    Ray runs again reads the same rows. Rows of a shard come in their order; Ray decides in which order shards come.

    The columns are those of `shardpack.arrow.SCHEMA`, with plain texts. Therefore an aggregate that has a key of more
    than 256 characters, which no plain record can have, comes whole, with the fault ``long_key``.

    Args:
        stream: the stream's name or ARN.
        start: see `shardpack.arrow.read_stream`.
        end: see `shardpack.arrow.read_stream`; ``"LATEST"`` is what is there when Ray asks for the tasks.
        after: see `shardpack.arrow.read_stream`.
        until: see `shardpack.arrow.read_stream`.
        columns: those of `shardpack.arrow.SCHEMA` that are wanted, in that order; None: all.
        on_corrupt: see `shardpack.unpack`.
        fail_on_data_loss: see `shardpack.arrow.read_stream`.
        max_records_per_fetch: see `shardpack.arrow.read_stream`.
        region_name: as boto3 takes it; None: as boto3 finds it, here and on the workers.
        endpoint_url: the same.
        profile_name: the same.

    Raises:
        ValueError, TypeError: an argument makes no sense.
        CallError: the stream is not there, or may not be described.
    """

    def __init__(
        self,
        stream: str,
        start: Moment = "TRIM_HORIZON",
        end: Moment = "LATEST",
        *,
        after: Positions | None = None,
        until: Positions | None = None,
        columns: Sequence[str] | None = None,
        on_corrupt: OnCorrupt = "raw",
        fail_on_data_loss: bool = True,
        max_records_per_fetch: int = MAX_RECORDS,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
    ) -> None:
        super().__init__()
        self._columns = checked_columns(columns)
        self._table = StreamTable(
            Connection.of(stream, region_name, endpoint_url, profile_name),
            Bounds.of(start, end, after, until),
            on_corrupt=on_corrupt,
            fail_on_data_loss=fail_on_data_loss,
            max_records_per_fetch=max_records_per_fetch,
        )

    def estimate_inmemory_data_size(self) -> int | None:
        """None: Kinesis does not tell how much a shard holds."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """A task for each shard that has something to read.

        Args:
            parallelism: how many Ray would like; a shard is not divided, because its readers share its 2 MiB a second.
            per_task_row_limit: the most rows that are wanted of a task.
            data_context: of Ray; not needed.

        Raises:
            ValueError, DataLossError, CallError: as `shardpack.arrow.read_stream`.
        """
        ranges: list[Range | None] = [*self._table.ranges()] or [None]
        schema = pa.schema([_SCHEMA.field(name) for name in self._columns])
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        table = self._table.without_plan()
        return [
            ReadTask(
                partial(_read, table, one, self._columns, per_task_row_limit, schema),
                unknown,
                schema=schema,
                per_task_row_limit=per_task_row_limit,
            )
            for one in ranges
        ]


def _read(
    table: StreamTable, one: Range | None, columns: Sequence[str], most: int | None, schema: pa.Schema
) -> Iterator[pa.Table]:
    """What a task reads; where that is nothing, or there is no range, a table without rows that has the columns."""
    shape = {"repeated": "plain", "max_key_characters": MAX_PARTITION_KEY_CHARACTERS}
    left, is_empty = most, True
    for batch in () if one is None else table.read_range(one, columns, most, **shape):
        is_empty = False
        yield pa.Table.from_batches([batch], schema)
        if left is not None:
            left -= batch.num_rows
            if left <= 0:
                return
    if is_empty:
        yield schema.empty_table()
