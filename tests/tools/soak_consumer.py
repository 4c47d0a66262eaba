"""Consumers for a long time, while their processes are killed: `make soak-consumer`, or this file with --help.

A producer puts user records into a stream whose shards split and merge all the time. Worker processes that share the
shards by leases handle them; now and then one is killed by kill -9, or asked to end, and another begins. In the end
every user record must have been handled, and those that were handled twice are counted.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

import servers
from consumer_worker import leases_of
from stream_check import Resharder

import shardpack as sp
from shardpack.consumer import Leases

STREAM = "soak"
STORES = ("sqlite", "dynalite", "ministack")
_PROGRESS_SECONDS = 2.0
_PATIENCE = 60.0  # seconds without a single user record handled, after which what is missing is lost


@dataclass
class Soak:
    """What to do.

    Attributes:
        store: which leases.
        shell: of the workers; "mixed": every other one.
        records: user records to put.
        rate: user records put a second.
        workers: processes at a time.
        kills: workers that are ended while records are put; every third of them is asked, by SIGTERM.
        orderly: all of them are asked, and every other one only after its successor has begun: then nothing may be
            handled twice.
        pause: seconds between two reshards.
        failover_time: of the consumers.
        seed: for everything that is random here.
    """

    store: str = "sqlite"
    shell: str = "threads"
    records: int = 100_000
    rate: float = 2_000.0
    workers: int = 3
    kills: int = 10
    orderly: bool = False
    pause: float = 2.0
    failover_time: float = 2.0
    seed: int = 0


@dataclass
class Report:
    """What came of it.

    Attributes:
        handled: how often each user record was, by number.
        disordered: user records that a worker handled before one that stands earlier in its shard, without having begun
            the shard anew in between.
        rebalanced: seconds from each kill to the moment when the killed worker held nothing any more.
        unclean: exit statuses of workers that were asked to end, other than 0.
        held: leases that have an owner after everybody has ended.
        excused: numbers of the user records that a worker had handled and not checkpointed when it was killed, or when
            it lost the lease, as its log says.
    """

    soak: Soak
    seconds: float
    handled: Counter[int]
    disordered: int
    reshards: Counter[str]
    rebalanced: list[float]
    unclean: list[int]
    held: list[str]
    kills: Counter[str] = field(default_factory=Counter)
    excused: set[int] = field(default_factory=set)

    @property
    def unexplained(self) -> list[int]:
        """The numbers of user records that were handled twice though no worker was killed or lost a lease over it."""
        return [number for number, count in self.handled.items() if count > 1 and number not in self.excused]

    @property
    def missing(self) -> list[int]:
        """The numbers of user records that nobody has handled."""
        return [number for number in range(self.soak.records) if not self.handled[number]]

    @property
    def is_sound(self) -> bool:
        """Whether what is promised held."""
        repeats = self.soak.orderly and self.handled.total() > len(self.handled)
        broken = self.missing or self.disordered or self.unclean or self.held or self.unexplained
        return not broken and not repeats

    def __str__(self) -> str:
        duplicates = self.handled.total() - len(self.handled)
        seconds = sorted(self.rebalanced)
        rows = {
            "leases": self.soak.store,
            "workers": self.soak.shell,
            "user records": f"{self.soak.records:,} in {self.seconds:.1f} s",
            "reshards": _counts(self.reshards),
            "workers ended": _counts(self.kills),
            "rebalanced after a kill": f"{median(seconds):.1f} s in the median, {seconds[-1]:.1f} s at most, with a"
            f" failover time of {self.soak.failover_time:g} s"
            if seconds
            else "none",
            "handled twice": f"{duplicates:,} ({duplicates / self.soak.records:.1%})",
            "of these, unexplained": f"{len(self.unexplained):,}",
            "out of order": f"{self.disordered:,}",
            "unclean ends": f"{self.unclean or 'none'}",
            "leases still held": f"{', '.join(self.held) or 'none'}",
            "missing": f"{len(self.missing):,}",
            "verdict": "every user record was handled" if self.is_sound else "BROKEN PROMISE",
        }
        return "\n".join(f"{name:<25} {value}" for name, value in rows.items())


def run(soak: Soak, say: Callable[[str], object] = lambda _line: None) -> Report:
    """Put, reshard, kill, and count."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shardpack-soak-")))
        url = stack.enter_context(servers.kinesalite())
        store = stack.enter_context(_store(soak.store, folder))
        kinesis = servers.client("kinesis", url)
        servers.create_stream(kinesis, STREAM, 2)
        fleet = stack.enter_context(_Fleet(soak, folder, url, store))
        started = time.monotonic()
        with Resharder(kinesis, STREAM, pause=soak.pause, seed=soak.seed, most_shards=6) as resharder:
            killer = threading.Thread(target=_kill, args=(soak, fleet), daemon=True)
            killer.start()
            with sp.Producer(STREAM, client=kinesis) as producer:
                _feed(soak, producer, fleet, say, started)
            killer.join()
        _wait_until_handled(soak, fleet, say, started)
        seconds = time.monotonic() - started
        unclean = fleet.end()
        held = [lease.key for lease in leases_of(store, "soak").list() if lease.owner and lease.checkpoint != _END]
        handled, disordered = fleet.read()
        counts, rebalanced = resharder.counts, fleet.rebalanced
        excused = fleet.excused()
        return Report(soak, seconds, handled, disordered, counts, rebalanced, unclean, held, fleet.kills, excused)


