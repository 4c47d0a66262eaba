"""What concerns the whole process: forks, and its end."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from typing import Protocol

_log = logging.getLogger("shardpack.producer")


class Outstanding(Protocol):
    """A producer, as far as it matters here."""

    def outstanding_records(self) -> int:
        """How many user records it has taken whose futures have no outcome; 0 in a process that is not its own."""


_watched: weakref.WeakSet[Outstanding] = weakref.WeakSet()
_forks: list[None] = []


def forks() -> int:
    """How many forks lie between the first process and this one: a system call less than asking for its id."""
    return len(_forks)


def check_process(started: int | None) -> None:
    """Refuse to go on with a producer that another process has started, after so many forks; None: none has.

    Raises:
        RuntimeError: this process was made by a fork since.
    """
    if started not in (None, forks()):
        raise RuntimeError(
            f"this producer was started before the fork that made process {os.getpid()}; after a fork, make one in"
            " each process"
        )


def watch(producer: Outstanding) -> None:
    """Warn when the interpreter exits while the producer has user records on their way."""
    _watched.add(producer)


def forget(producer: Outstanding) -> None:
    """It has none any more."""
    _watched.discard(producer)


def warn(producer: Outstanding, end: str = "the interpreter exits") -> None:
    """Say that user records will not be delivered, if there are any."""
    count = producer.outstanding_records()
    if count:
        _log.warning("%s with %d user records not delivered; close the producer, or use it in a with block", end, count)


def _warn_of_all() -> None:
    for producer in tuple(_watched):
        warn(producer)


atexit.register(_warn_of_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _forks.append(None))
