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

from .._kinesis_client import ALL_SHARDS, error_of, list_shards
from ..errors import LeaseLostError
from ..records import Position, ReceivedRecord
from ._hold import Hold
from .actions import (
    Action,
    Checkpoint,
    CreateLease,
    GetRecords,
    GetShardIterator,
    LeaseAction,
    ListLeases,
    ListShards,
    ReleaseLease,
    RenewLease,
    TakeLease,
)
from .batch import Batch
from .config import ConsumerConfig
from .engine import Delivered, Engine
from .leases import Leases

Found = TypeVar("Found")

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
        self._calls = ThreadPoolExecutor(config.max_connections, "shardpack-call")  # starts none yet

    # For the application's threads.

    def take(self, timeout: float | None) -> Delivered | None:
        """What the engine gives next, in hand until `done`; None: nothing in time, or no more."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._start()
            while not self._stopping:
                if self._engine.fatal is not None:
                    raise self._engine.fatal
                if self._closed:
                    self._start()  # says why
                delivered = self._engine.next_batch(time.monotonic())
                if delivered is not None:
                    self._changed.notify_all()  # there is room to read ahead
                    return delivered
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
        with self._changed:
            self._changed.notify_all()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` or `close` was called."""
        return self._stopping

    def look(self, at: Callable[[Engine], Found]) -> Found:
        """What a function finds in the engine."""
        with self._changed:
            return at(self._engine)

    def close(self, timeout: float) -> None:
        """Write what was checkpointed, and give the leases up."""
        if self._process_id not in (None, os.getpid()):
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
        self._calls.shutdown(wait=False, cancel_futures=True)

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
        elif self._process_id != os.getpid():
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
            _log.exception("the consumer's thread has failed")
            with self._changed:
                self._broken = error
                self._abandon()
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
        for action in actions:
            self._calls.submit(self._do, action)
        return True

    def _do(self, action: Action) -> None:
        try:
            answer = self._call(action)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong in a call is an answer to it
            with self._changed:
                if not self._closed:
                    self._engine.failed(action, error, error_of(error)[0], time.monotonic())
                    self._changed.notify_all()
        else:
            with self._changed:
                if not self._closed:
                    self._engine.answered(action, answer, time.monotonic())
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
