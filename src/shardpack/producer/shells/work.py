"""What a producer has taken and not yet given back: the part that both shells have in common.

One thread, or one event loop, has a `Work`, and nobody else touches it. The puts in it are the truth; the engine only
follows from them. When an interrupt has cut a step short, `mend` makes a new engine out of the puts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from ...records import UserRecord
from ..core.actions import Action
from ..core.engine import Engine
from .unfinished import AnyPut, Settle, Unfinished

CLOSED = "the producer was closed before the record was delivered; it may be stored or not"


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """How a call went: its answer, or the code and the message of an error."""

    engine: Engine
    action: Action
    answer: Any = None
    error: tuple[str, str] | None = None


class Work:
    """The engine, the puts that it works on, and who waits for them.

    Args:
        make_engine: makes an engine that knows nothing yet.

    Attributes:
        engine: decides what to do.
        unfinished: the puts whose outcomes are waited for.
        undelivered: the user records that `abandon` has failed, in put order.
    """

    def __init__(self, make_engine: Callable[[], Engine]) -> None:
        self._make_engine = make_engine
        self._now = float("-inf")
        self._flushes: list[tuple[int, Callable[[], None]]] = []
        self.engine = make_engine()
        self.unfinished = Unfinished()
        self.undelivered: list[UserRecord] = []

    def take(self, put: AnyPut) -> None:
        """Take a put that was checked; a second time, it does nothing."""
        if self.unfinished.add(put):
            self.engine.put(put.records, put, self._advance(put.arrived), size=put.size)

    def answered(self, answer: Answer, now: float) -> None:
        """Take an answer, unless another engine has asked for it."""
        if answer.engine is not self.engine:
            return
        if answer.error is None:
            self.engine.answered(answer.action, answer.answer, self._advance(now))
        else:
            self.engine.failed(answer.action, *answer.error, self._advance(now))

    def flush(self, now: float, done: Callable[[], None] | None = None) -> int:
        """Send what is there, and call `done` when that is settled; a number that it is settled by."""
        number = self.unfinished.next_number()
        if done is not None:
            self._flushes.append((number, done))
        self.engine.flush(self._advance(now))
        return number

    def step(self, now: float) -> tuple[list[Action], list[AnyPut]]:
        """The calls to make now, and the puts of which futures can have their outcomes."""
        actions = self.engine.poll(self._advance(now))
        return actions, self.unfinished.settle(self.engine.take_finished())

    def finish(self, settle: Settle, puts: Iterable[AnyPut]) -> None:
        """Give futures of these puts the outcomes that are there."""
        self.settled([put for put in puts if put.finish(settle)])

    def settled(self, puts: Iterable[AnyPut]) -> None:
        """All futures of these have their outcomes."""
        self.unfinished.remove(puts)
        if self._flushes:
            over = [flush for flush in self._flushes if not self.unfinished.has_any_before(flush[0])]
            self._flushes = [flush for flush in self._flushes if flush not in over]
            for _, done in over:
                done()

    def mend(self, now: float) -> list[AnyPut]:
        """Begin again with what has no outcome yet, and may so be stored twice; the puts to finish."""
        self.engine = self._make_engine()
        puts = list(self.unfinished)
        for put in puts:
            left = put.left()
            if left:
                records = [put.records[index] for index in left]
                self.engine.put(records, put, self._advance(now), indices=left)
        return puts

    def abandon(self, message: str, untaken: Iterable[AnyPut] = ()) -> list[AnyPut]:
        """Fail what has no outcome yet, and what was not even taken; the puts to finish."""
        for put in untaken:
            self.unfinished.add(put)
        self.unfinished.settle(self.engine.take_finished())
        left = list(self.unfinished)
        for put in left:
            records = [put.records[index] for index in put.left()]
            put.abandon(message)
            self.undelivered += records
        self.engine.abandon()
        return left

    def _advance(self, now: float) -> float:
        """The engine's clock never runs backwards, though puts of several threads may come in another order."""
        self._now = max(self._now, now)
        return self._now
