"""The producer's futures are `concurrent.futures.Future`s in every way that an application can tell."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from concurrent.futures import FIRST_COMPLETED, CancelledError, as_completed, wait
from contextlib import suppress

import pytest

import shardpack as sp
from shardpack.producer.shells.future import DeliveryFuture

DELIVERY = sp.Delivery("shard", "1", 0, aggregated=False, attempts=())


def later(*futures: DeliveryFuture) -> threading.Thread:
    """Settle these after somebody had the time to wait for them."""

    def settle() -> None:
        for future in futures:
            assert future.set_running_or_notify_cancel()
            future.set_result(DELIVERY)

    timer = threading.Timer(0.05, settle)
    timer.start()
    return timer


def test_a_thread_that_waits_is_woken() -> None:
    future = DeliveryFuture()
    later(future)
    assert future.result(30) == DELIVERY
    assert future.exception() is None
    assert future.done()


def test_many_threads_that_wait_are_woken() -> None:
    future = DeliveryFuture()
    results: list[sp.Delivery] = []
    threads = [threading.Thread(target=lambda: results.append(future.result(30))) for _ in range(20)]
    for thread in threads:
        thread.start()
    later(future)
    for thread in threads:
        thread.join(30)
    assert results == [DELIVERY] * 20


def test_waiting_ends_in_time() -> None:
    with pytest.raises(TimeoutError):
        DeliveryFuture().result(0.01)


def test_an_error_comes_out() -> None:
    future = DeliveryFuture()
    future.set_exception(sp.DeliveryError("no", records=(), retriable=True))
    with pytest.raises(sp.DeliveryError, match="no"):
        future.result()


def test_wait_and_as_completed() -> None:
    futures = [DeliveryFuture() for _ in range(5)]
    later(*futures)
    assert wait(futures, 30, FIRST_COMPLETED).done
    assert set(as_completed(futures, 30)) == set(futures)
    assert not wait(futures).not_done


def test_callbacks_before_and_after() -> None:
    future = DeliveryFuture()
    called = []
    future.add_done_callback(lambda done: called.append(("before", done)))
    future.set_result(DELIVERY)
    future.add_done_callback(lambda done: called.append(("after", done)))
    assert called == [("before", future), ("after", future)]


def test_cancelling_wakes_who_waits() -> None:
    future = DeliveryFuture()
    threading.Timer(0.05, future.cancel).start()
    with pytest.raises(CancelledError):
        future.result(30)
    assert future.cancelled()
    assert not future.set_running_or_notify_cancel()


def test_it_can_be_awaited() -> None:
    future = DeliveryFuture()

    async def main() -> sp.Delivery:
        later(future)
        return await asyncio.wrap_future(future)

    assert asyncio.run(main()) == DELIVERY


def test_it_says_what_it_is() -> None:
    assert "DeliveryFuture" in repr(DeliveryFuture())


FAILED = sp.DeliveryError("no", records=(), retriable=True)


def test_nobody_has_looked_before_it_has_its_outcome() -> None:
    future, failed = DeliveryFuture(), DeliveryFuture()
    future.settle(DELIVERY)
    failed.settle(FAILED)

    assert not vars(future)  # all that the base class would have made
    assert future.result() is DELIVERY
    assert future.done()
    assert not vars(future)
    assert not future.cancel()
    assert failed.exception() is FAILED
    assert wait([future, failed]).done == {future, failed}
    with pytest.raises(sp.DeliveryError, match="no"):
        failed.result()


@pytest.mark.parametrize("outcome", [DELIVERY, FAILED])
def test_who_has_looked_before_is_told(outcome: sp.Delivery | sp.DeliveryError) -> None:
    future = DeliveryFuture()
    called: list[object] = []
    future.add_done_callback(called.append)
    threading.Timer(0.05, future.settle, [outcome]).start()

    assert wait([future], 30).done == {future}
    assert called == [future]
    future.settle(FAILED)
    assert (future.exception() or future.result()) is outcome
    assert called == [future]


def test_what_was_cancelled_gets_no_outcome() -> None:
    future = DeliveryFuture()
    assert future.cancel()
    future.settle(DELIVERY)
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result(0)


def test_one_opened_at_the_last_moment_is_told_too() -> None:
    class Late(DeliveryFuture):
        """Somebody looks between the first look of `settle` and the outcome."""

        def __setattr__(self, name: str, value: object) -> None:
            if name == "_outcome" and value is DELIVERY and not self._is_open:
                self.add_done_callback(called.append)
            super().__setattr__(name, value)

    called: list[object] = []
    future = Late()
    future.settle(DELIVERY)
    assert called == [future]


class Slow(DeliveryFuture):
    """Whoever settles it stands still after its first look at whether it is open, or before the second."""

    def __init__(self, *, before_second: bool) -> None:
        super().__init__()
        self.before_second = before_second
        self.looks = 0
        self.stands, self.go = threading.Event(), threading.Event()
        self.settler = threading.Thread(target=self.settle, args=(DELIVERY,))

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if name == "_is_open" and threading.current_thread() is self.settler:
            self.looks += 1
            if self.looks == 1 + self.before_second:
                self.stands.set()
                assert self.go.wait(30)
                return super().__getattribute__(name) if self.before_second else found
        return found


def test_what_it_is_does_not_change_while_somebody_has_its_lock() -> None:
    """`wait` counts what is pending after it has looked for what is done; it would wait for ever."""
    future = Slow(before_second=False)
    future.settler.start()
    assert future.stands.wait(30)
    with future._condition:
        before = future._state
        future.go.set()
        while future._outcome is None:
            pass
        assert future._state == before == "PENDING"
    future.settler.join(30)

    assert future.result(0) is DELIVERY


def test_who_has_found_it_done_is_not_told_again() -> None:
    """`wait` would count it twice, and not wait for the other one."""
    future, other = Slow(before_second=True), DeliveryFuture()
    future.settler.start()
    assert future.stands.wait(30)
    waiting = threading.Thread(target=wait, args=([future, other],))
    waiting.start()
    while not other._waiters:
        pass
    future.go.set()
    future.settler.join(30)
    waiting.join(0.1)
    assert waiting.is_alive(), "it has not waited for the other one"
    other.settle(DELIVERY)
    waiting.join(30)

    assert not waiting.is_alive()


def test_an_error_that_was_raised_is_forgotten_with_its_future() -> None:
    error = sp.DeliveryError("no", records=(), retriable=True)
    forgotten = weakref.ref(error)
    future = DeliveryFuture()
    future.settle(error)
    del error
    gc.disable()
    try:
        with suppress(sp.DeliveryError):
            future.result()
        del future
        assert forgotten() is None, "it needs the garbage collector"
    finally:
        gc.enable()
