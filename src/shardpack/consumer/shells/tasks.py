"""The engine in an event loop: what looks at it, and the tasks that call Kinesis and the store of leases."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from ...aws.client import async_kinesis_client
from ...aws.errors import error_of
from ...aws.streams import ALL_SHARDS, list_shards_async
from ...leases.lease import Leases
from ...records import Position, ReceivedRecord
from ..batch import AsyncBatch
from ..config import ConsumerConfig
from ..core.actions import Action, GetRecords, GetShardIterator, ListShards
from ..core.engine import Delivered, Engine
from ..core.hold import Hold
from .threads import call_leases, closed_error

Found = TypeVar("Found")

_log = logging.getLogger("shardpack.consumer")


class AsyncShell:
    """Runs an engine in the event loop of the first `take`; see `Shell`.

    Calls to the store of leases are made in the loop's threads, because stores are not asynchronous.
    """

    def __init__(
        self,
        engine: Engine,
        config: ConsumerConfig,
        client: Any,
        client_arguments: tuple[str | None, str | None, str | None],
        stream: dict[str, str],
        leases: Leases,
    ) -> None:
        self._engine = engine
        self._config = config
        self._client = client
        self._client_arguments = client_arguments
        self._stream = stream
        self._leases = leases
        self._opened = AsyncExitStack()
        self._starting = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._stopping = False
        self._closed = False

    # For the application's tasks.

    async def take(self) -> Delivered | None:
        """What the engine gives next, in hand until `done`; None: no more."""
        loop = await self.start()
        while not self._stopping:
            if self._engine.fatal is not None:
                raise self._engine.fatal
            delivered = self._engine.next_batch(time.monotonic())
            if self._engine.needs_poll:
                self._step(loop)  # there may be room to read ahead
            if delivered is not None:
                return delivered
            if self._engine.is_all_stopped:
                break
            await self._changed.wait()
        return None

    def batch(self, delivered: Delivered, records: list[ReceivedRecord]) -> AsyncBatch:
        """All or some of the records that were delivered, with the means to checkpoint them."""
        hold = delivered.hold
        is_last = not records or records[-1] is delivered.records[-1]
        return AsyncBatch(
            hold.lease.key,
            records,
            delivered.millis_behind_latest,
            functools.partial(self.checkpoint, hold),
            shard_ended=delivered.is_shard_end and is_last,
        )

    def done(self, hold: Hold, *, stop: bool = False) -> None:
        """See `Engine.done`."""
        self._engine.done(hold, stop=stop)
        self._look()

    async def checkpoint(self, hold: Hold, position: Position | None) -> None:
        """Have everything up to a position recorded; None: all that was delivered. Returns when it is.

        Raises:
            LeaseLostError, CheckpointError: see `Engine.checkpoint`.
            LeaseStoreError: the leases cannot be written.
        """
        position = position or hold.delivered
        if position is None:
            return
        if self._closed:
            raise closed_error(hold.lease.key)
        recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._engine.checkpoint(hold, position, recorded)
        self._look()
        await recorded

    def checkpoint_soon(self, hold: Hold, position: Position) -> None:
        """The same without waiting; if the lease is lost, so is the checkpoint, and whoever has it knows."""
        if hold in self._engine.holds:
            self._engine.checkpoint(hold, position, None)
            self._look()

    async def pause(self, seconds: float) -> None:
        """Wait, but not after `stop`."""
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return

    def stop(self) -> None:
        """Have `take` give nothing more."""
        self._stopping = True
        self._tell()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` or `close` was called."""
        return self._stopping

    def look(self, at: Callable[[Engine], Found]) -> Found:
        """What a function finds in the engine."""
        return at(self._engine)

    async def close(self) -> None:
        """Write what was checkpointed, and give the leases up, as long as it takes but not longer than they last."""
        self._stopping = True
        try:
            if self._loop is not None and not self._closed:
                for hold in self._engine.holds:
                    self._engine.done(hold)
                self._engine.close()
                self._step(self._loop)
                async with asyncio.timeout(self._config.failover_time):
                    while not self._engine.is_closed:
                        await self._changed.wait()
        except TimeoutError:
            _log.warning("closed before every lease was given up; what is left expires by itself")
        finally:
            await self._abandon()

    async def _abandon(self) -> None:
        self._closed = True
        for shard_id, recorded in self._engine.abandon():
            if recorded is not None and not recorded.done():
                recorded.set_exception(closed_error(shard_id))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        calls = set(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        self._tell()
        await self._opened.aclose()

    async def start(self) -> asyncio.AbstractEventLoop:
        """Start at the first call; the loop.

        Raises:
            RuntimeError: it is closed, or was started in another loop.
        """
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise RuntimeError("this consumer belongs to another event loop; make one in each")
        async with self._starting:
            if self._closed:
                raise RuntimeError("the consumer is closed; make a new one to read on")
            if self._loop is None:
                await asyncio.to_thread(self._leases.prepare)
                if self._client is None:
                    manager = async_kinesis_client(self._config, *self._client_arguments)
                    self._client = await self._opened.enter_async_context(manager)
                self._loop = loop
                self._step(loop)
        return loop

    # The loop's side.

    def _look(self) -> None:
        if self._loop is not None and not self._closed:
            self._step(self._loop)

    def _step(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for action in self._engine.poll(time.monotonic()):
            call = loop.create_task(self._do(action))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        for recorded, error in self._engine.take_finished():
            if recorded is None or recorded.done():
                continue
            if error is None:
                recorded.set_result(None)
            else:
                recorded.set_exception(error)
        self._tell()
        now = time.monotonic()
        deadline = self._engine.deadline(now)
        if deadline is not None:
            self._timer = loop.call_later(max(0.0, deadline - now), self._step, loop)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _do(self, action: Action) -> None:
        answer, failure = None, None
        try:
            answer = await self._call(action)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong in a call is an answer to it
            failure = error
        if self._closed:
            return
        try:
            if failure is None:
                self._engine.answered(action, answer, time.monotonic())
            else:
                self._engine.failed(action, failure, error_of(failure)[0], time.monotonic())
        except Exception as error:  # noqa: BLE001  # a bug of ours: nobody must wait for ever
            _log.error("the consumer has failed", exc_info=error)
            self._engine.fatal = self._engine.fatal or error
        self._look()

    async def _call(self, action: Action) -> Any:
        match action:
            case GetRecords():
                return await self._client.get_records(ShardIterator=action.iterator, Limit=action.limit)
            case GetShardIterator():
                arguments = {**self._stream, "ShardId": action.shard_id, **action.arguments}
                return (await self._client.get_shard_iterator(**arguments))["ShardIterator"]
            case ListShards():
                return await list_shards_async(self._client, self._stream, ALL_SHARDS)
            case _:
                return await asyncio.to_thread(call_leases, self._leases, action)
