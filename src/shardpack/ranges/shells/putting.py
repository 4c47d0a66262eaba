"""Puts the rows of an engine's task, by the producer, which says of each whether it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, TypeAlias

import pyarrow as pa

from ...producer import Delivery, Producer, ProducerConfig

_AT_ONCE = 2000  # rows that are put together
_WAITING = 50  # of those that are on their way before the oldest is waited for

Columns: TypeAlias = Mapping[str, str]
"""The names of the columns by what they are: partition_key, data, and perhaps explicit_hash_key."""

MEANINGS = ("partition_key", "data", "explicit_hash_key")


def meaning_of(name: str) -> str | None:
    """What a column is, in any of the spellings ``partition_key``, ``partitionKey`` and ``PartitionKey``."""
    folded = name.replace("_", "").lower()
    return next((one for one in MEANINGS if one.replace("_", "") == folded), None)


def put_batches(
    stream: str,
    config: ProducerConfig,
    client: Any,
    batches: Iterable[pa.RecordBatch],
    columns_of: Callable[[pa.Schema], Columns],
) -> int:
    """Put all rows of a task, and return how many they are when all of them are stored.

    Args:
        stream: the stream's name or ARN.
        config: of the producer.
        client: of Kinesis.
        batches: the rows.
        columns_of: which columns hold what.

    Raises:
        DeliveryError: some are not; whoever runs the task again puts all of them once more.
        InvalidRecordError, RecordTooLargeError: a row breaks a rule of the service.
    """
    rows = 0
    waiting: list[Future[list[Delivery]]] = []
    with Producer(stream, config, client=client) as producer:
        for batch in batches:
            columns = columns_of(batch.schema)
            for start in range(0, batch.num_rows, _AT_ONCE):
                some = _records(batch.slice(start, _AT_ONCE), columns)
                waiting.append(producer.put_many(some))
                rows += len(some)
                if len(waiting) > _WAITING:
                    waiting.pop(0).result()
        producer.flush()
        for future in waiting:
            future.result()
    return rows


def _records(batch: pa.RecordBatch, columns: Columns) -> list[tuple[Any, ...]]:
    keys = batch[columns["partition_key"]].to_pylist()
    data = batch[columns["data"]].cast(pa.large_binary()).to_pylist()
    if "explicit_hash_key" not in columns:
        return list(zip(keys, data, strict=True))
    return list(zip(keys, data, batch[columns["explicit_hash_key"]].to_pylist(), strict=True))
