"""The engine's threads: one that looks at it, and those that call Kinesis and the store of leases."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ...aws.errors import error_of
from ...aws.streams import ALL_SHARDS, list_shards
from ...errors import LeaseLostError
from ...leases.lease import Leases
from ...records import Position, ReceivedRecord
from ..batch import Batch
from ..config import ConsumerConfig
from ..core.actions import (
    Action,
    Checkpoint,
    CreateLease,
    GetRecords,
    GetShardIterator,
    KinesisAction,
    LeaseAction,
    ListLeases,
    ListShards,
    ReleaseLease,
    RenewLease,
    TakeLease,
)
from ..core.engine import Delivered, Engine
from ..core.hold import Hold

Found = TypeVar("Found")

_LEASE_THREADS = 8  # calls take milliseconds, and each lease needs one in a third of the failover time

_log = logging.getLogger("shardpack.consumer")


class Shell:
    """Runs an engine. Every method may be called from any thread.

    Its threads start with the first `take`; until then it may be carried over a fork.
    """

    def __init__(
        self, engine: Engine, config: ConsumerConfig, client: Any, stream: dict[str, str], leases: Leases
    ) -> None:
        self._engine = engine
        self._config = config
        self._client = client
        self._stream = stream
        self._leases = leases
        self._changed = threading.Condition()
        self._stopping = False
        self._closed = False
        self._broken: BaseException | None = None
        self._process_id: int | None = None
        self._thread: threading.Thread | None = None
        # Neither starts a thread yet. Leases have their own: they must be renewed while calls to Kinesis hang.
        self._calls = ThreadPoolExecutor(config.max_connections, "shardpack-call")
        self._lease_calls = ThreadPoolExecutor(_LEASE_THREADS, "shardpack-lease")

    # For the application's threads.

    def take(self, timeout: float | None) -> Delivered | None:
        """What the engine gives next, in hand until `done`; None: nothing in time, or no more."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._check_process()
        with self._changed:
            self._start()
            while not self._stopping:
                if self._engine.fatal is not None:
                    raise self._engine.fatal
                if self._closed:
                    self._start()  # says why
                delivered = self._engine.next_batch(time.monotonic())
                if self._engine.needs_poll:
                    self._changed.notify_all()  # there may be room to read ahead
                if delivered is not None:
                    return delivered
                if timeout is None and self._engine.is_all_stopped:
                    break
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
        return None

    def batch(self, delivered: Delivered, records: list[ReceivedRecord]) -> Batch:
        """All or some of the records that were delivered, with the means to checkpoint them."""
        hold = delivered.hold
        is_last = not records or records[-1] is delivered.records[-1]
        return Batch(
            hold.lease.key,
            records,
            delivered.millis_behind_latest,
            functools.partial(self.checkpoint, hold),
            shard_ended=delivered.is_shard_end and is_last,
        )

    def done(self, hold: Hold, *, stop: bool = False) -> None:
        """See `Engine.done`."""
        self._check_process()
        with self._changed:
            self._engine.done(hold, stop=stop)
            self._changed.notify_all()

    def checkpoint(self, hold: Hold, position: Position | None) -> None:
        """Have everything up to a position recorded; None: all that was delivered. Returns when it is.

        Raises:
            LeaseLostError, CheckpointError: see `Engine.checkpoint`.
            LeaseStoreError: the leases cannot be written.
        """
        recorded: Future[None] = Future()
        self._check_process()
        with self._changed:
            position = position or hold.delivered
            if position is None:
                return
            self._check_open(hold)
            self._engine.checkpoint(hold, position, recorded)
            self._changed.notify_all()
        recorded.result()

    def checkpoint_soon(self, hold: Hold, position: Position) -> None:
        """The same without waiting; if the lease is lost, so is the checkpoint, and whoever has it knows."""
        with self._changed:
            if hold in self._engine.holds:
                self._engine.checkpoint(hold, position, None)
                self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait, but not after `stop`."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)

    def stop(self) -> None:
        """Have `take` give nothing more. A signal handler may call it, though it interrupts what holds the lock."""
        self._stopping = True
        if self._is_here:
            with self._changed:
                self._changed.notify_all()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` or `close` was called."""
        return self._stopping

    def look(self, at: Callable[[Engine], Found]) -> Found:
        """What a function finds in the engine."""
        self._check_process()
        with self._changed:
            return at(self._engine)

    def close(self, timeout: float) -> None:
        """Write what was checkpointed, and give the leases up."""
        if not self._is_here:
            return  # a copy made by a fork, without a thread
        with self._changed:
            self._stopping = True
            if self._thread is None:
                self._closed = True
                return
            for hold in self._engine.holds:
                self._engine.done(hold)
            self._engine.close()
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._closed or self._engine.is_closed, timeout):
                _log.warning("closed before every lease was given up; what is left expires by itself")
            self._abandon()
        self._thread.join()
        for calls in (self._calls, self._lease_calls):
            calls.shutdown(wait=False, cancel_futures=True)

    # From here on, the lock is held, but for `_do`.

    def _start(self) -> None:
        if self._broken is not None:
            raise RuntimeError(f"the consumer has failed: {self._broken!r}") from self._broken
        if self._closed:
            raise RuntimeError("the consumer is closed; make a new one to read on")
        if self._thread is None:
            self._leases.prepare()
            self._process_id = os.getpid()
            self._thread = threading.Thread(target=self._run, name="shardpack-consumer", daemon=True)
            self._thread.start()

    @property
    def _is_here(self) -> bool:
        # To be asked before the lock is taken, which one of the parent's threads may have held when it forked.
        return self._process_id in (None, os.getpid())

    def _check_process(self) -> None:
        if not self._is_here:
            raise RuntimeError(
                f"this consumer runs in process {self._process_id}; after a fork, make one in process {os.getpid()}"
            )

    def _check_open(self, hold: Hold) -> None:
        if self._closed:
            raise closed_error(hold.lease.key)

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except BaseException as error:  # a bug of ours: nobody must wait for this thread for ever
            with self._changed:
                self._break(error)
            raise

    def _step(self) -> bool:
        """One look at the engine; False at the end."""
        with self._changed:
            if self._closed:
                return False
            now = time.monotonic()
            actions = self._engine.poll(now)
            self._settle(self._engine.take_finished())
            if not actions:
                deadline = self._engine.deadline(now)
                self._changed.wait(None if deadline is None else max(0.0, deadline - now))
                return True
        try:
            for action in actions:
                calls = self._calls if isinstance(action, KinesisAction) else self._lease_calls
                calls.submit(self._do, action)
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise
            with self._changed:
                self._abandon()  # the interpreter ends, and nobody has closed the consumer
            return False
        return True

    def _do(self, action: Action) -> None:
        answer, failure = None, None
        try:
            answer = self._call(action)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong in a call is an answer to it
            failure = error
        with self._changed:
            if self._closed:
                return
            try:
                if failure is None:
                    self._engine.answered(action, answer, time.monotonic())
                else:
                    self._engine.failed(action, failure, error_of(failure)[0], time.monotonic())
            except Exception as error:  # noqa: BLE001  # a bug of ours
                self._break(error)
            self._changed.notify_all()

    def _call(self, action: Action) -> Any:
        match action:
            case GetRecords():
                return self._client.get_records(ShardIterator=action.iterator, Limit=action.limit)
            case GetShardIterator():
                arguments = {**self._stream, "ShardId": action.shard_id, **action.arguments}
                return self._client.get_shard_iterator(**arguments)["ShardIterator"]
            case ListShards():
                return list_shards(self._client, self._stream, ALL_SHARDS)
            case _:
                return call_leases(self._leases, action)

    def _settle(self, finished: Iterable[tuple[Future[None] | None, Exception | None]]) -> None:
        for recorded, error in finished:
            if recorded is None:
                continue
            if error is None:
                recorded.set_result(None)
            else:
                recorded.set_exception(error)

    def _break(self, error: BaseException) -> None:
        _log.error("the consumer has failed", exc_info=error)
        self._broken = error
        self._abandon()

    def _abandon(self) -> None:
        self._closed = True
        for shard_id, recorded in self._engine.abandon():
            self._settle([(recorded, closed_error(shard_id))])
        self._changed.notify_all()


def call_leases(leases: Leases, action: LeaseAction) -> Any:
    """What the store of leases answers; a lost lease is None."""
    try:
        match action:
            case ListLeases():
                return leases.list()
            case CreateLease(lease):
                return leases.create(lease)
            case TakeLease(lease, owner):
                return leases.take(lease, owner)
            case RenewLease(lease):
                return leases.renew(lease)
            case Checkpoint(lease, _, position, children):
                return leases.checkpoint(lease, position, children=children)
            case ReleaseLease(lease):
                return leases.release(lease)
            case _:
                return leases.delete(action.lease)
    except LeaseLostError:
        return None


def closed_error(shard_id: str) -> LeaseLostError:
    """Why a checkpoint after the end is refused."""
    return LeaseLostError(
        f"the consumer is closed, and the lease of {shard_id} given up; checkpoint before closing", shard_id=shard_id
    )
