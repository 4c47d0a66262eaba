"""Workers join and leave in order, at any moment: nothing is handled twice, nothing is missing, all in order."""

from __future__ import annotations

import itertools
from pathlib import Path

import fleet
import pytest
import servers
from hypothesis import given, settings
from hypothesis import strategies as st
from lossy_table import LossyTable

import shardpack as sp

SEEDS = st.integers(0, 2**32)
FEW = settings(max_examples=max(20, settings().max_examples // 5))


@settings(FEW)
@given(seed=SEEDS)
def test_nothing_is_handled_twice_though_workers_come_and_go(seed: int) -> None:
    fleet.run(seed, kills=False)


@settings(FEW)
@given(seed=SEEDS)
def test_only_what_a_killed_worker_had_not_checkpointed_is_handled_twice(seed: int) -> None:
    fleet.run(seed, kills=True)


def test_calls_and_answers_that_are_lost_repeat_nothing() -> None:
    """Each write of a lease may have had its effect though it failed, and the next one may fail too."""
    for seed in range(12):
        table = LossyTable(seed, 0.1)
        leases = sp.DynamoDBLeases("leases", client=table, retry_for=0.0)
        fleet.run(seed, kills=False, moments=25, leases=leases, leaves_some=True)
        assert table.lost > 10


def test_leases_are_handed_over_in_these_lives() -> None:
    assert sum(fleet.run(seed, kills=False).handed_over for seed in range(5)) > 20


def change_shift(leases: sp.MemoryLeases | sp.SQLiteLeases | sp.DynamoDBLeases) -> None:
    """One worker joins another, which leaves."""
    life = fleet.Fleet(1, shards=2, leases=leases)
    first = life.join()
    life.put(10)
    life.pass_time(5, step=0.5)
    life.join()
    life.pass_time(30, step=0.5)
    life.put(10)
    life.leave(first)
    life.pass_time(8, step=0.5)  # some calls one after the other, of up to 1.5 s each, and less than the failover time
    assert life.handed_over >= 1
    life.finish()
    life.check()


def test_in_memory() -> None:
    change_shift(sp.MemoryLeases())


def test_in_a_file(tmp_path: Path) -> None:
    change_shift(sp.SQLiteLeases(tmp_path / "leases.db"))


def test_in_a_table() -> None:
    pytest.importorskip("boto3")
    with servers.dynalite() as url:
        change_shift(sp.DynamoDBLeases("leases", client=servers.client("dynamodb", url)))


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_everybody_has_a_share_and_keeps_it(workers: int) -> None:
    """Within two intervals between looks for shards; and then nothing moves any more."""
    life = fleet.Fleet(workers, shards=11)
    members = [life.join()]
    life.pass_time(5)
    members += [life.join() for _ in range(workers - 1)]
    life.pass_time(120)
    assert sum(life.counts()) == 11
    assert life.counts()[-1] - life.counts()[0] <= 1
    held = [set(member.worker.held) for member in members]
    life.pass_time(300)
    assert [member.worker.held for member in members] == held


def test_workers_that_begin_at_once_all_get_something() -> None:
    for seed in range(10):
        life = fleet.Fleet(seed, shards=3)
        for _ in range(3):
            life.join()
        life.pass_time(120)
        assert life.counts() == [1, 1, 1]


def test_a_worker_that_another_replaces_repeats_nothing() -> None:
    """A deployment: one joins, one leaves, and so on, until all are new."""
    life = fleet.Fleet(7, shards=6)
    members = [life.join() for _ in range(3)]
    life.pass_time(60)
    for member, number in zip(members, itertools.count(), strict=False):
        life.join()
        for _ in range(5):
            life.put(20)
            life.pass_time(3)
        life.leave(member)
        life.put(10 * number)
        life.pass_time(10)
    life.finish()
    life.check()
    assert not life.excused
