"""Interrupts, callbacks that raise, and many producers at once: the producers stay whole, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import pytest
import soak_interrupts as interrupts
from producer_client import Client

import shardpack as sp
from shardpack.limits import MIB
from shardpack.producer.core import stream
from shardpack.producer.core.actions import DescribeStream
from shardpack.producer.shells import worker
from shardpack.producer.shells.work import Answer


@pytest.mark.parametrize(("shell", "trials"), [("threads", 300), ("asyncio", 120), ("signals", 50)])
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_an_interrupt_at_any_bytecode_loses_nothing_and_hangs_nothing(shell: str, trials: int) -> None:
    if shell == "signals" and not hasattr(signal, "setitimer"):
        pytest.skip("this system has no such timers")
    gc.disable()  # other libraries' callbacks of the collector would be hit, too, and cannot raise
    try:
        got = interrupts.run(shell, trials, seed=20)
    finally:
        gc.enable()

    assert got["interrupted"] > 0.9 * trials


def test_an_interrupt_where_a_step_wakes_those_who_wait_leaves_none_of_them_spinning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event that wakes them was set, and the interrupt came before the next one was there: all found it set."""
    waits, failures, most = 0, 0, 0

    class Event(asyncio.Event):
        def __init__(self) -> None:
            nonlocal failures
            if failures < most:
                failures += 1
                raise MemoryError
            super().__init__()

        async def wait(self) -> Literal[True]:
            nonlocal waits
            waits += 1
            assert waits < 1000, "nobody else is let on"
            return await super().wait()

    client = Client()

    async def main() -> None:
        nonlocal most
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        config = sp.ProducerConfig(max_outstanding_records=2, record_max_buffered_time=0.01)
        producer = sp.AsyncProducer("s", config, client=interrupts.AsyncClient(client))
        await producer.put("k", b"1")
        most = 6
        for n in range(2, 9):
            done = False
            while not done:
                with suppress(MemoryError):  # the step may be one that this put has asked for
                    await producer.put("k", b"%d" % n)
                    done = True
        await producer.close()

    monkeypatch.setattr(asyncio, "Event", Event)
    asyncio.run(main())

    assert sorted(set(client.received())) == [b"%d" % n for n in range(1, 9)]
    assert failures == most


def test_an_interrupt_while_put_waits_for_room_takes_it_back_or_delivers_it() -> None:
    go = threading.Event()

    def wait(_call: int, _records: list[dict[str, Any]]) -> None:
        assert go.wait(30)

    client = Client(wait)
    config = sp.ProducerConfig(max_outstanding_records=1)
    with sp.Producer("s", config, client=client) as producer:
        first = producer.put("k", b"first")
        with pytest.raises(sp.BufferFullError):
            producer.put("k", b"late", timeout=0.01)
        go.set()
        assert first.result(30)
        producer.put("k", b"last").result(30)

    assert client.received() == [b"first", b"last"]


