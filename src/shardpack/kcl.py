"""A record processor under the KCL's MultiLangDaemon: the KCL for Java leases, reads and de-aggregates, Python handles.

The daemon starts one process for each shard, and talks to it in lines of JSON (kpl-kcl-semantics.md, D). `run` and
`run_each` are that process. They take the handlers of `Consumer.run` and `Consumer.run_each`.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from random import random
from typing import Any, TextIO, TypeVar

from ._aws_errors import backoff
from .consumer._handling import Handling, OnFailure, Policy, describe
from .consumer.batch import Batch
from .errors import CheckpointError, DecodeError, LeaseLostError
from .records import Position, ReceivedRecord

__all__ = ["Batch", "run", "run_each"]

_log = logging.getLogger("shardpack.kcl")

_CHECKPOINT_ATTEMPTS = 10
_RETRIABLE = frozenset({"ThrottlingException", "KinesisClientLibDependencyException"})
_LEASE_LOST = frozenset({"ShutdownException", "LeaseLostException"})
_REMEDIES = {
    "InvalidStateException": "is the application's lease table there, and is a batch of this process in hand?",
    "IllegalArgumentException": "give it a record of the batch in hand, not before the last checkpoint",
}

_T = TypeVar("_T")

Divert = Callable[[ReceivedRecord, Exception], object]


def run(
    handler: Callable[[Batch], object],
    *,
    on_failure: OnFailure = "stop",
    divert: Divert | None = None,
    max_attempts: int = 1,
) -> None:
    """Call a handler with batch after batch of the shard that the daemon gives to this process, until it ends it.

    When the handler returns, its batch is checkpointed, if it has not done so itself. At the end of the shard it gets
    a batch without records, with ``shard_ended`` true. When it raises `LeaseLostError`, the shard is another worker's.

    Meanwhile standard input and output belong to the daemon: what the handler prints goes to standard error, which the
    daemon logs, and Ctrl-C is the daemon's to answer. The records are user records already and need no unpacking. The
    daemon does not tell their explicit hash keys (they are None), and ``aggregated`` is concluded from the sub-sequence
    numbers: of the only user record in an aggregate it is False.

    Args:
        handler: called with each `Batch`. It has failed when it raises; records that it has not checkpointed itself
            are then handed to it again.
        on_failure: what follows when the handler has failed ``max_attempts`` times in a row. ``"stop"``: `run` raises
            the error. Let it end the process: then the daemon ends too, and whoever reads the shard next goes on after
            the last checkpoint. ``"divert"``: the batch is handed over record by record, each so many times, and one
            that fails goes to ``divert``.
        divert: called with a user record and the error of the last attempt at it.
        max_attempts: calls in a row before it has failed, with exponential waits and full jitter between them.

    Raises:
        CheckpointError: a checkpoint was not recorded, after ten attempts where trying again may help.
        DecodeError: what came on standard input is not the daemon's protocol.
        ValueError: a setting is out of its range, or does not go together with another.
        Exception: the handler's, with a note that says where.
    """
    policy = Policy(False, 1, on_failure, max_attempts, divert is not None)
    _run_on_standard_streams(policy, handler, divert)


def run_each(
    handler: Callable[[ReceivedRecord], object],
    *,
    on_failure: OnFailure = "stop",
    divert: Divert | None = None,
    max_attempts: int = 1,
) -> None:
    """Call a handler with user record after user record of the shard that the daemon gives to this process.

    As `run`, but exact to the record: one is done when the handler returns, and only the one that failed is tried
    again. What is done is checkpointed after each batch, and before an error ends the process.
    """
    policy = Policy(True, 1, on_failure, max_attempts, divert is not None)
    _run_on_standard_streams(policy, handler, divert)


class _ConversationError(DecodeError):
    """No failure of the handler's, though it may come out of it: the process cannot go on."""


