"""Messages of SQS and SNS that carry Kinesis records, or say where in a stream they lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import DecodeError
from ..limits import shown
from ._batch import Batch, log
from ._event import records_of
from ._on_failure import discarded_records
from ._record import Unreadable

_KINESIS = frozenset({"kinesis", "data", "Data"})


def are_messages(records: list[Any]) -> bool:
    """Whether these records of an event are messages of SQS or SNS."""
    return any(
        isinstance(record, Mapping) and _text_of(record) is not None and _KINESIS.isdisjoint(record)
        for record in records
    )


def message_failures(
    messages: list[Any], run: Callable[[list[Any]], Batch], client: Callable[[str], Any]
) -> list[dict[str, str]]:
    """Handle the Kinesis records of messages, one message after the other, and say which are to come again.

    A message comes again when one of its user records has failed. In a FIFO queue nothing is begun after it, and those
    after it come again too, because a queue that got only the failed one back would have changed the order
    ("Implementing partial batch responses").

    Args:
        messages: the records of the event.
        run: handles the Kinesis records of one message.
        client: gives a Kinesis client for a stream's ARN.

    Raises:
        Exception: what a message failed with that has no ``messageId``: those of SNS, which reads no answer.
    """
    failures: list[dict[str, str]] = []
    for number, message in enumerate(messages):
        error = _error_of(message, run, client)
        if error is None:
            continue
        log(f"the message {_identifier(message) or number} failed", error)
        fifo = str(message.get("eventSourceARN", "")).endswith(".fifo") if isinstance(message, Mapping) else False
        for one in messages[number:] if fifo else [message]:
            identifier = _identifier(one)
            if identifier is None:
                error.add_note("all messages failed: not each has a messageId to report")
                raise error
            failures.append({"itemIdentifier": identifier})
        if fifo:
            break
    return failures


def records_in(message: Any, client: Callable[[str], Any]) -> list[Any]:
    """The Kinesis records that a message carries or names; where it has none, the message as something unreadable."""
    text = _text_of(message) if isinstance(message, Mapping) else None
    if text is None:
        return [Unreadable(shown(message), DecodeError(f"a message of the event has no text: {shown(message)}"))]
    try:
        return _records_in_document(_json(text), text, client)
    except DecodeError as error:
        return [Unreadable(text, error)]


def _error_of(message: Any, run: Callable[[list[Any]], Batch], client: Callable[[str], Any]) -> Exception | None:
    try:
        records = records_in(message, client)
    except Exception as error:  # noqa: BLE001  # whatever reading the stream raises, the other messages go on
        return error
    return run(records).error


def _records_in_document(document: Any, text: str, client: Callable[[str], Any]) -> list[Any]:
    if isinstance(document, Mapping):
        if document.get("Type") == "Notification" and isinstance(document.get("Message"), str):
            inside = document["Message"]  # a queue that is subscribed to a topic
            return _records_in_document(_json(inside), inside, client)
        if "KinesisBatchInfo" in document or "DDBStreamBatchInfo" in document:
            return discarded_records(document, text, client)
        if "kinesis" in document or "Data" in document:
            return [document]
    return records_of(document)


def _json(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DecodeError(
            f"the text of a message is no JSON ({error}): {shown(text)}; expected Kinesis records, or what Lambda"
            " writes of a batch that it gave up"
        ) from None


def _text_of(message: Mapping[str, Any]) -> str | None:
    """The text of a message: SQS has it in ``body``, SNS one level down."""
    notification = message.get("Sns")
    text = notification.get("Message") if isinstance(notification, Mapping) else message.get("body")
    return text if isinstance(text, str) else None


def _identifier(message: Any) -> str | None:
    identifier = message.get("messageId") if isinstance(message, Mapping) else None
    return identifier if isinstance(identifier, str) and identifier else None
