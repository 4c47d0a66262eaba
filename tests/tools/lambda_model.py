"""Lambda's side of an event source mapping: events as it makes them, and its rule for what to send again."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import shardpack as sp

STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/clicks"


def record(sequence_number: int | str, data: bytes, key: str = "a", shard: int = 0, **fields: Any) -> dict[str, Any]:
    """A Kinesis record as Lambda hands it over ("Using Lambda to process records from Amazon Kinesis Data Streams")."""
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": key,
            "sequenceNumber": str(sequence_number),
            "data": base64.b64encode(data).decode(),
            "approximateArrivalTimestamp": 1545084650.987,
            **fields,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-{shard:012}:{sequence_number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
        "awsRegion": "us-east-1",
        "eventSourceARN": STREAM,
    }


def aggregate(sequence_number: int | str, user_records: Iterable[tuple[str, bytes]], shard: int = 0) -> dict[str, Any]:
    """An aggregate with these (partition key, data)."""
    return record(sequence_number, sp.encode(list(user_records)), shard=shard)


def event(*records: Mapping[str, Any]) -> dict[str, Any]:
    return {"Records": list(records)}


def sequence_number_of(one: Mapping[str, Any]) -> int:
    return int(one["kinesis"]["sequenceNumber"])


def deliver(
    records: list[dict[str, Any]],
    function: Callable[[dict[str, Any]], Mapping[str, Any]],
    *,
    batch_size: int,
    bisect: bool = False,
) -> int:
    """Hand all records of a shard to a function as Lambda does ("Configuring partial batch response ...").

    Returns:
        How many invocations it took.
    """
    position, limit, invocations = 0, batch_size, 0
    while position < len(records):
        batch = records[position : position + limit]
        invocations += 1
        assert invocations < 1000, "the batch does not come through"
        try:
            response = function(event(*batch))
        except BaseException:  # noqa: BLE001  # whatever ends an invocation fails its batch
            limit = max(1, len(batch) // 2) if bisect else limit
            continue
        failures = response["batchItemFailures"]
        assert set(response) == {"batchItemFailures"}
        assert len(failures) <= 1
        limit = batch_size
        if not failures:
            position += len(batch)
            continue
        lowest = int(failures[0]["itemIdentifier"])
        # Lambda takes the record with that sequence number as its checkpoint; it must be one of the batch.
        position += [sequence_number_of(one) for one in batch].index(lowest)
    return invocations


class DictProgress:
    """A store in memory, which fails when it is told to.

    Attributes:
        items: bitmaps by (shard, key).
        fail_loads: for each coming load, whether it fails; when it is empty, none does.
        fail_saves: likewise.
    """

    def __init__(self, fail_loads: Iterable[bool] = (), fail_saves: Iterable[bool] = ()) -> None:
        self.items: dict[tuple[str, str], bytes] = {}
        self.fail_loads = list(fail_loads)
        self.fail_saves = list(fail_saves)
        self.loads = self.saves = 0

    def load(self, shard: str, first: str, last: str) -> dict[str, bytes]:
        self.loads += 1
        if self.fail_loads and self.fail_loads.pop(0):
            raise ConnectionError("the store cannot be read")
        return {key: done for (where, key), done in self.items.items() if where == shard and first <= key <= last}

    def save(self, shard: str, done: Mapping[str, bytes]) -> None:
        self.saves += 1
        if self.fail_saves and self.fail_saves.pop(0):
            raise ConnectionError("the store cannot be written")
        self.items |= {(shard, key): bitmap for key, bitmap in done.items()}
