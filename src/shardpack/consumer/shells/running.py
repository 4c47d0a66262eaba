"""A handler that is called with batch after batch, from several threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import LeaseLostError
from ...records import ReceivedRecord
from ..core.handling import Attempt, Divert, Done, Pause, Policy, Step, divert_one, raise_failures
from ..core.holding.delivered import Delivered
from ..spans import Spans
from .driving.seat import Seat
from .driving.tickets import Ticket, apart
from .threads import Shell
from .work import Work

DivertCall = Callable[[ReceivedRecord, Exception], object]


class Run:
    """One call of `Consumer.run` or `Consumer.run_each`."""

    def __init__(
        self,
        shell: Shell,
        policy: Policy,
        handler: Callable[[Any], object],
        divert: DivertCall | None,
        spans: Spans,
    ) -> None:
        self._shell = shell
        self._work = Work(shell, policy, spans)
        self._handler = handler
        self._divert = divert
        self._failures: list[BaseException] = []

    def until_stopped(self) -> None:
        """Handle batches until the shell is stopped, or every shard has.

        Raises:
            ExceptionGroup: what stopped shards.
            RuntimeError: the consumer has failed.
        """
        self._shell.check()
        works = [Ticket() for _ in range(self._work.policy.workers)]
        try:
            for number, work in enumerate(works):
                apart(self._work_on, f"shardpack-handler-{number}", work, daemon=False)
            for work in works:
                work.wait()
        finally:  # also after Ctrl-C: the batches in hand are finished
            self._shell.stop()
            for work in works:
                if work.is_begun:  # a thread that begins only now finds that it is stopped
                    work.wait()
        for work in works:
            work.result()  # a thread could not be started
        raise_failures(self._work.errors, self._failures)
        self._shell.check_unbroken()

    def _work_on(self) -> None:
        try:
            self._handle_batches()
        except BaseException as error:  # noqa: BLE001  # raised by the thread that waits
            self._failures.append(error)
            self._shell.stop()

    def _handle_batches(self) -> None:
        seat = Seat()
        while not self._shell.is_stopping and (delivered := self._shell.take(seat, None)) is not None:
            seat.taken = delivered
            try:
                error = delivered.error or self._shell.told_of_losses(delivered) or self._handle_in_span(delivered)
            except LeaseLostError:
                error = None
            except BaseException:
                self._shell.done(seat, stop=True)
                raise
            self._shell.done(seat, stop=self._work.over(delivered, error))

    def _handle_in_span(self, delivered: Delivered) -> Exception | None:
        with self._work.span(delivered) as errors:
            error = self._handle(delivered)
            if error is not None:
                errors.append(error)
        return error

    def _handle(self, delivered: Delivered) -> Exception | None:
        """Handle a batch; why its shard must stop, or None."""
        way = self._work.steps(delivered)
        answer: Exception | None = None
        while True:
            try:
                step = way.send(answer)
            except StopIteration as end:
                error: Exception | None = end.value
                return error
            answer = self._take(delivered, step)

    def _take(self, delivered: Delivered, step: Step) -> Exception | None:
        match step:
            case Attempt(part):
                return self._attempt(delivered, part)
            case Divert(record, error):
                return divert_one(self._divert, record, error)
            case Pause(seconds):
                self._shell.pause(seconds)
            case Done(position):
                self._shell.checkpoint_soon(delivered.hold, position)
        return None

    def _attempt(self, delivered: Delivered, part: list[ReceivedRecord]) -> Exception | None:
        batch = self._shell.batch(delivered, part)
        try:
            self._handler(self._work.part_for_handler(part, batch))
        except LeaseLostError:
            raise
        except Exception as error:  # noqa: BLE001  # the application's
            return self._work.failed(error, part, batch)
        return None
