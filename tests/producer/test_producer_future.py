"""The producer's futures are `concurrent.futures.Future`s in every way that an application can tell."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import FIRST_COMPLETED, CancelledError, as_completed, wait

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
