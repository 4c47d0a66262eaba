"""Futures of deliveries, made by the hundred thousand."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import Any, TypeVar

from ...errors import DeliveryError
from ..delivery import Delivery

_logger = logging.getLogger("shardpack.producer")
_T = TypeVar("_T")
_CANCELLED = ("CANCELLED", "CANCELLED_AND_NOTIFIED")


class _Future(Future[_T]):
    """A future that is cheap as long as nobody looks at it before it has its outcome, and as nearly all are.

    A future of the base class is a dozen objects. While a hundred thousand are outstanding, looking through them takes
    the garbage collector as long as all else that `put` does. So what the base class keeps in them is made when it is
    asked for, which opens the future: from then on its lock counts. Until then its outcome is set and read without:
    whoever opens it looks for an outcome afterwards, and who sets the outcome looks afterwards whether it was opened,
    so one of them sees the other.
    """

    __slots__ = ("_is_open", "_outcome")

    def __init__(self) -> None:
        self._is_open = False
        self._outcome: Any = None

    def __getattr__(self, name: str) -> Any:
        """What the base class has set in its constructor since Python 3.2."""
        is_open, outcome = self._is_open, self._outcome  # in this order: see the class
        if name == "_state":
            state = "PENDING" if outcome is None else "FINISHED"
            # Whoever holds the lock relies on it until `settle` has the lock.
            return self.__dict__.setdefault(name, state) if is_open else state
        if name == "_result":
            return None if isinstance(outcome, BaseException) else outcome
        if name == "_exception":
            return outcome if isinstance(outcome, BaseException) else None
        if name == "_condition":
            self._is_open = True
            return self.__dict__.setdefault(name, threading.Condition())
        if name in ("_waiters", "_done_callbacks"):
            return self.__dict__.setdefault(name, [])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def settle(self, outcome: _T | DeliveryError) -> None:
        """Set the outcome, unless there is one, or it was cancelled: for the producer, which calls it once."""
        if not self._is_open:
            self._outcome = outcome
            if not self._is_open:
                return
        with self._condition:
            state = self.__dict__.get("_state")
            if state == "FINISHED":
                return
            if state in _CANCELLED:
                super().set_running_or_notify_cancel()
                return
            self._outcome = outcome
            self._state = "FINISHED"
            for waiter in self._waiters:
                if isinstance(outcome, DeliveryError):
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
            self._condition.notify_all()
        self._invoke_callbacks()

    def done(self) -> bool:
        outcome = self._outcome  # before the other: see the class
        return super().done() if self._is_open else outcome is not None

    def result(self, timeout: float | None = None) -> _T:
        outcome = self._outcome
        if outcome is None or self._is_open or isinstance(outcome, BaseException):
            try:
                return super().result(timeout)
            finally:
                del self, outcome  # as in the base class: else an exception would refer to itself by its traceback
        result: _T = outcome
        return result

    def _invoke_callbacks(self) -> None:
        # The base class lets SystemExit through: to the producer's thread, and past the other callbacks.
        for callback in self._done_callbacks:
            try:
                callback(self)
            except BaseException:  # whatever it is, it is not the producer's
                _logger.exception("a future's callback has raised an exception")


class DeliveryFuture(_Future[Delivery]):
    """A future of a `Delivery`; until the producer's thread takes it, it brings its user record there.

    Args:
        record: the user record's fields, checked.
        size: its bytes, partition key counted.
        arrived: when it was put.
    """

    __slots__ = ("arrived", "record", "size")

    def __init__(self, record: tuple[Any, ...] = (), size: int = 0, arrived: float = 0.0) -> None:
        self._is_open = False
        self._outcome = None
        self.record = record
        self.size = size
        self.arrived = arrived


class BatchFuture(_Future[list[Delivery]]):
    """A future of the deliveries of a `put_many`."""

    __slots__ = ()
