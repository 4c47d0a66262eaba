"""A fleet that a leader shares the leases out to: one leads, everybody has a share, and nothing is handled twice."""

from __future__ import annotations

from collections import Counter
from random import Random
from types import SimpleNamespace
from typing import Any

import fleet
import pytest
from consumer_bench import START, Stream
from hypothesis import example, given, settings
from hypothesis import strategies as st
from led_leases import LedLeases
from lossy_table import LossyTable

import shardpack as sp
from shardpack.consumer import ConsumerConfig, FleetConfig, Lease
from shardpack.consumer.core.actions import FindLeases, ListLeases
from shardpack.consumer.core.fleet.actions import (
    AssignLease,
    DeleteLock,
    MemberAction,
    ReadLock,
    SurveyFleet,
    WriteLock,
)
from shardpack.consumer.core.fleet.election import Election
from shardpack.consumer.core.fleet.leading import Leading
from shardpack.consumer.core.fleet.parents import Parents
from shardpack.consumer.shells.driving.calls import call_leases
from shardpack.leases.fleet import tables
from shardpack.leases.fleet.assigning import Candidate
from shardpack.leases.fleet.states import LeaderLock, Tables, WorkerStats

SEEDS = st.integers(0, 2**32)
FEW = settings(max_examples=max(10, settings().max_examples // 10))
CONFIG = FleetConfig(strategy="lease_count_based")


class Life(fleet.Fleet):
    """A led fleet.

    Attributes:
        leases: the store.
    """

    def __init__(self, seed: int, shards: int = 6, skew: dict[str, float] | None = None, **settings: Any) -> None:
        super().__init__(seed, shards, None, **{"lease_assignment": "leader", "fleet": CONFIG, **settings})
        self.leases = LedLeases(self.stream.clock.now)
        self.stream.leases = self.leases
        self.stream.skew = skew or {}
        self.leases.fleet.skew = self.stream.skew

    def pass_time(self, seconds: float, step: float = 0.5) -> None:
        super().pass_time(seconds, step)

    def leader(self) -> fleet.Member:
        (leads,) = (member for member in self.members if member.worker.member.is_leader(self.stream.now))
        return leads


class TestElection:
    """Workers that would lead, whose calls take any time, and whose answers may be lost."""

    @settings(max_examples=5 * settings().max_examples)
    @given(seed=SEEDS)
    def test_two_never_lead_at_once(self, seed: int) -> None:
        dice, now = Random(seed), 0.0
        leases = LedLeases(lambda: START)
        workers = {name: Election(name, CONFIG, Random(f"{seed}{name}")) for name in "abc"}
        flying: list[tuple[str, MemberAction, list[Any]]] = []
        for _ in range(150):
            now += dice.choice([0.0, 0.0, 0.5, 3.0, 3.0, 9.0, 29.0])
            name = dice.choice("abc")
            event = dice.choice(["poll", "poll", "poll", "answer", "answer", "answer", "restart"])
            if event == "poll":
                actions = workers[name].poll(Tables.COMPLETE, now)
                # A call takes effect when it is made, or any time later.
                flying += [(name, one, [effect(leases, one)] * dice.randrange(2)) for one in actions]
            elif event == "answer" and flying:
                name, action, answers = flying.pop(dice.randrange(len(flying)))
                answer = answers[0] if answers else effect(leases, action)
                if dice.random() < 0.15:
                    workers[name].failed(now)
                else:
                    tell(workers[name], action, answer, now)
            elif event == "restart" and dice.random() < 0.2:
                workers[name] = Election(name + str(now), CONFIG, Random(f"{seed}{name}{now}"))
                flying = [one for one in flying if one[0] != name]
            assert sum(worker.is_leader(now) for worker in workers.values()) <= 1

    def test_a_leader_that_is_silent_is_replaced_and_knows_it(self) -> None:
        leases = LedLeases(lambda: START)
        old, new = (Election(name, CONFIG, Random(name)) for name in ("old", "new"))
        look(old, leases, 0.0)
        assert old.is_leader(0.0)
        moment = 0.0
        while not new.is_leader(moment):
            moment += 1.0
            assert moment < 10 * CONFIG.leader_lease_duration, "nobody replaces it"
            look(new, leases, moment)
            assert not (new.is_leader(moment) and old.is_leader(moment))
        assert CONFIG.leader_lease_duration <= moment <= CONFIG.leader_lease_duration + 2 * CONFIG.leader_heartbeat
        look(old, leases, moment + 20)  # its renewal finds another's lock
        assert not old.is_leader(moment + 20)
        assert leases.fleet.holder is not None
        assert leases.fleet.holder.owner == "new"

    def test_a_lock_whose_answer_came_late_lasts_from_when_it_was_asked_for(self) -> None:
        leases = LedLeases(lambda: START)
        slow, other = (Election(name, CONFIG, Random(name)) for name in ("slow", "other"))
        (asked,) = slow.poll(Tables.COMPLETE, 0.0)
        tell(slow, asked, effect(leases, asked), 0.0)
        (taking,) = slow.poll(Tables.COMPLETE, 0.0)
        answer = effect(leases, taking)
        look(other, leases, 1.0)  # from now on, it sees the lock
        tell(slow, taking, answer, 25.0)
        assert slow.is_leader(25.0)
        moment = 25.0
        while not other.is_leader(moment):
            moment += 0.5
            assert moment < 10 * CONFIG.leader_lease_duration
            look(other, leases, moment)
            assert not (slow.is_leader(moment) and other.is_leader(moment))

    def test_a_renewal_whose_answer_was_lost_costs_no_leadership_for_long(self) -> None:
        leases = LedLeases(lambda: START)
        leads = Election("me", CONFIG, Random(1))
        look(leads, leases, 0.0)
        (renewal,) = leads.poll(Tables.COMPLETE, 10.0)
        effect(leases, renewal)
        leads.failed(11.0)
        assert leads.is_leader(12.0)
        look(leads, leases, 22.0)
        assert leads.is_leader(22.0)

    def test_a_leader_that_stood_still_and_leads_on_begins_anew(self) -> None:
        leases = LedLeases(lambda: START)
        leads = Election("me", CONFIG, Random(1))
        look(leads, leases, 0.0)
        moment = CONFIG.leader_lease_duration + 1.0
        assert not leads.is_leader(moment)  # meanwhile, it did not do what a leader does
        (renewal,) = leads.poll(Tables.COMPLETE, moment)
        assert isinstance(renewal, WriteLock)
        assert leads.written(renewal, bool(effect(leases, renewal)), moment)
        assert leads.is_leader(moment)

    def test_one_that_leaves_lets_others_lead_at_once(self) -> None:
        leases = LedLeases(lambda: START)
        first, second = (Election(name, CONFIG, Random(name)) for name in ("first", "second"))
        look(first, leases, 0.0)
        look(second, leases, 0.0)
        first.close(1.0)
        look(first, leases, 1.0)
        assert first.is_over
        look(second, leases, CONFIG.leader_heartbeat)
        assert second.is_leader(CONFIG.leader_heartbeat)

    def test_the_lock_moves_with_the_tables(self) -> None:
        leases = LedLeases(lambda: START)
        leads = Election("me", CONFIG, Random(1))
        look(leads, leases, 0.0, Tables.PENDING)
        assert leads.is_leader(0.0)
        (delete,) = leads.poll(Tables.COMPLETE, 1.0)
        assert delete == DeleteLock(Tables.PENDING, leases.fleet.holders[True])
        assert not leads.is_leader(1.0)


def effect(leases: LedLeases, action: MemberAction) -> Any:
    return call_leases(leases, action, 0.0)


def tell(worker: Election, action: MemberAction, answer: Any, now: float) -> None:
    if isinstance(action, ReadLock):
        worker.read(answer, now)
    elif isinstance(action, WriteLock):
        worker.written(action, answer, now)
    else:
        worker.deleted()


def look(worker: Election, leases: LedLeases, now: float, tables: Tables = Tables.COMPLETE) -> None:
    for _ in range(5):
        for action in worker.poll(tables, now):
            tell(worker, action, effect(leases, action), now)


class TestLife:
    """Workers join, leave and are killed, calls are late, the stream splits and merges; a leader assigns."""

    @settings(FEW)
    @given(seed=SEEDS)
    def test_nothing_is_handled_twice_though_workers_come_and_go(self, seed: int) -> None:
        fleet.live(Life(seed, 4), kills=False, moments=25)

    @settings(FEW)
    @given(seed=SEEDS)
    def test_only_what_a_killed_worker_had_not_checkpointed_is_handled_twice(self, seed: int) -> None:
        fleet.live(Life(seed, 4, fleet=FleetConfig()), kills=True, moments=25)

    def test_calls_and_answers_that_are_lost_repeat_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of leases, of the lock and of reports; over the code that speaks to DynamoDB."""
        lost = moved = 0
        for seed in range(4):
            table = LossyTable(seed, 0.2)
            life = fleet.Fleet(seed, 4, lease_assignment="leader", fleet=CONFIG)
            life.stream.leases = sp.DynamoDBLeases("leases", client=table, retry_for=0.0)
            life.was_killed = True
            monkeypatch.setattr(tables, "time", SimpleNamespace(time=life.stream.clock.now))
            fleet.live(life, kills=False, moments=30)
            moved += life.handed_over
            lost += table.lost
        assert lost > 40
        assert moved

    @pytest.mark.parametrize("strategy", ["lease_count_based", "worker_utilization_aware"])
    def test_everybody_has_a_share_and_keeps_it(self, strategy: str) -> None:
        life = Life(3, 11, fleet=FleetConfig(strategy=strategy))  # type: ignore[arg-type]
        members = [life.join()]
        life.pass_time(20)
        members += [life.join() for _ in range(3)]
        life.pass_time(120)
        assert life.counts() == [2, 3, 3, 3]
        held = [set(member.worker.held) for member in members]
        life.pass_time(300)
        assert [member.worker.held for member in members] == held

    def test_only_the_leader_looks_at_all_leases(self) -> None:
        life = Life(4, 6)
        for _ in range(3):
            life.join()
        life.pass_time(60)
        before = {member.worker.name: len(member.worker.calls) for member in life.members}
        life.pass_time(120)
        leads = life.leader().worker.name
        for member in life.members:
            calls = member.worker.calls[before[member.worker.name] :]
            kinds = Counter(type(action).__name__ for _, action in calls)
            is_leading = member.worker.name == leads
            assert bool(kinds["SurveyFleet"]) == bool(kinds["ListShards"]) == is_leading
            assert kinds["ListLeases"] == 0

    def test_a_dead_leader_is_replaced_and_its_leases_go_on(self) -> None:
        life = Life(5, 6)
        for _ in range(3):
            life.join()
        life.pass_time(90)
        life.kill(life.leader())
        life.pass_time(110)  # under two intervals between looks for shards
        assert life.counts() == [3, 3]
        assert life.leader()

    def test_a_fleet_whose_clocks_differ_by_hours_shares_all_the_same(self) -> None:
        life = Life(6, 6, {"worker-001": 5000.0, "worker-002": -9000.0})
        for _ in range(3):
            life.join()
        life.pass_time(200)
        assert life.counts() == [2, 2, 2]

    @settings(FEW)
    @given(seed=SEEDS, pause=st.floats(1.0, 80.0))
    @example(seed=109, pause=30.0)
    def test_a_worker_that_stands_still_for_a_while_and_goes_on_does_no_harm(self, seed: int, pause: float) -> None:
        """Be it the leader."""
        life = Life(seed, 6)
        for _ in range(3):
            life.join()
            life.pass_time(5)
        life.pass_time(60)
        still = life.leader() if seed % 2 else life.dice.choice(life.members)
        life.kill(still)
        for _ in range(4):
            life.put(20)
            life.pass_time(pause / 4)
            life.reshard()
        life.members.append(still)
        life.put(20)
        life.pass_time(90)
        assert life.leader()
        life.finish()
        life.check()

    def test_two_that_think_they_lead_do_no_harm(self) -> None:
        life = Life(7, 8)
        for _ in range(3):
            life.join()
        life.pass_time(60)
        for member in life.members:
            member.worker.member.is_leader = lambda now: now > 0  # type: ignore[method-assign]
        for _ in range(10):
            life.put(10)
            life.pass_time(5)
        life.finish()
        life.check()

    def test_a_worker_that_was_stopped_is_given_nothing_more_while_its_report_is_fresh(self) -> None:
        """The KCL's issue 1452: its own workers leave their reports behind when they end."""
        life = Life(8, 4)
        for _ in range(2):
            life.join()
        life.pass_time(60)
        given: list[str] = []
        life.leases.fleet.reports["java"] = WorkerStats("java", int(START + life.stream.now))
        assert life.leases.take(life.leases.list()[0], "java")
        for _ in range(30):
            life.pass_time(2.0)
            given += [
                action.owner
                for member in life.members
                for _, action in member.worker.calls
                if isinstance(action, AssignLease) and action.owner == "java"
            ]
            for member in life.members:
                member.worker.calls.clear()
        assert len(given) <= 2  # before it was seen that it lets leases expire
        assert sum(life.counts()) == 4


class TestWay:
    """What is written down says how leases are shared."""

    @pytest.mark.parametrize(
        ("version", "setting", "is_led"),
        [
            (None, "auto", False),
            (None, "leader", True),
            ("CLIENT_VERSION_2X", "auto", False),
            ("CLIENT_VERSION_2X", "leader", False),
            ("CLIENT_VERSION_UPGRADE_FROM_2X", "leader", False),
            ("CLIENT_VERSION_3X_WITH_ROLLBACK", "auto", True),
            ("CLIENT_VERSION_3X", "auto", True),
            ("CLIENT_VERSION_3X", "leader", True),
        ],
    )
    def test_leases_are_taken_in_2x_and_assigned_in_3x(self, version: str | None, setting: str, is_led: bool) -> None:
        life = Life(1, 4, lease_assignment=setting)
        life.leases.fleet.version = version
        life.join()
        life.pass_time(30)
        assert life.counts() == [4]
        assert (life.leases.fleet.holder is not None) == is_led
        wants_reports = is_led or version == "CLIENT_VERSION_UPGRADE_FROM_2X"
        assert ("worker-001" in life.leases.fleet.reports) == wants_reports

    def test_a_fleet_goes_over_while_it_runs_and_back(self) -> None:
        life = Life(2, 6, lease_assignment="auto")
        for _ in range(3):
            life.join()
        life.pass_time(60)
        for version in ("CLIENT_VERSION_UPGRADE_FROM_2X", "CLIENT_VERSION_3X_WITH_ROLLBACK", "CLIENT_VERSION_2X"):
            life.leases.fleet.version = version
            for _ in range(12):
                life.put(10)
                life.pass_time(10)
            assert life.counts() == [2, 2, 2]
            assert (life.leases.fleet.holder is not None) == (version == "CLIENT_VERSION_3X_WITH_ROLLBACK")
        life.finish()
        life.check()

    def test_the_index_that_the_kcl_deletes_for_a_rollback_is_asked_again_once_a_leader_assigns(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its migration tool deletes it, and its workers make it anew when they go over to a leader again."""
        life = Life(3, 6, lease_assignment="auto")
        life.leases.fleet.version = "CLIENT_VERSION_2X"
        with monkeypatch.context() as without:
            without.setattr(life.leases, "assigned", lambda _: None)
            for _ in range(3):
                life.join()
                life.pass_time(40)
            assert all(member.worker.times(FindLeases) for member in life.members)
        life.leases.fleet.version = "CLIENT_VERSION_3X"
        life.pass_time(150)
        lists = [member.worker.times(ListLeases) for member in life.members]
        life.pass_time(100)
        assert lists == [member.worker.times(ListLeases) for member in life.members]
        assert life.counts() == [2, 2, 2]

    @pytest.mark.parametrize("version", ["CLIENT_VERSION_4X", "CLIENT_VERSION_INIT"])
    def test_a_version_that_nobody_knows_is_told(self, version: str, caplog: pytest.LogCaptureFixture) -> None:
        life = Life(1, 2, lease_assignment="auto")
        life.leases.fleet.version = version
        life.join()
        life.pass_time(10)
        (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
        assert version in warning

    def test_a_leader_that_cannot_read_the_leases_lets_another_lead(self) -> None:
        life = Life(9, 4)
        for _ in range(2):
            life.join()
        life.pass_time(60)
        old = life.leader()
        error = sp.LeaseStoreError("the network is down", retriable=True)
        old.worker.fate = lambda action: error if isinstance(action, SurveyFleet) else None
        life.pass_time(60)
        assert life.leader() is not old

    def test_one_that_ends_takes_its_report_along(self) -> None:
        life = Life(10, 4)
        for _ in range(2):
            life.join()
        life.pass_time(60)
        leads = life.leader()
        life.leave(leads)
        life.pass_time(8)  # some calls one after the other, of up to 1.5 s each, and less than the failover time
        assert leads not in life.members
        assert leads.worker.name not in life.leases.fleet.reports
        assert life.leases.fleet.holder is None or life.leases.fleet.holder.owner != leads.worker.name


class TestLeading:
    """Whom a leader reckons with."""

    FREE = tuple(Candidate(Lease(f"{number}"), 0.0, True, False) for number in range(6))

    def given(self, leading: Leading, now: float, **updated: float) -> dict[str, int]:
        """How many leases each worker is given, when these have reported at these seconds of the leader's clock."""
        reports = [WorkerStats(name, int(START + at)) for name, at in updated.items()]
        return Counter(one.worker for one in leading.round(self.FREE, reports, now).assignments)

    def leading(self) -> Leading:
        config = ConsumerConfig(fleet=FleetConfig(strategy="lease_count_based", reporting_interval=30))
        leading = Leading("leads", config, Random(0), START)
        leading.begin()
        return leading

    def test_who_reports_no_more_is_given_nothing(self) -> None:
        leading = self.leading()
        assert self.given(leading, 1.0, leads=0.0, idle=0.0) == {"leads": 3, "idle": 3}
        assert self.given(leading, 59.0, leads=30.0, idle=0.0) == {"leads": 3, "idle": 3}
        assert self.given(leading, 62.0, leads=60.0, idle=0.0) == {"leads": 6}
        assert self.given(leading, 70.0, leads=60.0, idle=69.0) == {"leads": 3, "idle": 3}

    def test_who_lets_go_of_its_leases_is_given_nothing_until_it_reports_again(self) -> None:
        """A worker of the KCL that ends leaves its report behind, and would have the fewest leases of all."""
        leading = self.leading()

        def given(now: float, java: float, owners: tuple[str | None, ...]) -> dict[str, int]:
            leases = [
                Candidate(Lease(f"{number}", owner), 0.0, owner is None, False) for number, owner in enumerate(owners)
            ]
            reports = [WorkerStats(name, int(START + at)) for name, at in (("leads", now), ("java", java), ("b", now))]
            return Counter(one.worker for one in leading.round(leases, reports, now).assignments)

        assert given(0.0, 0.0, ("java", "java", "leads", "leads", "b", "b")) == {}
        assert given(10.0, 0.0, (None, None, "leads", "leads", "b", "b")) == {"b": 1, "leads": 1}
        assert given(20.0, 0.0, (None, None, "leads", "leads", "b", "b")) == {"b": 1, "leads": 1}
        assert given(31.0, 31.0, (None, None, "leads", "leads", "b", "b")) == {"java": 2}  # it had not ended
        assert given(32.0, 31.0, ("java", "java", "leads", "leads", "b", "b")) == {}

    def test_who_had_reported_no_more_when_the_leader_began_is_given_nothing_either(self) -> None:
        leading = self.leading()
        assert self.given(leading, 100.0, leads=99.0, gone=30.0, idle=50.0) == {"leads": 3, "idle": 3}


def test_a_child_is_begun_once_its_parents_are_done() -> None:
    """A KCL that leads assigns children before that; they are left alone until then."""
    stream = Stream(2)
    leases = LedLeases(stream.clock.now)
    stream.leases = leases
    leases.fleet.version = "CLIENT_VERSION_3X"
    leases.create(Lease("old"))
    worker = stream.worker("me")
    leases.fleet.holders[False] = LeaderLock("java", "1", 1e9)
    worker.run(5)
    leases.create(Lease("young", parents=("gone", "old")))
    (young,) = (lease for lease in leases.list() if lease.key == "young")
    assert leases.take(young, "me")
    worker.run(20)
    assert not worker.held
    (old,) = (lease for lease in leases.list() if lease.key == "old")
    taken = leases.take(old, "java")
    assert taken is not None
    leases.checkpoint(taken, sp.Position.SHARD_END)
    worker.run(5)
    assert worker.held == {"young"}


@pytest.mark.parametrize("found", [0, 2], ids=["not found yet", "found"])
def test_a_worker_that_ends_gives_back_what_it_was_given_and_cannot_read(found: float) -> None:
    """Be it a lease that it could not have begun yet, or a finished one that waits to be deleted."""
    stream = Stream(2)
    leases = LedLeases(stream.clock.now)
    stream.leases = leases
    leases.fleet.version = "CLIENT_VERSION_3X"
    leases.fleet.holders[False] = LeaderLock("java", "1", 1e9)
    for lease in (Lease("old"), Lease("young", parents=("old",)), Lease("done", checkpoint=sp.Position.SHARD_END)):
        leases.create(lease)
    worker = stream.worker("me")
    worker.run(5.5)  # between two looks for what it was given
    for lease in leases.list():
        assert lease.owner is None
        leases.take(lease, "java" if lease.key == "old" else "me")
    worker.run(found)
    worker.engine.close()
    worker.run(3)
    assert worker.engine.is_closed
    assert {lease.key: lease.owner for lease in leases.list()} == {"old": "java", "young": None, "done": None}


def test_a_worker_that_ends_looks_as_soon_as_the_leader_knows_though_its_next_look_is_far_off() -> None:
    stream = Stream(2)
    leases = LedLeases(stream.clock.now)
    stream.leases = leases
    leases.fleet.version = "CLIENT_VERSION_3X"
    leases.fleet.holders[False] = LeaderLock("java", "1", 1e9)
    leases.create(Lease("given"))
    worker = stream.worker("me", lease_discovery_interval=60)
    worker.run(5)
    (lease,) = leases.list()
    leases.take(lease, "me")
    worker.engine.close()
    worker.run(3)
    assert worker.engine.is_closed
    assert [lease.owner for lease in leases.list()] == [None]


def test_what_a_worker_knows_of_leases_does_not_grow_with_the_shards_that_ever_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A consumer may live for months."""
    made: list[Parents] = []
    begin = Parents.__init__

    def remembered(parents: Parents, *arguments: Any) -> None:
        made.append(parents)
        begin(parents, *arguments)

    monkeypatch.setattr(Parents, "__init__", remembered)
    life = Life(3, shards=4)
    for _ in range(3):
        life.join()
    life.pass_time(60)
    known = list[int]()
    for _ in range(24):
        life.reshard()
        life.put(6)
        life.pass_time(45, 1.0)
        known.append(max(len(of) for one in made for of in vars(one).values() if isinstance(of, dict | set)))
    assert len(made) == 3
    assert max(known) > 0
    assert max(known) <= max(len(life.stream.leases.list()), 12)
