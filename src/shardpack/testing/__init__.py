"""For users' own tests (``shardpack[testing]``): strategies for hypothesis, and a Kinesis in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import strategies
    from .kinesis import AsyncFakeKinesis, Call, Clock, FakeKinesis, ManualClock, Script, SystemClock

__all__ = [
    "AsyncFakeKinesis",
    "Call",
    "Clock",
    "FakeKinesis",
    "ManualClock",
    "Script",
    "SystemClock",
    "strategies",
]


def __getattr__(name: str) -> object:
    # Loaded when asked for: strategies need hypothesis, and FakeKinesis needs botocore.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name == "strategies":
        return import_module(f".{name}", __name__)
    return getattr(import_module(".kinesis", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
