"""Leases of shards that are done go, parents first, whoever leads: the rules of the KCL's ``LeaseCleanupManager``."""

from __future__ import annotations

from random import Random

import pytest
from consumer_bench import Stream, Worker
from led_leases import LedLeases

import shardpack as sp
from shardpack.consumer import ConsumerConfig, Lease
from shardpack.leases.balance import LeaseView
from shardpack.leases.fleet.states import LeaderLock

END = sp.Position.SHARD_END
BEGUN = sp.Position("7")


def deleted(*leases: Lease) -> list[str]:
    """Which leases go when they are seen like this for long."""
    view = LeaseView("me", ConsumerConfig(failover_time=1), Random(0))
    view.observe(leases, 0.0)
    return [lease.key for lease in view.to_delete((), 100.0)]


def test_a_lease_goes_after_those_of_its_parents() -> None:
    """A worker of the KCL that holds the parent's looks for the children's, and keeps it for ever if one is missing."""
    oldest = Lease("a", checkpoint=END, children=("b",))
    old = Lease("b", checkpoint=END, parents=("a",), children=("c",))
    young = Lease("c", checkpoint=BEGUN, parents=("b",))
    assert deleted(oldest, old, young) == ["a"]
    assert deleted(old, young) == ["b"]
    # Who has no children would be there for ever, and whose children are not known.
    assert deleted(Lease("a", checkpoint=END), old, young) == ["b"]


class Led:
    """A worker "me" that is led by one of the KCL's, and leases that this one assigns."""

    def __init__(self) -> None:
        self.stream = Stream(2)
        self.leases = LedLeases(self.stream.clock.now)
        self.stream.leases = self.leases
        self.leases.fleet.version = "CLIENT_VERSION_3X"
        self.leases.fleet.holders[False] = LeaderLock("java", "1", 1e9)

    def worker(self) -> Worker:
        worker = self.stream.worker("me", shard_sync_interval=5, failover_time=3)
        worker.run(5)
        return worker

    def assign(self, key: str, owner: str = "me") -> None:
        """As the KCL does with a lease that nobody renews, finished or not."""
        lease = self.leases.get(key)
        if lease is not None:
            self.leases.take(lease, owner)

    def keys(self) -> set[str]:
        return {lease.key for lease in self.leases.list()}


@pytest.fixture
def led() -> Led:
    return Led()


def test_a_worker_that_is_given_a_finished_lease_sees_that_it_goes(led: Led) -> None:
    """The KCL assigns finished leases too, as its own workers hold them until they can be deleted."""
    led.leases.create(Lease("old", checkpoint=END, children=("young", "younger")))
    led.leases.create(Lease("young", checkpoint=BEGUN, parents=("old",)))
    led.leases.create(Lease("younger", parents=("old",)))
    worker = led.worker()
    for _ in range(10):
        led.assign("old")
        worker.run(3)
    assert led.keys() == {"old", "young", "younger"}  # there is a child that nothing of is done
    younger = led.leases.get("younger")
    assert younger is not None
    taken = led.leases.take(younger, "java")
    assert taken is not None
    led.leases.checkpoint(taken, BEGUN)
    for _ in range(10):
        led.assign("old")
        worker.run(3)
    assert led.keys() == {"young", "younger"}


def test_it_goes_though_others_are_given_it_in_between(led: Led) -> None:
    led.leases.create(Lease("old", checkpoint=END, children=("young",)))
    led.leases.create(Lease("young", checkpoint=BEGUN, parents=("old",)))
    worker = led.worker()
    for _ in range(10):
        led.assign("old")
        worker.run(3)
        led.assign("old", "another")
        worker.run(3)
    assert led.keys() == {"young"}


def test_it_goes_after_those_of_its_parents(led: Led) -> None:
    led.leases.create(Lease("oldest", checkpoint=END, children=("old",)))
    led.leases.create(Lease("old", checkpoint=END, parents=("oldest",), children=("young",)))
    led.leases.create(Lease("young", checkpoint=BEGUN, parents=("old",)))
    worker = led.worker()
    for _ in range(10):
        led.assign("old")
        worker.run(3)
    assert led.keys() == {"oldest", "old", "young"}
    for _ in range(20):
        led.assign("oldest")
        led.assign("old")
        worker.run(3)
    assert led.keys() == {"young"}


def test_one_without_known_children_stays(led: Led) -> None:
    led.leases.create(Lease("old", checkpoint=END))
    worker = led.worker()
    for _ in range(10):
        led.assign("old")
        worker.run(3)
    assert led.keys() == {"old"}
