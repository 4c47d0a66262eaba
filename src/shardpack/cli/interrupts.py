"""Ctrl-C and its relatives, and how a command ends: in order at the first signal, at once at the last."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, Self, TypeVar

_T = TypeVar("_T")
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class Interruption:
    """Notes the signals that ask a command to end, so that it may finish what it has begun.

    A signal that was ignored when the command began stays ignored, as by ``nohup``.

    Args:
        at_once: the how-manieth signal ends the process there and then, whatever it does.

    Attributes:
        signals: the numbers of those that have come.
    """

    def __init__(self, at_once: int) -> None:
        self.signals: list[int] = []
        self._at_once = at_once
        self._raises_at: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def status(self) -> int | None:
        """The exit status as shells have it, 128 and the first signal's number; None: there was none."""
        return 128 + self.signals[0] if self.signals else None

    @contextmanager
    def raising(self, count: int) -> Iterator[None]:
        """Within, the signal of this number, and each later one, raises KeyboardInterrupt; outside none does."""
        self._raises_at = count
        try:
            if len(self.signals) >= count:
                raise KeyboardInterrupt
            yield
        finally:
            self._raises_at = None

    def until_caught(self, items: Iterable[_T]) -> Iterator[_T]:
        """The items, until there is a signal.

        Only while the next item is read, a signal raises KeyboardInterrupt: nothing that was read may be torn apart.
        """
        iterator = iter(items)
        while not self.signals:
            self._raises_at = 1
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._raises_at = None
            yield item

    def _caught(self, number: int, _frame: FrameType | None) -> None:
        self.signals.append(number)
        if len(self.signals) >= self._at_once:
            leave(128 + self.signals[0])
        if self._raises_at is not None and len(self.signals) >= self._raises_at:
            raise KeyboardInterrupt


def leave(status: int) -> NoReturn:
    """End the process there and then: it waits for no thread whose call hangs, and for nobody to read its output."""
    os._exit(status)


def end(status: int) -> NoReturn:
    """End the process as Python does, unless a thread is left that it would wait for."""
    # Daemons count: a pool's threads are such where a daemon has started them, and are waited for all the same.
    if threading.active_count() == 1:
        sys.exit(status)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    leave(status)
