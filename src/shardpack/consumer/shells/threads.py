"""The engine for threads: calls to Kinesis are made by threads of its own, and whoever asks waits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from ...aws.streams import ALL_SHARDS, list_shards
from ...leases.lease import Leases
from ...records import Position, ReceivedRecord
from ..batch import Batch
from ..config import ConsumerConfig
from ..core.actions import KinesisAction, ListShards
from ..core.engine import Engine
from ..core.holding.delivered import Delivered
from ..core.holding.hold import Hold
from ..loss import DataLoss
from .beginning import name_of
from .driving.calls import kinesis_call
from .driving.driven import Driven
from .driving.driver import Driver
from .driving.seat import Seat
from .driving.tickets import Ticket


class Shell(Driven):
    """Runs an engine. Every method may be called from any thread, and interrupted anywhere; see `Driver`.

    Its threads start with the first `take`; until then it may be carried over a fork.
    """

    def __init__(
        self,
        make: Callable[[], Engine],
        config: ConsumerConfig,
        client: Any,
        stream: dict[str, str],
        leases: Leases,
        at_end: Callable[[], object],
        on_data_loss: Callable[[DataLoss], object] | None = None,
    ) -> None:
        self._client = client
        self._stream = stream
        self._at_end = at_end
        self._on_data_loss = on_data_loss
        self._calls = ThreadPoolExecutor(config.max_connections, "shardpack-call")  # starts no thread yet
        self._driver = Driver(make, leases, self._begin_call, self._end)

    def take(self, seat: Seat, timeout: float | None) -> Delivered | None:
        """What the engine gives next, in hand until the seat asks again; None: nothing in time, or no more."""
        started = Ticket()
        self._driver.start(started)
        started.wait()
        started.result()
        ticket = Ticket()
        try:
            self._driver.ask(seat, ticket, is_patient=timeout is None)
            if not ticket.wait(timeout):
                self._driver.withdraw(seat)
                ticket.wait()
        except BaseException:
            self._driver.withdraw(seat)
            raise
        return cast("Delivered | None", ticket.result())

    def told_of_losses(self, delivered: Delivered) -> Exception | None:
        """Tell the application what has expired before these records; why it wants no more of the shard, or None."""
        try:
            for loss in delivered.losses:
                if self._on_data_loss is not None:
                    self._on_data_loss(loss)
        except Exception as error:  # noqa: BLE001  # the application's
            return error
        return None

    def batch(self, delivered: Delivered, records: list[ReceivedRecord]) -> Batch:
        """All or some of the records that were delivered, with the means to checkpoint them."""
        checkpoint = functools.partial(self.checkpoint, delivered.hold)
        return Batch.of(delivered, records, checkpoint, name_of(self._stream))

    def checkpoint(self, hold: Hold, position: Position | None) -> None:
        """Have everything up to a position recorded; None: all that was delivered. Returns when it is.

        Raises:
            LeaseLostError, CheckpointError: see `Engine.checkpoint`.
            LeaseStoreError: the leases cannot be written.
        """
        ticket = Ticket()
        self._driver.checkpoint(hold, position, ticket)
        ticket.wait()
        ticket.result()

    def pause(self, seconds: float) -> None:
        """Wait, but not after `stop`."""
        ticket = Ticket()
        self._driver.pause(seconds, ticket)
        ticket.wait()

    def close(self, timeout: float) -> None:
        """Write what was checkpointed, and give the leases up."""
        self._driver.close(timeout)
        self._driver.wait_for_end()

    # The driver's thread, and the threads that call Kinesis.

    def _begin_call(self, action: KinesisAction) -> None:
        self._calls.submit(self._do, action)

    def _end(self) -> None:
        self._calls.shutdown(wait=False, cancel_futures=True)
        self._at_end()

    def _do(self, action: KinesisAction) -> None:
        answer, failure = None, None
        try:
            answer = self._call(action)
        except BaseException as error:  # noqa: BLE001  # whatever goes wrong in a call is an answer to it
            failure = error
        self._driver.report(action, answer, failure)

    def _call(self, action: KinesisAction) -> Any:
        if isinstance(action, ListShards):
            return list_shards(self._client, self._stream, ALL_SHARDS)
        method, arguments, key = kinesis_call(action, self._stream)
        response = getattr(self._client, method)(**arguments)
        return response if key is None else response[key]
