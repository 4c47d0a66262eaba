"""A replay: message by message, what each means is fetched, handed on, and accounted for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ...errors import DecodeError
from ..core.documents import ObjectName, Part, Records, parts_of
from ..core.report import ExpiredStretch, FailedMessage, ReplayReport
from ..core.stretch import Stretch
from .clients import Clients
from .fetching import Fetched, documents_in
from .sources import Message, Source

_MOST_OBJECTS = 4  # one inside the other; an object that names itself would never end


class Taken(NamedTuple):
    """What has become of some Kinesis records.

    Attributes:
        user_records: how many user records were handed over.
        skipped: how many were done before.
        error: what it stopped with; None: all are done.
    """

    user_records: int
    skipped: int
    error: Exception | None


class Replay:
    """Works through the messages of a source.

    Args:
        clients: for what the messages name.
        take: handles Kinesis records in the shape in which Lambda hands them over, some at a time, those of a shard in
            their order.
        tell: called with the report after each message, and after each page of records.

    Attributes:
        report: what has become of the messages so far.
    """

    def __init__(
        self, clients: Clients, take: Callable[[list[Any]], Taken], tell: Callable[[ReplayReport], object] | None
    ) -> None:
        self.report = ReplayReport()
        self._clients = clients
        self._take = take
        self._tell = tell or (lambda _: None)

    def run(self, source: Source) -> None:
        """Work through all messages; what fails at one is in the report, and the next comes.

        Raises:
            Exception: the source itself cannot be read.
        """
        try:
            for message in source:
                self.report.messages += 1
                if self._is_done(message, source):
                    self.report.done += 1
                self._tell(self.report)
        finally:
            source.close()

    def _is_done(self, message: Message, source: Source) -> bool:
        expired = len(self.report.expired)
        try:
            for records in self._pages(message.parts(), message, 0):
                source.keep()
                taken = self._take(records)
                self.report.kinesis_records += len(records)
                self.report.user_records += taken.user_records
                self.report.skipped += taken.skipped
                if taken.error is not None:
                    return self._failed(message, taken.error)
                self._tell(self.report)
            if len(self.report.expired) > expired:
                return False
            source.delete(message)
        except ModuleNotFoundError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the message stays, and the others go on
            return self._failed(message, error)
        return True

    def _failed(self, message: Message, error: Exception) -> bool:
        self.report.failed.append(FailedMessage(message.name, error))
        return False

    def _pages(self, parts: Iterator[Part], message: Message, depth: int) -> Iterator[list[Any]]:
        for part in parts:
            if isinstance(part, Stretch):
                fetched = Fetched(part, self._clients.of("kinesis", part.stream_arn))
                yield from fetched.pages()
                if fetched.missing is not None:
                    self.report.expired.append(ExpiredStretch(part, fetched.missing, message.name))
            elif isinstance(part, ObjectName):
                if depth == _MOST_OBJECTS:
                    raise DecodeError(
                        f"more than {_MOST_OBJECTS} objects of S3 name each other, and none holds records"
                    )
                for document in documents_in(part, self._clients.of("s3")):
                    yield from self._pages(parts_of(document), message, depth + 1)
            elif isinstance(part, Records) and part.records:
                yield part.records
