"""The engine for an event loop: calls to Kinesis are its tasks, and whoever asks awaits."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, cast

from ...aws.client import async_kinesis_client
from ...aws.streams import ALL_SHARDS, list_shards_async
from ...leases.lease import Leases
from ...records import Position, ReceivedRecord
from ..batch import AsyncBatch
from ..config import ConsumerConfig
from ..core.actions import KinesisAction, ListShards
from ..core.engine import Engine
from ..core.holding.delivered import Delivered
from ..core.holding.hold import Hold
from ..loss import DataLoss
from ..reading.async_fan_out import AsyncFanOut
from ..reading.directory import Directory
from ..reading.fan_out import FanOut
from ..reading.streams import AsyncManyStreams
from .beginning import name_of
from .driving.calls import kinesis_call
from .driving.driven import Driven
from .driving.driver import Driver
from .driving.seat import Seat
from .driving.tickets import AsyncTicket


class AsyncShell(Driven):
    """Runs an engine for the event loop of the first `take`; see `Shell`.

    The engine has a thread here too, so that leases are renewed while the loop is busy; calls to the store of leases
    are made in threads, because stores are not asynchronous.
    """

    def __init__(
        self,
        make: Callable[[], Engine],
        config: ConsumerConfig,
        client: Any,
        client_arguments: tuple[str | None, str | None, str | None],
        stream: dict[str, str],
        leases: Leases,
        source: FanOut | Directory | None = None,
        on_data_loss: Callable[[DataLoss], object] | None = None,
    ) -> None:
        self._config = config
        self._client = client
        self._client_arguments = client_arguments
        self._stream = stream
        self._on_data_loss = on_data_loss
        self._opened = AsyncExitStack()
        self._opening: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._source = source
        self._driver = Driver(make, leases, self._begin_call, self._end)

    async def take(self, seat: Seat) -> Delivered | None:
        """What the engine gives next, in hand until the seat asks again; None: no more."""
        await self._start()
        ticket = AsyncTicket()
        try:
            self._driver.ask(seat, ticket, is_patient=True)
            return cast("Delivered | None", await ticket.come())
        except BaseException:  # also when the task is cancelled
            self._driver.withdraw(seat)
            raise

    async def told_of_losses(self, delivered: Delivered) -> Exception | None:
        """See `Shell.told_of_losses`; what the application gives may be a coroutine function."""
        try:
            for loss in delivered.losses:
                answer = None if self._on_data_loss is None else self._on_data_loss(loss)
                if inspect.isawaitable(answer):
                    await answer
        except Exception as error:  # noqa: BLE001  # the application's
            return error
        return None

    def batch(self, delivered: Delivered, records: list[ReceivedRecord]) -> AsyncBatch:
        """All or some of the records that were delivered, with the means to checkpoint them."""
        checkpoint = functools.partial(self.checkpoint, delivered.hold)
        return AsyncBatch.of(delivered, records, checkpoint, name_of(self._stream))

    async def checkpoint(self, hold: Hold, position: Position | None) -> None:
        """See `Shell.checkpoint`."""
        ticket = AsyncTicket()
        self._driver.checkpoint(hold, position, ticket)
        await ticket.come()

    async def pause(self, seconds: float) -> None:
        """Wait, but not after `stop`."""
        ticket = AsyncTicket()
        self._driver.pause(seconds, ticket)
        await ticket.come()

    async def close(self) -> None:
        """Write what was checkpointed, and give the leases up, as long as it takes but not longer than they last."""
        self._driver.close(self._config.failover_time)
        await self._driver.await_end()
        if not self._driver.is_here:
            return  # in a forked child: the client is the parent's
        calls = set(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._opened.aclose()

    async def _start(self) -> None:
        """Start at the first call.

        Raises:
            RuntimeError: it is closed, or was started in another loop or process.
        """
        self._driver.check()
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise RuntimeError("this consumer belongs to another event loop; make one in each")
        if self._opening is None:
            self._loop = loop
            self._opening = loop.create_task(self._open())
        opening = self._opening
        try:
            await asyncio.shield(opening)
        finally:
            if opening.done() and (opening.cancelled() or opening.exception() is not None):
                self._opening = None  # to be tried again

    async def _open(self) -> None:
        if self._client is None:
            manager = async_kinesis_client(self._config, *self._client_arguments)
            self._client = await self._opened.enter_async_context(manager)
        if isinstance(self._source, FanOut) and not isinstance(self._client, AsyncFanOut):
            self._client = AsyncFanOut(self._client, self._source)
        if isinstance(self._source, Directory) and not isinstance(self._client, AsyncManyStreams):
            self._client = AsyncManyStreams(self._client, self._source)
        ticket = AsyncTicket()
        self._driver.start(ticket)
        await ticket.come()

    # The driver's thread, and the loop's tasks that call Kinesis.

    def _begin_call(self, action: KinesisAction) -> None:
        cast("asyncio.AbstractEventLoop", self._loop).call_soon_threadsafe(self._create_call, action)

    def _end(self) -> None:
        """The loop ends its own calls, in `close`."""
        if isinstance(self._source, FanOut):
            self._source.close()

    def _create_call(self, action: KinesisAction) -> None:
        call = cast("asyncio.AbstractEventLoop", self._loop).create_task(self._do(action))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _do(self, action: KinesisAction) -> None:
        answer: object = None
        failure: BaseException | None = None
        try:
            answer = await self._call(action)
        except asyncio.CancelledError:
            failure = ConnectionError("the event loop has cancelled the call")
            raise
        except BaseException as error:  # noqa: BLE001  # whatever goes wrong in a call is an answer to it
            failure = error
        finally:
            self._driver.report(action, answer, failure)

    async def _call(self, action: KinesisAction) -> Any:
        if isinstance(action, ListShards):
            return await list_shards_async(self._client, self._stream, ALL_SHARDS)
        method, arguments, key = kinesis_call(action, self._stream)
        response = await getattr(self._client, method)(**arguments)
        return response if key is None else response[key]