_END = sp.Position.SHARD_END


@contextmanager
def _store(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:{folder / 'leases.db'}"
        return
    with servers.dynalite() if kind == "dynalite" else servers.ministack("dynamodb") as url:
        yield f"dynamodb:{url}"


def _feed(soak: Soak, producer: sp.Producer, fleet: _Fleet, say: Callable[[str], object], started: float) -> None:
    dice = random.Random(soak.seed)
    said = started
    for number in range(soak.records):
        due = started + number / soak.rate
        now = time.monotonic()
        if due > now:
            time.sleep(due - now)
        producer.put(f"user-{dice.randrange(1000)}", b"%d:" % number + b"x" * dice.randrange(100))
        fleet.put = number + 1
        if now - said > _PROGRESS_SECONDS:
            said = now
            say(f"{now - started:6.1f} s: {number:,} put, {fleet.lines():,} handled, {_counts(fleet.kills)}")


def _kill(soak: Soak, fleet: _Fleet) -> None:
    for kill in range(soak.kills):
        while fleet.put < soak.records * (kill + 1) // (soak.kills + 1):
            time.sleep(0.02)
        if soak.orderly and kill % 2 == 0:
            fleet.add_one()
            time.sleep(soak.failover_time / 2)
        fleet.replace_one(asked=soak.orderly or kill % 3 == 2, begin_another=not (soak.orderly and kill % 2 == 0))


def _wait_until_handled(soak: Soak, fleet: _Fleet, say: Callable[[str], object], started: float) -> None:
    last, since = -1, time.monotonic()
    while len(fleet.read()[0]) < soak.records:
        lines = fleet.lines()
        if lines != last:
            last, since = lines, time.monotonic()
        if time.monotonic() - since > _PATIENCE:
            return
        say(f"{time.monotonic() - started:6.1f} s: all put, {lines:,} handled")
        time.sleep(0.5)


class _Fleet:
    """Worker processes, and what they have written down."""

    def __init__(self, soak: Soak, folder: Path, kinesis: str, store: str) -> None:
        self._soak = soak
        self._folder = folder
        self._kinesis = kinesis
        self._store = store
        self._leases: Leases = leases_of(store, "soak")
        self._random = random.Random(soak.seed + 1)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._unclean: list[int] = []
        self._left: dict[str, dict[str, sp.Position]] = defaultdict(dict)  # by killed worker and shard: checkpoints
        self.put = 0
        self.kills: Counter[str] = Counter()
        self.rebalanced: list[float] = []

    def __enter__(self) -> Self:
        self._leases.prepare()
        for _ in range(self._soak.workers):
            self._begin()
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def _begin(self) -> None:
        number = len(list(self._folder.glob("*.log")))
        worker_id = f"worker-{number}"
        log = self._folder / f"{worker_id}.log"
        log.touch()
        script = Path(__file__).with_name("consumer_worker.py")
        arguments = ["--stream", STREAM, "--kinesis", self._kinesis, "--store", self._store, "--worker-id", worker_id]
        shell = ("threads", "asyncio")[number % 2] if self._soak.shell == "mixed" else self._soak.shell
        arguments += ["--log", str(log), "--failover-time", str(self._soak.failover_time), "--shell", shell]
        # The worker inherits the block, and lifts it when it knows what to do: it may be asked before it has begun.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            self._running[worker_id] = subprocess.Popen([sys.executable, str(script), *arguments])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def add_one(self) -> None:
        """Begin one more worker."""
        self._begin()

    def replace_one(self, *, asked: bool, begin_another: bool = True) -> None:
        """End a worker, and begin another."""
        owners = {lease.owner or "" for lease in self._leases.list() if lease.checkpoint != _END}
        worker_id = self._random.choice(sorted(owners & self._running.keys()) or list(self._running))
        process = self._running.pop(worker_id)
        process.send_signal(signal.SIGTERM if asked else signal.SIGKILL)
        ended = time.monotonic()
        self.kills["asked by SIGTERM" if asked else "killed by SIGKILL"] += 1
        status = process.wait(_PATIENCE)
        if asked and status != 0:
            self._unclean.append(status)
        if begin_another:
            self._begin()
        if asked:
            return
        for lease in self._leases.list():
            if worker_id in (lease.owner, lease.checkpoint_owner):
                self._left[worker_id][lease.key] = lease.checkpoint
        deadline = time.monotonic() + _PATIENCE
        while any(lease.owner == worker_id and lease.checkpoint != _END for lease in self._leases.list()):
            assert time.monotonic() < deadline, f"nobody takes the leases of {worker_id}"
            time.sleep(0.05)
        self.rebalanced.append(time.monotonic() - ended)

    def end(self) -> list[int]:
        """Ask everybody to end; exit statuses other than 0."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        return self._unclean + [status for one in self._running.values() if (status := one.wait(_PATIENCE)) != 0]

    def excused(self) -> set[int]:
        """The numbers of what a worker had not checkpointed when it was killed, or lost the lease."""
        excused: set[int] = set()
        for log in self._folder.glob("*.log"):
            after = dict(self._left[log.stem])
            lost = log.with_name(f"{log.name}.lost")
            for shard_id, number, sub in map(str.split, lost.read_text().splitlines() if lost.exists() else ()):
                position = sp.Position(number, int(sub) if sub.isdigit() else 0)
                after[shard_id] = min(after.get(shard_id, position), position)
            for shard_id, sequence_number, sub, number, *_ in map(str.split, log.read_text().splitlines()):
                if shard_id in after and sp.Position(sequence_number, int(sub)) > after[shard_id]:
                    excused.add(int(number))
        return excused

    def lines(self) -> int:
        """How many user records were handled, those handled twice included."""
        return sum(log.read_bytes().count(b"\n") for log in self._folder.glob("*.log"))

    def read(self) -> tuple[Counter[int], int]:
        """How often each user record was handled, and how many out of the order of their shard."""
        handled: Counter[int] = Counter()
        disordered = 0
        for log in self._folder.glob("*.log"):
            last: dict[str, tuple[int, int]] = defaultdict(lambda: (-1, -1))
            seen: dict[str, set[tuple[int, int]]] = defaultdict(set)
            for line in log.read_text().splitlines():
                shard_id, sequence_number, sub_sequence_number, number, _ = line.split()
                position = int(sequence_number), int(sub_sequence_number)
                handled[int(number)] += 1
                # Whoever loses a lease and takes it again may begin anew, but never leaves something out.
                disordered += position < last[shard_id] and position not in seen[shard_id]
                last[shard_id] = position
                seen[shard_id].add(position)
        return handled, disordered


def _counts(counts: Counter[Any]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=STORES, default="sqlite")
    parser.add_argument("--shell", choices=("threads", "asyncio", "mixed"), default="threads")
    for name in ("records", "workers", "kills", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Soak, name))
    for name in ("rate", "pause", "failover-time"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Soak, name.replace("-", "_")))
    parser.add_argument("--orderly", action="store_true", help="ask all workers to end, and kill none")
    report = run(Soak(**vars(parser.parse_args())), lambda line: print(line, flush=True))
    print(report)
    return 0 if report.is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
