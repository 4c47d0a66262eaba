"""A handler that is awaited with batch after batch, by several tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import random
from typing import Any

from ...aws.errors import backoff
from ...errors import LeaseLostError
from ...records import ReceivedRecord
from ..core.engine import Delivered
from ..core.handling import Handling, Policy, describe, raise_failures
from .tasks import AsyncShell

_log = logging.getLogger("shardpack.consumer")

AsyncDivert = Callable[[ReceivedRecord, Exception], Awaitable[object]]


class AsyncRun:
    """One call of `AsyncConsumer.run` or `AsyncConsumer.run_each`; see `Run`."""

    def __init__(
        self,
        shell: AsyncShell,
        policy: Policy,
        handler: Callable[[Any], Awaitable[object]],
        divert: AsyncDivert | None,
    ) -> None:
        self._shell = shell
        self._policy = policy
        self._handler = handler
        self._divert = divert
        self._errors: list[Exception] = []

    async def until_stopped(self) -> None:
        """Handle batches until the shell is stopped, or every shard has.

        Raises:
            ExceptionGroup: what stopped shards.
        """
        works = [asyncio.create_task(self._work()) for _ in range(self._policy.workers)]
        try:
            await asyncio.wait(works, return_when=asyncio.FIRST_EXCEPTION)
        except asyncio.CancelledError:
            for work in works:  # whoever cancels does not want the batches in hand to be finished
                work.cancel()
            raise
        finally:
            self._shell.stop()
            results = await asyncio.gather(*works, return_exceptions=True)
        raise_failures(self._errors, results)

    async def _work(self) -> None:
        while (delivered := await self._shell.take()) is not None:
            try:
                error = delivered.error or await self._handle(delivered)
            except LeaseLostError:
                error = None
            except BaseException:
                self._shell.done(delivered.hold, stop=True)
                raise
            self._shell.done(delivered.hold, stop=error is not None)
            if error is not None:
                _log.error("stopped reading %s: %r", delivered.hold.lease.key, error)
                self._errors.append(error)

    async def _handle(self, delivered: Delivered) -> Exception | None:
        """Handle a batch; why its shard must stop, or None."""
        hold = delivered.hold
        handling = Handling(delivered.records, self._policy)
        while not handling.is_over:
            error = await self._attempt(delivered, handling.part)
            if error is None:
                handling.succeeded()
            else:
                record = handling.part[0] if handling.part else None
                verdict = handling.failed(hold.position)
                if verdict == "stop":
                    return error
                if verdict == "retry":
                    _log.warning("%s: the handler has failed, trying again: %r", hold.lease.key, error)
                    await self._shell.pause(backoff(handling.failures, random))
                    if self._shell.is_stopping:
                        return None  # what is not done is given to whoever reads the shard next
                    continue
                if (failure := await self._diverted(record, error)) is not None:
                    return failure
                handling.succeeded()
            if handling.done_to is not None:
                self._shell.checkpoint_soon(hold, handling.done_to)
        return None

    async def _attempt(self, delivered: Delivered, part: list[ReceivedRecord]) -> Exception | None:
        batch = self._shell.batch(delivered, part)
        try:
            await self._handler(part[0] if self._policy.one_by_one else batch)
        except LeaseLostError:
            raise
        except Exception as error:  # noqa: BLE001  # the application's
            error.add_note(describe(batch.shard_id, part, batch.given))
            return error
        return None

    async def _diverted(self, record: ReceivedRecord | None, error: Exception) -> Exception | None:
        if self._divert is None or record is None:
            return error
        try:
            await self._divert(record, error)
        except Exception as failure:  # noqa: BLE001  # the application's
            return failure
        return None
