"""The engine's own thread, which both shells speak to; nobody else touches the engine.

What the application wants is put into a queue in one step, and answered by a `Ticket`. So an interrupt (Ctrl-C,
`SystemExit` from a signal handler, `MemoryError`) that hits a thread of the application in the middle of a call leaves
the engine as it was or with the whole wish, never between; and there is no lock that it, or a fork, could leave locked.
"""

from __future__ import annotations

import functools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

from ....aws.errors import error_of
from ....leases.lease import Leases, OfOneStream
from ....records import Position
from ...core.actions import Action, KinesisAction
from ...core.engine import Engine
from ...core.holding.hold import Hold
from .calls import call_leases, closed_error
from .seat import Seat
from .tickets import AsyncTicket, Ticket, apart

Found = TypeVar("Found")
KinesisCall: TypeAlias = Callable[[KinesisAction], object]

_LEASE_THREADS = 8  # calls take milliseconds, and each lease needs one in a third of the failover time
_LONGEST = 3600.0  # seconds to wait at a time; some platforms cannot wait much longer

_log = logging.getLogger("shardpack.consumer")


class Driver:
    """Runs an engine in a thread that starts with `start`; until then it may be carried over a fork.

    Args:
        make: makes an engine, anew in a process that was forked before the start, for a worker's name is its own.
        leases: the store. It is called by threads of its own, since leases must be renewed while calls to Kinesis hang.
        call: begins a call to Kinesis; `report` tells how it went.
        at_end: called by the driver's thread when it has ended.
    """

    def __init__(
        self, make: Callable[[], Engine], leases: Leases, call: KinesisCall, at_end: Callable[[], object]
    ) -> None:
        self._make, self._engine, self._made_in = make, make(), os.getpid()
        self._leases = leases
        self._call = call
        self._at_end = at_end
        self._inbox: queue.SimpleQueue[tuple[Callable[[], object], Ticket | None]] = queue.SimpleQueue()
        self._seats: list[Seat] = []
        self._pauses: list[tuple[float, Ticket]] = []
        self._close_by = float("inf")
        self._process_id: int | None = None
        self._starting = threading.Lock()  # taken by threads of the driver only
        self._is_started = self.is_stopping = False
        self._broken: BaseException | None = None
        self._lease_calls = ThreadPoolExecutor(_LEASE_THREADS, "shardpack-lease")  # starts no thread yet
        self._ended = Ticket()
        self._waiting_for_end: list[Ticket] = []

    # For the application's threads: nothing here waits.

    def start(self, ticket: Ticket) -> None:
        """Start, if that is still to be done; the ticket tells.

        Raises:
            RuntimeError: it is closed, has failed, or was started in another process.
        """
        self.check()
        if self._is_started:
            ticket.settle()
        else:
            self._process_id = os.getpid()
            apart(self._begin, "shardpack-start", ticket)

    def check(self) -> None:
        """See `start`."""
        self.check_process()
        self.check_unbroken()
        if self._ended.is_settled:
            raise self._refusal()

    def check_unbroken(self) -> None:
        """Raise RuntimeError if its thread has failed: it stops by that too, and nobody may take it for an order."""
        if self._broken is not None:
            raise self._refusal()

    def check_process(self) -> None:
        """Refuse what comes from a process that was forked from this consumer's."""
        if not self.is_here:
            raise RuntimeError(
                f"this consumer runs in process {self._process_id}; after a fork, make one in process {os.getpid()}"
            )

    def ask(self, seat: Seat, ticket: Ticket, *, is_patient: bool) -> None:
        """Be done with what the seat has taken, and have its next batch; the answer may be None."""
        self._post(functools.partial(self._asked, seat, ticket, is_patient), ticket)

    def withdraw(self, seat: Seat) -> None:
        """Wait no longer: the seat's ticket is settled at once, with what there is."""
        self._post(functools.partial(self._withdrawn, seat))

    def done(self, seat: Seat, *, stop: bool = False) -> None:
        """See `Engine.done`."""
        self._post(functools.partial(self._done, seat, stop=stop))

    def checkpoint(self, hold: Hold, position: Position | None, ticket: Ticket) -> None:
        """Have everything up to a position recorded; None: all that was delivered."""
        self.check_process()
        self._post(functools.partial(self._checkpointed, hold, position, ticket), ticket, closed_error(hold.lease.key))

    def checkpoint_soon(self, hold: Hold, position: Position) -> None:
        """The same, not to be waited for; if the lease is lost, so is the checkpoint, and whoever has it knows."""
        self._post(functools.partial(self._checkpointed_soon, hold, position))

    def pause(self, seconds: float, ticket: Ticket) -> None:
        """Have the ticket settled after a while, or after `stop`."""
        due = time.monotonic() + seconds
        self._post(lambda: self._pauses.append((due, ticket)), ticket)

    def stop(self) -> None:
        """Have no more batches given. A signal handler may call it; in a forked child it does nothing."""
        self.is_stopping = True
        if self.is_here:
            self._post(_nothing)

    def look(self, at: Callable[[Engine], Found], patience: float | None = None) -> Found:
        """What a function finds in the engine; this does wait, but for no call of anybody.

        Raises:
            TimeoutError: the thread has not answered in so many seconds.
            RuntimeError: it was started in another process.
        """
        self.check_process()
        if not self._is_started or self._ended.is_settled:
            return at(self._engine)
        found: list[Found] = []
        ticket = Ticket()

        def see() -> None:
            found.append(at(self._engine))
            ticket.settle()

        self._post(see, ticket)
        if not ticket.wait(patience):
            raise TimeoutError
        return found[0] if found else at(self._engine)

    def close(self, timeout: float) -> None:
        """Write what was checkpointed and give the leases up, for so many seconds at most; then `ended` is settled."""
        if not self.is_here:
            return  # a copy made by a fork, without a thread
        self.is_stopping = True
        until = time.monotonic() + timeout
        self._post(functools.partial(self._close, until))
        if self._process_id is None:
            self._ended.settle()
        elif not self._is_started:  # it may just be starting, or an interrupt came before its start
            apart(self._end_unstarted, "shardpack-close", Ticket())

    def wait_for_end(self) -> None:
        """Wait for the end that `close` has begun. An interrupt in the midst of it does not stop it."""
        if self.is_here:
            self._ended.wait()

    async def await_end(self) -> None:
        """The same for a task."""
        while self.is_here and not self._ended.is_settled:
            self._waiting_for_end.append(ticket := AsyncTicket())
            if not self._ended.is_settled:  # else whoever settled it may not have seen this one
                await ticket.come()

    def report(self, action: Action, answer: Any, failure: BaseException | None) -> None:
        """A call is over."""
        self._post(functools.partial(self._reported, action, answer, failure))

    @property
    def is_here(self) -> bool:
        """Whether this is the process in which it was started, or it is not started."""
        return self._process_id in (None, os.getpid())

    def _post(
        self, wish: Callable[[], object], ticket: Ticket | None = None, refusal: BaseException | None = None
    ) -> None:
        if ticket is not None:
            ticket.refusal = refusal
        self._inbox.put((wish, ticket))
        if self._ended.is_settled:
            self._refuse_all()

    def _refuse_all(self) -> None:
        """After the end: nobody must wait for what nobody does any more."""
        while True:
            try:
                _, ticket = self._inbox.get_nowait()
            except queue.Empty:
                return
            if ticket is not None:
                ticket.settle(error=ticket.refusal or (self._refusal() if self._broken else None))

    def _refusal(self) -> RuntimeError:
        if self._broken is None:
            return RuntimeError("the consumer is closed; make a new one to read on")
        error = RuntimeError(f"the consumer has failed: {self._broken!r}")
        error.__cause__ = self._broken
        return error

    def _begin(self) -> None:
        with self._starting:
            if self._is_started:
                return
            if self._ended.is_settled:
                raise self._refusal()
            self._process_id = os.getpid()  # another thread's try may have failed since `start`
            try:
                if self._made_in != os.getpid():
                    self._engine, self._made_in = self._make(), os.getpid()
                self._leases.prepare()
                if isinstance(self._leases, OfOneStream):
                    self._leases.claim(self._engine.stream_name)
                self._is_started = True
                threading.Thread(target=self._run, name="shardpack-consumer", daemon=True).start()
            except BaseException:
                self._process_id, self._is_started = None, False
                raise

    def _end_unstarted(self) -> None:
        with self._starting:
            if not self._is_started:
                self._ended.settle()
                for ticket in self._waiting_for_end:
                    ticket.settle()
                self._refuse_all()

    # From here on: the driver's thread.

    def _run(self) -> None:
        try:
            while not self._is_over():
                self._step()
        except BaseException as error:  # noqa: BLE001  # a bug of ours, or a call has raised what no call may
            _log.error("the consumer has failed", exc_info=error)
            self._broken = error
        finally:
            self._end()

    def _step(self) -> None:
        now = time.monotonic()
        for action in self._engine.poll(now):
            self._begin_call(action)
        self._settle()
        self._seats = [seat for seat in self._seats if not self._serve(seat, now)]
        for pause in [one for one in self._pauses if self.is_stopping or one[0] <= now]:
            self._pauses.remove(pause)
            pause[1].settle()
        now = time.monotonic()
        dues = [due for due, _ in self._pauses]
        deadline = min([*dues, self._close_by, now + _LONGEST, *_given(self._engine.deadline(now))])
        is_due = self._engine.needs_poll or self._engine.is_closed  # the poll itself may have found nothing left to do
        left = 0.0 if is_due else max(0.0, deadline - now)
        try:
            wish, _ = self._inbox.get(block=left > 0, timeout=left or None)
            while True:
                wish()
                wish, _ = self._inbox.get_nowait()
        except queue.Empty:
            return

    def _is_over(self) -> bool:
        if self._engine.is_closed:
            self._settle()
            return True
        if time.monotonic() < self._close_by:
            return False
        if self._close_by > float("-inf"):  # else the interpreter has ended first, and a log is no use
            _log.warning("closed before every lease was given up; what is left expires by itself")
        return True

    def _end(self) -> None:
        self.is_stopping = True
        for shard_id, ticket in self._engine.abandon():
            if ticket is not None:
                ticket.settle(error=closed_error(shard_id))
        self._settle()
        for waiting in [ticket for _, ticket in self._pauses] + [seat.ticket for seat in self._seats]:
            if waiting is not None:
                waiting.settle(error=self._refusal() if self._broken else None)
        self._lease_calls.shutdown(wait=False, cancel_futures=True)
        try:
            self._at_end()
        finally:
            self._ended.settle()
            for ticket in self._waiting_for_end:
                ticket.settle()
            self._refuse_all()

    def _begin_call(self, action: Action) -> None:
        try:
            if isinstance(action, KinesisAction):
                self._call(action)
            else:
                self._lease_calls.submit(self._call_leases, action)
        except RuntimeError as error:
            if "shutdown" not in str(error) and "loop is closed" not in str(error):
                raise
            self._close_by = float("-inf")  # the interpreter or the loop has ended, and nobody has closed the consumer

    def _call_leases(self, action: Any) -> None:
        answer, failure = None, None
        try:
            answer = call_leases(self._leases, action, time.monotonic())
        except BaseException as error:  # noqa: BLE001  # whatever goes wrong in a call is an answer to it
            failure = error
        self.report(action, answer, failure)

    def _settle(self) -> None:
        for ticket, error in self._engine.take_finished():
            if ticket is not None:
                ticket.settle(error=error)

    def _serve(self, seat: Seat, now: float) -> bool:
        """Whether a seat that waits has got its answer."""
        ticket = seat.ticket
        if ticket is None:
            return True
        if not self.is_stopping:
            if self._engine.fatal is not None:
                ticket.settle(error=self._engine.fatal)
            elif (delivered := self._engine.next_batch(now)) is not None:
                seat.offer = delivered
                ticket.settle(delivered)
            elif not seat.is_patient or not self._engine.is_all_stopped:
                return False
        ticket.settle()
        seat.ticket = None
        return True

    def _asked(self, seat: Seat, ticket: Ticket, is_patient: bool) -> None:
        if seat.offer is not None and seat.offer is not seat.taken:
            ticket.settle(None if self.is_stopping else seat.offer)
            return
        if seat.offer is not None:
            self._done(seat, stop=seat.offer.error is not None)
        seat.ticket, seat.is_patient = ticket, is_patient
        if seat not in self._seats:
            self._seats.append(seat)

    def _withdrawn(self, seat: Seat) -> None:
        if seat in self._seats and not self._serve(seat, time.monotonic()) and seat.ticket is not None:
            seat.ticket.settle()
            seat.ticket = None

    def _done(self, seat: Seat, *, stop: bool) -> None:
        if seat.offer is not None:
            self._engine.done(seat.offer.hold, stop=stop, now=time.monotonic())
            seat.offer = seat.taken = None

    def _checkpointed(self, hold: Hold, position: Position | None, ticket: Ticket) -> None:
        position = position or hold.delivered
        try:
            if position is None:
                ticket.settle()
            else:
                self._engine.checkpoint(hold, position, ticket)
        except Exception as error:  # noqa: BLE001  # LeaseLostError or CheckpointError, for whoever waits
            ticket.settle(error=error)

    def _checkpointed_soon(self, hold: Hold, position: Position) -> None:
        if hold in self._engine.holds:
            self._engine.checkpoint(hold, position, None)

    def _close(self, until: float) -> None:
        for hold in self._engine.holds:
            self._engine.done(hold)
        self._engine.close()
        self._close_by = min(self._close_by, until)

    def _reported(self, action: Action, answer: Any, failure: BaseException | None) -> None:
        now = time.monotonic()
        if failure is None:
            self._engine.answered(action, answer, now)
        elif isinstance(failure, Exception):
            self._engine.failed(action, failure, error_of(failure)[0], now)
        else:
            raise failure


def _given(moment: float | None) -> list[float]:
    return [] if moment is None else [moment]


def _nothing() -> None:
    """Only wakes the thread."""
