"""The producer for a long time, while everything goes wrong: `make soak`, or this file with --help.

Producer -> fault proxy -> kinesalite, which keeps its data on disk and is killed now and then, while its shards split
and merge all the time. Then a reader with the KCL's rule looks for what was acknowledged, and every Kinesis record that
was stored without being acknowledged must be one whose answer the proxy knows to have been lost. With --ordering key no
record may be overtaken by a younger one of its key, and the shards of each key must form a path of the lineage.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import servers
from fault_proxy import FaultProxy, Faults
from fault_services import Kinesis
from stream_check import Resharder, Verdict, judge, parents_of_shards, read_stream

import shardpack as sp
from shardpack.producer import Delivery

STREAM = "soak"
_PROGRESS_SECONDS = 2.0
_FILLER = bytes(range(97, 123)) * 40


def all_faults() -> Faults:
    """Of every kind some."""
    return Faults(
        reset_before=0.01,
        reset_after=0.02,
        internal_failure=0.01,
        throttle=0.01,
        wrong_count=0.006,
        record_failure=0.01,
        latency=0.03,
        latency_after=0.03,
        stall=0.004,
        stall_seconds=7.0,
    )


@dataclass
class Soak:
    """What to do.

    Attributes:
        records: user records to put.
        keys: partition keys to spread them over.
        own_hash_keys: the share of user records that have an explicit hash key.
        kills: how often kinesalite is killed and started again.
        pause: seconds between two reshards.
        faults: what goes wrong.
        config: the producer's settings.
        seed: for everything that is random here.
    """

    records: int = 200_000
    keys: int = 5_000
    own_hash_keys: float = 0.05
    kills: int = 3
    pause: float = 0.3
    faults: Faults = field(default_factory=all_faults)
    config: sp.ProducerConfig = field(default_factory=sp.ProducerConfig)
    seed: int = 0

    def record(self, number: int) -> sp.UserRecord:
        """The user record with a number: 50 to 1,000 bytes, now and then with an explicit hash key."""
        dice = random.Random(self.seed << 40 | number)
        head = b"%d:" % number
        data = head + _FILLER[: dice.randint(50, 1000) - len(head)]
        explicit_hash_key = str(dice.randrange(16) << 124) if dice.random() < self.own_hash_keys else None
        return sp.UserRecord(f"user-{dice.randrange(self.keys)}", data, explicit_hash_key)


@dataclass
class Report:
    """What came of it.

    Attributes:
        attempts: of all user records together.
        most_attempts: of one of them.
    """

    soak: Soak
    verdict: Verdict
    seconds: float
    faults: Counter[str]
    calls: int
    reshards: Counter[str]
    attempts: int
    most_attempts: int

    @property
    def is_sound(self) -> bool:
        """Whether the producer has kept its promise, that of order with it."""
        is_ordered = self.soak.config.ordering == "none" or not (self.verdict.overtaken or self.verdict.off_path)
        return self.verdict.is_sound and is_ordered

    def __str__(self) -> str:
        verdict, rate = self.verdict, self.soak.records / self.seconds
        rows = {
            "hash keys, route": f"{self.soak.config.hash_keys}, {self.soak.config.route}",
            "ordering": self.soak.config.ordering,
            "user records": f"{self.soak.records:,} in {self.seconds:.1f} s ({rate:,.0f}/s)",
            "reshards": _counts(self.reshards),
            "faults": _counts(self.faults),
            "PutRecords calls": f"{self.calls:,}",
            "Kinesis records": f"{verdict.kinesis_records:,}, {verdict.dropped:,} of which the KCL drops",
            "attempts": f"{self.attempts / self.soak.records:.3f} per user record, {self.most_attempts} at most",
            "acknowledged": f"{verdict.acknowledged:,}",
            "failed": f"{_counts(verdict.failed)}; {verdict.failed_but_stored:,} of them are stored none the less",
            "duplicates": f"{verdict.duplicates:,} user records",
            "stored, not acknowledged": f"{_counts(verdict.explained)} (Kinesis records, by what lost the answer)",
            "unexplained": f"{len(verdict.unexplained):,} Kinesis records",
            "overtaken": f"{verdict.overtaken:,} user records, by younger ones of their key",
            "off the path": f"{verdict.off_path:,} user records, of the shards of their key",
            "missing": f"{len(verdict.missing):,}",
            "misplaced": f"{len(verdict.misplaced):,}",
            "not as put": f"{verdict.unknown:,}",
            "verdict": "the promise is kept" if self.is_sound else "BROKEN PROMISE",
        }
        lines = [f"{name:<25} {value}" for name, value in rows.items()]
        lines += verdict.unexplained[:10]
        return "\n".join(lines)


def run(soak: Soak, say: Callable[[str], object] = lambda _line: None) -> Report:
    """Put, reshard, fail and kill, then read everything."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="shardpack-soak-"))
        server = stack.enter_context(_Server(Path(folder)))
        patience = soak.config.request_timeout / 2
        proxy = stack.enter_context(FaultProxy(server.url, Kinesis(), soak.faults, seed=soak.seed, patience=patience))
        direct = servers.client("kinesis", server.url)
        servers.create_stream(direct, STREAM, 4)
        client = servers.client(
            "kinesis",
            proxy.url,
            max_pool_connections=soak.config.max_connections + 2,
            read_timeout=soak.config.request_timeout,
        )
        started = time.monotonic()
        with (
            Resharder(direct, STREAM, pause=soak.pause, seed=soak.seed) as resharder,
            _Watcher(say, proxy, resharder) as watcher,
        ):
            killer = threading.Thread(target=_kill, args=(soak, watcher, server, resharder), daemon=True)
            killer.start()
            with sp.Producer(STREAM, soak.config, client=client) as producer:
                _feed(soak, producer, watcher)
            killer.join()
        seconds = time.monotonic() - started
        say(f"{seconds:6.1f} s: reading the stream")
        proxy.wait_until_idle()
        outcomes = dict(enumerate(watcher.outcomes()))
        delivered: dict[int, Any] = outcomes
        parents = parents_of_shards(direct, STREAM)
        verdict = judge(read_stream(direct, STREAM), delivered, soak.record, proxy.lost, parents)
        attempts = [len(outcome.attempts) for outcome in delivered.values()]
        reshards = resharder.counts | Counter(kills=server.kills)
        calls = proxy.calls["PutRecords"]
        return Report(soak, verdict, seconds, proxy.counts, calls, reshards, sum(attempts), max(attempts))


