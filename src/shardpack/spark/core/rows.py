"""Kinesis records of a range as rows: Arrow record batches with the columns that Spark expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ...limits import MAX_PARTITION_KEY_CHARACTERS
from ...ranges.core.ranges import Range
from ...ranges.core.rows import user_records_of

COLUMNS = {
    "partitionKey": ("STRING", pa.string(), "partition_key"),
    "data": ("BINARY", pa.binary(), "data"),
    "explicitHashKey": ("STRING", pa.string(), "explicit_hash_key"),
    "stream": ("STRING", pa.string(), ""),
    "shardId": ("STRING", pa.string(), "shard_id"),
    "sequenceNumber": ("STRING", pa.string(), "sequence_number"),
    "subSequenceNumber": ("INT", pa.int32(), "sub_sequence_number"),
    "approximateArrivalTimestamp": ("TIMESTAMP", pa.timestamp("us", "UTC"), "approximate_arrival_timestamp"),
}
"""The columns of a row: Spark's type, Arrow's, and the column of `shardpack.arrow.SCHEMA` that it is."""

DDL = ", ".join(f"{name} {kind}" for name, (kind, _, _) in COLUMNS.items())
"""The columns as Spark's DDL."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Makes rows of Kinesis records.

    Attributes:
        stream: the name of the stream.
        names: the columns that are wanted, in that order.
        on_corrupt: see `shardpack.unpack`.
    """

    stream: str
    names: Sequence[str]
    on_corrupt: Any

    def of(self, records: Sequence[Mapping[str, Any]], one: Range) -> Iterator[pa.RecordBatch]:
        """The user records of Kinesis records of a range, without those before its beginning and after its end.

        Raises:
            DecodeError: an aggregate is corrupt, and ``on_corrupt`` is ``"raise"``.
        """
        found = user_records_of(
            records,
            one,
            [COLUMNS[name][2] for name in self.names if name != "stream"],
            on_corrupt=self.on_corrupt,
            max_key_characters=MAX_PARTITION_KEY_CHARACTERS,
            repeated="plain",
        )
        for batch in found:
            columns = [
                pa.repeat(pa.scalar(self.stream, pa.string()), batch.num_rows)
                if name == "stream"
                else batch[column].cast(kind)
                for name, (_, kind, column) in ((name, COLUMNS[name]) for name in self.names)
            ]
            yield pa.RecordBatch.from_arrays(columns, names=list(self.names))
