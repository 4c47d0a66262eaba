"""The thread on which a producer's work is done.

The application's threads share nothing with it but an inbox, and putting something into that is one step in C. So an
exception that falls into a `put`, Ctrl-C for instance, comes before that step or after it; and no lock is ever held by
a thread that it can fall into.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from ...errors import BufferFullError
from ...records import UserRecord
from ..core.actions import Action
from ..core.metrics import ProducerStats
from ..core.room import Room
from .future import BatchFuture, DeliveryFuture
from .inbox import Calls, Close, Flush, Item, Knock, Look, Other, Resume, run_of
from .unfinished import AnyPut, PutMany
from .work import CLOSED, Answer, Work

_logger = logging.getLogger("shardpack.producer")

_T = TypeVar("_T")

IDLE_TIME = 10.0
"""Seconds without anything to do after which the threads end; the next put starts them again."""

PATIENCE = 0.1
"""Seconds to wait for an answer of the thread to what may not wait; a callback may keep it."""
_PAUSE = 0.001  # after taking records: taking them by the millisecond is cheaper than one by one


class Worker:
    """A thread that is there while there is something to do.

    Args:
        work: what it works on; nobody else may change it.
        room: how much may be on its way.
        call: makes a call.

    Attributes:
        closing: whether puts are refused.
        thread: it, or None.
    """

    def __init__(self, work: Work, room: Room, call: Callable[[Action], Any]) -> None:
        self.closing = False
        self.thread: threading.Thread | None = None
        self._work = work
        self._room = room
        self._inbox: SimpleQueue[Item] = SimpleQueue()
        self._first: Item | None = None  # taken out of it to see whether there is one
        self._calls = Calls(call, self._inbox)
        self._waiting: deque[Knock] = deque()
        self._unclaimed = [None]  # empty while a thread has the work
        self._message: str | None = None  # why nothing more is sent
        self._looked = time.monotonic()  # into the inbox
        self._turns = 0  # odd while that is changed which `stats` reads
        # What was sent to the inbox, counted by those who send it, and what came out, counted by the thread. An
        # interrupt may leave the first too high; then the thread is asked for room. Without a GIL, threads may lose
        # each other's counts and leave it too low; the thread notices, because nothing comes that was not sent.
        self._sent_records = self._sent_bytes = self._come_records = self._come_bytes = 0

    # On the application's threads.

    def put(self, put: DeliveryFuture | PutMany, count: int, timeout: float | None) -> None:
        """Take a put of so many user records; None waits for room as long as it takes.

        Raises:
            BufferFullError: there was none in time.
            RuntimeError: the producer was closed.
        """
        engine, size = self._work.engine, put.size
        if not self._waiting and self._room.has(
            count,
            size,
            outstanding=engine.outstanding_records + self._sent_records - self._come_records,
            outstanding_bytes=engine.outstanding_bytes + self._sent_bytes - self._come_bytes,
        ):
            self._sent_records += count
            self._sent_bytes += size
            self._inbox.put(put)
            if self._unclaimed:
                self._start()
        else:
            self._knock(put if isinstance(put, PutMany) else run_of([put]), timeout)

    def send(self, item: Item) -> None:
        """Put something into the inbox, and see to it that there is a thread."""
        self._inbox.put(item)
        if self._unclaimed:
            self._start()

    def is_current(self) -> bool:
        """Whether this is its thread, in a future's callback."""
        return self.thread is threading.current_thread()

    def outstanding(self) -> int:
        """User records on their way, those in the inbox with them."""
        return self._steady(
            lambda: self._work.engine.outstanding_records + max(0, self._sent_records - self._come_records)
        )

    def is_settled(self) -> bool:
        """Whether the futures of all puts that it has taken out of the inbox have their outcomes."""
        return len(self._work.unfinished) == 0

    def is_healthy(self, within: float) -> bool:
        """Whether puts are taken and delivered, none of them so many seconds late."""
        now = time.monotonic()
        if self.closing or (now - self._looked > within and not self._inbox.empty() and not self._looks()):
            return False
        return not self._steady(lambda: self._work.engine.is_stuck(now, within))

    def undelivered(self) -> list[UserRecord]:
        """The user records that were on their way at the end; for after it."""
        return self._work.undelivered.copy()

    def stats(self) -> ProducerStats:
        """A snapshot that counts what was put before."""
        if not self._inbox.empty():
            self._looks()
        return self._steady(lambda: self._work.engine.stats())

    def _looks(self) -> bool:
        """Have the thread look into the inbox now; whether it does so soon, which a callback may keep it from."""
        if self.is_current():
            return True
        look = Look()
        self.send(look)
        return receive(look.reply, PATIENCE)

    def _start(self) -> None:
        threading.Thread(target=self._run, name="shardpack-producer", daemon=True).start()

    def _steady(self, read: Callable[[], _T]) -> _T:
        """Read what the thread changes, at a moment when it does not."""
        while True:
            turns = self._turns
            if turns % 2 == 0 or self.is_current():
                with suppress(RuntimeError):  # a dictionary has grown meanwhile
                    value = read()
                    if turns == self._turns:
                        return value
            time.sleep(_PAUSE)

    def _knock(self, put: AnyPut, timeout: float | None) -> None:
        if self.is_current():  # which makes the room: it must not wait for itself
            raise self._full(put)
        knock = Knock(put, may_wait=timeout is None or timeout > 0)
        self.send(knock)
        try:
            error = knock.reply.get(timeout=_bounded(timeout) if knock.may_wait else PATIENCE)
        except Empty:
            error = self._full(put) if knock.is_mine() else None
        except BaseException:
            knock.is_mine()
            raise
        if error is not None:
            raise error

    def _has_room(self, put: AnyPut) -> bool:
        engine = self._work.engine
        return self._room.has(
            len(put.records),
            put.size,
            outstanding=engine.outstanding_records,
            outstanding_bytes=engine.outstanding_bytes,
        )

    def _full(self, put: AnyPut) -> BufferFullError:
        engine = self._work.engine
        return self._room.error(put.records, engine.outstanding_records, engine.outstanding_bytes)

    # On its own thread.

    def _run(self) -> None:
        while True:
            try:
                token = self._unclaimed.pop()
            except IndexError:
                return  # another thread was faster
            self.thread = threading.current_thread()
            try:
                while self._sleep():
                    self._turn()
            except BaseException as error:  # a bug of ours: nobody must wait for this thread for ever
                _logger.exception("the producer's thread has failed")
                self._end(f"the producer has failed: {error!r}")
            self.thread = None
            self._unclaimed.append(token)
            if self._inbox.empty():  # else something came after it had decided to end
                return

    def _sleep(self) -> bool:
        """Until something comes, or the engine's deadline; False when there is nothing more to do."""
        if not self._inbox.empty() or self._work.engine.has_finished:  # by a put that had waited for room
            return True
        if self._message is not None:
            return False
        now, deadline = time.monotonic(), self._work.engine.deadline()
        is_idle = deadline is None and not self._calls.under_way and not len(self._work.unfinished)
        try:
            if is_idle:
                self._first = self._inbox.get(timeout=IDLE_TIME)
            else:
                self._first = self._inbox.get(timeout=_bounded(None if deadline is None else deadline - now))
        except Empty:
            if is_idle:
                self._calls.end()
                return False
        return True

    def _turn(self) -> None:
        """One look at everything."""
        looks, closes = list[Look](), list[Close]()
        try:
            self._look_at_all(looks, closes)
        except BaseException:
            waiting: list[Look | Close] = [*looks, *closes]
            for one in waiting:
                self._inbox.put(one)  # to be answered after the failure
            raise

    def _look_at_all(self, looks: list[Look], closes: list[Close]) -> None:
        come = self._come_records
        self._looked = time.monotonic()
        self._turns += 1
        try:
            self._take_all(looks, closes)
            self._come_records = min(self._come_records, self._sent_records)
            self._come_bytes = min(self._come_bytes, self._sent_bytes)
            actions, complete = ([], []) if closes or self._message else self._work.step(time.monotonic())
        finally:
            self._turns += 1
        for action in actions:
            self._calls.start(action, self._work.engine)
        self._work.finish(_settle, complete)
        self._let_in()
        for look in looks:
            look.reply.put(None)
        if closes or self._message:
            ended = [threading.current_thread(), *self._end(self._message or CLOSED)]
            for close in closes:
                close.reply.put(ended)
        elif self._come_records != come:
            time.sleep(_PAUSE)

    def _take_all(self, looks: list[Look], closes: list[Close]) -> None:
        """Take what is in the inbox; single puts in a row together."""
        first, self._first = self._first, None
        run: list[DeliveryFuture] = []
        try:
            for n in range(self._inbox.qsize() + (first is not None)):
                item = first if n == 0 and first is not None else self._inbox.get()
                if isinstance(item, DeliveryFuture):
                    run.append(item)
                    continue
                if run:
                    self._take_run(run)
                self._take(item, looks, closes)
        finally:
            if run:
                self._take_run(run)

    def _take_run(self, futures: list[DeliveryFuture]) -> None:
        put = run_of(futures.copy())
        futures.clear()
        self._take_put(put)

    def _take_put(self, put: AnyPut) -> None:
        self._work.take(put)
        self._come_records += len(put.records)
        self._come_bytes += put.size

    def _take(self, item: Other, looks: list[Look], closes: list[Close]) -> None:
        if isinstance(item, PutMany):
            self._take_put(item)
        elif isinstance(item, Answer):
            self._calls.under_way -= 1
            if self._message is None:
                self._work.answered(item, time.monotonic())
        elif isinstance(item, Knock):
            self._hear(item)
        elif isinstance(item, Flush):
            self._work.flush(time.monotonic(), item.done)
        elif isinstance(item, Look):
            looks.append(item)
        elif isinstance(item, Resume):
            self._work.engine.resume(item.identity)
        else:
            closes.append(item)

    def _hear(self, knock: Knock) -> None:
        self._let_in()
        self._waiting.append(knock)
        self._let_in()
        if self._waiting and self._waiting[-1] is knock and not knock.may_wait:
            self._waiting.pop()
            if knock.is_mine():
                knock.reply.put(self._full(knock.put))

    def _let_in(self) -> None:
        """Take puts that have waited for room, in the order in which they came."""
        while self._waiting:
            knock = self._waiting[0]
            if not knock.claim:
                self._waiting.popleft()  # it has gone away
            elif self.closing:
                self._waiting.popleft()
                knock.reply.put(RuntimeError("the producer was closed while put waited for room"))
            elif self._has_room(knock.put):
                self._waiting.popleft()
                if knock.is_mine():
                    knock.put.arrived = time.monotonic()
                    try:
                        self._work.take(knock.put)
                    finally:
                        knock.reply.put(None)
            else:
                return

    def _end(self, message: str) -> list[threading.Thread]:
        """Fail what is left; the threads that end now."""
        self.closing = True
        self._message = message
        self._work.finish(_settle, self._work.abandon(message))
        self._let_in()
        return self._calls.end()


def _settle(future: BatchFuture | DeliveryFuture, outcome: Any) -> None:
    try:
        future.settle(outcome)
    except BaseException:  # whoever waits for the others must not wait for ever
        _logger.exception("a future could not be given its outcome")


def receive(reply: SimpleQueue[BaseException | None], timeout: float | None) -> bool:
    """Wait for an answer; whether it came in time."""
    try:
        reply.get(timeout=_bounded(timeout))
    except Empty:
        return False
    return True


def _bounded(timeout: float | None) -> float | None:
    """As a queue takes it, which neither waits for less than nothing nor counts to infinity."""
    return None if timeout is None else min(max(0.0, timeout), threading.TIMEOUT_MAX)
