"""A handler that is called with batch after batch, from several threads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from random import random
from typing import Any

from ...aws.errors import backoff
from ...errors import LeaseLostError
from ...records import ReceivedRecord
from ..core.engine import Delivered
from ..core.handling import Handling, Policy, describe, divert_one, raise_failures
from .threads import Shell

_log = logging.getLogger("shardpack.consumer")

Divert = Callable[[ReceivedRecord, Exception], object]


class Run:
    """One call of `Consumer.run` or `Consumer.run_each`."""

    def __init__(self, shell: Shell, policy: Policy, handler: Callable[[Any], object], divert: Divert | None) -> None:
        self._shell = shell
        self._policy = policy
        self._handler = handler
        self._divert = divert
        self._errors: list[Exception] = []

    def until_stopped(self) -> None:
        """Handle batches until the shell is stopped, or every shard has.

        Raises:
            ExceptionGroup: what stopped shards.
        """
        with ThreadPoolExecutor(self._policy.workers, "shardpack-handler") as threads:
            works = [threads.submit(self._work) for _ in range(self._policy.workers)]
            try:
                wait(works, return_when=FIRST_EXCEPTION)
            finally:  # also after Ctrl-C: the batches in hand are finished
                self._shell.stop()
        raise_failures(self._errors, [work.exception() for work in works])

    def _work(self) -> None:
        while (delivered := self._shell.take(None)) is not None:
            try:
                error = delivered.error or self._handle(delivered)
            except LeaseLostError:
                error = None
            except BaseException:
                self._shell.done(delivered.hold, stop=True)
                raise
            self._shell.done(delivered.hold, stop=error is not None)
            if error is not None:
                _log.error("stopped reading %s: %r", delivered.hold.lease.key, error)
                self._errors.append(error)

    def _handle(self, delivered: Delivered) -> Exception | None:
        """Handle a batch; why its shard must stop, or None."""
        hold = delivered.hold
        handling = Handling(delivered.records, self._policy)
        while not handling.is_over:
            error = self._attempt(delivered, handling.part)
            if error is None:
                handling.succeeded()
            else:
                record = handling.part[0] if handling.part else None
                verdict = handling.failed(self._shell.look(lambda _: hold.position))
                if verdict == "stop":
                    return error
                if verdict == "retry":
                    _log.warning("%s: the handler has failed, trying again: %r", hold.lease.key, error)
                    self._shell.pause(backoff(handling.failures, random))
                    if self._shell.is_stopping:
                        return None  # what is not done is given to whoever reads the shard next
                    continue
                if (failure := divert_one(self._divert, record, error)) is not None:
                    return failure
                handling.succeeded()
            if handling.done_to is not None:
                self._shell.checkpoint_soon(hold, handling.done_to)
        return None

    def _attempt(self, delivered: Delivered, part: list[ReceivedRecord]) -> Exception | None:
        batch = self._shell.batch(delivered, part)
        try:
            self._handler(part[0] if self._policy.one_by_one else batch)
        except LeaseLostError:
            raise
        except Exception as error:  # noqa: BLE001  # the application's
            error.add_note(describe(batch.shard_id, part, batch.given))
            return error
        return None
