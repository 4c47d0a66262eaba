"""The calls that read a stretch of a shard, and the object that a notification is about."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from random import random
from typing import Any
from urllib.parse import unquote_plus

from ...files._content import Content
from ...files._opening import opened
from ..core.documents import ObjectName
from ..core.reader import AskIterator, AskRecords, StretchReader
from ..core.stretch import Stretch


class Fetched:
    """The Kinesis records of a stretch, page by page, in the shape in which Lambda hands them over.

    Throttles, lost connections and iterators that have expired are tried again.

    Args:
        stretch: what to read.
        client: a Kinesis client.

    Attributes:
        missing: what is no longer there, in words, once all pages are read; None: nothing is missing.
    """

    def __init__(self, stretch: Stretch, client: Any) -> None:
        self._stretch = stretch
        self._client = client
        self.missing: str | None = None

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        """Each page that has records; read no further than asked for.

        Raises:
            Exception: what the client raised, when no retry has mended it.
        """
        reader = StretchReader(self._stretch, random)
        while reader.call is not None:
            time.sleep(reader.wait)
            try:
                answer = self._ask(reader.call)
            except Exception as error:  # noqa: BLE001  # the reader raises again what no retry mends
                reader.failed(error)
                continue
            if records := reader.answered(answer):
                yield [_as_lambda_has_it(record, self._stretch) for record in records]
        self.missing = reader.missing

    def _ask(self, call: Any) -> Any:
        arn = self._stretch.stream_arn
        if isinstance(call, AskIterator):
            return self._client.get_shard_iterator(
                StreamARN=arn,
                ShardId=self._stretch.shard_id,
                ShardIteratorType=call.kind,
                StartingSequenceNumber=call.sequence_number,
            )
        if isinstance(call, AskRecords):
            return self._client.get_records(ShardIterator=call.iterator, StreamARN=arn, Limit=call.limit)
        return self._client.describe_stream_summary(StreamARN=arn)


def documents_in(name: ObjectName, client: Any) -> Iterator[Any]:
    """The documents in an object: what Lambda wrote, or Kinesis records, as Firehose writes them or in any other shape.

    Args:
        name: of the object.
        client: an S3 client.

    Raises:
        FileError: it holds something else.
        Exception: what the client raised.
    """
    key = unquote_plus(name.key) if name.is_quoted else name.key
    version = {} if name.version_id is None else {"VersionId": name.version_id}
    answer = client.get_object(Bucket=name.bucket, Key=key, **version)
    with opened(answer["Body"], f"s3://{name.bucket}/{key}") as source:
        yield from Content(source)


def _as_lambda_has_it(record: Mapping[str, Any], stretch: Stretch) -> dict[str, Any]:
    """A record of GetRecords as an event source mapping hands it over, so that progress knows it again."""
    arrival = record.get("ApproximateArrivalTimestamp")
    # Where Kinesis distributes records by itself, they may have no partition key.
    key = {"partitionKey": record["PartitionKey"]} if record.get("PartitionKey") is not None else {}
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            **key,
            "sequenceNumber": record["SequenceNumber"],
            "data": base64.b64encode(record["Data"]).decode(),
            "approximateArrivalTimestamp": arrival.timestamp() if isinstance(arrival, datetime) else arrival,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{stretch.shard_id}:{record['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "eventSourceARN": stretch.stream_arn,
    }
