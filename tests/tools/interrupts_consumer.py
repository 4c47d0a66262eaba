"""Interrupts a consumer at random moments, and checks that nothing is lost, checkpointed unseen, or left hanging.

Each trial reads a small stream with one worker, into whose calls an exception is raised once: at a random bytecode (by
a trace function), by a signal at a random moment, or, in asyncio, by cancelling the task. Then the application goes on
or leaves, and a second worker reads what is left. It prints what happened in how many trials, and ends with 1 if a
promise was broken.

    python tests/tools/interrupts_consumer.py --trials 5000
"""

from __future__ import annotations

import argparse
import asyncio
import dis
import faulthandler
import logging
import math
import signal
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any, TypeAlias

import shardpack as sp
from shardpack.testing import AsyncFakeKinesis, FakeKinesis, SystemClock

MOST_SECONDS = 60  # for one trial, on a busy machine
RECORDS = 40
CONFIG = sp.ConsumerConfig(failover_time=5.0, batch_max_records=6, idle_time_between_reads=0.2)
ERRORS: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit, MemoryError)
LEAVING: tuple[type[BaseException], ...] = (*ERRORS, asyncio.CancelledError)

# Steps that only move a pointer: no signal is looked at in them, and no memory is asked for, so nothing raises there.
SAFE = frozenset(dis.opmap[name] for name in ("LOAD_FAST", "RETURN_VALUE", "LOAD_FAST_BORROW") if name in dis.opmap)

Handed: TypeAlias = dict[str, list[sp.Position]]


class Interrupt:
    """Raises once, in a call that the application makes: never between two calls, where it would be its own affair."""

    def __init__(self, random: Random) -> None:
        self.error = random.choice(ERRORS)("interrupted on purpose")
        self.is_raised = False
        self._is_over = False
        self._left = int(math.exp(random.uniform(0, math.log(12_000))))
        self._seconds = math.exp(random.uniform(math.log(1e-4), math.log(0.1)))
        # Held here, because Python 3.11 calls what it no longer holds: it looks up the function, makes an object of the
        # frame, collects garbage for it, and in a destructor there the function may raise and is let go.
        self._tracer = self._trace

    def by_bytecode(self) -> None:
        sys._getframe().f_trace_opcodes = True  # Python 3.12 looks whether any frame asks for it when tracing begins
        sys.settrace(self._tracer)

    def by_signal(self) -> None:
        signal.signal(signal.SIGALRM, self._on_signal)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def end(self) -> None:
        self._is_over = True
        sys.settrace(None)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if self.is_raised or frame.f_code.co_filename == __file__:
            return self._tracer
        frame.f_trace_opcodes = True
        if event == "opcode":
            self._left -= 1
            if self._left <= 0 and frame.f_code.co_code[frame.f_lasti] not in SAFE and _is_in_call(frame):
                self._raise()
        return self._tracer

    def _on_signal(self, _: int, frame: FrameType | None) -> None:
        if self._is_over:
            return
        if frame is not None and frame.f_code.co_filename != __file__ and _is_in_call(frame):
            self._raise()
        if not self.is_raised:
            signal.setitimer(signal.ITIMER_REAL, 1e-4)

    def _raise(self) -> None:
        self.is_raised = True
        raise self.error


def _is_in_call(frame: FrameType | None) -> bool:
    """Whether the application has called a consumer or a batch, and this happens in it.

    Not where asyncio holds the one lock that all its locks and events share: that would stay locked for the rest of
    the process, whatever a consumer does.
    """
    if frame is not None and frame.f_code.co_filename.endswith("asyncio/mixins.py"):
        return False
    inner: FrameType | None = None
    while frame is not None:
        if frame.f_code.co_filename == __file__:
            return inner is not None and "shardpack/consumer" in inner.f_code.co_filename
        inner, frame = frame, frame.f_back
    return False


