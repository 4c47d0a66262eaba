"""`scan_kinesis`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from polars.io.plugins import register_io_source

import polars as pl

from ..arrow import SCHEMA as COLUMNS
from ..ranges.core.bounds import Bounds, Moment, Positions
from ..ranges.core.options import MAX_RECORDS, Connection
from ..ranges.shells.reading import StreamTable
from ..unpacking.unpacker import OnCorrupt

SCHEMA = {
    "shard_id": pl.String,
    "sequence_number": pl.String,
    "sub_sequence_number": pl.UInt32,
    "partition_key": pl.String,
    "explicit_hash_key": pl.String,
    "data": pl.Binary,
    "approximate_arrival_timestamp": pl.Datetime("ms", "UTC"),
    "aggregated": pl.Boolean,
    "fault": pl.String,
}
"""The columns; they are those of `shardpack.arrow.SCHEMA`."""


def scan_kinesis(
    stream: str,
    start: Moment = "TRIM_HORIZON",
    end: Moment = "LATEST",
    *,
    after: Positions | None = None,
    until: Positions | None = None,
    on_corrupt: OnCorrupt = "raw",
    fail_on_data_loss: bool = True,
    max_records_per_fetch: int = MAX_RECORDS,
    client: Any = None,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
) -> pl.LazyFrame:
    """The user records of a stream between two bounds, as a lazy frame.

    Records are fetched when the frame is collected. Only the columns that the query needs are made, a filter is applied
    to each batch as it comes, and where a query takes the first rows (``head``), no more are fetched than it takes. A
    filter on ``shard_id`` alone leaves out the other shards. Each time the frame is collected, it has the same rows in
    the same order: shard after shard, parents before children, each in the order of its records.

    Args:
        stream: the stream's name or ARN.
        start: see `shardpack.arrow.read_stream`.
        end: see `shardpack.arrow.read_stream`; ``"LATEST"`` is what is there when the frame is collected first.
        after: see `shardpack.arrow.read_stream`.
        until: see `shardpack.arrow.read_stream`.
        on_corrupt: see `shardpack.unpack`; what was delivered whole says why in the column ``fault``.
        fail_on_data_loss: see `shardpack.arrow.read_stream`.
        max_records_per_fetch: see `shardpack.arrow.read_stream`.
        client: a boto3 Kinesis client to use; a frame that has one cannot be sent to another process. None: one is made
            from the following.
        region_name: as boto3 takes it; None: as boto3 finds it.
        endpoint_url: the same.
        profile_name: the same.

    Raises:
        ValueError, TypeError: an argument makes no sense. What is wrong with positions is found when the frame is
            collected for the first time.
        CallError: the stream is not there, or may not be described. Permissions to read it are found missing when the
            frame is collected.
        ModuleNotFoundError: boto3 is not installed and no client is given.
    """
    table = StreamTable(
        Connection.of(stream, region_name, endpoint_url, profile_name),
        Bounds.of(start, end, after, until),
        on_corrupt=on_corrupt,
        fail_on_data_loss=fail_on_data_loss,
        max_records_per_fetch=max_records_per_fetch,
        client=client,
    )
    return register_io_source(_Source(table), schema=SCHEMA, is_pure=True)


class _Source:
    """What Polars calls for batches."""

    def __init__(self, table: StreamTable) -> None:
        self._table = table

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """See `polars.io.plugins.register_io_source`."""
        names = COLUMNS.names if with_columns is None else with_columns
        if not names:  # the rows are counted and nothing else
            names = ["aggregated"]
        left = n_rows
        # A limit counts the rows that the filter has left.
        most = n_rows if predicate is None else None
        shape = {} if batch_size is None else {"max_rows": max(batch_size, 1)}
        for batch in self._table.read(names, most=most, is_wanted=_shards(predicate), **shape):
            df = frame_of(batch)
            if predicate is not None:
                df = df.filter(predicate)
            if left is not None:
                df = df.head(left)
                left -= len(df)
            yield df
            if left == 0:
                return


def _shards(predicate: pl.Expr | None) -> Callable[[str], bool]:
    """Whether any row of a shard can pass a filter, as far as that is decided by the shard alone."""
    if predicate is None or set(predicate.meta.root_names()) != {"shard_id"}:
        return lambda _: True
    return lambda shard_id: not pl.DataFrame({"shard_id": [shard_id]}).filter(predicate).is_empty()


def frame_of(batch: pa.RecordBatch) -> pl.DataFrame:
    """A batch as a data frame, with plain texts.

    The values of a dictionary are there once, and each row refers to them: Polars' texts are views. As a Categorical,
    each sequence number would stay in memory for as long as the process.
    """
    return pl.DataFrame([_series(name, batch[name]) for name in batch.schema.names])


def _series(name: str, column: pa.Array) -> pl.Series:
    if not pa.types.is_dictionary(column.type):
        return pl.Series(name, pl.from_arrow(column), SCHEMA[name])
    texts = pl.Series(name, pl.from_arrow(column.dictionary), pl.String)
    return texts.gather(pl.Series(pl.from_arrow(column.indices)))
