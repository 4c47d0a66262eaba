"""Workers of the real KCL and of ours in one fleet, and what they were given."""

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
from typing import Any, NamedTuple, Self

import pytest
import servers
from kcl_application import KclApplication, kcl_application, table_of_ours
from python_application import PythonWorker, python_worker

import shardpack as sp
from shardpack.consumer import Lease
from shardpack.consumer.core.shards import ancestors

RECORDS = int(os.environ.get("INTEROP_RECORDS", "4000"))
IS_SHORT = "INTEROP_RECORDS" in os.environ
"""Whether only what is most likely to break is to be run, as CI has it."""

_END = sp.Position.SHARD_END

only_at_length = pytest.mark.skipif(IS_SHORT, reason="make interop without INTEROP_RECORDS runs it")


class Given(NamedTuple):
    """A user record that a worker was given.

    Attributes:
        number: what its data begins with.
        at: when, in seconds since the epoch.
    """

    shard_id: str
    position: sp.Position
    number: int
    at: float


def given_to(worker: KclApplication | PythonWorker) -> Iterator[Given]:
    """What a worker was given so far, in its order."""
    if isinstance(worker, PythonWorker):
        for shard_id, sequence_number, sub_sequence_number, begins, at in worker.lines():
            yield Given(shard_id, sp.Position(sequence_number, int(sub_sequence_number)), int(begins), float(at))
        return
    for event in worker.of_kind("record"):
        position = sp.Position(event["sequence_number"], event["sub_sequence_number"])
        number = int(base64.b64decode(event["data"]).partition(b":")[0])
        yield Given(event["shard"], position, number, event["at"] / 1000)