class Conversation:
    """What is answered to the daemon's messages. It reads and writes lines, and knows of no file.

    Args:
        policy: how the handler is called.
        handler: the application's.
        divert: likewise.
        lines: of the daemon, until it ends the process.
        say: sends a line to it.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        policy: Policy,
        handler: Callable[[Any], object],
        divert: Divert | None,
        lines: Iterable[str],
        say: Callable[[str], object],
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._policy = policy
        self._handler = handler
        self._divert = divert
        self._lines = iter(lines)
        self._say = say
        self._sleep = sleep
        self._shard_id = ""
        self._checkpointed = Position.TRIM_HORIZON

    def until_the_end(self) -> None:
        """Answer message after message, until there are no more."""
        while (message := self._next()) is not None:
            action = message["action"]
            self._answer(action, message)
            self._send(action="status", responseFor=action)

    def _answer(self, action: str, message: Mapping[str, Any]) -> None:
        if action == "initialize":
            self._shard_id, self._checkpointed = _read(message, _shard)
        elif action == "processRecords":
            records = _read(message, lambda message: _received(message, self._shard_id))
            if records:  # the daemon may be set to tell of empty answers
                self._handle(records, message.get("millisBehindLatest"), shard_ended=False)
        elif action == "shardEnded" or (action == "shutdown" and message.get("reason") == "TERMINATE"):
            self._handle([], 0, shard_ended=True)
            if self._checkpointed != Position.SHARD_END:
                self._checkpoint(None)  # else the KCL never begins the children
        elif action not in ("leaseLost", "shutdownRequested", "shutdown"):
            raise _ConversationError(
                f"the daemon's message has the action {action!r:.100}, which this protocol does not know"
            )

    def _handle(self, records: list[ReceivedRecord], millis_behind_latest: int | None, *, shard_ended: bool) -> None:
        handling = Handling(records, self._policy)

        def batch(part: list[ReceivedRecord]) -> Batch:
            return Batch(self._shard_id, part, millis_behind_latest, self._checkpoint, shard_ended=shard_ended)

        try:
            while not handling.is_over:
                self._attempt(handling, batch(handling.part))
            self._checkpoint_done(handling)
        except LeaseLostError as error:
            _log.info("%s", error)  # the daemon says so itself next

    def _attempt(self, handling: Handling, batch: Batch) -> None:
        """Hand over the next part once, and decide what follows."""
        part = handling.part
        try:
            self._handler(part[0] if self._policy.one_by_one else batch)
        except (LeaseLostError, _ConversationError):
            raise
        except Exception as error:  # noqa: BLE001  # the application's
            error.add_note(describe(self._shard_id, part, batch.given))
            self._failed(handling, error)
        else:
            handling.succeeded()

    def _failed(self, handling: Handling, error: Exception) -> None:
        """The handler has failed: wait before the next attempt, divert, or raise."""
        record = handling.part[0] if handling.part else None
        verdict = handling.failed(self._checkpointed)
        if verdict == "retry":
            _log.warning("%s: the handler has failed, trying again: %r", self._shard_id, error)
            self._sleep(backoff(handling.failures, random))
            return
        failure = error if verdict == "stop" else self._diverted(record, error)
        if failure is not None:
            self._checkpoint_done(handling)  # what went well before is not to be done again
            raise failure
        handling.succeeded()

    def _diverted(self, record: ReceivedRecord | None, error: Exception) -> Exception | None:
        if self._divert is None or record is None:
            return error
        try:
            self._divert(record, error)
        except Exception as failure:  # noqa: BLE001  # the application's
            failure.__context__ = error
            return failure
        return None

    def _checkpoint_done(self, handling: Handling) -> None:
        if handling.done_to is not None and handling.done_to > self._checkpointed:
            self._checkpoint(handling.done_to)

    def _checkpoint(self, position: Position | None) -> None:
        """Have a position recorded; None: the end of the shard, or of the batch in hand."""
        for attempt in range(1, _CHECKPOINT_ATTEMPTS + 1):
            self._send(
                action="checkpoint",
                sequenceNumber=position.sequence_number if position else None,
                subSequenceNumber=position.sub_sequence_number if position else None,
            )
            answer = self._next()
            if answer is None or answer["action"] != "checkpoint":
                found = "the end of its messages" if answer is None else repr(answer["action"])
                raise _ConversationError(f"{self._shard_id}: the daemon answered a checkpoint with {found:.100}")
            error = answer.get("error")
            if error is None:
                self._checkpointed = position or Position.SHARD_END
                return
            if error not in _RETRIABLE or attempt == _CHECKPOINT_ATTEMPTS:
                break
            self._sleep(backoff(attempt, random))
        raise self._not_recorded(str(error), "the end of the shard" if position is None else repr(position), attempt)

    def _not_recorded(self, error: str, where: str, attempts: int) -> CheckpointError:
        message = f"{self._shard_id}: the checkpoint at {where} was not recorded"
        if error in _LEASE_LOST:
            return LeaseLostError(
                f"{message}: another worker has the shard ({error}), and reads it on from the last checkpoint",
                shard_id=self._shard_id,
            )
        tried = f" {attempts} times" if attempts > 1 else ""
        remedy = _REMEDIES.get(error, "the daemon's log tells more")
        return CheckpointError(f"{message}: the daemon said {error}{tried}; {remedy}", shard_id=self._shard_id)

    def _next(self) -> Mapping[str, Any] | None:
        line = next(self._lines, None)
        if line is None:
            return None
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _ConversationError(
                f"standard input has {line!r:.100}, which is no JSON: {error}; {_WHO_TALKS}"
            ) from None
        if not isinstance(message, dict) or not isinstance(message.get("action"), str):
            raise _ConversationError(
                f"standard input has {line!r:.100}, which is no object with an action; {_WHO_TALKS}"
            )
        return message

    def _send(self, **message: object) -> None:
        self._say(json.dumps(message) + "\n")


_WHO_TALKS = "this program is to be started by the KCL's MultiLangDaemon, as its executableName"


def _read(message: Mapping[str, Any], what: Callable[[Mapping[str, Any]], _T]) -> _T:
    """What a message says, or why it cannot be understood."""
    try:
        return what(message)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise _ConversationError(
            f"the daemon's message {message!r:.200} cannot be understood: {type(error).__name__} {error}"
        ) from error


def _shard(message: Mapping[str, Any]) -> tuple[str, Position]:
    return message["shardId"], Position(message["sequenceNumber"], message.get("subSequenceNumber") or 0)


def _received(message: Mapping[str, Any], shard_id: str) -> list[ReceivedRecord]:
    """The user records of a message, in order."""
    records = [_record(given, shard_id) for given in message["records"]]
    numbers = [record.sequence_number for record in records]
    shared = {first for first, second in pairwise(numbers) if first == second}
    return [
        record._replace(aggregated=True) if record.sub_sequence_number or record.sequence_number in shared else record
        for record in records
    ]


def _record(given: Mapping[str, Any], shard_id: str) -> ReceivedRecord:
    milliseconds = given.get("approximateArrivalTimestamp")
    position = Position(given["sequenceNumber"], given.get("subSequenceNumber") or 0)
    return ReceivedRecord(
        partition_key=given.get("partitionKey"),
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


def _run_on_standard_streams(policy: Policy, handler: Callable[[Any], object], divert: Divert | None) -> None:
    with _standard_streams() as (lines, out), _no_interrupt():

        def say(line: str) -> None:
            out.write(line)
            out.flush()

        Conversation(policy, handler, divert, lines, say).until_the_end()


@contextmanager
def _standard_streams() -> Iterator[tuple[TextIO, TextIO]]:
    """The daemon's lines, both ways; what else is printed meanwhile, by C or by child processes too, it is not told."""
    sys.stdout.flush()
    with (
        os.fdopen(os.dup(0), encoding="utf-8", newline="\n") as lines,
        os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n") as out,
        Path(os.devnull).open() as nothing,
    ):
        os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        try:
            yield lines, out
        finally:
            sys.stdout.flush()
            os.dup2(out.fileno(), 1)
            os.dup2(lines.fileno(), 0)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ctrl-C reaches the daemon and its processes alike; the daemon has them finish what they have in hand."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
