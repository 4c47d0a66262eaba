"""User records as the objects of AWS Lambda Powertools."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..limits import shown
from ..records import ReceivedRecord
from ..replay.core.events import records_of
from ..unpacking.unpacker import OnCorrupt, unpack
from ._record import lambda_shape

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord


def powertools_event(event: Mapping[str, Any] | Sequence[Any], *, on_corrupt: OnCorrupt = "raw") -> dict[str, Any]:
    """The event with each of its user records as a record of its own, for Powertools' batch processors.

    ``BatchProcessor`` and ``AsyncBatchProcessor`` take it in the place of the event. Their answer names the sequence
    number of each user record that failed; Lambda goes on at the lowest.

    Args:
        event: as for `powertools_records`.
        on_corrupt: as for `unpack`.

    Raises:
        ModuleNotFoundError: aws-lambda-powertools is not installed.
        DecodeError: as for `powertools_records`.
    """
    rest = {name: value for name, value in event.items() if name != "Records"} if isinstance(event, Mapping) else {}
    return {**rest, "Records": [record.raw_event for record in powertools_records(event, on_corrupt=on_corrupt)]}


def idempotency_key(record: ReceivedRecord | KinesisStreamRecord) -> str:
    """What names a user record in every delivery of it: shard, sequence number and sub-sequence number.

    It is for Powertools' idempotency utility and its like. A user record that its producer has put twice is two
    records, with two keys: those are found by their content (`shardpack.dedup`).

    Args:
        record: a user record as `process` and `unpack` give it, or one of `powertools_records`.

    Raises:
        ValueError: the record has no sequence number, so nothing names it.
    """
    if isinstance(record, ReceivedRecord):
        return _key(record)
    kinesis = getattr(record, "kinesis", None)
    if kinesis is None or not hasattr(kinesis, "get"):
        raise TypeError(f"record is {shown(record)}; give a ReceivedRecord, or a record of powertools_records")
    key: str | None = kinesis.get("idempotencyKey")
    if key is None:
        raise ValueError(_NAMELESS)
    return key


def powertools_records(
    event: Mapping[str, Any] | Sequence[Any], *, on_corrupt: OnCorrupt = "raw"
) -> Iterator[KinesisStreamRecord]:
    """The user records of a Lambda event as Powertools' ``KinesisStreamRecord``, lazily and in their order.

    Each has all fields of the Kinesis record that held it, with the user record's own partition key and data, and
    beside ``kinesis.sequence_number``, which the sub-records of an aggregate share, ``kinesis["subSequenceNumber"]``,
    ``kinesis["aggregated"]``, ``kinesis["explicitHashKey"]`` and ``kinesis["idempotencyKey"]`` (see `idempotency_key`;
    only where there is a sequence number). ``raw_event`` is the mapping inside.

    Args:
        event: what Lambda hands to the function, Powertools' ``KinesisStreamEvent``, or the list of EventBridge Pipes.
        on_corrupt: as for `unpack`.

    Raises:
        ModuleNotFoundError: aws-lambda-powertools is not installed.
        DecodeError: a record is corrupt and ``on_corrupt="raise"``, or is no Kinesis record.
    """
    try:
        from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"powertools_records needs {error.name}: pip install aws-lambda-powertools") from None
    for record in map(lambda_shape, records_of(event)):
        for user_record in unpack(record, on_corrupt=on_corrupt):
            kinesis = {
                **record["kinesis"],
                "partitionKey": user_record.partition_key,
                "explicitHashKey": user_record.explicit_hash_key,
                "data": base64.b64encode(user_record.data).decode(),
                "subSequenceNumber": user_record.sub_sequence_number,
                "aggregated": user_record.aggregated,
            }
            if user_record.sequence_number:
                kinesis["idempotencyKey"] = _key(user_record)
            yield KinesisStreamRecord({**record, "kinesis": kinesis})


_NAMELESS = "a user record without a sequence number has no idempotency key: nothing names it in its next delivery"


def _key(record: ReceivedRecord) -> str:
    if not record.sequence_number:
        raise ValueError(_NAMELESS)
    return f"{record.shard_id or ''}:{record.sequence_number}:{record.sub_sequence_number}"
