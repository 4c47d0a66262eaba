"""What AWS hands to a function, and the Kinesis records in it.

Every function loads this at its cold start, and so it loads nothing that telling one event from another can do without.
"""

from __future__ import annotations

from _collections_abc import Mapping  # see `values`
from itertools import islice

from ...errors import DecodeError
from ...limits import shown
from ...values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def records_of(event: Any) -> list[Any]:
    """The records of an event: of an event source mapping, of EventBridge Pipes (a list), of GetRecords, of a queue.

    Raises:
        DecodeError: there is no list of them, or it is for another function.
    """
    if isinstance(event, list | tuple):
        return list(event)
    if isinstance(event, Mapping):
        if isinstance(inside := event.get("SubscribeToShardEvent"), Mapping):
            return records_of(inside)
        if isinstance(records := event.get("Records"), list | tuple):
            return list(records)
        if "data" in event and ("eventID" in event or "sequenceNumber" in event):
            return [event]  # one record of a pipe, as the steps of a state machine hand it on
        if event.get("source") == "aws.s3":
            return [event]  # of EventBridge, about an object
    keys = ", ".join(map(shown, islice(event, 10))) if isinstance(event, Mapping) else ""
    raise DecodeError(
        f"an event of type {type(event).__name__} with the keys {keys or 'none'} has no list of 'Records', as Lambda's"
        f" events from Kinesis have, and is no list of records, as those of EventBridge Pipes are{_hint(event)}"
    )


def is_of_window(event: object) -> bool:
    """Whether an event is of a tumbling window."""
    return isinstance(event, Mapping) and ("window" in event or "state" in event)


def is_message(record: Any) -> bool:
    """Whether a record of an event says where Kinesis records lie, or carries them in a text."""
    return text_in(record) is not None or (isinstance(record, Mapping) and is_of_s3(record))


def is_of_s3(document: Mapping[str, Any]) -> bool:
    """Whether it is a notification about an object in S3."""
    return isinstance(document.get("s3"), Mapping) or document.get("source") == "aws.s3"


def text_in(message: Any) -> str | None:
    """The text that a message of SQS or SNS carries; None: it is none.

    SQS has it in ``body`` for functions, in ``Body`` for its clients, and SNS in ``Message``, for functions one level
    down, for queues in a text of its own.
    """
    if not isinstance(message, Mapping) or not _KINESIS.isdisjoint(message):
        return None
    notification = message.get("Sns")
    if isinstance(notification, Mapping):
        text = notification.get("Message")
    elif message.get("Type") == "Notification":
        text = message.get("Message")
    else:
        text = message.get("body", message.get("Body"))
    return text if isinstance(text, str) else None


_KINESIS = frozenset({"kinesis", "data", "Data"})


def _hint(event: Any) -> str:
    """Where an event belongs that is not for `process`."""
    if not isinstance(event, Mapping):
        return ""
    if "applicationArn" in event and "records" in event:
        return (
            "; it is a preprocessing event of Kinesis Data Analytics, which wants its records back, transformed:"
            " shardpack.firehose.transform answers it"
        )
    if isinstance(event.get("records"), Mapping):
        return "; it is an event of Kafka, which holds no Kinesis records"
    if "records" in event:
        return "; Firehose events go to shardpack.firehose.transform"
    if "EventStream" in event:
        return "; a subscription has no end to answer after: hand over its events one by one"
    if "awslogs" in event:
        return "; CloudWatch Logs called the function itself, without a stream between them: there is nothing to unpack"
    return ""
