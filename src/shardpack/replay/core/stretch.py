"""A stretch of a shard: what Lambda says of a batch that it gave up.

("Retain discarded batch records for a Kinesis Data Streams event source in Lambda")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...errors import DecodeError
from ...limits import MAX_SEQUENCE_NUMBER_CHARACTERS as _MOST_DIGITS
from ...limits import shown

_NAMES = ("streamArn", "shardId", "startSequenceNumber", "endSequenceNumber")


class Stretch(NamedTuple):
    """A stretch of a shard, both ends included.

    Attributes:
        stream_arn: the stream's ARN.
        shard_id: the shard's id.
        first: the sequence number of its first Kinesis record.
        last: that of its last one.
        batch_size: how many records Lambda counted in the batch (``batchSize``); None: it does not say.
        arrived: when the first of them reached the stream, as Lambda writes it; None: it does not say.
    """

    stream_arn: str
    shard_id: str
    first: str
    last: str
    batch_size: int | None = None
    arrived: str | None = None

    def __str__(self) -> str:
        arrived = f", which arrived at {self.arrived} and after" if self.arrived else ""
        return f"{self.first} to {self.last} of {self.shard_id} in {self.stream_arn}{arrived}"


def stretch_of(document: Mapping[str, Any]) -> Stretch:
    """The stretch of a shard that Lambda gave up.

    Args:
        document: what Lambda wrote, with ``KinesisBatchInfo``.

    Raises:
        DecodeError: the document does not say, or means a DynamoDB stream.
    """
    info = document.get("KinesisBatchInfo")
    if not isinstance(info, Mapping):
        if "KinesisBatchInfo" in document:
            names = ", ".join(_NAMES)
            raise DecodeError(
                f"'KinesisBatchInfo' of an on-failure record is {shown(info)}; expected an object with {names}"
            )
        raise DecodeError(
            f"an on-failure record has no 'KinesisBatchInfo', only {shown(list(document))}, so it is of no"
            " Kinesis stream"
        )
    values = [_text(info, name) for name in _NAMES]
    stream_arn, shard_id, first, last = values
    stream_arn, _, _ = stream_arn.partition("/consumer/")  # a mapping with enhanced fan-out names its consumer
    if int(first) > int(last):
        raise DecodeError(
            f"an on-failure record begins at the sequence number {first}, which is after the one it ends at, {last}"
        )
    size, arrived = info.get("batchSize"), info.get("approximateArrivalOfFirstRecord")
    return Stretch(
        stream_arn,
        shard_id,
        first,
        last,
        size if isinstance(size, int) and size > 0 else None,
        arrived if isinstance(arrived, str) and arrived else None,
    )


def _text(info: Mapping[str, Any], name: str) -> str:
    value = info.get(name)
    expected = "text"
    if isinstance(value, str) and value and not name.endswith("Number"):
        return value
    if name.endswith("Number"):
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
            return value
        expected = f"a sequence number, at most {_MOST_DIGITS} digits and nothing else"
    raise DecodeError(f"{name!r} of an on-failure record is {shown(value)}; expected {expected}")
