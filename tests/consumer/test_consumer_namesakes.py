"""Two processes that work under one name: by a copied setting, or while a new process takes over from an old one."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import fleet
import pytest
from consumer_bench import Stream, Worker, shard
from led_leases import LedLeases
from lossy_table import LossyTable

import shardpack as sp
from shardpack.consumer import FleetConfig
from shardpack.consumer.core.actions import Action, GetLease, TakeLease

QUARTER = 2**126
ERROR = "another process works under the worker_id me too"
CONFIG = {"failover_time": 10.0, "fleet": FleetConfig(strategy="lease_count_based")}


class Life:
    """Workers of one stream of four shards, and what they have handled."""

    def __init__(self, *, led: bool = False) -> None:
        self.stream = Stream(4)
        self.settings: dict[str, Any] = dict(CONFIG)
        if led:
            self.stream.leases = LedLeases(self.stream.clock.now)
            self.settings["lease_assignment"] = "leader"
        self.handled: Counter[bytes] = Counter()
        self.put = 0

    def worker(self, name: str = "me") -> Worker:
        return self.stream.worker(name, **self.settings)

    def go(self, seconds: float, *workers: Worker) -> None:
        """Records come twice a second in each shard, and workers handle and checkpoint them."""
        until = self.stream.now + seconds
        while self.stream.now < until:
            for number in range(4):
                self.put += 1
                self.stream.put(b"%d" % self.put, hash_key=number * QUARTER)
            for worker in workers:
                worker.run(0.0)
                self.handled.update(worker.read())
            self.stream.clock.advance(0.5)

    @property
    def repeated(self) -> int:
        return sum(count > 1 for count in self.handled.values())


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


@pytest.mark.parametrize("led", [False, True], ids=["taken", "led"])
def test_they_do_not_take_leases_to_and_fro_and_one_of_them_tells(led: bool, caplog: pytest.LogCaptureFixture) -> None:
    life = Life(led=led)
    first = life.worker()
    life.go(60, first)
    assert len(first.held) == 4
    second = life.worker()
    life.go(130, first, second)
    assert len(life.handled) >= life.put - 8
    assert life.repeated <= 8  # what the first had in its hand, and not 2 records a shard in each few seconds
    assert second.held == {shard(number) for number in range(4)}
    messages = told(caplog)
    assert messages
    assert all(ERROR in one for one in messages)
    assert len(messages) <= 3  # once a minute
    second.engine.close()
    life.go(15, second)
    life.go(60, first)
    assert len(first.held) == 4  # they are nobody's, or have expired
    assert not told(caplog)[len(messages) + 1 :]


def test_two_that_begin_at_once_come_to_rest(caplog: pytest.LogCaptureFixture) -> None:
    life = Life()
    both = life.worker(), life.worker()
    life.go(60, *both)
    before = sum(len(worker.times(TakeLease)) for worker in both)
    life.go(120, *both)
    assert sum(len(worker.times(TakeLease)) for worker in both) == before
    assert len(both[0].held) + len(both[1].held) == 4
    assert any(ERROR in one for one in told(caplog))


@pytest.mark.parametrize("led", [False, True], ids=["taken", "led"])
def test_one_that_is_begun_again_goes_on_at_once(led: bool, caplog: pytest.LogCaptureFixture) -> None:
    life = Life(led=led)
    life.go(20, life.worker())  # and is killed
    again = life.worker()
    life.go(1, again)
    assert len(again.held) == 4
    life.go(60, again)
    assert not told(caplog)


@pytest.mark.parametrize("led", [False, True], ids=["taken", "led"])
def test_a_lease_that_another_took_and_gives_back_is_taken_at_once(led: bool, caplog: pytest.LogCaptureFixture) -> None:
    life = Life(led=led)
    first = life.worker()
    life.go(30, first)
    lease = life.stream.lease()
    taken = life.stream.leases.take(lease, "other")
    assert taken is not None
    life.go(8, first)  # it sees who has it
    assert shard(0) not in first.held
    leases: Any = life.stream.leases
    assert leases.give(leases.get(shard(0)), "me")
    life.go(12, first)
    assert shard(0) in first.held
    assert not told(caplog)


def test_what_could_not_be_looked_at_is_taken_when_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    life = Life(led=True)
    boss = life.worker("boss")
    life.go(30, boss)
    first = life.worker()
    life.go(60, boss, first)
    key = sorted(first.held)[0]
    leases: Any = life.stream.leases
    assert leases.take(leases.get(key), "other")
    failed: list[Action] = []

    def fate(action: Action) -> Exception | None:
        if action != GetLease(key) or failed:
            return None
        failed.append(action)
        return sp.LeaseStoreError("the table is away", retriable=True)

    first.fate = fate
    life.go(8, boss, first)
    assert failed
    assert key not in first.held
    assert leases.give(leases.get(key), "me")
    life.go(5, boss, first)
    assert key in first.held
    assert not told(caplog)


def test_nothing_is_told_where_names_are_not_shared_whatever_gets_lost(caplog: pytest.LogCaptureFixture) -> None:
    for seed in range(3):
        fleet.run(seed, kills=True, moments=25)
        table = LossyTable(seed, 0.1)
        fleet.run(
            seed,
            kills=False,
            moments=25,
            leases=sp.DynamoDBLeases("leases", client=table, retry_for=0.0),
            leaves_some=True,
        )
        assert table.lost > 5
    assert not told(caplog)


@pytest.mark.parametrize("led", [False, True], ids=["taken", "led"])
def test_the_old_one_ends_without_a_trace(led: bool) -> None:
    """As when a deployment begins a worker before it ends the one with the same name."""
    life = Life(led=led)
    first = life.worker()
    life.go(30, first)
    second = life.worker()
    life.go(30, first, second)
    before = life.repeated
    first.engine.close()
    life.go(20, first, second)
    assert first.engine.is_closed
    life.go(40, second)
    assert life.repeated == before
    assert second.held == {shard(number) for number in range(4)}
