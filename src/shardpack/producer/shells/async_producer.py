"""The producer for asyncio, on aiobotocore."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from ...aws.client import async_kinesis_client
from ...aws.errors import error_of
from ...aws.streams import OPEN_SHARDS, list_shards_async, stream_argument
from ...records import BytesLike, UserRecord, UserRecordLike, check_user_record
from ..config import ProducerConfig
from ..core.actions import Action, ListShards, PutRecords
from ..core.engine import Engine
from ..core.metrics import Metrics, ProducerStats
from ..delivery import Delivery
from .otel import instruments
from .unfinished import Put, PutMany, Unfinished, finish

_log = logging.getLogger("shardpack.producer")


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
        self._config = config or ProducerConfig()
        self._client = client
        self._client_arguments = region_name, endpoint_url, profile_name
        self._opened = AsyncExitStack()
        metrics = Metrics(instruments(stream_name, self._config, meter_provider))
        self._engine = Engine(stream_name, self._config, metrics=metrics)
        self._unfinished = Unfinished()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._progress = asyncio.Event()
        self._starting = asyncio.Lock()
        self._closing = False

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
        record = check_user_record((partition_key, data, explicit_hash_key))
        future: asyncio.Future[Delivery] = await self._put(Put, (record,), block=block)
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
        records = [check_user_record(record) for record in user_records]
        if records:
            future: asyncio.Future[list[Delivery]] = await self._put(PutMany, records, block=block)
        else:
            future = asyncio.get_running_loop().create_future()
            future.set_result([])
        return future

    async def _put(
        self, kind: type[Put | PutMany], records: Sequence[UserRecord], *, block: bool
    ) -> asyncio.Future[Any]:
        loop = await self._start()
        while not self._engine.has_room(records):
            if not block:
                raise self._engine.buffer_full_error(records)
            await self._progress.wait()
            self._check_open()
        number = self._unfinished.next_number()
        is_news = self._engine.put(records, number, loop.time())
        future: asyncio.Future[Any] = loop.create_future()
        self._unfinished.add(number, kind(records, future))
        if is_news:
            self._schedule(loop)
        return future

    async def flush(self) -> None:
        """Send what is there, and return when everything put before is delivered or has failed.

        Bound it with `asyncio.timeout`; what is on its way stays so.
        """
        if self._loop is None:
            return
        last = self._unfinished.next_number()
        self._engine.flush(self._loop.time())
        self._step(self._loop)
        while self._unfinished.has_any_before(last):
            await self._progress.wait()

    async def close(self) -> None:
        """Deliver what is there, then refuse `put`. Closing twice is harmless.

        When it is cancelled, or an `asyncio.timeout` around it ends, what is left fails with `DeliveryError`.
        """
        self._closing = True
        try:
            await self.flush()
        finally:
            await self._stop()

    def stats(self) -> ProducerStats:
        """What it has done so far: counts, times and errors, under the names of the KPL's metrics."""
        return self._engine.stats()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _check_open(self) -> None:
        if self._closing:
            raise RuntimeError("the producer is closed; make a new one to put more")

    async def _start(self) -> asyncio.AbstractEventLoop:
        self._check_open()
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise RuntimeError("this producer belongs to another event loop; make one in each")
        if self._client is None:
            async with self._starting:
                if self._client is None:
                    manager = async_kinesis_client(self._config, *self._client_arguments)
                    self._client = await self._opened.enter_async_context(manager)
            self._check_open()
        self._loop = loop
        return loop

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have `_step` run at the engine's deadline."""
        deadline = self._engine.deadline()
        if self._timer is not None:
            if deadline is not None and self._timer.when() <= deadline:
                return  # it will look then, and go on from there
            self._timer.cancel()
        self._timer = None if deadline is None else loop.call_at(deadline, self._step, loop)

    def _step(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for action in self._engine.poll(loop.time()):
            call = loop.create_task(self._do(action))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        for put in self._unfinished.settle(self._engine.take_finished()).values():
            _settle(put)
        self._progress.set()
        self._progress = asyncio.Event()
        self._schedule(loop)

    async def _do(self, action: Action) -> None:
        loop = asyncio.get_running_loop()
        try:
            answer = await self._call(action)
        except asyncio.CancelledError:
            self._engine.failed(action, "CancelledError", "the call was cancelled", loop.time())
            raise
        except Exception as error:  # noqa: BLE001  # whatever goes wrong in a call is an answer to it
            self._engine.failed(action, *error_of(error), loop.time())
        else:
            self._engine.answered(action, answer, loop.time())
        self._step(loop)

    async def _call(self, action: Action) -> Any:
        if isinstance(action, PutRecords):
            return await self._client.put_records(**self._stream, Records=action.request.entries)
        if isinstance(action, ListShards):
            return await list_shards_async(self._client, self._stream, OPEN_SHARDS)
        return (await self._client.describe_stream_summary(**self._stream))["StreamDescriptionSummary"]

    async def _stop(self) -> None:
        message = "the producer was closed before the record was delivered; it may be stored or not"
        for put in self._unfinished.abandon(message):
            _settle(put)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        calls = set(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        self._engine.abandon()
        self._progress.set()
        await self._opened.aclose()


def _settle(put: Put | PutMany) -> None:
    if not put.future.done():
        finish(put)