def _feed(soak: Soak, producer: sp.Producer, watcher: _Watcher) -> None:
    """Fifty by `put`, fifty by `put_many`, and so on."""
    for first in range(0, soak.records, 50):
        records = [soak.record(number) for number in range(first, min(first + 50, soak.records))]
        if first % 100:
            watcher.watch(producer.put_many(records), len(records))
        else:
            for record in records:
                watcher.watch(producer.put(record.partition_key, record.data, record.explicit_hash_key), 1)


def _kill(soak: Soak, watcher: _Watcher, server: _Server, resharder: Resharder) -> None:
    """Kill the server when an even share of the records is settled."""
    for kill in range(soak.kills):
        while watcher.done.total() < soak.records * (kill + 1) // (soak.kills + 1):
            time.sleep(0.02)
        server.kill_and_restart(resharder.active)


class _Server:
    """A kinesalite that can be killed, and comes back with its data on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = servers.free_port()
        self._running = ExitStack()
        self.url = f"http://127.0.0.1:{self._port}"
        self.kills = 0

    def __enter__(self) -> Self:
        self._running.enter_context(servers.kinesalite(self._folder, port=self._port))
        return self

    def __exit__(self, *_error: object) -> None:
        self._running.close()

    def kill_and_restart(self, active: threading.Lock) -> None:
        """kill -9, a short rest, and up again.

        Args:
            active: held while the stream is UPDATING; kinesalite never ends a reshard in which it was killed.
        """
        with active:
            self.kills += 1
            self._running.close()
            time.sleep(0.5)
            self._running.enter_context(servers.kinesalite(self._folder, port=self._port))


class _Watcher:
    """Says how it goes."""

    def __init__(self, say: Callable[[str], object], proxy: FaultProxy, resharder: Resharder) -> None:
        self._say = say
        self._proxy = proxy
        self._resharder = resharder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self.done: Counter[str] = Counter()
        self.put = 0
        self._futures: list[Future[Any]] = []

    def watch(self, future: Future[Any], count: int) -> None:
        """Take the future of a put of so many user records."""
        future.add_done_callback(lambda done: self._settled(done, count))
        self._futures.append(future)
        self.put += count

    def _settled(self, future: Future[Any], count: int) -> None:
        self.done["delivered" if future.exception() is None else "failed"] += count  # on the producer's thread alone

    def outcomes(self) -> Iterator[Delivery | sp.DeliveryError]:
        """Of each user record, in the order in which they were put."""
        for future in self._futures:
            error = future.exception()
            if isinstance(error, sp.BatchDeliveryError):
                yield from error.outcomes
            elif isinstance(error, sp.DeliveryError):
                yield error
            else:
                result = future.result()
                yield from result if isinstance(result, list) else [result]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._stop.wait(_PROGRESS_SECONDS):
            self._say(
                f"{time.monotonic() - started:6.1f} s: {self.put:,} put, {_counts(self.done)};"
                f" {self._resharder.open_shards} shards open, {sum(self._resharder.counts.values())} reshards,"
                f" {sum(self._proxy.counts.values()):,} faults"
            )


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--keys", type=int, default=5_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between reshards")
    parser.add_argument("--hash-keys", choices=["pinned", "kpl"], default="pinned")
    parser.add_argument("--route", choices=["shard", "key", "any"], default="shard")
    parser.add_argument("--ordering", choices=["none", "key"], default="none")
    parser.add_argument("--record-ttl", type=float, default=30.0, help="seconds after which a record fails")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    hash_keys: Literal["pinned", "kpl"] = arguments.hash_keys
    route: Literal["shard", "key", "any"] = arguments.route
    ordering: Literal["none", "key"] = arguments.ordering
    soak = Soak(
        records=arguments.records,
        keys=arguments.keys,
        kills=arguments.kills,
        pause=arguments.pause,
        config=sp.ProducerConfig(hash_keys=hash_keys, route=route, ordering=ordering, record_ttl=arguments.record_ttl),
        seed=arguments.seed,
    )
    report = run(soak, lambda line: print(line, flush=True))
    print(report)
    return 0 if report.is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