class Trial:
    """One stream, one store of leases, and what was handed out."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.kinesis = FakeKinesis(streams={"s": self.random.choice((1, 2))}, clock=SystemClock())
        shards = self.kinesis.list_shards(StreamName="s")["Shards"]
        records = [(f"k{n}", b"%d" % n) for n in range(RECORDS)]
        for packed in sp.pack(records, by="shard", shard_map=sp.ShardMap(shards), limits=sp.Limits(max_user_records=5)):
            self.kinesis.put_record(StreamName="s", **packed.entry)
        self.shards = [shard["ShardId"] for shard in shards]
        self.leases = sp.MemoryLeases()
        self.handed: Handed = defaultdict(list)
        self.interrupt = Interrupt(self.random)
        self.goes_on = self.random.random() < 0.7
        self.count = 0

    # The application. Only what a call has returned counts as handed out.

    def keep(self, records: Any) -> None:
        try:
            handed = list(records)
        except ERRORS:  # it has them nevertheless
            handed = list(records)
        for record in handed:
            self.handed[record.shard_id].append(record.position)
        self.count += len(handed)

    def read(self, reading: sp.Consumer) -> None:
        """Read batch by batch; True once everything was seen."""
        by_iteration = self.random.random() < 0.5
        while self.count < RECORDS and not reading._shell.is_stopping:
            try:
                if by_iteration:
                    for batch in reading:
                        self.keep(batch)
                        self.use(reading, batch)
                        if self.count >= RECORDS:
                            return
                    return  # it was stopped
                one = reading.next_batch(timeout=self.random.choice((None, 0.0, 0.01)))
                if one is not None:
                    self.keep(one)
                    self.use(reading, one)
            except BaseException as error:
                if error is not self.interrupt.error or not self.goes_on:
                    raise

    def use(self, reading: sp.Consumer, batch: sp.Batch) -> None:
        if self.random.random() < 0.6:
            batch.checkpoint()
        if self.random.random() < 0.2:
            _ = reading.is_caught_up, reading.millis_behind_latest
        if self.random.random() < 0.03:
            reading.stop()

    def run(self, reading: sp.Consumer) -> None:
        def handle(batch: sp.Batch) -> None:
            self.keep(batch)
            if self.count >= RECORDS:
                reading.stop()

        reading.run(handle, workers=self.random.choice((1, 1, 2)))

    async def read_async(self, reading: sp.AsyncConsumer) -> None:
        while self.count < RECORDS and not reading._shell.is_stopping:
            try:
                batch = await reading.next_batch()
                if batch is not None:
                    self.keep(batch)
                    if self.random.random() < 0.6:
                        await batch.checkpoint()
            except LEAVING:
                if not self.goes_on:
                    raise

    # The trial.

    def threaded(self) -> str:
        use = self.random.choice((self.read, self.read, self.run))
        begin = self.random.choice((self.interrupt.by_bytecode, self.interrupt.by_bytecode, self.interrupt.by_signal))
        reading = sp.Consumer("s", leases=self.leases, client=self.kinesis, config=CONFIG)
        try:
            begin()
            with reading:
                use(reading)
        except BaseException as error:
            if error is not self.interrupt.error:
                raise
        finally:
            self.interrupt.end()
        reading.close()  # the first one may have been interrupted
        return f"{use.__name__}, {begin.__name__}"

    def asynchronous(self) -> str:
        by_cancelling = self.random.random() < 0.3

        async def main() -> None:
            client = AsyncFakeKinesis(self.kinesis)
            reading = sp.AsyncConsumer("s", leases=self.leases, client=client, config=CONFIG)
            task = asyncio.current_task()
            assert task is not None
            try:
                if by_cancelling:
                    asyncio.get_running_loop().call_later(self.random.random() * 0.05, task.cancel)
                else:
                    self.interrupt.by_bytecode()
                async with reading:
                    await self.read_async(reading)
            except LEAVING as error:
                if not isinstance(error, asyncio.CancelledError) and error is not self.interrupt.error:
                    raise
            finally:
                self.interrupt.end()
            await reading.close()

        asyncio.run(main())
        return "asyncio, by_cancelling" if by_cancelling else "asyncio, by_bytecode"

    def check(self) -> None:
        """What was handed out has no gap, no more is checkpointed, and the next worker gets the rest."""
        done = {lease.key: lease.checkpoint for lease in self.leases.list()}
        stored = {shard: [one.position for one in self.kinesis.user_records(shard)] for shard in self.shards}
        for shard, positions in self.handed.items():
            assert positions == stored[shard][: len(positions)], f"{shard}: {positions} of {stored[shard]}"
        left = {
            shard: [one for one in positions if one is not None and one > done.get(shard, sp.Position.TRIM_HORIZON)]
            for shard, positions in stored.items()
        }
        for shard, positions in left.items():
            seen = len(self.handed[shard])
            assert len(stored[shard]) - len(positions) <= seen, f"{shard}: checkpointed, but not handed out"
        rest: Handed = defaultdict(list)
        with sp.Consumer("s", leases=self.leases, client=self.kinesis, config=CONFIG) as reading:
            while sum(map(len, rest.values())) < sum(map(len, left.values())):
                batch = reading.next_batch()
                assert batch is not None
                for record in batch:
                    assert record.position is not None
                    rest[str(record.shard_id)].append(record.position)
        assert dict(rest) == {shard: positions for shard, positions in left.items() if positions}


def one_trial(seed: int, outcomes: Counter[str]) -> str | None:
    """What was wrong, or None."""
    faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
    trial = Trial(seed)
    kind: Callable[[], str] = trial.asynchronous if seed % 3 == 0 else trial.threaded
    try:
        name = kind()
        trial.check()
    except Exception as error:  # noqa: BLE001  # counted, and told with its seed
        return f"seed {seed}: {error!r}"
    finally:
        faulthandler.cancel_dump_traceback_later()
    outcomes[f"{name}: {'interrupted' if trial.interrupt.is_raised else 'not hit'}"] += 1
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore", RuntimeWarning)  # a coroutine that an interrupt has kept from being awaited
    outcomes: Counter[str] = Counter()
    begun = time.monotonic()
    seeds = range(arguments.seed, arguments.seed + arguments.trials)
    wrong = [found for seed in seeds if (found := one_trial(seed, outcomes)) is not None]
    lines = [f"{count:7,} {name}" for name, count in sorted(outcomes.items())]
    told = f"{arguments.trials:,} trials in {time.monotonic() - begun:.0f} s, {len(wrong)} broken"
    sys.stdout.write("\n".join([*lines, told, *wrong[:20], ""]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
