"""Futures of deliveries, made by the hundred thousand."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import Any, TypeVar

from ..delivery import Delivery

_logger = logging.getLogger("shardpack.producer")
_T = TypeVar("_T")


class _Condition(threading.Condition):
    """A condition that is complete only once somebody waits for it.

    A complete one is eight objects. While a hundred thousand of them are outstanding, looking through them takes the
    garbage collector as long as everything else that `put` does.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_complete = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # as the base class
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_complete:  # and whoever calls this holds the lock
            threading.Condition.__init__(self, self._lock)
            self._is_complete = True
        return super().wait(timeout)

    def notify_all(self) -> None:
        if self._is_complete:  # else nobody waits
            super().notify_all()


class _Future(Future[_T]):
    """A future that is cheap to make, and whose callbacks may raise what they like."""

    def __init__(self) -> None:
        # What the base class sets, as it has done since Python 3.2, but for the condition.
        self._condition = _Condition()
        self._state = "PENDING"
        self._result = None
        self._exception = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Any] = []

    def _invoke_callbacks(self) -> None:
        # The base class lets SystemExit through: to the producer's thread, and past the other callbacks.
        for callback in self._done_callbacks:
            try:
                callback(self)
            except BaseException:  # whatever it is, it is not the producer's
                _logger.exception("a future's callback has raised an exception")


class DeliveryFuture(_Future[Delivery]):
    """A future of a `Delivery`."""


class BatchFuture(_Future[list[Delivery]]):
    """A future of the deliveries of a `put_many`."""
