"""The clocks that a FakeKinesis may run on."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What a FakeKinesis asks of a clock: the time, and to let time pass."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass."""

    async def wait_async(self, seconds: float) -> None:
        """Let so many seconds pass, and other tasks run."""


class ManualClock:
    """A clock that stands still until a test moves it. Thread-safe. Called, it gives the time, as `time.time` does.

    Args:
        start: seconds since the epoch; the default is a moment in 2027.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = float(start)
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    __call__ = now

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Raises:
            ValueError: `seconds` is negative; Kinesis' time never goes back.
        """
        if seconds < 0:
            raise ValueError(f"seconds is {seconds}; the clock only goes forward")
        with self._lock:
            self._now += seconds

    def wait(self, seconds: float) -> None:
        """The same as `advance`: who waits on a manual clock moves it."""
        self.advance(seconds)

    async def wait_async(self, seconds: float) -> None:
        """`advance`, and let other tasks run once."""
        self.advance(seconds)
        await asyncio.sleep(0)


class SystemClock:
    """The real time: for tests with real threads, in which latency has to take its time. Called, it gives the time."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    __call__ = now

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    async def wait_async(self, seconds: float) -> None:
        """Sleep, and let other tasks run."""
        await asyncio.sleep(seconds)
