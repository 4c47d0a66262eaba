"""Interrupts at any bytecode of the producers: what was accepted before is delivered or reported, and `close` returns.

A trace function raises when the n-th bytecode of the package is about to run on the main thread, n from 1 up to what
the scenario takes: so each bytecode has its turn, and a trial can be repeated. Run it for long with `make interrupts`.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import itertools
import logging
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Self

from producer_client import Client

import shardpack as sp

PACKAGE = str(Path(sp.__file__).parent)
CONFIG = sp.ProducerConfig(record_max_buffered_time=0.002, aggregation_max_count=7, max_outstanding_records=40)
PATIENCE = 60.0  # seconds for what takes milliseconds
KINDS: list[type[BaseException]] = [KeyboardInterrupt, SystemExit, MemoryError]


class Interrupt:
    """Raises once, at the n-th bytecode of the package in this thread, if there are so many."""

    def __init__(self, at: int, error: type[BaseException]) -> None:
        self.left = at
        self.has_struck = False
        self._error = error
        # Held here, because Python 3.11 calls what it no longer holds: it looks up the function, makes an object of the
        # frame, collects garbage for it, and in a destructor there the function may raise and is let go.
        self._tracer = self._trace

    def __enter__(self) -> Self:
        sys._getframe().f_trace_opcodes = True  # Python 3.12 looks whether any frame asks for it when tracing begins
        sys.settrace(self._tracer)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if self.has_struck or frame.f_code.co_name == "__del__":
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                self.has_struck = True
                raise self._error("an interrupt of the test")
        return self._tracer


class AsyncClient:
    """The same client, awaited."""

    def __init__(self, inner: Client) -> None:
        self._inner = inner

    async def list_shards(self, **arguments: Any) -> dict[str, Any]:
        return self._inner.list_shards(**arguments)

    async def describe_stream_summary(self, **arguments: Any) -> dict[str, Any]:
        return self._inner.describe_stream_summary(**arguments)

    async def put_records(self, **arguments: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        return self._inner.put_records(**arguments)


def check(client: Client, accepted: dict[bytes, Any]) -> None:
    """All that was accepted has an outcome, and what is said to be stored is."""
    received = set(client.received())
    for data, future in accepted.items():
        assert future.done(), f"{data!r} is neither delivered nor reported"
        if future.exception() is None:
            assert data in received, f"{data!r} is said to be delivered and is not there"


def with_threads(at: int, error: type[BaseException]) -> tuple[bool, int]:
    """One trial; whether there were so many bytecodes, and how many futures have failed."""
    client = Client()
    accepted: dict[bytes, Any] = {}
    producer = sp.Producer("s", CONFIG, client=client)

    def use() -> None:
        for n in range(12):
            accepted[b"%d" % n] = producer.put("k", b"%d" % n)
        accepted[b"m"] = producer.put_many([("k", b"m")] * 45)  # more than there is room for: it waits
        producer.stats()
        producer.flush()
        for n in range(12, 15):
            accepted[b"%d" % n] = producer.put("k", b"%d" % n)

    with Interrupt(at, error) as interrupt, suppress(error), producer:
        use()
    if not producer._worker.closing:  # the interrupt came before `close` had begun; then it still delivers
        accepted[b"after"] = producer.put("k", b"after")
    bounded(producer.close)
    check(client, accepted)
    return interrupt.has_struck, sum(future.exception() is not None for future in accepted.values())


def bounded(close: Callable[[], object]) -> None:
    """Call it on a thread, so that a hang is an error and not a hang."""
    thread = threading.Thread(target=close, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "close hangs"


def with_asyncio(at: int, error: type[BaseException]) -> tuple[bool, int]:
    """The same in an event loop, which goes on after an interrupt has left it."""
    client = Client()
    accepted: dict[bytes, Any] = {}
    made: list[sp.AsyncProducer] = []

    async def use() -> None:
        producer = sp.AsyncProducer("s", CONFIG, client=AsyncClient(client))
        made.append(producer)
        async with producer:
            for n in range(12):
                accepted[b"%d" % n] = await producer.put("k", b"%d" % n)
            accepted[b"m"] = await producer.put_many([("k", b"m")] * 45)
            producer.stats()
            await producer.flush()
            for n in range(12, 15):
                accepted[b"%d" % n] = await producer.put("k", b"%d" % n)

    async def after() -> None:
        async with asyncio.timeout(PATIENCE):
            others = asyncio.all_tasks() - {asyncio.current_task()}  # the producer's own calls are among them
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            if made and not made[0]._closing:
                accepted[b"after"] = await made[0].put("k", b"after")
            for producer in made:
                await producer.close()
            await asyncio.sleep(0)

    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda _loop, _context: None)
        with Interrupt(at, error) as interrupt, suppress(error):
            runner.run(use())
        runner.run(after())
    check(client, accepted)
    return interrupt.has_struck, sum(future.exception() is not None for future in accepted.values())


def with_signals(at: int, error: type[BaseException]) -> tuple[bool, int]:
    """Threads again, and a real signal after so many microseconds, which falls into the standard library too."""
    client = Client()
    accepted: dict[bytes, Any] = {}

    struck = False

    def strike(_number: int, _frame: FrameType | None) -> None:
        nonlocal struck
        struck = True
        raise error("a signal of the test")

    before = signal.signal(signal.SIGALRM, strike)
    try:
        producer = sp.Producer("s", CONFIG, client=client)
        signal.setitimer(signal.ITIMER_REAL, at / 1e6)
        with producer:
            for n in itertools.count():
                if struck:  # and swallowed: Python ignores what a destructor or a weak reference's callback raises
                    break
                many = n % 10 == 9
                data = b"%d" % n
                accepted[data] = producer.put_many([("k", data)] * 20) if many else producer.put("k", data)
    except error:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    bounded(producer.close)
    check(client, accepted)
    return struck, sum(future.exception() is not None for future in accepted.values())


SHELLS = {"threads": with_threads, "asyncio": with_asyncio, "signals": with_signals}


def bytecodes(shell: str) -> int:
    """About how many a trial has; of signals, the microseconds that it may take."""
    if shell == "signals":
        return 20_000
    interrupt = Interrupt(sys.maxsize, KeyboardInterrupt)
    trials = SHELLS[shell]
    original = globals()["Interrupt"]
    globals()["Interrupt"] = lambda *_: interrupt
    try:
        trials(0, KeyboardInterrupt)
    finally:
        globals()["Interrupt"] = original
    return sys.maxsize - interrupt.left


def run(shell: str, trials: int, seed: int) -> dict[str, int]:
    """Trials at bytecodes spread over the whole scenario."""
    chance = random.Random(seed)
    last = bytecodes(shell)
    struck = failed = 0
    for n in range(trials):
        at = 1 + (n * last // trials + chance.randrange(max(1, last // trials))) % last
        # A task that never lets its event loop go on cannot be timed out: this ends the process, and says where it is.
        faulthandler.dump_traceback_later(3 * PATIENCE, exit=True)
        try:
            hit, failures = SHELLS[shell](at, KINDS[n % len(KINDS)])
        except BaseException as error:
            raise AssertionError(f"{shell}: {KINDS[n % len(KINDS)].__name__} at bytecode {at}: {error!r}") from error
        finally:
            faulthandler.cancel_dump_traceback_later()
        struck += hit
        failed += failures
    return {"bytecodes": last, "trials": trials, "interrupted": struck, "reported": failed}


def main() -> None:
    """Print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000, help="for each shell")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shell", choices=list(SHELLS))
    arguments = parser.parse_args()
    logging.getLogger("shardpack.producer").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore", RuntimeWarning)  # of coroutines that an interrupt has left before their first step
    for shell in [arguments.shell] if arguments.shell else SHELLS:
        print(shell, run(shell, arguments.trials, arguments.seed), flush=True)


if __name__ == "__main__":
    main()
