"""Where user records of failed batches go, other than to a function in the same program."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from random import random
from typing import Any, NamedTuple, Protocol

from ...aws.errors import THROTTLED, backoff, error_of
from ...errors import DeliveryError
from ...limits import MIB, check_integer, shown
from ...records import ReceivedRecord

_MOST_PAYLOAD = 6 * MIB - 1024  # Invoke takes 6 MB; the rest is for what stands around the records
_MOST_FAILURES = 10


class Pending(NamedTuple):
    """A Kinesis record of which something is to be done.

    Attributes:
        raw: it, in the shape in which Lambda hands it over.
        records: its user records that are not done, in their order.
        is_whole: whether these are all that it has.
    """

    raw: Mapping[str, Any]
    records: list[ReceivedRecord]
    is_whole: bool


class Destination(Protocol):
    """Takes user records."""

    def take(self, pending: Sequence[Pending]) -> Sequence[Exception | None]:
        """Take the user records of some Kinesis records of a shard.

        Returns:
            For each user record, in their order, why it is not done, or None: it is.
        """


class InvokeFunction:
    """Calls a Lambda function with events like those of an event source mapping, and reads its partial responses.

    A Kinesis record of which nothing is done goes as it is stored, aggregate or not. Of one that is done in part, each
    user record that is left goes as a record of its own, with its ``subSequenceNumber``.

    Args:
        function: its name or ARN.
        client: a boto3 Lambda client, which should not retry by itself.
        max_attempts: calls for the same record before it has failed.
    """

    def __init__(self, function: str, client: Any, *, max_attempts: int = 1) -> None:
        self._function = function
        self._client = client
        check_integer("max_attempts", max_attempts)
        if max_attempts < 1:
            raise ValueError(f"max_attempts is {max_attempts}; give at least 1")
        self._max_attempts = max_attempts

    def take(self, pending: Sequence[Pending]) -> list[Exception | None]:
        """See `Destination`; after a failure nothing more is begun."""
        results: list[Exception | None] = []
        entries = [entry for one in pending for entry in _entries(one)]
        error: Exception | None = None
        for event in _events(entries):
            if error is None:
                done, error = self._hand_over(event)
            else:
                done = 0
            for number, (_, count) in enumerate(event):
                results += [None if number < done else error] * count
        return results

    def _hand_over(self, event: list[tuple[dict[str, Any], int]]) -> tuple[int, Exception | None]:
        """How many records of an event are done from its beginning on, and the error if not all are."""
        done, failures = 0, 0
        error: Exception | None = None
        while failures < self._max_attempts:
            records = [record for record, _ in event[done:]]
            more, error = self._invoke(records)
            failures = failures + 1 if not more else 1
            done += more
            if error is None:
                break
        return done, error

    def _invoke(self, records: list[dict[str, Any]]) -> tuple[int, Exception | None]:
        payload = _json({"Records": records}).encode()
        try:
            answer = self._call(payload)
        except Exception as error:  # noqa: BLE001  # whatever the client raises: these records are not done
            return 0, error
        text = answer["Payload"].read()
        if answer.get("FunctionError"):
            return 0, DeliveryError(
                f"the function {self._function} failed: {shown(text.decode(errors='replace'))}",
                records=[],
                retriable=True,
            )
        return self._done_of(text, records)

    def _call(self, payload: bytes) -> Any:
        for failures in range(1, _MOST_FAILURES + 1):
            try:
                return self._client.invoke(FunctionName=self._function, Payload=payload)
            except Exception as error:
                # Only what has not begun is called again.
                if error_of(error)[0] not in THROTTLED or failures == _MOST_FAILURES:
                    raise
                time.sleep(backoff(failures, random))
        raise AssertionError("unreachable")

    def _done_of(self, text: bytes, records: list[dict[str, Any]]) -> tuple[int, Exception | None]:
        """What a partial batch response says is done, as Lambda reads it: up to the lowest number that it names."""
        try:
            response = json.loads(text or b"null")
            failures = (response or {}).get("batchItemFailures") or []
            identifiers = {failure["itemIdentifier"] for failure in failures}
        except (ValueError, TypeError, KeyError, AttributeError):
            # "Configuring partial batch response": what it cannot read is a success without the key, else a failure.
            if not text.lstrip().startswith(b"{") or b"batchItemFailures" not in text:
                return len(records), None
            identifiers = {None}
        if not identifiers:
            return len(records), None
        numbers = [record["kinesis"]["sequenceNumber"] for record in records]
        places = [numbers.index(identifier) if identifier in numbers else 0 for identifier in identifiers]
        error = DeliveryError(
            f"the function {self._function} reported {shown(sorted(map(str, identifiers)))} as failed",
            records=[],
            retriable=True,
        )
        return min(places), error


class Puts(Protocol):
    """What of a `Producer` is used."""

    def put(self, partition_key: Any, data: Any, explicit_hash_key: Any = None) -> Any:
        """Take a user record, and give a future."""


class PutAgain:
    """Puts user records into a stream once more, each with its keys.

    Args:
        producer: a `Producer` for the stream; it stays open.
    """

    def __init__(self, producer: Puts) -> None:
        self._producer = producer

    def take(self, pending: Sequence[Pending]) -> list[Exception | None]:
        """See `Destination`; returns when each is stored or has failed."""
        futures = [self._put(record) for one in pending for record in one.records]
        return [future if isinstance(future, Exception) else future.exception() for future in futures]

    def _put(self, record: ReceivedRecord) -> Any:
        try:
            return self._producer.put(record.partition_key, record.data, record.explicit_hash_key)
        except (ValueError, TypeError) as error:  # Kinesis would not take it, though it was in an aggregate
            return error


def _json(value: Any) -> str:
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    """What JSON has for the bytes and times of records that did not come as JSON."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{shown(value)} is in a record, and JSON has nothing for it")


def _entries(pending: Pending) -> Iterator[tuple[dict[str, Any], int]]:
    """The records of an event, each with how many user records it holds."""
    if pending.is_whole:
        yield dict(pending.raw), len(pending.records)
        return
    for record in pending.records:
        fields = {
            **pending.raw["kinesis"],
            "partitionKey": record.partition_key,
            "data": base64.b64encode(record.data).decode(),
            "subSequenceNumber": record.sub_sequence_number,
        }
        yield {**pending.raw, "kinesis": fields}, 1


def _events(entries: list[tuple[dict[str, Any], int]]) -> Iterator[list[tuple[dict[str, Any], int]]]:
    """The same in events, none larger than a call takes, as long as no record is."""
    event: list[tuple[dict[str, Any], int]] = []
    size = 0
    for entry in entries:
        more = len(_json(entry[0])) + 2
        if event and size + more > _MOST_PAYLOAD:
            yield event
            event, size = [], 0
        event.append(entry)
        size += more
    if event:
        yield event
