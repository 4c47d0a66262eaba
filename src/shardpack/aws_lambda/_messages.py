"""Messages of SQS, SNS and S3 that carry Kinesis records, or say where in a stream or a bucket they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import DecodeError
from ..limits import shown
from ..replay.core.documents import Part, Records, parts_of
from ..replay.core.events import is_message, text_in
from ..replay.core.stretch import Stretch
from ._batch import Batch, log
from ._record import Unreadable

if TYPE_CHECKING:
    from ..replay.shells.clients import Clients

_MOST_OBJECTS = 4  # one inside the other; an object that names itself would never end


def message_failures(messages: list[Any], run: Callable[[list[Any]], Batch], clients: Clients) -> list[dict[str, str]]:
    """Handle the Kinesis records of messages, one message after the other, and say which are to come again.

    A message comes again when one of its user records has failed. In a FIFO queue nothing is begun after it, and those
    after it come again too, because a queue that got only the failed one back would have changed the order
    ("Implementing partial batch responses").

    Args:
        messages: the records of the event.
        run: handles the Kinesis records of one message.
        clients: for the streams and objects that the messages name.

    Raises:
        Exception: what a message failed with that has no ``messageId``: those of SNS and S3, which read no answer.
    """
    failures: list[dict[str, str]] = []
    for number, message in enumerate(messages):
        error = _error_of(message, run, clients)
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


def records_in(message: Any, clients: Clients) -> list[Any]:
    """The Kinesis records that a message carries or names; where it has none, the message as something unreadable."""
    if not is_message(message):
        return [Unreadable(shown(message), DecodeError(f"a message of the event has no text: {shown(message)}"))]
    text = text_in(message)
    if text is None:
        import json

        text = json.dumps(message)
    records: list[Any] = []
    try:
        for part in parts_of(message):
            records += _records_of(part, text, clients, 0)
    except DecodeError as error:
        records.append(Unreadable(text, error))
    return records


def _records_of(part: Part, text: str, clients: Clients, depth: int) -> Iterator[Any]:
    """The records of a part; for those that are gone, something unreadable at the end."""
    from ..replay.shells.fetching import Fetched, documents_in

    if isinstance(part, Records):
        yield from part.records
    elif isinstance(part, Stretch):
        fetched = Fetched(part, clients.of("kinesis", part.stream_arn))
        for page in fetched.pages():
            yield from page
        if fetched.missing is not None:
            yield Unreadable(
                text,
                DecodeError(
                    f"of the records {part} {fetched.missing}: the others have expired; a longer retention of the"
                    " stream keeps them until they are handled"
                ),
            )
    else:
        if depth == _MOST_OBJECTS:
            raise DecodeError(f"more than {_MOST_OBJECTS} objects of S3 name each other, and none holds records")
        for document in documents_in(part, clients.of("s3")):
            for inside in parts_of(document):
                yield from _records_of(inside, text, clients, depth + 1)


def _error_of(message: Any, run: Callable[[list[Any]], Batch], clients: Clients) -> Exception | None:
    try:
        records = records_in(message, clients)
    except Exception as error:  # noqa: BLE001  # whatever reading the stream raises, the other messages go on
        return error
    return run(records).error


def _identifier(message: Any) -> str | None:
    identifier = message.get("messageId") if isinstance(message, Mapping) else None
    return identifier if isinstance(identifier, str) and identifier else None
