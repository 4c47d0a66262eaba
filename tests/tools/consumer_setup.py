"""A consumer on a FakeKinesis, and what its tests wait for."""

from __future__ import annotations

import faulthandler
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shardpack as sp
from shardpack.consumer import Batch, Lease
from shardpack.testing import FakeKinesis, SystemClock

SECONDS = 60  # more than any of these tests takes on a slow machine


NUMBERS = [b"%d" % n for n in range(100)]


@pytest.fixture(autouse=True)
def _nothing_hangs_or_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    yield
    deadline = time.monotonic() + 10
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    faulthandler.cancel_dump_traceback_later()
    assert not left


def fake(shards: int, *data: bytes, aggregate: int | None = None) -> FakeKinesis:
    """A stream "s" that holds user records with these payloads; `aggregate`: so many in one, None: as many as fit."""
    kinesis = FakeKinesis(streams={"s": shards}, clock=SystemClock())
    put(kinesis, *data, aggregate=aggregate)
    return kinesis


def put(kinesis: FakeKinesis, *data: bytes, aggregate: int | None = None) -> None:
    shards = [one for one in kinesis.list_shards(StreamName="s")["Shards"] if len(one["SequenceNumberRange"]) == 1]
    limits = sp.Limits(max_user_records=aggregate)
    records = [(f"key-{one!r}", one) for one in data]
    for packed in sp.pack(records, by="shard", shard_map=sp.ShardMap(shards), limits=limits):
        kinesis.put_record(StreamName="s", **packed.entry)


def consumer(kinesis: FakeKinesis, leases: Any = None, **arguments: Any) -> sp.Consumer:
    return sp.Consumer("s", leases=leases or sp.MemoryLeases(), client=kinesis, **arguments)


def payloads(batch: Batch | None) -> list[bytes]:
    assert batch is not None
    return [record.data for record in batch]


def lease_of(leases: sp.MemoryLeases, number: int = 0) -> Lease:
    (lease,) = (lease for lease in leases.list() if lease.key.endswith(f"{number:012}"))
    return lease


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS / 2
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class StoreInTrouble(sp.MemoryLeases):
    """A store whose methods raise what a test wants them to."""

    def __init__(self, **errors: Exception) -> None:
        super().__init__()
        self.errors: dict[str, Exception] = errors

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "errors" and name in self.errors:

            def fail(*_: Any, **__: Any) -> Any:
                raise self.errors[name]

            return fail
        return super().__getattribute__(name)
