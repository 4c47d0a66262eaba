"""Where the messages about failed batches lie: a file, a queue, a bucket, or a list of the program's own."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ...files._content import Content
from ...files._opening import ReadableBytes, opened
from ...limits import check_iterable
from ..core.documents import ObjectName, Part, parts_of, parts_of_text
from .clients import Clients
from .fetching import documents_in

_log = logging.getLogger("shardpack.replay")

Given = str | os.PathLike[str] | ReadableBytes | Iterable[Mapping[str, Any] | str | bytes]
"""What names a source: see `source_of`."""

# For which the queue hides a message; renewed between pages of records. A function has 15 minutes for its whole batch.
_HIDDEN_SECONDS = 3600
_POLL_SECONDS = 2  # for which the queue is asked for one more message
_IN_FLIGHT = 10  # ReceiveMessage API reference: most messages of a call


@dataclass(frozen=True)
class Message:
    """A message about one failed batch or several.

    Attributes:
        name: for people: its id in the queue, its object's name, or its file and line.
        parts: gives what it says; raises `DecodeError` when that is nothing of the kind.
        receipt: by which its source knows it.
    """

    name: str
    parts: Callable[[], Iterator[Part]]
    receipt: str | None = None


class Source(Protocol):
    """Where messages lie."""

    def __iter__(self) -> Iterator[Message]: ...

    def keep(self) -> None:
        """The last message that was given is still being worked on."""

    def delete(self, message: Message) -> None:
        """All that it means is done."""

    def close(self) -> None:
        """No more messages are asked for; those that were not deleted are there for whoever comes next."""


def source_of(given: Given, clients: Clients, *, delete: bool | None) -> Source:
    """The source that somebody names.

    Args:
        given: a queue's URL or ARN; ``s3://BUCKET/PREFIX``; the path of a file, or a stream of bytes; or the messages
            themselves, as texts or parsed.
        clients: for queues and buckets.
        delete: whether messages of which everything is done are deleted. None: those of a queue are, objects are not.

    Raises:
        TypeError: it is none of these.
        ValueError: it names no bucket.
    """
    if isinstance(given, str):
        if given.startswith("s3://"):
            return ObjectSource(given, clients.of("s3"), deletes=bool(delete))
        if given.startswith(("https://", "http://", "arn:")):
            return QueueSource(given, clients.of("sqs", given), deletes=delete is not False)
    if isinstance(given, str | os.PathLike) or hasattr(given, "read"):
        return FileSource(given)
    if isinstance(given, Mapping):
        return ListSource([given])
    check_iterable("source", given, "a queue's URL or ARN, s3://BUCKET/PREFIX, a path, a stream of bytes, or messages")
    return ListSource(given)


class ListSource:
    """Messages that the program has."""

    def __init__(self, messages: Iterable[Mapping[str, Any] | str | bytes]) -> None:
        self._messages = messages

    def __iter__(self) -> Iterator[Message]:
        for number, message in enumerate(self._messages):
            yield Message(f"message {number}", _parts_given(message))

    def keep(self) -> None:
        """See `Source`."""

    def delete(self, message: Message) -> None:
        """See `Source`."""

    def close(self) -> None:
        """See `Source`."""


class FileSource(ListSource):
    """The JSON documents in a file, compressed or not, each a message."""

    def __init__(self, file: Any) -> None:
        super().__init__(())
        self._file = file

    def __iter__(self) -> Iterator[Message]:
        """See `Source`.

        Raises:
            OSError, FileError: the file cannot be read, or is none of JSON documents.
        """
        with opened(self._file) as source:
            content = Content(source)
            for document in content:
                yield Message(f"{source.name}:{content.lines.number}", _parts_given(document))


class ObjectSource:
    """The objects under a prefix, in the order of their keys; Lambda puts the time into them."""

    def __init__(self, url: str, client: Any, *, deletes: bool) -> None:
        self._bucket, _, self._prefix = url.removeprefix("s3://").partition("/")
        if not self._bucket:
            raise ValueError(f"{url} names no bucket; give s3://BUCKET/PREFIX")
        self._client = client
        self._deletes = deletes

    def __iter__(self) -> Iterator[Message]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        for page in pages:
            for found in page.get("Contents", ()):
                if found["Size"]:  # the console makes empty objects for folders
                    name = ObjectName(self._bucket, found["Key"], None, is_quoted=False)
                    yield Message(f"s3://{self._bucket}/{found['Key']}", self._parts(name), found["Key"])

    def keep(self) -> None:
        """See `Source`."""

    def delete(self, message: Message) -> None:
        """See `Source`."""
        if self._deletes:
            self._client.delete_object(Bucket=self._bucket, Key=message.receipt)

    def close(self) -> None:
        """See `Source`."""

    def _parts(self, name: ObjectName) -> Callable[[], Iterator[Part]]:
        def parts() -> Iterator[Part]:
            for document in documents_in(name, self._client):
                yield from parts_of(document)

        return parts


class QueueSource:
    """The messages of a queue, until it gives no more."""

    def __init__(self, queue: str, client: Any, *, deletes: bool) -> None:
        self._client = client
        self._deletes = deletes
        self._url = queue
        if queue.startswith("arn:"):
            *_, account, name = queue.split(":")
            self._url = client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
        self._held: dict[str, float] = {}  # until when the queue hides a message, by its receipt

    def __iter__(self) -> Iterator[Message]:
        seen: set[str] = set()
        while True:
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_IN_FLIGHT,
                VisibilityTimeout=_HIDDEN_SECONDS,
                WaitTimeSeconds=_POLL_SECONDS,
            )
            messages = answer.get("Messages", ())
            until = time.monotonic() + _HIDDEN_SECONDS
            self._held |= {message["ReceiptHandle"]: until for message in messages}
            if not messages:
                return
            # One that stays may come again before others have come once; then it is hidden again.
            for message in [message for message in messages if message["MessageId"] not in seen]:
                seen.add(message["MessageId"])
                yield Message(message["MessageId"], _parts_given(message["Body"]), message["ReceiptHandle"])

    def keep(self) -> None:
        """See `Source`; those that wait behind it are hidden for longer, too."""
        soon = time.monotonic() + _HIDDEN_SECONDS / 2
        for receipt in [receipt for receipt, until in self._held.items() if until < soon]:
            self._hide(receipt, _HIDDEN_SECONDS)

    def delete(self, message: Message) -> None:
        """See `Source`."""
        if self._deletes and message.receipt is not None:
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt)
            self._held.pop(message.receipt, None)

    def close(self) -> None:
        """See `Source`."""
        for receipt in list(self._held):
            self._hide(receipt, 0)
        self._held.clear()

    def _hide(self, receipt: str, seconds: int) -> None:
        self._held[receipt] = time.monotonic() + seconds
        try:
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=seconds)
        except Exception as error:  # noqa: BLE001  # whatever it is, it mends itself: the message becomes visible
            _log.warning("a message of %s stays hidden for another time than it should: %s", self._url, error)


def _parts_given(message: Any) -> Callable[[], Iterator[Part]]:
    return lambda: parts_of_text(message) if isinstance(message, str | bytes) else parts_of(message)
