"""User records as a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from ..records import ReceivedRecord
from .reading import InputError

_ROWS = 10_000  # of a group, in which a file is written and read
_BYTES = 32 * 1024 * 1024  # or of a group's data and keys, which are written out for each row


def write_parquet(records: Iterator[ReceivedRecord], file: str) -> int:
    """Write user records to a file, which appears when it is whole; how many there were.

    Raises:
        InputError: pyarrow is not installed, or the file is a device, a pipe or a folder.
        OSError: the file cannot be written.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise InputError(f"--parquet needs {error.name}: pip install 'shardpack[arrow]'") from None
    schema = pa.schema(
        {
            "shard_id": pa.string(),
            "sequence_number": pa.string(),
            "sub_sequence_number": pa.uint32(),
            "partition_key": pa.string(),
            "explicit_hash_key": pa.string(),
            "data": pa.binary(),
            "approximate_arrival_timestamp": pa.timestamp("ms", "UTC"),
            "aggregated": pa.bool_(),
        }
    )
    path = Path(file)
    if path.exists() and not path.is_file():  # a device would be replaced by the file, and be gone for everybody
        raise InputError(
            f"--parquet {file} is no regular file; name one, which is written beside it and then put there"
        )
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    count = 0
    try:
        with parquet.ParquetWriter(part, schema) as writer:
            while rows := list(_group(records)):
                columns = {field: [getattr(row, field) for row in rows] for field in schema.names}
                writer.write_batch(pa.RecordBatch.from_pydict(columns, schema))
                count += len(rows)
        part.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise
    return count


def _group(records: Iterator[ReceivedRecord]) -> Iterator[ReceivedRecord]:
    size = 0
    for record in islice(records, _ROWS):
        yield record
        size += len(record.data) + len(record.partition_key or "") + len(record.explicit_hash_key or "")
        if size >= _BYTES:
            return
