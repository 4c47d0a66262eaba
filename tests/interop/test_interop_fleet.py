"""Workers of the real KCL and of ours in one fleet: each kind leads the other, and gives it its share."""

from __future__ import annotations

import base64
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest
import servers
from java_programs import versions
from kcl_application import KclApplication, kcl_application, table_of_ours
from python_application import PythonWorker, python_worker

import shardpack as sp

RECORDS = int(os.environ.get("INTEROP_RECORDS", "4000"))
SHARDS = 12


@pytest.fixture(scope="module")
def kinesis() -> Iterator[str]:
    with servers.kinesalite() as url:
        yield url


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[str]:
    with servers.dynalite() as url:
        yield url


class MixedFleet:
    """Workers of both kinds on one lease table, and the user records that they are given.

    Attributes:
        workers: those that run, by name.
    """

    def __init__(self, kinesis: str, dynamodb: str, stream: str, folder: Path, *, strategy: str) -> None:
        self._places = kinesis, dynamodb, stream
        self._folder = folder
        self._strategy = strategy
        self._stack = ExitStack()
        self._table = servers.client("dynamodb", dynamodb)
        self.leases = table_of_ours(dynamodb, stream)
        self.workers: dict[str, KclApplication | PythonWorker] = {}
        self._ended: list[KclApplication | PythonWorker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def java(self, name: str) -> None:
        running = kcl_application(*self._places, self._places[2], worker=name, strategy=self._strategy)
        self.workers[name] = self._stack.enter_context(running)

    def python(self, name: str, assignment: str = "auto") -> None:
        running = python_worker(*self._places, name, self._folder, assignment=assignment)
        self.workers[name] = self._stack.enter_context(running)

    def stop(self, name: str) -> None:
        worker = self.workers.pop(name)
        self._ended.append(worker)
        worker.stop()

    def kill(self, name: str) -> None:
        worker = self.workers.pop(name)
        self._ended.append(worker)
        worker.kill()

    def shares(self) -> Counter[str | None]:
        """How many leases each worker has; one that is being handed over is nobody's."""
        listed = self.leases.list()
        return Counter(lease.owner if lease.checkpoint_owner is None else None for lease in listed)

    def leader(self) -> str | None:
        lock = self.leases.fleet.lock(self.leases.fleet.state().tables)
        return None if lock is None else lock.owner

    def wait(self, done: Callable[[], bool], what: str, seconds: float = 150) -> float:
        """Seconds until something is so."""
        began = time.monotonic()
        while not done():
            assert time.monotonic() - began < seconds, f"no {what} in {seconds:g} s: {self.shares()}, {self.leader()}"
            time.sleep(0.2)
        return time.monotonic() - began

    def wait_until_even(self, within: float) -> float:
        """Seconds until every worker has its share, or so nearly."""

        def is_even() -> bool:
            shares, share = self.shares(), SHARDS / len(self.workers)
            return shares.keys() == self.workers.keys() and all(
                abs(count - share) <= max(within * share, 0.5) for count in shares.values()
            )

        return self.wait(is_even, "even shares")

    def numbers(self) -> Counter[int]:
        """How often each user record was delivered, by the number that its data begins with."""
        seen: Counter[int] = Counter()
        for worker in (*self.workers.values(), *self._ended):
            if isinstance(worker, PythonWorker):
                seen.update(worker.numbers())
            else:
                data = (base64.b64decode(event["data"]) for event in worker.of_kind("record"))
                seen.update(int(one.partition(b":")[0]) for one in data)
        return seen


class Putting:
    """Puts user records until it is told to stop, some 130 a second.

    Attributes:
        acknowledged: numbers of the records that the stream has.
    """

    def __init__(self, client: Any, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._put)
        self.acknowledged: set[int] = set()

    def _put(self) -> None:
        config = sp.ProducerConfig(aggregation_max_size=2000, record_max_buffered_time=0.05)
        with sp.Producer(self._stream, config, client=self._client) as producer:
            futures: list[Future[sp.Delivery]] = []
            while len(futures) < RECORDS or not self._enough.is_set():
                numbers = range(len(futures), len(futures) + 20)
                futures += [producer.put(f"user-{number % 500}", b"%d:%s" % (number, bytes(40))) for number in numbers]
                time.sleep(0.15)
            producer.flush(60)
        self.acknowledged = {number for number, future in enumerate(futures) if future.exception(0) is None}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        self._enough.set()
        self._thread.join()


@pytest.mark.parametrize("leads", ["java", "python"])
def test_either_kind_gives_the_other_its_share(leads: str, kinesis: str, dynamodb: str, tmp_path: Path) -> None:
    client, stream = servers.client("kinesis", kinesis, max_pool_connections=50), f"fleet-led-by-{leads}"
    servers.create_stream(client, stream, SHARDS)
    seconds: dict[str, float] = {}
    with (
        MixedFleet(kinesis, dynamodb, stream, tmp_path, strategy="LEASE_COUNT_BASED") as fleet,
        Putting(client, stream) as putting,
    ):
        if leads == "java":
            fleet.java("java-1")
            seconds["begun"] = fleet.wait_until_even(0.0)
            fleet.python("python-1")
        else:
            fleet.python("python-1", "leader")
            seconds["begun"] = fleet.wait_until_even(0.0)
            fleet.java("java-1")
        assert fleet.leader() == f"{leads}-1"
        fleet.java("java-2")
        fleet.python("python-2")
        seconds["four"] = fleet.wait_until_even(0.2)
        fleet.stop("python-2" if leads == "java" else "java-2")
        seconds["one left"] = fleet.wait_until_even(0.2)
        fleet.python("python-3")
        seconds["one joined"] = fleet.wait_until_even(0.2)
        assert fleet.leader() == f"{leads}-1"
        orderly = fleet.numbers()
        fleet.kill(f"{leads}-1")
        seconds["leader killed"] = fleet.wait_until_even(0.2)
        putting.finish()
        fleet.wait(lambda: putting.acknowledged <= fleet.numbers().keys(), "end of all records")
        seen = fleet.numbers()
    twice_in_order = orderly.total() - len(orderly)
    twice = seen.total() - len(seen)
    print(
        f"\nKCL {versions()['kcl']} and us, led by {leads}: {len(putting.acknowledged)} records, 0 lost,"
        f" {twice_in_order} twice before the kill and {twice} after it; seconds:"
        f" { ({what: round(after, 1) for what, after in seconds.items()}) }"
    )
    assert len(putting.acknowledged) >= RECORDS
    assert twice_in_order == 0
