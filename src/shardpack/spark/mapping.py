"""User records out of Kinesis records in Apache Spark, by ``DataFrame.mapInArrow``.

::

    users = df.mapInArrow(shardpack.spark.unpack, shardpack.spark.SCHEMA)

Needs pyarrow (``pip install 'shardpack[arrow]'``) on the driver and the workers, and no pyspark of its own.
docs/arrow.md tells of memory and of duplicates.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from ..arrow import SCHEMA as _COLUMNS
from ..arrow import unpack_batches
from ..arrow._schema import is_other
from ..limits import MAX_PARTITION_KEY_CHARACTERS

__all__ = ["SCHEMA", "unpack", "unpacked"]

SCHEMA = (
    "shard_id STRING, sequence_number STRING, sub_sequence_number INT, partition_key STRING, explicit_hash_key STRING,"
    " data BINARY, approximate_arrival_timestamp TIMESTAMP, aggregated BOOLEAN, fault STRING"
)
"""The columns of user records as Spark's DDL; they are those of `shardpack.arrow.SCHEMA`."""

# Spark knows no unsigned numbers, and counts time in microseconds.
_TYPES = {"sub_sequence_number": pa.int32(), "approximate_arrival_timestamp": pa.timestamp("us", "UTC")}


def unpack(batches: Iterable[pa.RecordBatch], **options: Any) -> Iterator[pa.RecordBatch]:
    """The user records in Kinesis records, with the columns of `SCHEMA` and no others.

    Args:
        batches: what ``mapInArrow`` gives: Kinesis records with a binary column ``data``.
        options: those of `shardpack.arrow.unpack_batches`; hand them over with `functools.partial`. Texts are always
            plain, because Spark knows no dictionaries. So a long key would be written out for each user record that has
            it, and ``max_key_characters`` is 256 here, the service's own limit, unless you give another.
    """
    return _unpack(batches, (), options)


def unpacked(df: Any, *, data: str = "data", **options: Any) -> Any:
    """A data frame of the user records in a data frame of Kinesis records, with its other columns repeated.

    Args:
        df: a ``pyspark.sql.DataFrame``, of a batch or a stream.
        data: the name of the binary column with the Kinesis records' data.
        options: the others of `shardpack.arrow.unpack_batches`, as for `unpack`.
    """
    from pyspark.sql import types

    kinds = {
        "STRING": types.StringType(),
        "INT": types.IntegerType(),
        "BINARY": types.BinaryType(),
        "TIMESTAMP": types.TimestampType(),
        "BOOLEAN": types.BooleanType(),
    }
    ours = [types.StructField(name, kinds[kind]) for name, kind in map(str.split, SCHEMA.split(", "))]
    others = [field for field in df.schema.fields if is_other(field.name, data)]
    names = tuple(field.name for field in others)
    function = functools.partial(_unpack, others=names, options={**options, "data": data})
    return df.mapInArrow(function, types.StructType([*ours, *others]))


def _unpack(
    batches: Iterable[pa.RecordBatch], others: tuple[str, ...], options: dict[str, Any]
) -> Iterator[pa.RecordBatch]:
    ours = {"max_key_characters": MAX_PARTITION_KEY_CHARACTERS, **options, "repeated": "plain"}
    for batch in unpack_batches(batches, **ours):
        columns = {name: batch[name] for name in (*_COLUMNS.names, *others)}
        columns |= {name: columns[name].cast(kind) for name, kind in _TYPES.items()}
        yield pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