class MixedFleet:
    """Workers of both kinds on one lease table.

    Args:
        kinesis: where it is.
        dynamodb: where it is.
        application: the name of the lease table.
        folder: where Python workers write down what they are given.
        stream: as a KclRead takes it; None: the stream is called as the application.
        settings: of each KclRead.

    Attributes:
        workers: those that run, by name.
        leases: the table.
    """

    def __init__(
        self,
        kinesis: str,
        dynamodb: str,
        application: str,
        folder: Path,
        *,
        stream: str | None = None,
        **settings: str,
    ) -> None:
        self._places = kinesis, dynamodb, stream or application, application
        self._folder = folder
        self._settings = settings
        self._stack = ExitStack()
        self.leases = table_of_ours(dynamodb, application)
        self.workers: dict[str, KclApplication | PythonWorker] = {}
        self._ended: list[KclApplication | PythonWorker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def java(self, name: str) -> None:
        running = kcl_application(*self._places, worker=name, **self._settings)
        self.workers[name] = self._stack.enter_context(running)

    def python(self, name: str, assignment: str = "auto", *more: str) -> None:
        running = python_worker(*self._places, name, self._folder, "--lease-assignment", assignment, *more)
        self.workers[name] = self._stack.enter_context(running)

    def stop(self, name: str) -> None:
        worker = self.workers.pop(name)
        self._ended.append(worker)
        worker.stop()

    def kill(self, name: str) -> set[int]:
        """End a worker as `kill -9` does; the numbers of the records that others will be given again.

        Those are what it was given and has not checkpointed.
        """
        worker = self.workers.pop(name)
        self._ended.append(worker)
        worker.kill()
        done = {lease.key: lease.checkpoint for lease in self.leases.list()}
        given = list(given_to(worker))
        return {one.number for one in given if one.shard_id in done and one.position > done[one.shard_id]}

    def open_leases(self) -> list[Lease]:
        """The leases of shards that are not at their ends."""
        return [lease for lease in self.leases.list() if lease.checkpoint != sp.Position.SHARD_END]

    def shares(self) -> Counter[str | None]:
        """How many open leases each worker has; one that is being handed over is nobody's."""
        return Counter(lease.owner if lease.checkpoint_owner is None else None for lease in self.open_leases())

    def leader(self) -> str | None:
        lock = self.leases.fleet.lock(self.leases.fleet.state().tables)
        return None if lock is None else lock.owner

    def wait(self, done: Callable[[], bool], what: str, seconds: float = 400) -> float:
        """Seconds until something is so."""
        began = time.monotonic()
        while not done():
            assert time.monotonic() - began < seconds, f"no {what} in {seconds:g} s: {self.shares()}, {self.leader()}"
            time.sleep(0.2)
        return time.monotonic() - began

    def wait_until_even(self, within: float) -> float:
        """Seconds until every worker has its share, or so nearly."""

        def is_even() -> bool:
            shares = self.shares()
            share = shares.total() / len(self.workers)
            return shares.keys() == self.workers.keys() and all(
                abs(count - share) <= max(within * share, 0.5) for count in shares.values()
            )

        return self.wait(is_even, "even shares")

    def given(self) -> list[Given]:
        """What all workers were given so far, those that have ended too."""
        return [one for worker in (*self.workers.values(), *self._ended) for one in given_to(worker)]

    def numbers(self) -> Counter[int]:
        """How often each user record was given to a worker."""
        return Counter(one.number for one in self.given())

    def repeated(self) -> set[int]:
        """The numbers of those that were given more than once."""
        return {number for number, count in self.numbers().items() if count > 1}

    def repeated_by_java(self) -> set[int]:
        """The numbers of those that workers of the KCL were given more than once, and none of ours."""
        workers = [*self.workers.values(), *self._ended]
        ours = {one.number for worker in workers if isinstance(worker, PythonWorker) for one in given_to(worker)}
        return self.repeated() - ours

    def unfinished_by_python(self) -> set[int]:
        """The numbers of what workers of ours had been given, and not checkpointed when they lost the lease."""
        unfinished: set[int] = set()
        for worker in (*self.workers.values(), *self._ended):
            if isinstance(worker, PythonWorker):
                lost = worker.lost()
                unfinished |= {one.number for one in given_to(worker) if one.position > lost.get(one.shard_id, _END)}
        return unfinished

    def expired_by_java(self) -> set[int]:
        """Those of `repeated_by_java` of whose shards the KCL has lost the leases, without being asked for them."""
        lost: set[str] = set()
        for worker in (*self.workers.values(), *self._ended):
            asked: set[str] = set()
            for event in list(worker.events) if isinstance(worker, KclApplication) else ():
                if event["shard"] is None:  # it was lost before anything was read of it
                    continue
                if event["event"] == "asked":
                    asked.add(event["shard"])
                elif event["event"] == "lease lost" and event["shard"] not in asked:
                    lost.add(event["shard"])
                elif event["event"] == "initialized":
                    asked.discard(event["shard"])
        return self.repeated_by_java() & {one.number for one in self.given() if one.shard_id in lost}


def early_children(given: list[Given], parents: dict[str, tuple[str, ...]]) -> list[str]:
    """The shards of which something was given before all that was ever given of what they were made from."""
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for one in given:
        first[one.shard_id] = min(one.at, first.get(one.shard_id, one.at))
        last[one.shard_id] = max(one.at, last.get(one.shard_id, one.at))
    return [
        shard_id
        for shard_id, began in first.items()
        if any(last.get(parent, began) > began for parent in ancestors([shard_id], parents))
    ]


class Putting:
    """Puts user records into streams, in turns, until it is told to stop; some 130 a second.

    Args:
        client: for the producers.
        streams: where to put them.
        pause: seconds between two lots; kinesis-local grows slow if it is called often.

    Attributes:
        acknowledged: numbers of the records that the streams have.
    """

    def __init__(self, client: Any, *streams: str, pause: float = 0.15) -> None:
        self._client = client
        self._pause = pause
        self._streams = streams
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._put)
        self.acknowledged: set[int] = set()

    def _put(self) -> None:
        config = sp.ProducerConfig(aggregation_max_size=2000, record_max_buffered_time=0.05)
        with ExitStack() as stack:
            producers = [
                stack.enter_context(sp.Producer(stream, config, client=self._client)) for stream in self._streams
            ]
            futures: list[Future[sp.Delivery]] = []
            while len(futures) < RECORDS or not self._enough.is_set():
                for number in range(len(futures), len(futures) + round(self._pause * 130)):
                    producer = producers[number % len(producers)]
                    futures.append(producer.put(f"user-{number % 500}", b"%d:%s" % (number, bytes(40))))
                time.sleep(self._pause)
            for producer in producers:
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


def many_connections(kinesis: str) -> Any:
    """A client for a `Producer`."""
    return servers.client("kinesis", kinesis, max_pool_connections=50)
