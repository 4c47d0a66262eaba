"""The producer for asyncio, on aiobotocore."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from ...aws.client import async_kinesis_client
from ...aws.errors import error_of
from ...aws.streams import stream_argument
from ...errors import RecordTooLargeError
from ...limits import check_optional, check_timeout
from ...records import BytesLike, UserRecord, UserRecordLike, check_user_record
from ..config import ProducerConfig
from ..core.actions import Action
from ..core.bulk import checked, user_record_of
from ..core.engine import Engine
from ..core.metrics import Metrics, ProducerStats
from ..core.ordering.keys import Keys, identity_of
from ..core.room import Room
from ..delivery import Delivery
from .async_inbox import AsyncInbox, Single, settle
from .calls import call_async
from .otel import instruments
from .process import check_process, forget, forks, warn, watch
from .unfinished import PutMany
from .work import CLOSED, Answer, Work

_logger = logging.getLogger("shardpack.producer")
_T = TypeVar("_T")
_PATIENCE = 0.1  # seconds after which what an interrupt may have swallowed is done again
_STEP_RECORDS = 1000  # taken in one step, so that it does not keep the event loop for long


class AsyncProducer:
    """`Producer` for asyncio: the same promises, settings and errors.

    It belongs to the event loop in which it is first used, and to no task: a task that is cancelled takes nothing with
    it but its own waiting.

    Args:
        stream_name: the stream's name or ARN.
        config: the settings; `ProducerConfig()` has the KPL's defaults.
        client: an aiobotocore Kinesis client to use. None: one is made from the following at first use, and closed
            with the producer.
        region_name: as boto3 takes it; None: as boto3 finds it.
        endpoint_url: the same.
        profile_name: the same.
        meter_provider: an OpenTelemetry ``MeterProvider`` for the metrics; None: the global one. Used where
            OpenTelemetry is installed (extra ``otel``).
    """

    _forks: int | None = None  # of its process, once it has started

    def __init__(
        self,
        stream_name: str,
        config: ProducerConfig | None = None,
        *,
        client: Any = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        meter_provider: Any = None,
    ) -> None:
        self._stream = stream_argument(stream_name)
        check_optional("config", config, ProducerConfig)
        self._config = config or ProducerConfig()
        self._client = client
        self._client_arguments = region_name, endpoint_url, profile_name
        self._opened = AsyncExitStack()
        metrics = Metrics(instruments(stream_name, self._config, meter_provider))
        self._work = Work(partial(Engine, stream_name, self._config, metrics=metrics, keys=Keys()))
        self._room = Room(self._config)
        self._inbox = AsyncInbox()
        self._is_whole = True  # False while a step changes the work: found so by the next, it was cut short
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = 0.0  # until when a step will come for what is in the inbox
        self._calls: dict[asyncio.Task[Any], tuple[Engine, Action]] = {}
        self._progress = asyncio.Event()
        self._starting = asyncio.Lock()
        self._closing = self._closed = False
        self._guard: tuple[object, AsyncGenerator[None, None]] | None = None

    async def put(
        self, partition_key: str, data: BytesLike, explicit_hash_key: str | int | None = None, *, block: bool = True
    ) -> asyncio.Future[Delivery]:
        """Take a user record to deliver; waits only for room, not for the delivery.

        Args:
            partition_key: 1 to 256 Unicode characters.
            data: the payload; a bytearray or memoryview is copied.
            explicit_hash_key: a number from 0 to 2^128-1 that overrides the partition key's hash.
            block: wait while ``max_outstanding_records`` or ``max_outstanding_bytes`` are on their way.

        Returns:
            A future of its `Delivery`, to be awaited or not; see `Producer.put`.

        Raises:
            InvalidRecordError: a field breaks a rule of the service.
            RecordTooLargeError: the stream takes none so large.
            BufferFullError: there is no room, and it may not wait.
            RuntimeError: the producer is closed, or belongs to another event loop.
        """
        fields = user_record_of(partition_key, data, explicit_hash_key)
        check_process(self._forks)  # whose event loop does not run in a process made by a fork
        loop = asyncio.get_running_loop()
        size = self._measured(loop, self._work.engine.measure_one, fields)
        if self._loop is not loop or self._guard is None or self._closing:
            await self._start()
        if not self._has_room(1, size):
            await self._wait_for_room(loop, checked([fields]), size, block=block)
        future: asyncio.Future[Delivery] = loop.create_future()
        self._enter(loop, (future, fields), 1, size)
        return future

    async def put_many(
        self, user_records: Iterable[UserRecordLike], *, block: bool = True
    ) -> asyncio.Future[list[Delivery]]:
        """Take user records to deliver, with one future for all; waits only for room, not for the delivery.

        Args:
            user_records: see `Producer.put_many`.
            block: the same.

        Returns:
            A future of the deliveries, to be awaited or not; see `Producer.put_many`.

        Raises:
            InvalidRecordError, RecordTooLargeError, BufferFullError, RuntimeError: as `put`, and nothing was taken.
        """
        records = checked(user_records)
        check_process(self._forks)
        future: asyncio.Future[list[Delivery]] = asyncio.get_running_loop().create_future()
        if not records:
            future.set_result([])
            return future
        loop = await self._start()
        size = self._measured(loop, self._work.engine.measure, records)
        await self._wait_for_room(loop, records, size, block=block)
        self._enter(loop, PutMany(records, future, size, loop.time()), len(records), size)
        return future

    def _measured(self, loop: asyncio.AbstractEventLoop, measure: Callable[[_T], int], records: _T) -> int:
        try:
            return measure(records)
        except RecordTooLargeError:
            if self._loop is loop:
                self._schedule(loop)  # a step that asks for the stream's limit, where nothing else would ask for one
            raise

    async def _wait_for_room(
        self, loop: asyncio.AbstractEventLoop, records: Sequence[UserRecord], size: int, *, block: bool
    ) -> None:
        while not self._has_room(len(records), size):
            if not block:
                raise self._room.error(
                    records, self.outstanding_records(), self._work.engine.outstanding_bytes + self._inbox.bytes
                )
            await self._wait(loop)
            self._check_open()

    def _enter(self, loop: asyncio.AbstractEventLoop, entry: Single | PutMany, count: int, size: int) -> None:
        """Put something into the inbox, and see to it that a step comes for it."""
        now = loop.time()
        self._inbox.add(entry, count, size, now)
        if self._inbox.records >= _STEP_RECORDS:
            self._step(loop)
        elif now >= self._looks_at:
            loop.call_soon(self._step, loop)
            self._looks_at = now + _PATIENCE

    async def flush(self) -> None:
        """Send what is there, and return when everything put before is delivered or has failed.

        Bound it with `asyncio.timeout`; what is on its way stays so.

        Raises:
            RuntimeError: the producer was started in another process.
        """
        check_process(self._forks)
        loop = self._loop
        if loop is None:
            return
        engine, last = None, -1
        while True:
            if engine is not self._work.engine:  # at first, and when a step that was cut short was mended
                self._step(loop, flush=True)
                engine = self._work.engine
                last = last if last >= 0 else self._work.unfinished.next_number()
            if not self._work.unfinished.has_any_before(last):
                return
            await self._wait(loop)

    async def close(self) -> list[UserRecord]:
        """Deliver what is there, then refuse `put`. Closing twice is harmless, and answers the same.

        When it is cancelled, or an `asyncio.timeout` around it ends, what is left fails with `DeliveryError`, and
        another `close` returns those records, as `Producer.close` does. In a process made by a fork it does nothing.
        """
        if self._forks not in (None, forks()):
            return []
        self._closing = True
        try:
            await self.flush()
        finally:
            await self._stop()
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard[1].aclose()
        return self._work.undelivered.copy()

    def resume(self, partition_key: str, explicit_hash_key: str | int | None = None) -> None:
        """Send records of a key again that was halted: see `Producer.resume`, whose errors it raises."""
        identity = identity_of(check_user_record((partition_key, b"", explicit_hash_key)))
        check_process(self._forks)
        self._check_open()
        if self._loop is not None:
            self._step(self._loop)  # takes what was put before
        self._work.engine.resume(identity)

    def stats(self) -> ProducerStats:
        """What it has done so far: counts, times and errors, under the names of the KPL's metrics.

        Raises:
            RuntimeError: the producer was started in another process.
        """
        check_process(self._forks)
        if self._inbox.records and self._loop is not None and self._loop.is_running():
            self._step(self._loop)
        return self._work.engine.stats()

    def is_healthy(self, within: float = 30.0) -> bool:
        """Whether it works, for a liveness probe: see `Producer.is_healthy`. Call it on the event loop."""
        check_timeout(within, "within")
        check_process(self._forks)
        is_stuck = self._loop is not None and self._work.engine.is_stuck(self._loop.time(), within)
        return not self._closing and not is_stuck

    def outstanding_records(self) -> int:
        """How many user records it has taken that are not delivered and have not failed.

        Returns:
            The number; 0 in a process made by a fork, where none is its own.
        """
        return self._work.engine.outstanding_records + self._inbox.records if self._forks == forks() else 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if self._forks is not None and not self._closed:
            warn(self, "an AsyncProducer was left")

    def _has_room(self, count: int, size: int) -> bool:
        return self._room.has(
            count,
            size,
            outstanding=self.outstanding_records(),
            outstanding_bytes=self._work.engine.outstanding_bytes + self._inbox.bytes,
        )

    def _check_open(self) -> None:
        if self._closing:
            raise RuntimeError("the producer is closed; make a new one to put more")

    async def _start(self) -> asyncio.AbstractEventLoop:
        check_process(self._forks)
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise RuntimeError("this producer belongs to another event loop; make one in each")
        self._check_open()
        if self._guard is None:
            async with self._starting:
                if self._client is None:
                    manager = async_kinesis_client(self._config, *self._client_arguments)
                    self._client = await self._opened.enter_async_context(manager)
                if self._guard is None:
                    watch(self)
                    self._loop, self._forks = loop, forks()
                    mark = object()
                    guard = self._close_with_the_loop(mark)
                    await anext(guard)
                    self._guard = mark, guard
            self._check_open()
        return loop

    async def _close_with_the_loop(self, mark: object) -> AsyncGenerator[None, None]:
        """A generator that the event loop ends, as it does with all (``shutdown_asyncgens``), before it ends itself.

        One that an interrupt has kept from becoming the guard has no say: `mark` tells.
        """
        try:
            yield
        finally:
            if self._guard is not None and self._guard[0] is mark and not self._closed:
                self._guard = None
                warn(self, "the event loop ends")
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._config.request_timeout):
                        await self.close()

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until something has changed, or for a short while: an interrupt may have swallowed what would change it."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._progress.wait()
        except TimeoutError:
            self._step(loop)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have `_step` run at the engine's deadline, or at once when it was cut short."""
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._work.engine.deadline() if self._is_whole else loop.time()
        self._timer = None if deadline is None or self._closed else loop.call_at(deadline, self._step, loop)

    def _step(self, loop: asyncio.AbstractEventLoop, *, flush: bool = False) -> None:
        if self._closed:
            return  # a call that was cancelled ends
        try:
            now = loop.time()
            self._mend(now)
            self._is_whole = False
            self._take(now)
            if flush:
                self._work.flush(now)
            actions, complete = self._work.step(now)
            for action in actions:
                call = loop.create_task(call_async(self._client, self._stream, action))
                self._calls[call] = self._work.engine, action
                call.add_done_callback(lambda _call: self._step(loop))
            self._work.finish(settle, complete)
            self._is_whole = True
        except MemoryError:
            raise
        except Exception as error:  # a bug of ours: nobody must wait for ever
            _logger.exception("the producer has failed")
            self._give_up(f"the producer has failed: {error!r}")
        finally:
            self._looks_at = 0.0
            progress, self._progress = self._progress, asyncio.Event()  # first: who waits for a set one spins
            progress.set()
            self._schedule(loop)

    def _mend(self, now: float) -> None:
        if not self._is_whole:
            self._work.finish(settle, self._work.mend(now))
            self._is_whole = True

    def _take(self, now: float) -> None:
        """Take the puts in the inbox, and the answers of the calls that have ended."""
        for put in self._inbox.puts():
            self._work.take(put)
        self._inbox.clear()
        for call in [call for call in self._calls if call.done()]:
            engine, action = self._calls[call]
            if call.cancelled():
                answer = Answer(engine, action, error=("CancelledError", "the call was cancelled"))
            elif (error := call.exception()) is not None:
                answer = Answer(engine, action, error=error_of(error))
            else:
                answer = Answer(engine, action, call.result())
            self._work.answered(answer, now)
            del self._calls[call]

    def _give_up(self, message: str) -> None:
        """Fail what is left."""
        self._closing = True
        self._work.finish(settle, self._work.abandon(message, self._inbox.puts()))
        self._inbox.clear()
        self._is_whole = self._closed = True

    async def _stop(self) -> None:
        if self._loop is not None and not self._closed:
            now = self._loop.time()
            self._mend(now)
            self._take(now)
            self._give_up(CLOSED)
        self._closed = True
        forget(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for call in (calls := [*self._calls]):
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        self._progress.set()
        await self._opened.aclose()
