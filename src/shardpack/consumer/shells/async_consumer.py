"""The consumer for asyncio, on aiobotocore."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from ...aws.streams import stream_argument
from ...leases.lease import Leases
from ...records import ReceivedRecord
from ..batch import AsyncBatch
from ..config import ConsumerConfig
from ..core.engine import Engine
from ..core.handling import OnFailure, Policy
from ..core.hold import Hold
from ..start import Start
from .async_running import AsyncDivert, AsyncRun
from .consumer import new_worker_id
from .tasks import AsyncShell


class AsyncConsumer:
    """`Consumer` for asyncio: the same promises, settings and errors.

    Iterate over it in one task, or let `run` await a handler in several. It belongs to the event loop in which it is
    first used. Calls to the store of leases are made in threads.

    Args:
        stream_name: see `Consumer`, for this and what follows.
        leases: the same stores.
        start: where to read from when nothing is done yet.
        start_at: for single shards.
        worker_id: this worker's name in the leases.
        config: the settings.
        client: an aiobotocore Kinesis client to use. None: one is made from the following at first use, and closed
            with the consumer.
        region_name: as boto3 takes it; None: as boto3 finds it.
        endpoint_url: the same.
        profile_name: the same.

    Raises:
        ValueError: `start` or `start_at` is no starting position.
    """

    def __init__(
        self,
        stream_name: str,
        *,
        leases: Leases,
        start: str | datetime = "TRIM_HORIZON",
        start_at: Mapping[str, tuple[str, str]] | None = None,
        worker_id: str | None = None,
        config: ConsumerConfig | None = None,
        client: Any = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
    ) -> None:
        config = config or ConsumerConfig()
        engine = Engine(
            stream_name,
            worker_id or new_worker_id(),
            config,
            Start.of(start, start_at),
            wall_clock_offset=time.time() - time.monotonic(),
        )
        arguments = region_name, endpoint_url, profile_name
        self._shell = AsyncShell(engine, config, client, arguments, stream_argument(stream_name), leases)
        self._in_hand: Hold | None = None

    async def next_batch(self) -> AsyncBatch | None:
        """The next user records of a shard; asking for them says that the batch before is no longer worked on.

        Bound the wait with `asyncio.timeout`; nothing is lost by it. See `Consumer.next_batch`.

        Returns:
            The batch; None after `stop`.
        """
        await self._shell.start()
        if self._in_hand is not None:
            self._shell.done(self._in_hand)
            self._in_hand = None
        delivered = await self._shell.take()
        if delivered is None:
            return None
        if delivered.error is not None:
            self._shell.done(delivered.hold, stop=True)
            raise delivered.error
        self._in_hand = delivered.hold
        return self._shell.batch(delivered, delivered.records)

    async def __aiter__(self) -> AsyncIterator[AsyncBatch]:
        """Batch after batch, until `stop`."""
        while (batch := await self.next_batch()) is not None:
            yield batch

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
        await AsyncRun(self._shell, policy, handler, divert).until_stopped()

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
        await AsyncRun(self._shell, policy, handler, divert).until_stopped()

    def stop(self) -> None:
        """Have the iteration, or `run`, end after the batches in hand; for ``loop.add_signal_handler``."""
        self._shell.stop()

    async def close(self) -> None:
        """Write what was checkpointed, and give the leases up, so that other workers can have them at once.

        It takes no longer than the failover time, after which the leases are free in any case.
        """
        await self._shell.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def millis_behind_latest(self) -> dict[str, int | None]:
        """For each shard that this worker holds, how many milliseconds its reading is behind; None: not known yet."""
        return self._shell.look(
            lambda engine: {hold.lease.key: hold.reader.millis_behind_latest for hold in engine.holds}
        )

    @property
    def is_caught_up(self) -> bool:
        """Whether everything was handed out, and is no longer in hand, that this worker's shards held when last read.

        False until the first shards are read, and while shards that nobody holds wait to be taken.
        """
        return self._shell.look(lambda engine: engine.is_caught_up)