class TestCallbacks:
    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, ValueError])
    @pytest.mark.parametrize("many", [False, True], ids=["put", "put_many"])
    def test_whatever_one_raises_the_others_are_told(
        self, error: type[BaseException], many: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        told: list[object] = []

        def fail(_future: object) -> None:
            raise error("from the application")

        with caplog.at_level(logging.CRITICAL), sp.Producer("s", client=Client()) as producer:
            futures: list[Any] = [producer.put_many([("k", b"1")]) if many else producer.put("k", b"1")]
            futures += [producer.put("k", b"2")]
            for future in futures:
                future.add_done_callback(fail)
                future.add_done_callback(told.append)
            producer.flush(30)
            futures.append(producer.put("k", b"3"))

        assert told == futures[:2]
        assert all(future.result(0) for future in futures)

    def test_an_exit_in_an_asyncio_callback_is_the_loop_s_and_loses_nothing(self) -> None:
        client = Client()
        futures = []

        def leave(_future: object) -> None:
            raise SystemExit(3)

        async def main() -> None:
            async with sp.AsyncProducer("s", client=interrupts.AsyncClient(client)) as producer:
                futures.append(await producer.put("k", b"1"))
                futures[0].add_done_callback(leave)
                await asyncio.sleep(0.05)
                futures.append(await producer.put("k", b"2"))
                await asyncio.sleep(30)

        with pytest.raises(SystemExit):
            asyncio.run(main())
        assert all(future.result().shard_id == "s" for future in futures)
        assert client.received()[0] == b"1"

    @pytest.mark.parametrize("error", [SystemExit, RuntimeError])
    def test_whatever_a_call_raises_is_an_answer_to_it(self, error: type[BaseException]) -> None:
        def fail_once(call: int, _records: list[dict[str, Any]]) -> None:
            if call == 1:
                raise error("from a hook of the client")

        with sp.Producer("s", client=Client(fail_once)) as producer:
            delivery = producer.put("k", b"data").result(30)

        assert [attempt.error_code for attempt in delivery.attempts] == [error.__name__, None]

    def test_a_meter_that_raises_stops_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        pytest.importorskip("opentelemetry.sdk")

        class Broken:
            def __getattr__(self, name: str) -> Callable[..., Any]:
                if name.startswith(("get_", "create_")):
                    return lambda *_arguments, **_more: Broken()
                raise ValueError("no meter")

        with sp.Producer("s", client=Client(), meter_provider=Broken()) as producer:
            assert producer.put("k", b"data").result(30).shard_id == "s"

        said = [record.message for record in caplog.records if "OpenTelemetry does not take" in record.message]
        assert said
        assert len(said) == len(set(said))

    def test_putting_from_one_does_not_wait_for_itself(self) -> None:
        errors: list[Exception] = []
        config = sp.ProducerConfig(max_outstanding_records=2)
        with sp.Producer("s", config, client=Client()) as producer:

            def again(_future: object) -> None:
                try:
                    producer.put_many([("k", b"")] * 2)
                    producer.put("k", b"one too many")
                except sp.BufferFullError as error:
                    errors.append(error)

            producer.put("k", b"first").add_done_callback(again)
            producer.flush(30)

        assert len(errors) == 1


class TestManyProducers:
    def test_an_idle_one_has_no_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(worker, "IDLE_TIME", 0.2)
        before = threading.active_count()
        client = Client()
        producers = [sp.Producer("s", client=client) for _ in range(300)]
        futures = [producer.put("k", b"%d" % n) for n, producer in enumerate(producers)]
        for future in futures:
            future.result(60)
        deadline = time.monotonic() + 60
        while threading.active_count() > before + 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        left = threading.active_count() - before
        futures = [producer.put("k", b"again") for producer in producers]  # they start again
        for producer in producers:
            producer.close()

        assert left <= 5
        assert all(future.result(0).sequence_number for future in futures)
        assert len(client.received()) == 600
        assert threading.active_count() <= before

    def test_one_that_is_forgotten_delivers_and_goes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import weakref

        monkeypatch.setattr(worker, "IDLE_TIME", 0.05)
        client = Client()
        producer = sp.Producer("s", client=client)
        future = producer.put("k", b"data")
        reference = weakref.ref(producer)
        del producer
        assert future.result(30)
        deadline = time.monotonic() + 60
        while reference() is not None and time.monotonic() < deadline:
            time.sleep(0.05)
            gc.collect()

        assert reference() is None

    def test_none_leaves_anything_behind_for_the_exit(self) -> None:
        import atexit

        def entries() -> int:
            return int(atexit._ncallbacks())

        before = entries()
        for _ in range(50):
            with sp.Producer("s", client=Client()) as producer:
                producer.put("k", b"")

        assert entries() == before


@pytest.mark.parametrize("most", [float("inf"), 1e12])
@pytest.mark.parametrize("setting", ["record_max_buffered_time", "record_ttl"])
def test_a_time_may_be_longer_than_any_queue_counts(setting: str, most: float) -> None:
    client = Client()
    settings: dict[str, Any] = {setting: most}
    with sp.Producer("s", sp.ProducerConfig(**settings), client=client) as producer:
        future = producer.put("k", b"1")
        producer.stats()
        time.sleep(0.02)  # its thread waits for more by now
        producer.flush(30)
        assert future.result(0).shard_id == "s"

    assert client.received() == [b"1"]


def test_a_put_that_waited_for_room_and_is_refused_is_told_at_once() -> None:
    """Its key is halted by the failure that makes room for it, and nothing else comes that would wake the thread."""
    go = threading.Event()

    def refuse(_call: int, records: list[dict[str, Any]]) -> dict[str, Any]:
        assert go.wait(30)
        return {"Records": [{"ErrorCode": "KMSDisabledException", "ErrorMessage": "off"}] * len(records)}

    config = sp.ProducerConfig(ordering="key", on_failure="halt_key", max_outstanding_records=1, record_ttl=600)
    with sp.Producer("s", config, client=Client(refuse)) as producer:
        producer.put("k", b"1")
        threading.Timer(0.05, go.set).start()
        late = producer.put("k", b"2")

        assert "resume()" in str(late.exception(20))


def test_who_closes_as_the_producer_fails_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    """An answer that nobody understands comes behind the call to close, while the thread is in a callback."""
    added, stands, go = threading.Event(), threading.Event(), threading.Event()

    def hold(_call: int, _records: list[dict[str, Any]]) -> None:
        assert added.wait(30)

    def stand(_future: object) -> None:
        stands.set()
        assert go.wait(30)

    producer = sp.Producer("s", client=Client(hold))
    producer.put("k", b"1").add_done_callback(stand)
    added.set()
    closing = threading.Thread(target=producer.close, args=(0,), daemon=True)
    with caplog.at_level(logging.CRITICAL):
        assert stands.wait(30)
        closing.start()
        while producer._worker._inbox.qsize() < 2:  # to flush, and to close
            time.sleep(0.001)
        producer._worker.send(Answer(producer._engine, DescribeStream(), {"MaxRecordSizeInKiB": "odd"}))
        go.set()
        closing.join(30)

    assert not closing.is_alive()


class Growing(Client):
    limit = 1024

    def describe_stream_summary(self, **_arguments: Any) -> dict[str, Any]:
        return {"StreamDescriptionSummary": {"MaxRecordSizeInKiB": self.limit}}


@pytest.mark.parametrize("many", [False, True], ids=["put", "put_many"])
class TestALimitThatWasRaised:
    """It is asked for, though nothing is on its way that would make the producer do anything."""

    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stream, "_LIMIT_HOLDS", 0.0)

    def test_is_noticed(self, many: bool) -> None:
        client = Growing()
        with sp.Producer("s", client=client) as producer:
            producer.put("k", b"1").result(30)
            while producer._engine._watch.max_record_bytes is None:
                time.sleep(0.001)
            client.limit = 2048
            for _ in range(3000):
                with suppress(sp.RecordTooLargeError):
                    producer.put_many([("k", bytes(MIB))]) if many else producer.put("k", bytes(MIB))
                    break
                time.sleep(0.01)

        assert client.received() == [b"1", bytes(MIB)]

    def test_is_noticed_on_an_event_loop(self, many: bool) -> None:
        client = Growing()

        async def main() -> None:
            async with sp.AsyncProducer("s", client=interrupts.AsyncClient(client)) as producer:
                await (await producer.put("k", b"1"))
                for _ in range(3000):
                    if producer._work.engine._watch.max_record_bytes is not None:
                        break
                    await asyncio.sleep(0.01)
                client.limit = 2048
                for _ in range(3000):
                    with suppress(sp.RecordTooLargeError):
                        await (producer.put_many([("k", bytes(MIB))]) if many else producer.put("k", bytes(MIB)))
                        break
                    await asyncio.sleep(0.01)

        asyncio.run(main())
        assert client.received() == [b"1", bytes(MIB)]
