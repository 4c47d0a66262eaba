"""What an application implements that decides about its checkpoints itself, and what it checkpoints with."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from random import random

from ..aws.errors import backoff
from ..consumer.batch import Batch
from ..errors import CheckpointError, LeaseLostError, LeaseStoreError
from ..records import Position, ReceivedRecord

_ATTEMPTS = 10
_RETRIABLE = frozenset({"ThrottlingException", "KinesisClientLibDependencyException"})
_LEASE_LOST = frozenset({"ShutdownException", "LeaseLostException"})


class RecordProcessor(ABC):
    """One shard's records, from the first message of the daemon to the last.

    The methods have amazon_kclpy's names. They are called one at a time, all from the thread that called
    `run_processor`. What one raises ends the process, and with it the daemon; only `LeaseLostError` may pass, because
    the daemon then ends the process in its own way. The daemon waits for each to return: for as long as one takes, the
    shard stands still.
    """

    def initialize(self, shard_id: str, position: Position) -> None:  # noqa: B027  # nothing is right for many
        """First of all.

        Args:
            shard_id: the shard that this process has.
            position: its checkpoint, after which the records begin; ``Position.TRIM_HORIZON`` and the like where there
                is none yet.
        """

    @abstractmethod
    def process_records(self, batch: Batch, checkpointer: Checkpointer) -> None:
        """The next user records, in order. Nothing is checkpointed but by the processor.

        Args:
            batch: with the setting ``callProcessRecordsEvenForEmptyRecordList`` it may be empty.
            checkpointer: as in all methods. ``batch.checkpoint(record)`` does the same.
        """

    def lease_lost(self) -> None:  # noqa: B027  # nothing is right for many
        """Another worker has the shard; checkpoints are not possible any more. The last call."""

    def shard_ended(self, checkpointer: Checkpointer) -> None:  # noqa: B027  # nothing is right for many
        """The shard was split or merged, and every record of it was handed over. The last call.

        When it returns, everything counts as done: the end of the shard is checkpointed, if it was not, because
        without that the KCL never begins the children.
        """

    def shutdown_requested(self, checkpointer: Checkpointer) -> None:  # noqa: B027  # nothing is right for many
        """The worker ends, or hands the shard over: the last opportunity to checkpoint. `lease_lost` follows."""


class Checkpointer:
    """Records how far the shard is done, by way of the daemon.

    It works while one of the processor's methods runs, from any thread.

    Args:
        shard_id: the shard.
        position: what is recorded already.
        ask: asks the daemon to record a position, or None for all that it has handed over; the name of the error that
            it answers with, or None.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        shard_id: str,
        position: Position,
        ask: Callable[[Position | None], str | None],
        sleep: Callable[[float], object],
    ) -> None:
        self._shard_id = shard_id
        self._recorded = position
        self._handed_over = position
        self._ask = ask
        self._sleep = sleep
        self._lock = threading.Lock()
        self._is_open = False

    @property
    def shard_id(self) -> str:
        """The shard."""
        return self._shard_id

    @property
    def position(self) -> Position:
        """The last checkpoint that was recorded."""
        return self._recorded

    def checkpoint(self, at: ReceivedRecord | Position | None = None) -> None:
        """Have it recorded that everything up to and including a user record is done; returns when it is.

        It is exact inside an aggregate: sequence number and sub-sequence number are recorded, as by the KCL's
        ``ShardRecordProcessorCheckpointer``. Throttling is waited out.

        Args:
            at: a record that was handed over, or its position; it need not be of the last batch. None: everything that
                was handed over, and in `shard_ended` the end of the shard.

        Raises:
            LeaseLostError: another worker has the shard, and reads it on from the last checkpoint.
            CheckpointError: it lies before what is recorded, or was not handed over; or no method of the processor is
                running.
            LeaseStoreError: the lease table cannot be written: not there, or not even after ten attempts.
            DecodeError: the daemon does not answer, or not to this.
        """
        position = at.position if isinstance(at, ReceivedRecord) else at
        if at is not None and not isinstance(position, Position):
            raise CheckpointError(
                f"{self._shard_id}: {at!r:.100} has no position; give checkpoint a record that was handed over",
                shard_id=self._shard_id,
            )
        with self._lock:
            if not self._is_open:
                where = "all that was handed over" if position is None else repr(position)
                raise CheckpointError(
                    f"{self._shard_id}: the checkpoint at {where} comes when the daemon does not listen; checkpoint"
                    " before the handler returns, or in a later call of it",
                    shard_id=self._shard_id,
                )
            self._record(position)

    def open(self, handed_over: Position | None) -> None:
        """For the conversation: the daemon listens. It has handed over what is up to a position; None: nothing new."""
        with self._lock:
            self._is_open = True
            self._handed_over = handed_over or self._handed_over

    def close(self) -> None:
        """For the conversation: the daemon is about to be told that its message is dealt with."""
        with self._lock:
            self._is_open = False

    def _record(self, position: Position | None) -> None:
        error = self._ask(position)
        for attempt in range(1, _ATTEMPTS):
            if error not in _RETRIABLE:
                break
            self._sleep(backoff(attempt, random))
            error = self._ask(position)
        if error is not None:
            raise self._failure(error, position or self._handed_over)
        self._recorded = position or self._handed_over

    def _failure(self, error: str, position: Position) -> Exception:
        """The exception of the KCL's as the library's own."""
        message = f"{self._shard_id}: the checkpoint at {position} was not recorded: the daemon said {error}"
        if error in _LEASE_LOST:
            return LeaseLostError(
                f"{message}: another worker has the shard, and reads it on from the last checkpoint",
                shard_id=self._shard_id,
            )
        if error in _RETRIABLE:
            return LeaseStoreError(f"{message} {_ATTEMPTS} times; look at the lease table's capacity", retriable=True)
        if error == "InvalidStateException":
            return LeaseStoreError(f"{message}; is the application's lease table there?", retriable=False)
        if error == "IllegalArgumentException":
            remedy = f"give it a record that was handed over, after {self._recorded}, the last checkpoint"
        else:
            remedy = "the daemon's log tells more"
        return CheckpointError(f"{message}; {remedy}", shard_id=self._shard_id)
