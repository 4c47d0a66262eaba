"""The settings that every way to handle an event has, and what makes no sense in them."""

from __future__ import annotations

from ..limits import check_callable, shown
from ..values import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal, TypeAlias

    from ..records import ReceivedRecord

OnFailure: TypeAlias = "Literal['stop', 'divert']"


def check_synchronous(name: str, function: object) -> None:
    """Refuse an asynchronous function, before it makes every message fail.

    Raises:
        TypeError: it is one.
    """
    from inspect import iscoroutinefunction  # a large module, which handling an event does without

    if iscoroutinefunction(function):
        raise TypeError(
            f"{name} is asynchronous, {shown(function)}, and nothing would await it; wrap it, for instance in"
            " lambda record: asyncio.run(handle(record))"
        )


def check_settings(
    on_failure: OnFailure, divert: Callable[[ReceivedRecord, Exception], object] | None, **counts: int
) -> None:
    """Refuse settings that make no sense.

    Raises:
        ValueError: one is out of its range or does not go together with another.
        TypeError: ``divert`` is no function.
    """
    if on_failure not in ("stop", "divert"):
        raise ValueError(f'on_failure is {shown(on_failure)}; choose "stop" or "divert"')
    if (on_failure == "divert") != (divert is not None):
        raise ValueError(
            'on_failure="divert" needs divert, a function that takes the user record and the error'
            if divert is None
            else 'divert is given and on_failure is "stop", so it would never be called; choose on_failure="divert"'
        )
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"{name} is {shown(count)}; give a whole number of at least 1")
    if divert is not None:
        check_callable("divert", divert, "a function that takes a user record and an error")
