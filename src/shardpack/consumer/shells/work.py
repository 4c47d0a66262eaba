"""What is the same for a handler that is called and for one that is awaited: the way of a batch through it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from ...records import ReceivedRecord
from ..batch import AsyncBatch, Batch
from ..core.engine import Engine
from ..core.handling import Policy, Steps, describe, steps
from ..core.holding.delivered import Delivered
from ..log_fields import about
from ..spans import Spans

_Found = TypeVar("_Found")

_log = logging.getLogger("shardpack.consumer")


class Looks(Protocol):
    """What both shells can tell."""

    @property
    def is_stopping(self) -> bool:
        """Whether the application wants no more."""

    def look(self, at: Callable[[Engine], _Found]) -> _Found:
        """What a function finds in the engine."""


class Work:
    """One call of `run` or `run_each`, but for the calls of the handler.

    Args:
        shell: runs the engine.
        policy: how the handler is called.
        spans: made for each batch.

    Attributes:
        policy: as given.
        errors: what stopped shards.
    """

    def __init__(self, shell: Looks, policy: Policy, spans: Spans) -> None:
        self._shell = shell
        self._spans = spans
        self.policy = policy
        self.errors: list[Exception] = []

    def steps(self, delivered: Delivered) -> Steps:
        """What to do with a batch, step by step; in the end why its shard must stop, or None."""
        hold, shell = delivered.hold, self._shell
        at, is_over = (lambda: shell.look(lambda _: hold.position)), (lambda: shell.is_stopping)
        return steps(hold.lease.key, delivered.records, self.policy, at, is_over)

    def span(self, delivered: Delivered) -> AbstractContextManager[list[Exception]]:
        """The span of a batch."""
        return self._spans.of(delivered.hold.lease.key, delivered.records)

    def part_for_handler(self, part: list[ReceivedRecord], batch: Batch | AsyncBatch) -> object:
        """What the handler takes."""
        return part[0] if self.policy.one_by_one else batch

    def failed(self, error: Exception, part: list[ReceivedRecord], batch: Batch | AsyncBatch) -> Exception:
        """The handler has raised an error, which says from now on where."""
        error.add_note(describe(batch.shard_id, part, batch.given))
        return error

    def over(self, delivered: Delivered, error: Exception | None) -> bool:
        """A batch is done; whether its shard must stop."""
        if error is None:
            return False
        key, last = delivered.hold.lease.key, delivered.hold.position
        _log.error("stopped reading %s: %r", key, error, extra=about(key, last))
        self.errors.append(error)
        return True
