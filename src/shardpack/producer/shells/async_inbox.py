"""What `put` has taken on an event loop, and the producer's next step has not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, TypeAlias

from ...errors import DeliveryError
from ..core.bulk import checked, measured
from ..delivery import Delivery
from .unfinished import AnyPut, PutMany, Run

Single: TypeAlias = tuple["asyncio.Future[Delivery]", tuple[Any, ...]]
"""The future of a `put`, and its user record's fields."""


class AsyncInbox:
    """A put is in it or not, whatever falls into `add`.

    Attributes:
        records: how many user records are in it.
        bytes: how many bytes, partition keys counted.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """All that is in it was taken. Taking a put twice does no harm, losing it would; so this comes last."""
        self._entries: list[Single | PutMany] = []
        self._since = 0.0  # when the oldest came
        self.records = self.bytes = 0

    def add(self, entry: Single | PutMany, records: int, size: int, now: float) -> None:
        """Let a put in."""
        if not self._entries:
            self._since = now
        self._entries.append(entry)
        self.records += records
        self.bytes += size

    def puts(self) -> Iterator[AnyPut]:
        """What is in it, single puts in a row together."""
        run: list[Single] = []
        for entry in self._entries:
            if isinstance(entry, tuple):
                run.append(entry)
                continue
            if run:
                yield self._run_of(run)
                run = []
            yield entry
        if run:
            yield self._run_of(run)

    def _run_of(self, entries: list[Single]) -> Run:
        records = checked([fields for _, fields in entries])
        return Run(records, [future for future, _ in entries], measured(records)[0], self._since)


def settle(future: asyncio.Future[Any], outcome: Any) -> None:
    """Give a future its outcome, unless it was cancelled, or has it since before an interrupt."""
    if future.done():
        return
    if isinstance(outcome, DeliveryError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
