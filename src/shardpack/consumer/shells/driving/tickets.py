"""Answers that one thread gives and another waits for, and threads that no interrupt reaches."""

from __future__ import annotations

import _thread
import asyncio
import threading
import time
from collections.abc import Callable

_SLICE = 1.0  # seconds between looks at an answer for which several threads may wait


class Ticket:
    """One answer. It stays whole when an interrupt hits the thread that waits, at whatever moment.

    What is made of `threading.Condition` (events, futures, queues) can stay locked when `KeyboardInterrupt` comes
    between the taking of its lock and the next step; the thread that has the answer then waits for ever. Here the
    waiting thread holds nothing that the other one needs.

    Attributes:
        is_settled: whether there is an answer.
        is_begun: whether a thread works on it; that thread says so.
        refusal: the error that answers it when nobody will; None: the answer is None.
    """

    def __init__(self) -> None:
        self.is_settled = False
        self.is_begun = False
        self.refusal: BaseException | None = None
        self._value: object = None
        self._error: BaseException | None = None
        self._settling = threading.Lock()
        self._settling.acquire()

    def settle(self, value: object = None, error: BaseException | None = None) -> None:
        """Give the answer, from one thread; a later one does not count."""
        if not self.is_settled:
            self._value, self._error = value, error
            self.is_settled = True
            self._settling.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the answer; whether there is one."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self.is_settled:
            left = _SLICE if until is None else min(until - time.monotonic(), _SLICE)
            if left <= 0:
                break
            self._settling.acquire(timeout=left)
        return self.is_settled

    def result(self) -> object:
        """The answer, or what was raised instead."""
        if self._error is not None:
            raise self._error
        return self._value


class AsyncTicket(Ticket):
    """The same for a task of an event loop; it is settled from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    def settle(self, value: object = None, error: BaseException | None = None) -> None:
        """See `Ticket.settle`."""
        super().settle(value, error)
        try:
            self._loop.call_soon_threadsafe(self._woken.set)
        except RuntimeError:  # the loop is closed, and so nobody waits
            return

    async def come(self) -> object:
        """Wait for the answer, and give it, or raise what was raised instead."""
        if not self.is_settled:
            await self._woken.wait()
        return self.result()


def apart(function: Callable[[], object], name: str, ticket: Ticket, *, daemon: bool = True) -> None:
    """Run a function in a thread of its own; its ticket is settled with what comes of it.

    The thread is started by another that no signal handler runs in: `threading.Thread.start` waits for an event, and
    an interrupt in there can leave that event locked, and the new thread waiting for it before its first step.
    """

    def run() -> None:
        ticket.is_begun = True
        try:
            ticket.settle(function())
        except BaseException as error:  # noqa: BLE001  # told to whoever waits, be it SystemExit
            ticket.settle(error=error)

    def begin() -> None:
        try:
            threading.Thread(target=run, name=name, daemon=daemon).start()
        except BaseException as error:  # noqa: BLE001  # no thread can be started
            ticket.settle(error=error)

    _thread.start_new_thread(begin, ())
