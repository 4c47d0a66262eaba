"""User records as the objects of AWS Lambda Powertools."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..unpacking.unpacker import OnCorrupt, unpack
from ._event import records_of
from ._record import lambda_shape

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord


def powertools_records(event: Mapping[str, Any], *, on_corrupt: OnCorrupt = "raw") -> Iterator[KinesisStreamRecord]:
    """The user records of a Lambda event as Powertools' ``KinesisStreamRecord``, lazily and in their order.

    Each has all fields of the Kinesis record that held it, with the user record's own partition key and data, and
    beside ``kinesis.sequence_number``, which the sub-records of an aggregate share, ``kinesis["subSequenceNumber"]``,
    ``kinesis["aggregated"]`` and ``kinesis["explicitHashKey"]``. ``raw_event`` is the mapping inside.

    Args:
        event: what Lambda hands to the function, or Powertools' ``KinesisStreamEvent``.
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
            yield KinesisStreamRecord({**record, "kinesis": kinesis})
