"""What the application's threads and the calls tell the thread on which a producer's work is done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeAlias

from ...aws.errors import error_of
from ..core.actions import Action
from ..core.bulk import checked
from ..core.engine import Engine
from ..core.ordering.keys import Identity
from .future import DeliveryFuture
from .unfinished import AnyPut, PutMany, Run
from .work import Answer

Reply: TypeAlias = "SimpleQueue[BaseException | None]"


@dataclass(slots=True, eq=False)
class Knock:
    """A put that may find no room: it is taken when there is some, and answered then.

    Attributes:
        put: the put.
        may_wait: False: without room, it is answered at once.
        reply: None when it is taken, or the error.
        claim: empty once the put is taken, or the caller has gone away: whichever came first.
    """

    put: AnyPut
    may_wait: bool
    reply: Reply = field(default_factory=SimpleQueue)
    claim: list[None] = field(default_factory=lambda: [None])

    def is_mine(self) -> bool:
        """Whether the other side has not been faster."""
        try:
            self.claim.pop()
        except IndexError:
            return False
        return True


@dataclass(slots=True, eq=False)
class Flush:
    """Send what is there; answered when it is settled."""

    reply: Reply = field(default_factory=SimpleQueue)

    def done(self) -> None:
        """Answer it."""
        self.reply.put(None)


@dataclass(slots=True, eq=False)
class Look:
    """Answered when everything before it is taken."""

    reply: Reply = field(default_factory=SimpleQueue)


@dataclass(slots=True, eq=False)
class Resume:
    """Send the records of a halted key again that come from now on."""

    identity: Identity


@dataclass(slots=True, eq=False)
class Close:
    """Give up what is left, and end; the answer is the threads that end by it."""

    reply: SimpleQueue[list[threading.Thread]] = field(default_factory=SimpleQueue)


Other: TypeAlias = PutMany | Answer | Knock | Flush | Look | Resume | Close
Item: TypeAlias = DeliveryFuture | Other


def run_of(futures: list[DeliveryFuture]) -> Run:
    """Single puts in a row, as they came through the inbox."""
    records = checked([future.record for future in futures])
    run = Run(records, futures, sum([future.size for future in futures]), futures[0].arrived)
    for future in futures:
        future.record = ()  # who keeps it does not keep the data
    return run


class Calls:
    """Threads that make calls: as many as calls were under way at once since they last ended.

    All methods are for the thread on which the work is done.

    Args:
        call: makes a call.
        inbox: where its answer goes.

    Attributes:
        under_way: calls that are not answered yet; whoever takes an answer counts it down.
    """

    def __init__(self, call: Callable[[Action], Any], inbox: SimpleQueue[Item]) -> None:
        self.under_way = 0
        self._call = call
        self._inbox = inbox
        self._queue: SimpleQueue[tuple[Action, Engine] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, action: Action, engine: Engine) -> None:
        """Make a call."""
        self.under_way += 1
        if self.under_way > len(self._threads):
            thread = threading.Thread(target=self._run, name="shardpack-call", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # there are too many already, or the interpreter exits
                if not self._threads:
                    self._inbox.put(Answer(engine, action, error=error_of(error)))
                    return
            else:
                self._threads.append(thread)
        self._queue.put((action, engine))

    def end(self) -> list[threading.Thread]:
        """End the threads when they have made their calls; those that have none to make, and end now."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._queue.put(None)
        return [] if self.under_way else threads

    def _run(self) -> None:
        while (asked := self._queue.get()) is not None:
            action, engine = asked
            try:
                answer = Answer(engine, action, self._call(action))
            except BaseException as error:  # noqa: BLE001  # whatever goes wrong in a call is an answer to it
                answer = Answer(engine, action, error=error_of(error))
            self._inbox.put(answer)
