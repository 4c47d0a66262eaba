"""A handler that is awaited with batch after batch, by several tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ...errors import LeaseLostError
from ...records import ReceivedRecord
from ..core.handling import Attempt, Divert, Done, Pause, Policy, Step, raise_failures
from ..core.holding.delivered import Delivered
from ..spans import Spans
from .driving.seat import Seat
from .tasks import AsyncShell
from .work import Work

AsyncDivert = Callable[[ReceivedRecord, Exception], Awaitable[object]]


class AsyncRun:
    """One call of `AsyncConsumer.run` or `AsyncConsumer.run_each`; see `Run`."""

    def __init__(
        self,
        shell: AsyncShell,
        policy: Policy,
        handler: Callable[[Any], Awaitable[object]],
        divert: AsyncDivert | None,
        spans: Spans,
    ) -> None:
        self._shell = shell
        self._work = Work(shell, policy, spans)
        self._handler = handler
        self._divert = divert

    async def until_stopped(self) -> None:
        """Handle batches until the shell is stopped, or every shard has.

        Raises:
            ExceptionGroup: what stopped shards.
            RuntimeError: the consumer has failed.
        """
        self._shell.check()
        works: list[asyncio.Task[None]] = []
        try:
            works += [asyncio.create_task(self._handle_batches()) for _ in range(self._work.policy.workers)]
            await asyncio.wait(works, return_when=asyncio.FIRST_EXCEPTION)
        except asyncio.CancelledError:
            for work in works:  # whoever cancels does not want the batches in hand to be finished
                work.cancel()
            raise
        finally:
            self._shell.stop()
            results = await asyncio.gather(*works, return_exceptions=True)
        raise_failures(self._work.errors, results)
        self._shell.check_unbroken()

    async def _handle_batches(self) -> None:
        seat = Seat()
        while not self._shell.is_stopping and (delivered := await self._shell.take(seat)) is not None:
            seat.taken = delivered
            try:
                error = delivered.error or await self._shell.told_of_losses(delivered)
                error = error or await self._handle_in_span(delivered)
            except LeaseLostError:
                error = None
            except BaseException:
                self._shell.done(seat, stop=True)
                raise
            self._shell.done(seat, stop=self._work.over(delivered, error))

    async def _handle_in_span(self, delivered: Delivered) -> Exception | None:
        with self._work.span(delivered) as errors:
            error = await self._handle(delivered)
            if error is not None:
                errors.append(error)
        return error

    async def _handle(self, delivered: Delivered) -> Exception | None:
        """Handle a batch; why its shard must stop, or None."""
        way = self._work.steps(delivered)
        answer: Exception | None = None
        while True:
            try:
                step = way.send(answer)
            except StopIteration as end:
                error: Exception | None = end.value
                return error
            answer = await self._take(delivered, step)

    async def _take(self, delivered: Delivered, step: Step) -> Exception | None:
        match step:
            case Attempt(part):
                return await self._attempt(delivered, part)
            case Divert(record, error):
                return await self._diverted(record, error)
            case Pause(seconds):
                await self._shell.pause(seconds)
            case Done(position):
                self._shell.checkpoint_soon(delivered.hold, position)
        return None

    async def _attempt(self, delivered: Delivered, part: list[ReceivedRecord]) -> Exception | None:
        batch = self._shell.batch(delivered, part)
        try:
            await self._handler(self._work.part_for_handler(part, batch))
        except LeaseLostError:
            raise
        except Exception as error:  # noqa: BLE001  # the application's
            return self._work.failed(error, part, batch)
        return None

    async def _diverted(self, record: ReceivedRecord, error: Exception) -> Exception | None:
        try:
            if self._divert is not None:
                await self._divert(record, error)
        except Exception as failure:  # noqa: BLE001  # the application's
            return failure
        return None
