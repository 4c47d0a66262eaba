"""A stream between two bounds as a table: planned once, and read as often as one likes, with the same rows."""

from __future__ import annotations

import copy
import difflib
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import sleep
from typing import Any

import pyarrow as pa

from ...arrow import unpack_batches, unpacked_schema
from ...consumer.core.shards import ListedShard, ancestors
from ...errors import CallError
from ...limits import check_integer, check_iterable, check_type, shown
from ...unpacking.unpacker import OnCorrupt
from ..core import rows
from ..core.bounds import Bounds, Moment, Positions, begun, cut
from ..core.marks import END, Mark
from ..core.options import MAX_RECORDS, Connection, SourceOptions, Start
from ..core.ranges import Range
from .backfill import to_moment
from .clients import Caller, kinesis_of
from .driver import Driver
from .stream import KinesisStream
from .tasks import RangeReader


class StreamTable:
    """A stream between two bounds. Threads may share it, and it may be pickled, if it makes its client itself.

    Args:
        connection: which stream, and where.
        bounds: between what it is read.
        on_corrupt: see `shardpack.unpack`.
        fail_on_data_loss: whether it is an error that records expire between the plan and the reading, or after
            positions that were given.
        max_records_per_fetch: the most Kinesis records in a `GetRecords` call.
        client: a boto3 Kinesis client; None: one is made for the connection.

    Raises:
        ValueError, TypeError: an argument makes no sense.
        CallError: the stream is not there, or may not be described.
    """

    def __init__(
        self,
        connection: Connection,
        bounds: Bounds,
        *,
        on_corrupt: OnCorrupt = "raw",
        fail_on_data_loss: bool = True,
        max_records_per_fetch: int = MAX_RECORDS,
        client: Any = None,
    ) -> None:
        check_type("fail_on_data_loss", fail_on_data_loss, bool, "True or False")
        check_integer("max_records_per_fetch", max_records_per_fetch)
        if not 1 <= max_records_per_fetch <= MAX_RECORDS:
            raise ValueError(f"max_records_per_fetch is {shown(max_records_per_fetch)}; give 1 to {MAX_RECORDS:,}")
        unpack_batches((), on_corrupt=on_corrupt)  # checks it
        self._bounds = bounds
        start = Start("trim_horizon") if bounds.start is None else Start("at_timestamp", time=bounds.start)
        self._options = SourceOptions(
            connection=connection,
            initial=start,
            final=Start("latest"),
            max_records_per_fetch=max_records_per_fetch,
            fail_on_data_loss=fail_on_data_loss,
            on_corrupt=on_corrupt,
        )
        if client is not None and not callable(getattr(client, "get_shard_iterator", None)):
            what = f"client is {shown(client)}, of type {type(client).__name__}"
            raise TypeError(f'{what}; give boto3.client("kinesis"), or leave it out')
        self._client = client
        self._travels = client is None
        self._lock = threading.Lock()
        self._planned: list[Range] | None = None
        self._stream().identity()  # whether it is there

    def __getstate__(self) -> dict[str, Any]:
        """Without the client.

        Raises:
            TypeError: the client was given, and cannot be made again elsewhere.
        """
        if not self._travels:
            raise TypeError("a client cannot travel to another process; give region_name and endpoint_url in its place")
        return {**vars(self), "_lock": None, "_client": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    def without_plan(self) -> StreamTable:
        """The same for those who read single parts of it, and not with all of them in the luggage."""
        other = copy.copy(self)
        vars(other).update(_planned=[], _bounds=Bounds())
        return other

    def ranges(self) -> list[Range]:
        """The parts of shards that it has, parents before children; found out at the first call.

        Raises:
            ValueError: a position is in a shard that the stream does not have, or the start is to come.
            DataLossError: what comes after a position has expired; see `fail_on_data_loss`.
            CallError: a call failed for good.
        """
        with self._lock:
            if self._planned is None:
                self._planned = self._plan()
            return self._planned

    def _plan(self) -> list[Range]:
        stream = self._stream()
        driver = Driver(stream, self._options, lambda *_: {}, sleep=sleep)
        _ = driver.identity  # sets the clock
        shards = stream.shards()
        self._bounds.check(shards, stream.now())
        start = driver.initial(self._options.initial)
        try:
            start = replace(start, shards=begun(start.shards, self._after(stream, shards), shards))
            ranges = to_moment(driver, start, self._bounds.end, stream.now())
        except CallError as error:
            if error.code != "InvalidArgumentException" or not self._bounds.after:
                raise
            raise ValueError(f"after has a position that is not in its shard, or of another stream: {error}") from None
        until = self._bounds.until
        return cut(ranges, until, stream.shards()) if until else ranges  # with those that came meanwhile

    def _after(self, stream: KinesisStream, shards: Mapping[str, ListedShard]) -> dict[str, Mark]:
        """Where single shards begin, without those of which nothing is left and whose children have positions too.

        Such a shard counts as read. So its last record, or the shard itself, may have expired since.
        """
        after = dict(self._bounds.after)
        for key in ancestors(after, {one: shard.parents for one, shard in shards.items()}) & after.keys():
            if key not in shards or (after[key] != END and stream.first(key, after[key]).is_over):
                del after[key]
        return after

    def read(
        self,
        columns: Sequence[str] = rows.COLUMNS,
        *,
        most: int | None = None,
        is_wanted: Callable[[str], bool] = lambda _: True,
        **unpacking: Any,
    ) -> Iterator[pa.RecordBatch]:
        """The user records, batch after batch, of one shard after another.

        Args:
            columns: those of `shardpack.arrow.SCHEMA` that are wanted, in that order.
            most: how many user records to read at most; None: all.
            is_wanted: whether to read a shard, by its id.
            unpacking: options of `shardpack.arrow.unpack_batches`.

        Raises:
            DataLossError, CallError, DecodeError: see `ranges`, and `shardpack.unpack` for what ``on_corrupt`` says.
        """
        left = most
        for one in self.ranges():
            if left == 0:
                return
            if not is_wanted(one.shard_id):
                continue
            for batch in self.read_range(one, columns, left, **unpacking):
                some = batch if left is None else batch.slice(0, left)
                left = None if left is None else left - some.num_rows
                yield some
                if left == 0:
                    return

    def read_range(
        self, one: Range, columns: Sequence[str] = rows.COLUMNS, most: int | None = None, **unpacking: Any
    ) -> Iterator[pa.RecordBatch]:
        """The user records of a part of a shard; `most` says how many are wanted, and more may come."""
        options = self._options
        if most is not None:  # a Kinesis record holds one at least, or hardly ever none
            options = replace(options, max_records_per_fetch=min(options.max_records_per_fetch, max(most, 1)))
        of = partial(rows.user_records_of, columns=columns, **{"on_corrupt": options.on_corrupt, **unpacking})
        yield from RangeReader(self._call(), options, of, sleep=sleep).read(one)

    def _call(self) -> Caller:
        connection = self._options.connection
        if self._client is None:
            self._client = kinesis_of(connection)
        return Caller(connection, self._client, sleep=sleep)

    def _stream(self) -> KinesisStream:
        return KinesisStream(self._call(), self._options.connection.stream, sleep=sleep)


def read_stream(
    stream: str,
    start: Moment = "TRIM_HORIZON",
    end: Moment = "LATEST",
    *,
    after: Positions | None = None,
    until: Positions | None = None,
    columns: Sequence[str] | None = None,
    fail_on_data_loss: bool = True,
    max_records_per_fetch: int = MAX_RECORDS,
    client: Any = None,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    **options: Any,
) -> pa.RecordBatchReader:
    """The user records of a stream between two bounds, as a reader, which DuckDB, pandas and Polars read as it comes.

    What is to be read is decided, to the record, before this returns. The records are fetched while the reader is read,
    so no more of them is in memory than the engine keeps. A shard comes after those that it was split or merged from.

    Args:
        stream: the stream's name or ARN.
        start: what arrived in a shard before this moment is left out: a `datetime` with a time zone, or
            ``"TRIM_HORIZON"``, all that the stream holds.
        end: what arrived at or after this moment is left out: a `datetime`, or ``"LATEST"``, what is there now. Moments
            are compared with the approximate arrival, which Kinesis gives to the millisecond.
        after: {shard id: `Position`}: such a shard begins after this user record, and what it was split or merged from
            is left out; ``Position.SHARD_END`` says that it is read. Where other shards begin, `start` says.
        until: {shard id: `Position`}: such a shard ends with this user record, and what it was split or merged into is
            left out, if it has no end of its own. Where other shards end, `end` says.
        columns: those of `SCHEMA` that are wanted, in that order; None: all.
        fail_on_data_loss: whether it is an error that records expire before they are read, or have expired after the
            positions in `after`. False: it is logged, and what is there is read.
        max_records_per_fetch: the most Kinesis records in a `GetRecords` call.
        client: a boto3 Kinesis client to use. None: one is made from the following.
        region_name: as boto3 takes it; None: as boto3 finds it.
        endpoint_url: the same.
        profile_name: the same.
        options: those of `unpack_batches`, but for ``data``.

    Raises:
        ValueError, TypeError: an argument makes no sense.
        CallError: the stream is not there, or a permission is missing; the message says what to do.
        DataLossError: see `fail_on_data_loss`.
        ModuleNotFoundError: boto3 is not installed and no client is given.
    """
    names = checked_columns(columns)
    _check_options(options)
    shape = {name: options[name] for name in ("repeated", "views") if name in options}
    schema = unpacked_schema(pa.schema({"data": pa.binary()}), **shape)
    table = StreamTable(
        Connection.of(stream, region_name, endpoint_url, profile_name),
        Bounds.of(start, end, after, until),
        fail_on_data_loss=fail_on_data_loss,
        max_records_per_fetch=max_records_per_fetch,
        client=client,
    )
    table.ranges()
    return pa.RecordBatchReader.from_batches(
        pa.schema([schema.field(name) for name in names]), table.read(names, **options)
    )


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse what neither `read_stream` nor `unpack_batches` takes."""
    of_batches = inspect.signature(unpack_batches).parameters.keys() - {"batches", "data"}
    known = of_batches | inspect.signature(read_stream).parameters.keys() - {"options"}
    for name in options.keys() - of_batches:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
        raise TypeError(f"read_stream has no argument {shown(name)}; {hint}")
    unpack_batches((), **options)


def checked_columns(columns: Sequence[str] | None) -> list[str]:
    """The columns that are wanted.

    Raises:
        ValueError: one is none of ours, or is there twice.
        TypeError: they are no names.
    """
    if columns is None:
        return list(rows.COLUMNS)
    check_iterable("columns", columns, "a list of names")
    names = list(columns)
    wrong = [name for name in names if name not in rows.COLUMNS or names.count(name) > 1]
    if wrong or not names:
        raise ValueError(f"columns is {shown(columns)}; give some of {', '.join(rows.COLUMNS)}, each once")
    return names
