"""The daemon's lines as values (``software.amazon.kinesis.multilang.messages``)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar

from ..errors import DecodeError
from ..records import Position, ReceivedRecord

Message: TypeAlias = Mapping[str, Any]

_T = TypeVar("_T")
_WHO_TALKS = "this program is to be started by the KCL's MultiLangDaemon, as its executableName"


class ConversationError(DecodeError):
    """Daemon and process do not understand each other any more, or one of them is gone: the process cannot go on."""


def message_of(line: bytes) -> Message:
    """A line as a message: an object that names its action.

    Raises:
        ConversationError: it is none.
    """
    try:
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConversationError(
            f"standard input has {line[:60]!r}, which is no JSON in UTF-8: {error!s:.200}; {_WHO_TALKS}"
        ) from None
    if not isinstance(message, dict) or not isinstance(message.get("action"), str):
        raise ConversationError(
            f"standard input has {line[:60]!r}, which is no object with an action; {_WHO_TALKS}"
        ) from None
    return message


def shard_of(message: Message) -> tuple[str, Position]:
    """The shard of an "initialize", and the checkpoint after which it is read."""
    return _read(message, _shard)


def records_of(message: Message, shard_id: str) -> tuple[list[ReceivedRecord], int | None]:
    """The user records of a "processRecords", in order, and how many milliseconds behind the newest they are."""
    return _read(message, lambda message: (_records(message["records"], shard_id), _millis(message)))


def _read(message: Message, what: Callable[[Message], _T]) -> _T:
    try:
        return what(message)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise ConversationError(
            f"the daemon's message {message!r:.200} cannot be understood: {type(error).__name__} {error!s:.200}"
        ) from error


def _shard(message: Message) -> tuple[str, Position]:
    shard_id = message["shardId"]
    if not isinstance(shard_id, str):
        raise TypeError(f"shardId is {shard_id!r:.60}; it is to be text")
    return shard_id, _position(message)


def _position(message: Message) -> Position:
    sub_sequence_number = message.get("subSequenceNumber")
    if isinstance(sub_sequence_number, bool):
        raise TypeError(f"subSequenceNumber is {sub_sequence_number}; it is to be a number or null")
    return Position(message["sequenceNumber"], 0 if sub_sequence_number is None else sub_sequence_number)


def _millis(message: Message) -> int | None:
    millis = message.get("millisBehindLatest")
    if millis is not None and (isinstance(millis, bool) or not isinstance(millis, int)):
        raise TypeError(f"millisBehindLatest is {millis!r:.60}; it is to be a number or null")
    return millis


def _records(given: list[Message], shard_id: str) -> list[ReceivedRecord]:
    records = [_record(one, shard_id) for one in given]
    # The daemon does not say which were aggregated, but more than one at a sequence number can only have been.
    numbers = [record.sequence_number for record in records]
    shared = {first for first, second in pairwise(numbers) if first == second}
    return [
        record._replace(aggregated=True) if record.sub_sequence_number or record.sequence_number in shared else record
        for record in records
    ]


def _record(given: Message, shard_id: str) -> ReceivedRecord:
    partition_key, milliseconds = given.get("partitionKey"), given.get("approximateArrivalTimestamp")
    if not isinstance(partition_key, str | None):
        raise TypeError(f"partitionKey is {partition_key!r:.60}; it is to be text or null")
    position = _position(given)
    return ReceivedRecord(
        partition_key=partition_key,
        data=base64.b64decode(given["data"] or "", validate=True),
        explicit_hash_key=None,
        sequence_number=position.sequence_number,
        sub_sequence_number=position.sub_sequence_number,
        aggregated=False,
        approximate_arrival_timestamp=None
        if milliseconds is None
        else datetime.fromtimestamp(milliseconds / 1000, UTC),
        shard_id=shard_id,
    )
