"""An interrupt at any moment leaves a consumer whole; and what raises in its own threads leaves nobody hanging."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter
from contextlib import suppress

import pytest
from consumer_setup import NUMBERS, StoreInTrouble, consumer, fake
from interrupts_consumer import one_trial

import shardpack as sp
from shardpack.testing import AsyncFakeKinesis


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may hit a weak reference going
def test_an_interrupt_at_a_random_moment_loses_nothing_and_hangs_nowhere() -> None:
    outcomes: Counter[str] = Counter()
    assert [found for seed in range(150) if (found := one_trial(seed, outcomes)) is not None] == []
    gc.collect()  # what was never awaited is told here, and not in another test
    assert sum(count for name, count in outcomes.items() if name.endswith(": interrupted")) > 50


class TestWhatIsNoOrdinaryException:
    @pytest.mark.parametrize("method", ["create", "take", "renew"])
    def test_of_a_store_ends_the_consumer_and_is_told(self, method: str) -> None:
        store = StoreInTrouble(**{method: SystemExit("out of the store")})
        config = sp.ConsumerConfig(failover_time=1.0)
        with consumer(fake(1, *NUMBERS), store, config=config) as reading:
            with pytest.raises(RuntimeError, match="has failed: SystemExit"):
                list(reading)
            with pytest.raises(RuntimeError, match="has failed: SystemExit"):
                reading.run(print)

    def test_of_a_store_is_told_while_the_consumer_still_ends(self) -> None:
        has_asked = threading.Event()
        store = StoreInTrouble(take=SystemExit("out of the store"))
        with consumer(fake(1, *NUMBERS), store, config=sp.ConsumerConfig(failover_time=1.0)) as reading:
            reading._shell._at_end = lambda: has_asked.wait(30)
            with pytest.raises(RuntimeError, match="has failed: SystemExit"):
                list(reading)
            try:
                with pytest.raises(RuntimeError, match="has failed: SystemExit"):
                    reading.run(print)
                with pytest.raises(RuntimeError, match="has failed: SystemExit"):
                    reading.next_batch()
            finally:
                has_asked.set()

    def test_of_a_store_is_told_though_it_came_while_a_handler_was_at_work(self) -> None:
        store = StoreInTrouble(renew=SystemExit("out of the store"))
        with consumer(fake(1, *NUMBERS), store, config=sp.ConsumerConfig(failover_time=1.0)) as reading:

            def handle(_: sp.Batch) -> None:
                reading._shell.pause(60)  # until it stops

            with pytest.raises(RuntimeError, match="has failed: SystemExit"):
                reading.run(handle)

    def test_of_a_store_is_told_though_a_coroutine_was_at_work(self) -> None:
        async def main() -> None:
            store = StoreInTrouble(renew=SystemExit("out of the store"))
            client, config = AsyncFakeKinesis(fake(1, *NUMBERS)), sp.ConsumerConfig(failover_time=1.0)
            async with sp.AsyncConsumer("s", leases=store, client=client, config=config) as reading:

                async def handle(_: sp.AsyncBatch) -> None:
                    with suppress(RuntimeError):
                        await reading._shell.pause(60)  # until it stops

                await reading.run(handle)

        with pytest.raises(RuntimeError, match="has failed: SystemExit"):
            asyncio.run(main())

    def test_of_a_handler_comes_out_of_run(self) -> None:
        def handle(_: sp.Batch) -> None:
            raise SystemExit(3)

        leases = sp.MemoryLeases()
        with consumer(fake(2, *NUMBERS), leases) as reading, pytest.raises(SystemExit):
            reading.run(handle, workers=2)
        assert {lease.owner for lease in leases.list()} == {None}

    def test_of_divert_comes_out_of_run(self) -> None:
        def handle(_: sp.ReceivedRecord) -> None:
            raise ValueError("cannot")

        def divert(*_: object) -> None:
            raise KeyboardInterrupt

        with consumer(fake(1, *NUMBERS)) as reading, pytest.raises(KeyboardInterrupt):
            reading.run_each(handle, on_failure="divert", divert=divert)

    def test_of_an_asynchronous_handler_ends_the_loop_in_order(self) -> None:
        leases = sp.MemoryLeases()

        async def main() -> None:
            async def handle(_: sp.AsyncBatch) -> None:
                raise SystemExit(3)

            client = AsyncFakeKinesis(fake(1, *NUMBERS))
            async with sp.AsyncConsumer("s", leases=leases, client=client) as reading:
                await reading.run(handle)

        with pytest.raises(SystemExit):
            asyncio.run(main())
        assert {lease.owner for lease in leases.list()} == {None}
