"""Handlers as `Consumer.run` and `Consumer.run_each` take them, as a record processor."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from random import random
from typing import Any

from ..aws.errors import backoff
from ..consumer.batch import Batch
from ..consumer.core.handling import Handling, OnFailure, Policy, describe, divert_one
from ..errors import LeaseLostError
from ..records import ReceivedRecord
from .messages import ConversationError
from .processor import Checkpointer, RecordProcessor
from .streams import run_processor

_log = logging.getLogger("shardpack.multilang")

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
        CheckpointError, LeaseStoreError: a checkpoint was not recorded; see `Checkpointer.checkpoint`.
        DecodeError: what came on standard input is not the daemon's protocol, or the daemon is gone.
        ValueError: a setting is out of its range, or does not go together with another.
        Exception: the handler's, with a note that says where.
    """
    policy = Policy(False, 1, on_failure, max_attempts, divert is not None)
    run_processor(HandlerProcessor(policy, handler, divert))


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
    run_processor(HandlerProcessor(policy, handler, divert))


class HandlerProcessor(RecordProcessor):
    """Calls a handler with what is handed over, as a policy wants it, and checkpoints what it has done.

    Args:
        policy: how the handler is called.
        handler: the application's.
        divert: likewise.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        policy: Policy,
        handler: Callable[[Any], object],
        divert: Divert | None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._policy = policy
        self._handler = handler
        self._divert = divert
        self._sleep = sleep

    def process_records(self, batch: Batch, checkpointer: Checkpointer) -> None:
        """See `RecordProcessor`."""
        if batch:  # the daemon may be set to tell of empty answers
            self._handle(batch[:], batch.millis_behind_latest, checkpointer, shard_ended=False)

    def shard_ended(self, checkpointer: Checkpointer) -> None:
        """See `RecordProcessor`."""
        self._handle([], 0, checkpointer, shard_ended=True)

    def _handle(
        self,
        records: Sequence[ReceivedRecord],
        millis_behind_latest: int | None,
        checkpointer: Checkpointer,
        *,
        shard_ended: bool,
    ) -> None:
        handling = Handling(records, self._policy)
        while not handling.is_over:
            batch = Batch(
                checkpointer.shard_id,
                handling.part,
                millis_behind_latest,
                checkpointer.checkpoint,
                shard_ended=shard_ended,
            )
            self._attempt(handling, batch, checkpointer)
        _checkpoint_done(handling, checkpointer)

    def _attempt(self, handling: Handling, batch: Batch, checkpointer: Checkpointer) -> None:
        """Hand over the next part once, and decide what follows."""
        part = handling.part
        try:
            self._handler(part[0] if self._policy.one_by_one else batch)
        except (LeaseLostError, ConversationError):
            raise
        except Exception as error:  # noqa: BLE001  # the application's
            error.add_note(describe(batch.shard_id, part, batch.given))
            self._failed(handling, error, checkpointer)
        else:
            handling.succeeded()

    def _failed(self, handling: Handling, error: Exception, checkpointer: Checkpointer) -> None:
        """The handler has failed: wait before the next attempt, divert, or raise."""
        record = handling.part[0] if handling.part else None
        verdict = handling.failed(checkpointer.position)
        if verdict == "retry":
            _log.warning("%s: the handler has failed, trying again: %r", checkpointer.shard_id, error)
            self._sleep(backoff(handling.failures, random))
            return
        failure = error if verdict == "stop" else divert_one(self._divert, record, error)
        if failure is not None:
            _checkpoint_done(handling, checkpointer)  # what went well before is not to be done again
            raise failure
        handling.succeeded()


def _checkpoint_done(handling: Handling, checkpointer: Checkpointer) -> None:
    if handling.done_to is not None and handling.done_to > checkpointer.position:
        checkpointer.checkpoint(handling.done_to)
