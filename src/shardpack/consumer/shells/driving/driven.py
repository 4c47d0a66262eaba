"""What a shell hands on to its driver, whether threads or an event loop asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ....records import Position
from ...core.engine import Engine
from ...core.holding.hold import Hold
from .driver import Driver
from .health import is_healthy
from .seat import Seat

Found = TypeVar("Found")


class Driven:
    """The calls that wait for nothing."""

    _driver: Driver

    def done(self, seat: Seat, *, stop: bool = False) -> None:
        """See `Engine.done`."""
        self._driver.done(seat, stop=stop)

    def checkpoint_soon(self, hold: Hold, position: Position) -> None:
        """See `Driver.checkpoint_soon`."""
        self._driver.checkpoint_soon(hold, position)

    def stop(self) -> None:
        """Have `take` give nothing more. A signal handler may call it."""
        self._driver.stop()

    def check(self) -> None:
        """See `Driver.start` for what it raises."""
        self._driver.check()

    def check_unbroken(self) -> None:
        """See `Driver.check_unbroken`."""
        self._driver.check_unbroken()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` or `close` was called."""
        return self._driver.is_stopping

    def look(self, at: Callable[[Engine], Found]) -> Found:
        """What a function finds in the engine."""
        return self._driver.look(at)

    def is_healthy(self) -> bool:
        """See `is_healthy`."""
        return is_healthy(self._driver)
