"""What Lambda writes to an on-failure destination of a batch that it gave up, and the records that it means.

Of a batch of a stream, SQS and SNS get the shard and the first and last sequence number; S3 gets the event beside it
("Retain discarded batch records for a Kinesis Data Streams event source in Lambda").
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ..errors import DecodeError
from ..limits import MAX_SEQUENCE_NUMBER_CHARACTERS, shown
from ._event import records_of
from ._record import Unreadable

_MOST_IN_A_PAGE = 10_000  # GetRecords API reference


class DiscardedBatch(NamedTuple):
    """A batch that Lambda gave up: a stretch of a shard, both ends included."""

    stream_arn: str
    shard_id: str
    first: str
    last: str


def discarded_records(document: Mapping[str, Any], text: str, client: Callable[[str], Any]) -> list[Any]:
    """The Kinesis records of a batch that Lambda gave up, in the shape in which it hands them over.

    What has expired is no longer among them: something unreadable stands for it at the end.

    Args:
        document: what Lambda wrote.
        text: the same as it came.
        client: gives a Kinesis client for a stream's ARN.

    Raises:
        DecodeError: the document says no such batch.
    """
    payload = document.get("payload")
    if isinstance(payload, str) and payload:
        import json

        try:
            payload = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"the 'payload' of an on-failure record is no JSON: {error}") from None
    if payload:
        return records_of(payload)
    batch = discarded_batch(document)
    records = list(_read(batch, client(batch.stream_arn)))
    if records and records[0]["kinesis"]["sequenceNumber"] == batch.first:
        return records
    found = f"only those from {records[0]['kinesis']['sequenceNumber']} on are left" if records else "none is left"
    expired = DecodeError(
        f"of the records {batch.first} to {batch.last} of {batch.shard_id} in {batch.stream_arn} {found}: the others"
        " have expired; a longer retention of the stream keeps them until they are handled"
    )
    return [*records, Unreadable(text, expired)]


def discarded_batch(document: Mapping[str, Any]) -> DiscardedBatch:
    """The stretch of a shard that Lambda gave up.

    Raises:
        DecodeError: the document does not say, or means a DynamoDB stream.
    """
    info = document.get("KinesisBatchInfo")
    if not isinstance(info, Mapping):
        raise DecodeError(
            f"an on-failure record has no 'KinesisBatchInfo', only {shown(list(document))}, so it is of no"
            " Kinesis stream"
        )
    names = ("streamArn", "shardId", "startSequenceNumber", "endSequenceNumber")
    values = [info.get(name) for name in names]
    for name, value in zip(names, values, strict=True):
        numeric = name.endswith("Number")
        if not isinstance(value, str) or not value or (numeric and not _is_sequence_number(value)):
            expected = f"a sequence number, at most {MAX_SEQUENCE_NUMBER_CHARACTERS} digits" if numeric else "text"
            raise DecodeError(f"{name!r} of an on-failure record is {shown(value)}; expected {expected}")
    stream_arn, shard_id, first, last = map(str, values)
    stream_arn, _, _ = stream_arn.partition("/consumer/")  # a mapping with enhanced fan-out names its consumer
    return DiscardedBatch(stream_arn, shard_id, first, last)


def _is_sequence_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_SEQUENCE_NUMBER_CHARACTERS


def _read(batch: DiscardedBatch, client: Any) -> Iterator[dict[str, Any]]:
    iterator = client.get_shard_iterator(
        StreamARN=batch.stream_arn,
        ShardId=batch.shard_id,
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber=batch.first,
    )["ShardIterator"]
    while iterator:
        page = client.get_records(ShardIterator=iterator, StreamARN=batch.stream_arn, Limit=_MOST_IN_A_PAGE)
        for record in page["Records"]:
            if int(record["SequenceNumber"]) > int(batch.last):
                return
            yield _as_lambda_has_it(record, batch)
            if record["SequenceNumber"] == batch.last:
                return
        if not page["Records"] and not page.get("MillisBehindLatest"):
            return  # at the tip: what is looked for is not there any more
        iterator = page.get("NextShardIterator")


def _as_lambda_has_it(record: Mapping[str, Any], batch: DiscardedBatch) -> dict[str, Any]:
    """A record of GetRecords as an event source mapping hands it over, so that a `Progress` knows it again."""
    arrival = record.get("ApproximateArrivalTimestamp")
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": record["SequenceNumber"],
            "data": base64.b64encode(record["Data"]).decode(),
            "approximateArrivalTimestamp": arrival.timestamp() if isinstance(arrival, datetime) else arrival,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{batch.shard_id}:{record['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "eventSourceARN": batch.stream_arn,
    }
