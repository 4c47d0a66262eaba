"""The consumer for asyncio, on aiobotocore."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

from ...aws.client import kinesis_client
from ...aws.streams import stream_argument
from ...leases.lease import Leases
from ...limits import check_optional
from ...records import ReceivedRecord
from ..batch import AsyncBatch
from ..config import ConsumerConfig
from ..core.handling import OnFailure, Policy
from ..loss import DataLoss
from ..reading.fan_out import LOOKING_SECONDS, FanOut
from ..reading.streams import NAME as MANY
from ..spans import Spans
from .async_running import AsyncDivert, AsyncRun
from .beginning import Streams, check_arguments, check_hook, directory_of, engine_for
from .driving.seat import Seat
from .observing import Observed
from .tasks import AsyncShell


class AsyncConsumer(Observed):
    """`Consumer` for asyncio: the same promises, settings and errors.

    Iterate over it in one task, or let `run` await a handler in several. It belongs to the event loop in which it is
    first used. Calls to the store of leases are made in threads.

    Args:
        stream_name: see `Consumer`, for this and what follows.
        leases: the same stores.
        streams: several streams in the place of one.
        start: where to read from when nothing is done yet.
        start_at: for single shards.
        worker_id: this worker's name in the leases.
        config: the settings.
        client: an aiobotocore Kinesis client to use. None: one is made from the following at first use, and closed
            with the consumer.
        region_name: as boto3 takes it; None: as boto3 finds it.
        endpoint_url: the same.
        profile_name: the same.
        meter_provider: an OpenTelemetry ``MeterProvider`` for the metrics; None: the global one. Used where
            OpenTelemetry is installed.
        tracer_provider: an OpenTelemetry ``TracerProvider`` for the spans of `run` and `run_each`, one a batch; None:
            the global one.
        fan_out: read by enhanced fan-out, as the stream consumer of this name. A thread for each shard reads what is
            pushed.
        fan_out_client: a boto3 Kinesis client for those threads; None: one is made from ``region_name`` and what
            follows it.
        on_data_loss: see `Consumer`; it may be a coroutine function.

    Raises:
        ValueError: `start` or `start_at` is no starting position.
        ModuleNotFoundError: boto3 is not installed, and `fan_out` is given without its client.
    """

    def __init__(
        self,
        stream_name: str | None = None,
        *,
        leases: Leases,
        streams: Streams | None = None,
        start: str | datetime = "TRIM_HORIZON",
        start_at: Mapping[str, tuple[str, str]] | None = None,
        worker_id: str | None = None,
        config: ConsumerConfig | None = None,
        client: Any = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        meter_provider: Any = None,
        tracer_provider: Any = None,
        fan_out: str | None = None,
        fan_out_client: Any = None,
        on_data_loss: Callable[[DataLoss], object] | None = None,
    ) -> None:
        check_optional("fan_out", fan_out, str)
        check_hook(on_data_loss)
        directory = self._directory = directory_of(stream_name, streams, fan_out)
        stream_name = stream_name or MANY
        check_arguments(stream_name, leases, worker_id, config)
        config = config or ConsumerConfig()
        arguments = region_name, endpoint_url, profile_name
        stream = stream_argument(stream_name)
        pushed: FanOut | None = None
        if fan_out is not None:
            pushed = FanOut(fan_out_client or kinesis_client(config, *arguments), stream, fan_out)
            config = replace(config, idle_time_between_reads=LOOKING_SECONDS)
        make = partial(engine_for, stream_name, worker_id, config, start, start_at, meter_provider, leases)
        source = pushed or directory
        self._shell: AsyncShell = AsyncShell(make, config, client, arguments, stream, leases, source, on_data_loss)
        self._spans = Spans(stream_name, tracer_provider)
        self._seat = Seat()

    async def next_batch(self) -> AsyncBatch | None:
        """The next user records of a shard; asking for them says that the batch before is no longer worked on.

        Bound the wait with `asyncio.timeout`; nothing is lost by it. See `Consumer.next_batch`.

        Returns:
            The batch; None after `stop`.
        """
        seat = self._seat
        before = seat.taken
        self._spans.ended()
        try:
            delivered = await self._shell.take(seat)
            if delivered is None:
                return None
            batch = self._shell.batch(delivered, delivered.records)
            error = delivered.error or await self._shell.told_of_losses(delivered)
            if error is None:
                self._spans.began(delivered.hold.lease.key, delivered.records)
            seat.taken = delivered
            if error is None:
                return batch
        except BaseException:  # what the application has not got is given again
            seat.taken = before
            raise
        if delivered.error is None:
            self._shell.done(seat, stop=True)
        raise error

    def __aiter__(self) -> AsyncIterator[AsyncBatch]:
        """Batch after batch, until `stop`."""
        return self

    async def __anext__(self) -> AsyncBatch:
        batch = await self.next_batch()
        if batch is None:
            raise StopAsyncIteration
        return batch

    async def run(
        self,
        handler: Callable[[AsyncBatch], Awaitable[object]],
        *,
        workers: int = 1,
        on_failure: OnFailure = "stop",
        divert: AsyncDivert | None = None,
        max_attempts: int = 1,
    ) -> None:
        """Await a handler with batch after batch, shards side by side, until `stop`; see `Consumer.run`.

        `handler` and `divert` are coroutine functions, and ``workers`` counts tasks. When the task that runs this is
        cancelled, so are they: what they have not finished is handed out again to whoever reads the shard next.
        """
        policy = Policy(False, workers, on_failure, max_attempts, divert is not None)
        await AsyncRun(self._shell, policy, handler, divert, self._spans).until_stopped()

    async def run_each(
        self,
        handler: Callable[[ReceivedRecord], Awaitable[object]],
        *,
        workers: int = 1,
        on_failure: OnFailure = "stop",
        divert: AsyncDivert | None = None,
        max_attempts: int = 1,
    ) -> None:
        """Await a handler with user record after user record, until `stop`; see `Consumer.run_each`."""
        policy = Policy(True, workers, on_failure, max_attempts, divert is not None)
        await AsyncRun(self._shell, policy, handler, divert, self._spans).until_stopped()

    def stop(self) -> None:
        """Have the iteration, or `run`, end after the batches in hand; for ``loop.add_signal_handler``."""
        self._shell.stop()

    async def close(self) -> None:
        """Write what was checkpointed, and give the leases up, so that other workers can have them at once.

        It takes no longer than the failover time, after which the leases are free in any case.
        """
        self._spans.ended()
        await self._shell.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._spans.ended(exc)
        await self.close()
