"""The consumer's rules one by one: which leases it takes, what it reads when, how a shard ends, what it writes."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import old_botocore
import pytest
from consumer_bench import START, STREAM, Stream, Worker, shard

import shardpack as sp
from shardpack.consumer import ConsumerConfig, Lease, Leases
from shardpack.consumer.core.actions import (
    Action,
    AskForLease,
    Checkpoint,
    CreateLease,
    DeleteLease,
    GetLease,
    GetRecords,
    GetShardIterator,
    ListLeases,
    ListShards,
    ReleaseLease,
    RenewLease,
    TakeBack,
    TakeLease,
)
from shardpack.consumer.core.periodic import Periodic
from shardpack.consumer.core.shards import ListedShard, leases_to_create
from shardpack.consumer.start import Start
from shardpack.leases.balance import LeaseView
from shardpack.leases.lease import HandsOver
from shardpack.limits import MAX_HASH_KEY
from shardpack.testing import FakeKinesis

TOP = MAX_HASH_KEY
FAILOVER = ConsumerConfig().failover_time
THROTTLED = "ProvisionedThroughputExceededException"


class CodedError(Exception):
    """As botocore raises it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": code}}


def outage() -> sp.LeaseStoreError:
    return sp.LeaseStoreError("outage", retriable=True)


def owned(stream: Stream, counts: dict[str, int]) -> None:
    """Leases of all shards, some of which other workers hold."""
    for one in stream.kinesis.list_shards(**STREAM)["Shards"]:
        stream.leases.create(Lease(one["ShardId"]))
    keys = iter(range(sum(counts.values())))
    for owner, count in counts.items():
        for _ in range(count):
            assert stream.leases.take(Lease(shard(next(keys))), owner)


def renew_all(stream: Stream, owner: str) -> None:
    for lease in stream.leases.list():
        if (lease.checkpoint_owner or lease.owner) == owner:
            stream.leases.renew(lease)


def run_beside(worker: Worker, others: list[str], seconds: float) -> None:
    """Let time pass while other workers keep their leases."""
    for _ in range(int(seconds)):
        for other in others:
            renew_all(worker.stream, other)
        worker.run(1.0)


class TestTaking:
    def test_one_worker_takes_all(self) -> None:
        worker = Stream(5).worker()
        worker.run()
        assert worker.held == {shard(n) for n in range(5)}

    def test_no_more_than_the_most(self) -> None:
        worker = Stream(5).worker(max_leases_for_worker=2)
        worker.run(100)
        assert len(worker.held) == 2

    def test_two_workers_come_to_hold_as_much_as_each_other(self) -> None:
        stream = Stream(6)
        first, second = stream.worker("first"), stream.worker("second")
        first.run()
        for _ in range(80):
            second.run(0.5)
            first.run(0.5)
        assert len(first.held) == len(second.held) == 3
        assert first.held.isdisjoint(second.held)

    def test_it_asks_for_one_so_that_it_is_seen_and_then_for_its_share(self) -> None:
        stream = Stream(8)
        owned(stream, {"much": 6, "little": 2})
        worker = stream.worker()
        run_beside(worker, ["much", "little"], FAILOVER + 2)
        assert [lease.owner for lease in stream.leases.list()].count("me") == 1
        run_beside(worker, ["much", "little"], FAILOVER + 2)
        owners = [lease.owner for lease in stream.leases.list()]
        assert [owners.count(owner) for owner in ("me", "much", "little")] == [2, 4, 2]  # the next is for "little"
        assert {lease.checkpoint_owner for lease in stream.leases.list() if lease.owner == "me"} == {"much"}
        assert not worker.held

    def test_it_asks_for_no_lease_that_its_holder_has_just_got(self) -> None:
        stream = Stream(4)
        owned(stream, {"other": 4})
        worker = stream.worker()
        run_beside(worker, ["other"], FAILOVER - 2)
        for lease in stream.leases.list():
            assert stream.leases.take(lease, "another")
        run_beside(worker, ["another"], FAILOVER)
        assert not worker.times(AskForLease)
        run_beside(worker, ["another"], FAILOVER + 2)
        assert worker.times(AskForLease)

    def until_it_asks(self, worker: Worker) -> AskForLease:
        for _ in range(4 * int(FAILOVER)):
            run_beside(worker, ["other"], 1)
            for action in (*worker.held_back, *(action for _, action in worker.calls)):
                if isinstance(action, AskForLease):
                    return action
        raise AssertionError("it does not ask")

    def test_what_it_takes_from_a_store_that_cannot_hand_over_is_read_at_once(self) -> None:
        stream = Stream(2)
        store = stream.leases
        names = ("list", "create", "take", "renew", "checkpoint", "release", "delete")
        stream.leases = cast("Leases", SimpleNamespace(**{name: getattr(store, name) for name in names}))
        owned(stream, {"other": 2})
        worker = stream.worker()
        asked = self.until_it_asks(worker)
        assert worker.held == {asked.lease.key}

    def test_what_ends_while_it_is_asked_for_is_looked_at_no_more(self) -> None:
        stream = Stream(2)
        owned(stream, {"other": 2})
        worker = stream.worker()
        worker.holds_back = lambda action: isinstance(action, AskForLease)
        asked = self.until_it_asks(worker)
        (lease,) = (lease for lease in stream.leases.list() if lease.key == asked.lease.key)
        stream.leases.checkpoint(lease, sp.Position.SHARD_END, children=("a", "b"))
        worker.holds_back = lambda _: False
        worker.release()
        run_beside(worker, ["other"], 3)
        looks = len(worker.times(GetLease))
        run_beside(worker, ["other"], 5)
        assert len(worker.times(GetLease)) == looks == 1
        worker.engine.close()
        worker.run()
        assert worker.engine.is_closed

    def test_it_asks_for_no_more_at_a_time_than_it_may(self) -> None:
        stream = Stream(8)
        owned(stream, {"other": 8})
        worker = stream.worker(max_leases_to_steal_at_one_time=1)
        run_beside(worker, ["other"], 2 * FAILOVER + 2)
        assert len(worker.times(AskForLease)) == 2

    def test_without_a_time_for_it_leases_are_taken_and_not_asked_for(self) -> None:
        stream = Stream(8)
        owned(stream, {"other": 8})
        worker = stream.worker(graceful_lease_handoff_timeout=0)
        run_beside(worker, ["other"], 2 * FAILOVER + 2)
        assert len(worker.held) == 4
        assert not worker.times(AskForLease)

    def test_a_difference_of_one_is_left_alone(self) -> None:
        stream = Stream(3)
        owned(stream, {"other": 2})
        worker = stream.worker()
        run_beside(worker, ["other"], 60)
        assert len(worker.held) == 1
        assert len(worker.times(TakeLease)) == 1
        assert not worker.times(AskForLease)

    def test_it_steals_one_of_several_equal_shares_if_it_lacks_more_than_one(self) -> None:
        stream = Stream(6)
        owned(stream, {"a": 3, "b": 3})  # of 6 for 3 workers, 2 are this one's
        worker = stream.worker()
        run_beside(worker, ["a", "b"], 100)
        assert len(worker.held) == 2

    def test_a_lease_expires_when_its_counter_stands_still_for_longer_than_the_failover_time(self) -> None:
        stream = Stream(1)
        owned(stream, {"dead": 1})
        worker = stream.worker()
        worker.run(FAILOVER - 0.1)
        assert not worker.times(TakeLease)
        worker.run(2 * FAILOVER)
        (taken,) = worker.times(TakeLease)
        assert FAILOVER < taken <= 2 * FAILOVER + 1

    def test_a_lease_whose_counter_moves_does_not_expire(self) -> None:
        stream = Stream(1)
        owned(stream, {"alive": 1})
        worker = stream.worker()
        run_beside(worker, ["alive"], 100)
        assert not worker.held

    def test_abandoned_leases_are_taken_beyond_the_share(self) -> None:
        stream = Stream(4)
        owned(stream, {"alive": 1, "dead": 3})
        worker = stream.worker(max_leases_for_worker=3)
        run_beside(worker, ["alive"], 25)
        assert len(worker.held) == 2  # its share
        run_beside(worker, ["alive"], 30)
        assert len(worker.held) == 3

    def test_abandoned_leases_are_taken_first(self) -> None:
        view = LeaseView("me", ConsumerConfig(max_leases_for_worker=1), Random(0))
        leases = [Lease(f"free-{n}") for n in range(20)]
        abandoned = Lease("abandoned", owner="dead")
        view.observe([abandoned], 0.0)
        view.observe([*leases, abandoned], 3.5 * FAILOVER)
        assert view.moves((), 3.5 * FAILOVER).take == [abandoned]

    def test_leases_that_are_gone_count_no_more(self) -> None:
        view = LeaseView("me", ConsumerConfig(), Random(0))
        view.observe([Lease("a", owner="other"), Lease("b", owner="other")], 0.0)
        assert len(view.moves((), FAILOVER).ask_for) == 1
        view.observe([Lease("a", owner="other")], FAILOVER)
        assert view.moves((), FAILOVER).ask_for == []

    def test_its_own_leases_from_before_a_restart_are_free(self) -> None:
        stream = Stream(2)
        owned(stream, {"me": 2})
        worker = stream.worker()
        worker.run()
        assert len(worker.held) == 2

    def test_a_free_lease_is_taken_without_stealing(self) -> None:
        stream = Stream(4)
        owned(stream, {"other": 3})
        worker = stream.worker()
        worker.run()
        assert worker.held == {shard(3)}

    def test_a_take_that_another_worker_won_is_followed_by_another_look(self) -> None:
        stream = Stream(1)
        worker = stream.worker()
        worker.holds_back = lambda action: isinstance(action, TakeLease)
        worker.run()
        assert stream.leases.take(stream.lease(), "faster")
        worker.release()
        assert not worker.held
        worker.run(2)
        assert len(worker.times(ListLeases)) >= 3

    def test_a_failed_take_is_tried_again_in_about_a_second(self) -> None:
        worker = Stream(1).worker()
        worker.fate = lambda action: outage() if isinstance(action, TakeLease) else None
        worker.run(10)
        assert 5 <= len(worker.times(TakeLease)) <= 12
        assert worker.engine.fatal is None

    def test_a_failed_creation_is_tried_again_in_about_a_second(self) -> None:
        worker = Stream(1).worker()
        worker.fate = lambda action: outage() if isinstance(action, CreateLease) else None
        worker.run(10)
        assert 5 <= len(worker.times(CreateLease)) <= 12

    def test_an_outage_that_goes_on_is_warned_of_and_one_that_does_not_is_not(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        worker = Stream(1).worker()
        worker.fate = lambda action: outage() if isinstance(action, TakeLease) else None
        while len(worker.times(TakeLease)) < 4:
            worker.run(0.5)
        assert not [one for one in caplog.records if one.levelname == "WARNING"]
        while len(worker.times(TakeLease)) < 5:
            worker.run(0.5)
        (warning,) = (one.getMessage() for one in caplog.records if one.levelname == "WARNING")
        assert warning.startswith("s: TakeLease failed")
        assert warning.endswith("outage")

    def test_a_permanent_failure_of_the_store_is_fatal(self) -> None:
        worker = Stream(1).worker()
        error = sp.LeaseStoreError("denied", retriable=False)
        worker.fate = lambda action: error if isinstance(action, ListLeases) else None
        worker.run(1)
        assert worker.engine.fatal is error


class TestHolding:
    def test_leases_are_renewed_three_times_as_often_as_they_expire(self) -> None:
        worker = Stream(1).worker()
        worker.run(101)
        assert 28 <= len(worker.times(RenewLease)) <= 31

    def test_after_a_nap_nothing_is_given_until_the_lease_is_renewed(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        worker = stream.worker()
        worker.run()
        stream.clock.advance(FAILOVER)
        assert worker.engine.next_batch(stream.now) is None
        worker.holds_back = lambda action: isinstance(action, RenewLease)
        reads = len(worker.times(GetRecords))
        worker.run()
        assert len(worker.times(GetRecords)) == reads
        worker.holds_back = lambda _: False
        worker.release()
        assert worker.batch() is not None

    def test_after_a_nap_a_lease_that_was_taken_is_lost(self) -> None:
        stream = Stream(1)
        stream.put(b"a", b"b")
        worker = stream.worker(batch_max_records=1)
        worker.run()
        delivered = worker.batch(done=False)
        assert delivered
        stream.clock.advance(60)
        assert stream.leases.take(stream.lease(), "other")
        assert delivered.hold.delivered
        worker.engine.checkpoint(delivered.hold, delivered.hold.delivered, "token")
        worker.run()
        assert isinstance(worker.finished["token"], sp.LeaseLostError)
        assert not worker.held
        with pytest.raises(sp.LeaseLostError, match="another worker"):
            worker.engine.checkpoint(delivered.hold, delivered.hold.delivered, "again")

    def test_after_a_loss_it_looks_for_another_lease(self) -> None:
        stream = Stream(1)
        worker = stream.worker()
        worker.run(1)
        assert stream.leases.take(stream.lease(), "other")
        worker.run(FAILOVER / 3 + 1)
        assert not worker.held
        assert worker.times(ListLeases)[-1] > FAILOVER / 3

    def test_outages_are_waited_out_and_the_checkpoint_is_written_after_them(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        worker = stream.worker()
        worker.run()
        worker.fate = lambda action: outage() if isinstance(action, Checkpoint) else None
        delivered = worker.batch()
        assert delivered
        assert delivered.hold.delivered
        worker.engine.checkpoint(delivered.hold, delivered.hold.delivered, "token")
        worker.run(5)
        assert "token" not in worker.finished
        assert 2 <= len(worker.times(Checkpoint)) <= 30
        worker.fate = lambda _: None
        worker.run(6)
        assert worker.finished["token"] is None
        assert stream.lease().checkpoint == delivered.hold.delivered

    def test_a_refused_checkpoint_says_why(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        worker = stream.worker()
        worker.run()
        error = sp.LeaseStoreError("denied", retriable=False)
        worker.fate = lambda action: error if isinstance(action, Checkpoint) else None
        delivered = worker.batch()
        assert delivered
        assert delivered.hold.delivered
        worker.engine.checkpoint(delivered.hold, delivered.hold.delivered, "token")
        worker.run()
        assert worker.finished["token"] is error
        assert worker.engine.fatal is error

    def test_several_checkpoints_become_one_write_and_all_are_told(self) -> None:
        stream = Stream(1)
        stream.put(b"a", b"b", b"c")
        worker = stream.worker()
        worker.run()
        delivered = worker.batch()
        assert delivered
        for token, record in enumerate(delivered.records):
            assert record.position
            worker.engine.checkpoint(delivered.hold, record.position, token)
        worker.run()
        assert worker.finished == {0: None, 1: None, 2: None}
        assert len(worker.times(Checkpoint)) == 1
        worker.engine.checkpoint(delivered.hold, stream.lease().checkpoint, "same")
        worker.run()
        assert worker.finished["same"] is None
        assert len(worker.times(Checkpoint)) == 1

    def test_an_earlier_checkpoint_that_failed_does_not_replace_a_later_one(self) -> None:
        stream = Stream(1)
        stream.put(b"a", b"b")
        worker = stream.worker()
        worker.run()
        delivered = worker.batch()
        assert delivered
        first, second = (record.position for record in delivered.records)
        assert first
        assert second
        worker.holds_back = lambda action: isinstance(action, Checkpoint)
        worker.engine.checkpoint(delivered.hold, first, "first")
        worker.run()
        worker.engine.checkpoint(delivered.hold, second, "second")
        worker.fate = lambda _: outage()
        worker.release()
        worker.holds_back = lambda _: False
        worker.fate = lambda _: None
        worker.run(1)
        assert worker.finished == {"first": None, "second": None}
        assert stream.lease().checkpoint == second

    def test_checkpoints_only_move_on_and_not_beyond_what_was_delivered(self) -> None:
        stream = Stream(1)
        stream.put(b"a", b"b", b"c")
        worker = stream.worker(batch_max_records=2)
        worker.run()
        delivered = worker.batch()
        assert delivered
        first, second = (record.position for record in delivered.records)
        assert first
        assert second
        with pytest.raises(sp.CheckpointError, match="lies after"):
            worker.engine.checkpoint(delivered.hold, sp.Position(second.sequence_number, 1), None)
        worker.engine.checkpoint(delivered.hold, second, None)
        with pytest.raises(sp.CheckpointError, match="lies before"):
            worker.engine.checkpoint(delivered.hold, first, None)

    def test_a_shard_that_is_lost_and_taken_again_waits_for_the_batch_in_hand(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        worker = stream.worker()
        worker.run()
        delivered = worker.batch(done=False)
        assert delivered
        worker.fate = lambda action: False if isinstance(action, ReleaseLease) else None
        other = stream.leases.take(stream.lease(), "other")
        assert other
        stream.leases.release(other)
        worker.run(2 * FAILOVER)
        assert worker.held == {shard(0)}
        assert delivered.hold not in worker.engine.holds
        assert worker.batch() is None
        worker.engine.done(delivered.hold)
        again = worker.batch()
        assert again
        assert [record.data for record in again.records] == [b"a"]


class TestHandOver:
    """Another worker, or the KCL 3.x, asks for a lease, while this one may still finish and checkpoint."""

    def hand_over(self, stream: Stream) -> None:
        assert isinstance(stream.leases, HandsOver)
        assert stream.leases.ask_for(stream.lease(), "java")

    def test_the_batch_in_hand_is_checkpointed_and_the_lease_released(self) -> None:
        stream = Stream(1)
        stream.put(b"a", b"b")
        worker = stream.worker(batch_max_records=1)
        worker.run()
        delivered = worker.batch(done=False)
        assert delivered
        self.hand_over(stream)
        assert delivered.hold.delivered
        worker.engine.checkpoint(delivered.hold, delivered.hold.delivered, "token")
        worker.run()
        assert worker.finished["token"] is None
        assert stream.lease().checkpoint_owner == "me"
        assert worker.engine.next_batch(stream.now) is None
        worker.engine.done(delivered.hold)
        worker.run()
        assert not worker.held
        assert (stream.lease().owner, stream.lease().checkpoint_owner) == ("java", None)
        assert stream.lease().checkpoint == delivered.hold.delivered

    def test_a_renewal_finds_it_and_the_batch_in_hand_may_take_its_time(self) -> None:
        stream = Stream(1)
        stream.put(b"a", b"b")
        worker = stream.worker(batch_max_records=1)
        worker.run()
        delivered = worker.batch(done=False)
        assert delivered
        self.hand_over(stream)
        counter = stream.lease().counter
        worker.run(3 * FAILOVER)
        assert worker.held == {shard(0)}
        assert stream.lease().counter > counter + 5  # so that nobody takes it for dead
        assert stream.lease().checkpoint_owner == "me"
        assert delivered.hold.delivered
        worker.engine.checkpoint(delivered.hold, delivered.hold.delivered, "token")
        worker.engine.done(delivered.hold)
        worker.run()
        assert worker.finished["token"] is None
        assert (stream.lease().owner, stream.lease().checkpoint_owner) == ("java", None)
        assert stream.lease().checkpoint == delivered.hold.delivered
        renew_all(stream, "java")
        worker.run(FAILOVER)
        assert not worker.held

    def test_after_the_time_for_it_the_lease_moves_though_a_batch_is_in_hand(self) -> None:
        stream = Stream(1)
        stream.put(b"a", b"b")
        worker = stream.worker(batch_max_records=1, graceful_lease_handoff_timeout=15)
        worker.run()
        delivered = worker.batch(done=False)
        assert delivered
        assert delivered.hold.delivered
        self.hand_over(stream)
        worker.run(15)
        assert worker.held
        worker.run(5)
        assert not worker.held
        assert (stream.lease().owner, stream.lease().checkpoint_owner) == ("java", None)
        with pytest.raises(sp.LeaseLostError):
            worker.engine.checkpoint(delivered.hold, delivered.hold.delivered, "token")

    def test_the_shell_is_woken_when_that_time_is_over(self) -> None:
        stream = Stream(1)
        stream.put(b"a", b"b")
        worker = stream.worker(batch_max_records=1, graceful_lease_handoff_timeout=14)  # no multiple of the renewals'
        worker.run()
        delivered = worker.batch(done=False)
        assert delivered
        self.hand_over(stream)
        worker.run(FAILOVER / 3 + 0.1)
        seen = worker.times(RenewLease)[-1]
        worker.run(seen + 14 - stream.now - 0.1)
        assert worker.held
        assert delivered.hold.deadline(stream.now, closing=False, leaving=False) == pytest.approx(seen + 14)
        worker.run(0.2)
        assert not worker.held

    def test_an_application_that_has_not_checkpointed_is_told_and_may(self) -> None:
        stream = Stream(1)
        stream.put(b"a", b"b")
        worker = stream.worker()
        worker.run()
        assert worker.batch()
        self.hand_over(stream)
        worker.run(FAILOVER / 3 + 0.1)
        assert worker.held
        told = worker.batch(done=False)
        assert told
        assert (told.records, told.shutdown_requested, told.is_shard_end) == ([], True, False)
        assert told.hold.delivered
        worker.engine.checkpoint(told.hold, told.hold.delivered, "token")
        worker.engine.done(told.hold)
        worker.run()
        assert worker.finished["token"] is None
        assert worker.engine.next_batch(stream.now) is None
        assert (stream.lease().owner, stream.lease().checkpoint_owner) == ("java", None)
        assert stream.lease().checkpoint == told.hold.delivered

    def test_nothing_more_is_read_for_another_worker(self) -> None:
        stream = Stream(1)
        worker = stream.worker()
        worker.run()
        delivered = None
        stream.put(b"a")
        worker.run(1)
        delivered = worker.batch(done=False)
        assert delivered
        self.hand_over(stream)
        worker.run(FAILOVER / 3 + 0.1)
        reads = len(worker.times(GetRecords))
        worker.run(10)
        assert len(worker.times(GetRecords)) == reads

    def test_a_shard_at_rest_is_given_over_at_the_next_renewal(self) -> None:
        stream = Stream(1)
        worker = stream.worker()
        worker.run()
        self.hand_over(stream)
        worker.run(FAILOVER / 3 + 0.1)
        assert not worker.held
        assert (stream.lease().owner, stream.lease().checkpoint_owner) == ("java", None)
        assert stream.lease().checkpoint == sp.Position.TRIM_HORIZON

    @pytest.mark.parametrize("owner", ["me", "other"])
    def test_a_lease_that_is_being_handed_over_is_left_alone(self, owner: str) -> None:
        stream = Stream(2)
        for number in range(2):
            stream.leases.create(Lease(shard(number), owner=owner, checkpoint_owner="java"))
        worker = stream.worker()
        run_beside(worker, ["java"], 35)
        assert not worker.held

    def test_a_lease_that_its_holder_does_not_let_go_is_taken_in_the_end(self) -> None:
        stream = Stream(2)
        owned(stream, {"deaf": 2})
        worker = stream.worker(graceful_lease_handoff_timeout=15)
        run_beside(worker, ["deaf"], 2 * FAILOVER + 12)
        assert worker.times(AskForLease)
        assert not worker.held
        run_beside(worker, ["deaf"], 2 * FAILOVER)
        assert len(worker.held) == 1

    def test_a_lease_that_was_handed_to_it_is_taken(self) -> None:
        stream = Stream(1)
        stream.leases.create(Lease(shard(0), owner="me", checkpoint_owner="java"))
        worker = stream.worker()
        worker.run()
        assert not worker.held
        assert stream.leases.release(stream.lease())
        worker.run(FAILOVER + 1)
        assert worker.held == {shard(0)}


class TestStarts:
    def test_trim_horizon(self) -> None:
        stream = Stream(2)
        stream.put(b"old")
        assert stream.worker().read(5) == [b"old"]

    def test_latest(self) -> None:
        stream = Stream(1)
        stream.put(b"old")
        worker = stream.worker(start="LATEST")
        worker.run(2)
        stream.put(b"new")
        assert worker.read(5) == [b"new"]

    @pytest.mark.parametrize("how", ["failover", "theft"])
    def test_latest_holds_from_when_the_shard_was_begun_though_nothing_was_checkpointed(self, how: str) -> None:
        stream = Stream(1)
        stream.put(b"old")
        stream.clock.advance(400)  # more than clocks may differ
        first = stream.worker("first", start="LATEST")
        first.run(1)
        second = stream.worker("second", start="LATEST")
        second.run(1)
        stream.put(b"new")
        assert first.read(5, checkpoint=False) == [b"new"]
        if how == "theft":
            (lease,) = stream.leases.list()
            assert stream.leases.take(lease, "second")
        assert second.read(FAILOVER * 2) == [b"new"]

    def test_timestamp(self) -> None:
        stream = Stream(1)
        stream.put(b"old")
        stream.clock.advance(100)
        stream.put(b"new")
        assert stream.worker(start=datetime.fromtimestamp(START + 50, UTC)).read(5) == [b"new"]

    @pytest.mark.parametrize(("kind", "expected"), [("AT", [b"b", b"c"]), ("AFTER", [b"c"])])
    def test_sequence_numbers(self, kind: str, expected: list[bytes]) -> None:
        stream = Stream(2)
        stream.put(b"a", b"b", b"c")
        stream.put(b"elsewhere", hash_key=TOP)
        number = stream.kinesis.records(shard(0))[1]["SequenceNumber"]
        start_at = {shard(0): (f"{kind}_SEQUENCE_NUMBER", number)}
        assert stream.worker(start="LATEST", start_at=start_at).read(5) == expected

    def test_a_start_in_an_unknown_shard_is_fatal(self) -> None:
        worker = Stream(1).worker(start_at={shard(7): ("AT_SEQUENCE_NUMBER", "1")})
        worker.run(1)
        assert isinstance(worker.engine.fatal, ValueError)
        assert shard(0) in str(worker.engine.fatal)

    def test_what_a_named_shard_became_is_read_from_its_beginning_and_what_it_came_from_not_at_all(self) -> None:
        stream = Stream(1)
        stream.put(b"grandparent")
        stream.kinesis.autoscale(shard(0))
        stream.put(b"a", b"b")
        stream.put(b"sibling", hash_key=TOP)
        number = stream.kinesis.records(shard(1))[1]["SequenceNumber"]
        stream.kinesis.autoscale(shard(1))
        stream.put(b"c")
        worker = stream.worker(start="LATEST", start_at={shard(1): ("AT_SEQUENCE_NUMBER", number)})
        assert worker.read(10) == [b"b", b"c"]

    @pytest.mark.parametrize("when", ["before the leases", "before the iterator", "before the first read"])
    def test_with_latest_nothing_is_missed_when_a_shard_splits_meanwhile(self, when: str) -> None:
        stream = Stream(1)
        worker = stream.worker(start="LATEST")
        kinds = {
            "before the leases": CreateLease,
            "before the iterator": GetShardIterator,
            "before the first read": GetRecords,
        }
        worker.holds_back = lambda action: isinstance(action, kinds[when])
        worker.run()
        stream.kinesis.autoscale(shard(0))
        stream.put(b"new", hash_key=TOP)
        worker.holds_back = lambda _: False
        worker.release()
        assert worker.read(100) == [b"new"]

    def test_an_unused_iterator_at_the_latest_that_expires_does_not_become_later(self) -> None:
        stream = Stream(1)
        worker = stream.worker(start="LATEST")
        worker.holds_back = lambda action: isinstance(action, GetRecords)
        worker.run()
        stream.put(b"new")
        stream.clock.advance(400)
        worker.holds_back = lambda _: False
        worker.release()
        assert worker.read(20) == [b"new"]
        last = [action for _, action in worker.calls if isinstance(action, GetShardIterator)][-1]
        # Earlier than this clock says, because the service's may be slow.
        assert last.arguments == {
            "ShardIteratorType": "AT_TIMESTAMP",
            "Timestamp": datetime.fromtimestamp(START - 300, UTC),
        }

    def test_a_child_is_read_from_its_beginning_though_its_lease_says_latest(self) -> None:
        stream = Stream(1)
        stream.kinesis.autoscale(shard(0))
        stream.leases.create(Lease(shard(0), checkpoint=sp.Position.LATEST))  # by who had listed before the split
        for number in (1, 2):
            stream.leases.create(Lease(shard(number), checkpoint=sp.Position.LATEST, parents=(shard(0),)))
        stream.put(b"new")
        assert stream.worker(start="LATEST").read(20) == [b"new"]

    def test_leases_whose_creation_was_interrupted_are_completed(self) -> None:
        stream = Stream(3)
        worker = stream.worker()
        created: list[Action] = []

        def only_one(action: Action) -> Any:
            if isinstance(action, CreateLease):
                created.append(action)
                return outage() if len(created) > 1 else None
            return None

        worker.fate = only_one
        worker.run()
        assert len(stream.leases.list()) == 1
        for number, key in enumerate((0, TOP // 2, TOP)):
            stream.put(b"%d" % number, hash_key=key)
        assert sorted(stream.worker("next").read(40)) == [b"0", b"1", b"2"]

    def test_leases_of_parents_come_before_those_of_children(self) -> None:
        stream = Stream(1)
        stream.kinesis.autoscale(shard(0))
        worker = stream.worker()
        worker.holds_back = lambda action: isinstance(action, CreateLease)
        worker.run()
        assert [action.lease.key for action in worker.held_back if isinstance(action, CreateLease)] == [shard(0)]

    def test_later_a_shard_without_a_lease_is_new_or_over(self) -> None:
        shards = {
            key: ListedShard(key, parents, (0, 1), is_open)
            for key, parents, is_open in [
                ("over", (), False),
                ("child", ("over",), False),
                ("new", ("child",), True),
                ("other", (), True),
            ]
        }
        leases = {"child": Lease("child", checkpoint=sp.Position("5"), parents=("over",))}
        found = leases_to_create(shards, leases, Start.of("LATEST", None))
        assert {lease.key: lease.checkpoint for lease in found} == {
            "new": sp.Position.TRIM_HORIZON,
            "other": sp.Position.TRIM_HORIZON,
        }


class TestReading:
    @pytest.mark.parametrize("done", range(5))
    @pytest.mark.parametrize("max_records", [1, 10_000])
    def test_it_resumes_inside_an_aggregate(self, done: int, max_records: int) -> None:
        stream = Stream(1)
        stream.put_aggregate(b"a", b"b", b"c")
        stream.put_aggregate(b"d", b"e")
        first = stream.worker("first", batch_max_records=1)
        first.run()
        for _ in range(done):
            first.batch(checkpoint=True)
        first.engine.close()
        first.run()
        assert stream.worker(max_records=max_records).read(5) == [b"a", b"b", b"c", b"d", b"e"][done:]

    @pytest.mark.parametrize("done", range(1, 4))
    def test_an_iterator_that_expires_before_the_first_read_skips_nothing(self, done: int) -> None:
        stream = Stream(1)
        stream.put_aggregate(b"a", b"b", b"c", b"d")
        first = stream.worker("first", batch_max_records=done)
        first.run()
        first.batch(checkpoint=True)
        first.engine.close()
        first.run()
        worker = stream.worker()
        worker.holds_back = lambda action: isinstance(action, GetRecords)
        worker.run()
        stream.clock.advance(301)
        worker.holds_back = lambda _: False
        worker.release()
        assert worker.read(20) == [b"a", b"b", b"c", b"d"][done:]

    def test_an_iterator_that_expires_later_goes_on_after_what_was_read(self) -> None:
        stream = Stream(1)
        stream.put_aggregate(b"a", b"b")
        worker = stream.worker(batch_max_records=1)
        worker.run(1)
        worker.batch()
        stream.put_aggregate(b"c")
        stream.clock.advance(400)
        assert worker.read(20) == [b"b", b"c"]

    def test_iterators_that_expire_at_once_are_not_asked_for_in_a_hurry(self) -> None:
        worker = Stream(1).worker()
        worker.fate = lambda action: CodedError("ExpiredIteratorException") if isinstance(action, GetRecords) else None
        worker.run(10)
        assert 10 <= len(worker.times(GetRecords)) <= 51

    def test_five_calls_a_second(self) -> None:
        stream = Stream(2)
        worker = stream.worker(max_records=1)
        for n in range(100):
            stream.put(b"%d" % n)
        worker.run(5)
        times = worker.times(GetRecords, shard(0))
        assert all(later - earlier >= 0.2 for earlier, later in pairwise(times))
        assert 24 <= len(times) <= 26

    def test_several_applications_share_the_five_calls_of_a_shard(self) -> None:
        stream = Stream(1)
        stream.put(*(b"%d" % n for n in range(2000)))
        workers = []
        calls: list[tuple[float, bool]] = []

        def shard_of_five_calls(action: Action) -> Any:
            if not isinstance(action, GetRecords):
                return None
            is_refused = sum(made > stream.now - 1 for made, refused in calls if not refused) >= 5
            calls.append((stream.now, is_refused))
            return CodedError(THROTTLED) if is_refused else None

        for number in range(4):  # each has leases of its own
            worker = stream.worker(f"application-{number}", max_records=1, prefetch_max_bytes=1)
            worker.fate = shard_of_five_calls
            workers.append((worker, sp.MemoryLeases()))
        read = Counter[str]()
        for turn in range(120 * 20):
            for worker, leases in workers[turn % 4 :] + workers[: turn % 4]:
                stream.leases = leases
                worker.step()
                read[worker.name] += len(delivered.records) if (delivered := worker.batch()) is not None else 0
            stream.clock.advance(0.05)
        settled = [refused for made, refused in calls if made > 20]
        assert settled.count(True) < 0.25 * len(settled)
        assert settled.count(False) > 3 * 100, "what there is, is used"
        assert min(read.values()) > 0.3 * max(read.values()), "each gets its share"

    def test_two_mib_a_second(self) -> None:
        stream = Stream(1)
        for _ in range(40):
            stream.put(b"x" * (2**20 - 1))
        worker = stream.worker()
        assert sum(map(len, worker.read(30))) == 40 * (2**20 - 1)
        times = worker.times(GetRecords)
        full = [later - earlier for earlier, later in pairwise(times)][:4]
        assert all(4.9 <= gap <= 5.3 for gap in full)

    def test_idle_shards_are_asked_less_often(self) -> None:
        worker = Stream(1).worker(idle_time_between_reads=2.0)
        worker.run(20)
        assert 10 <= len(worker.times(GetRecords)) <= 11

    def test_a_page_without_records_before_the_end_is_not_idle(self) -> None:
        stream = Stream(1)
        worker = stream.worker(idle_time_between_reads=60)

        def empty_page(action: Action) -> Any:
            if isinstance(action, GetRecords) and len(worker.times(GetRecords)) < 4:
                response = stream.kinesis.get_records(ShardIterator=action.iterator)
                return {**response, "Records": [], "MillisBehindLatest": 5000, "NextShardIterator": action.iterator}
            return None

        worker.fate = empty_page
        stream.put(b"a")
        assert worker.read(2) == [b"a"]

    def test_throttling_is_met_by_longer_and_longer_waits_with_jitter(self) -> None:
        worker = Stream(1).worker()
        worker.fate = lambda action: CodedError(THROTTLED) if isinstance(action, GetRecords) else None
        worker.run(60)
        times = worker.times(GetRecords)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert all(0.2 <= gap <= 5.3 for gap in gaps)
        assert 12 < len(gaps) < 60
        assert len({round(gap, 6) for gap in gaps}) == len(gaps)
        assert worker.engine.fatal is None

    def test_a_shard_is_read_ahead_within_bounds(self) -> None:
        stream = Stream(1)
        for _ in range(20):
            stream.put(b"x" * 1000)
        worker = stream.worker(max_records=1, prefetch_max_bytes=5000)
        worker.run(20)
        assert len(worker.times(GetRecords)) == 5
        assert len(worker.read(10)) == 20

    def test_what_is_skipped_makes_room_at_once(self) -> None:
        stream = Stream(2)
        for _ in range(5):
            stream.put(sp.encode([("k", b"out of range", TOP)]))
        stream.put(b"near")
        worker = stream.worker(max_records=1, prefetch_max_bytes=1, out_of_range="drop_aggregate")
        worker.run(1)
        for _ in range(5):
            assert worker.engine.next_batch(stream.now) is None
            assert worker.engine.needs_poll
            worker.run(0.2)
            assert not worker.engine.needs_poll
        assert worker.batch()

    def test_each_batch_says_how_far_behind_its_own_response_was(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        stream.clock.advance(5)
        stream.put(b"b")
        worker = stream.worker(max_records=1)
        worker.run(2)
        batches = [worker.batch(), worker.batch()]
        assert [batch.millis_behind_latest for batch in batches if batch] == [5000, 0]

    @pytest.mark.skipif(old_botocore.wants("PutRecord", "PartitionKey"), reason="botocore asks for it")
    def test_records_without_a_partition_key_are_read(self) -> None:
        stream = Stream(1)
        stream.kinesis = FakeKinesis(clock=stream.clock)
        stream.kinesis.add_stream("s", 1, on_demand=True, distribution="AUTO")
        stream.kinesis.put_record(**STREAM, Data=b"a")
        assert stream.worker().read(2) == [b"a"]

    def test_a_corrupt_record_stops_its_shard_after_what_came_before(self) -> None:
        stream = Stream(2)
        good = sp.encode([("k", b"a"), ("k", b"b")])
        for blob in (good, good[:-1] + b"?", good):
            stream.put(blob)
        stream.put(b"elsewhere", hash_key=TOP)
        worker = stream.worker(on_corrupt="raise")
        worker.run(1)
        seen = []
        while (delivered := worker.batch(checkpoint=True)) is not None:
            seen.append(([record.data for record in delivered.records], type(delivered.error)))
            worker.engine.done(delivered.hold, stop=delivered.error is not None)
        nothing: list[bytes] = []
        assert ([b"a", b"b"], type(None)) in seen
        assert ([b"elsewhere"], type(None)) in seen
        assert (nothing, sp.ChecksumMismatchError) in seen
        assert len(seen) == 3
        worker.run(10)
        assert stream.lease().checkpoint.sub_sequence_number == 1
        assert shard(0) in worker.held

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [("keep", [b"in", b"out"]), ("drop_record", [b"in"]), ("drop_aggregate", []), ("raise", [])],
    )
    def test_the_hash_range_is_the_shards_own(self, policy: Any, expected: list[bytes]) -> None:
        stream = Stream(2)
        stream.put(sp.encode([("k", b"in", 1), ("k", b"out", TOP)]))
        worker = stream.worker(out_of_range=policy)
        worker.run(1)
        delivered = worker.batch()
        assert [record.data for record in delivered.records] == expected if delivered else not expected
        assert isinstance(delivered and delivered.error, sp.OutOfRangeError) == (policy == "raise")

    def test_shards_take_turns(self) -> None:
        stream = Stream(2)
        for _ in range(3):
            stream.put(b"left")
            stream.put(b"right", hash_key=TOP)
        worker = stream.worker(batch_max_records=1)
        worker.run(1)
        given = [delivered.records[0].data for _ in range(6) if (delivered := worker.batch())]
        assert all(one != other for one, other in pairwise(given))
        assert len(given) == 6

    def test_a_stopped_shard_is_read_no_further_and_its_lease_is_kept(self) -> None:
        stream = Stream(1)
        stream.put(b"a", b"b")
        worker = stream.worker(batch_max_records=1, max_records=1)
        worker.run()
        delivered = worker.batch(done=False)
        assert delivered
        worker.engine.done(delivered.hold, stop=True)
        worker.run()
        calls = len(worker.times(GetRecords))
        worker.run(60)
        assert worker.batch() is None
        assert len(worker.times(GetRecords)) == calls
        assert worker.held == {shard(0)}

    def test_when_all_it_may_have_is_stopped_nothing_more_comes(self) -> None:
        stream = Stream(2)
        stream.put(b"a")
        stream.put(b"b", hash_key=TOP)
        worker = stream.worker()
        assert not worker.engine.is_all_stopped  # nothing is held yet
        worker.holds_back = lambda action: isinstance(action, TakeLease) and action.lease.key == shard(1)
        worker.run()
        delivered = worker.batch(done=False)
        assert delivered
        worker.engine.done(delivered.hold, stop=True)
        assert not worker.engine.is_all_stopped  # the other shard is being taken
        worker.holds_back = lambda _: False
        worker.release()
        assert not worker.engine.is_all_stopped  # the other shard is read
        delivered = worker.batch(done=False)
        assert delivered
        worker.engine.done(delivered.hold, stop=True)
        assert worker.engine.is_all_stopped

    def test_a_lease_that_waits_to_be_taken_is_more_to_come(self) -> None:
        stream = Stream(2)
        stream.put(b"a")
        worker = stream.worker()
        worker.fate = lambda action: (
            outage() if isinstance(action, TakeLease) and action.lease.key == shard(1) else None
        )
        worker.run()
        delivered = worker.batch(done=False)
        assert delivered
        worker.engine.done(delivered.hold, stop=True)
        assert not worker.engine.is_all_stopped

    def test_access_denied_is_fatal(self) -> None:
        worker = Stream(1).worker()
        worker.fate = lambda action: CodedError("AccessDeniedException") if isinstance(action, GetRecords) else None
        worker.run(1)
        assert isinstance(worker.engine.fatal, CodedError)


class TestShardEnd:
    @pytest.mark.parametrize("names_children", [True, False])
    def test_children_follow_their_parent(self, names_children: bool) -> None:
        stream = Stream(1)
        stream.put(b"a")
        stream.kinesis.autoscale(shard(0))
        stream.put(b"b")
        worker = stream.worker()
        worker.fate = lambda action: self.response(stream, action, names_children=names_children)
        assert worker.read(30) == [b"a", b"b"]
        assert stream.lease(0).checkpoint == sp.Position.SHARD_END
        assert stream.lease(0).children == (shard(1), shard(2))

    def response(self, stream: Stream, action: Action, *, names_children: bool) -> Any:
        if not isinstance(action, GetRecords) or names_children:
            return None
        response = stream.kinesis.get_records(ShardIterator=action.iterator, Limit=action.limit)
        response.pop("ChildShards", None)
        return response

    def test_the_end_waits_for_the_last_checkpoint_and_is_told_once(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        worker = stream.worker()
        worker.run(1)
        delivered = worker.batch()
        assert delivered
        assert not delivered.is_shard_end
        stream.kinesis.autoscale(shard(0))
        worker.run(5)
        end = worker.batch()
        assert end
        assert end.is_shard_end
        assert not end.records
        worker.run(30)
        assert worker.batch() is None
        assert len(stream.leases.list()) == 1
        assert end.hold.delivered
        worker.engine.checkpoint(end.hold, end.hold.delivered, "token")
        worker.run(1)
        assert worker.finished["token"] is None
        assert stream.lease().checkpoint == sp.Position.SHARD_END
        assert worker.held == {shard(1), shard(2)}

    def test_a_last_batch_says_so_and_nothing_more_comes(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        stream.kinesis.autoscale(shard(0))
        worker = stream.worker()
        worker.run(1)
        delivered = worker.batch()
        assert delivered
        assert delivered.is_shard_end
        worker.run(10)
        assert worker.batch() is None

    def test_nothing_is_told_once_the_end_is_being_recorded(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        worker = stream.worker()
        worker.run(1)
        worker.batch(checkpoint=True)
        worker.holds_back = lambda action: isinstance(action, Checkpoint)
        stream.kinesis.autoscale(shard(0))
        worker.run(5)
        assert len(worker.held_back) == 1
        assert worker.batch() is None

    def test_children_wait_for_the_last_batch_of_their_parent(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        stream.kinesis.autoscale(shard(0))
        worker = stream.worker()
        worker.run(1)
        delivered = worker.batch(checkpoint=True, done=False)
        assert delivered
        worker.run(30)
        assert worker.held == {shard(0)}
        worker.engine.done(delivered.hold)
        worker.run(1)
        assert worker.held == {shard(1), shard(2)}

    def test_a_lease_without_children_stays(self) -> None:
        stream = Stream(2)
        stream.leases.create(Lease(shard(0), checkpoint=sp.Position.SHARD_END))
        stream.worker().run(200)
        assert stream.lease(0).checkpoint == sp.Position.SHARD_END

    def test_a_child_waits_for_both_parents(self) -> None:
        stream = Stream(2)
        stream.put(b"left")
        stream.put(b"right", hash_key=TOP)
        stream.kinesis.merge_shards(**STREAM, ShardToMerge=shard(0), AdjacentShardToMerge=shard(1))
        stream.put(b"child")
        worker = stream.worker()
        worker.run(1)
        first = worker.batch(checkpoint=True)
        second = worker.batch()
        assert first
        assert second
        worker.run(30)
        assert worker.batch() is None
        assert stream.lease(2).owner is None
        assert second.hold.delivered
        worker.engine.checkpoint(second.hold, second.hold.delivered, None)
        assert worker.read(20) == [b"child"]

    def test_what_was_merged_waits_for_a_parent_without_a_lease(self) -> None:
        stream = Stream(2)
        worker = stream.worker()
        worker.run(1)
        stream.put(b"grandparent", hash_key=TOP)
        stream.kinesis.autoscale(shard(1))  # 2 and 3
        stream.put(b"parent", hash_key=TOP // 4 * 3 - 10)
        stream.kinesis.merge_shards(**STREAM, ShardToMerge=shard(0), AdjacentShardToMerge=shard(2))  # 4
        stream.put(b"child")
        worker.holds_back = lambda action: (
            isinstance(action, ListLeases) or (isinstance(action, CreateLease) and action.lease.key == shard(2))
        )
        worker.run(3)
        assert shard(4) not in {lease.key for lease in stream.leases.list()}
        worker.holds_back = lambda _: False
        worker.release()
        assert worker.read(30) == [b"grandparent", b"parent", b"child"]

    def test_a_shard_that_is_gone_ends(self) -> None:
        stream = Stream(2)
        worker = stream.worker()
        worker.run(1)
        worker.fate = lambda action: self.gone(action)
        worker.read(60)
        assert stream.lease(0).checkpoint == sp.Position.SHARD_END
        assert worker.engine.fatal is None
        assert shard(1) in worker.held

    def gone(self, action: Action) -> Any:
        if isinstance(action, GetRecords | GetShardIterator) and action.shard_id == shard(0):
            return CodedError("ResourceNotFoundException")
        if isinstance(action, ListShards):
            return Stream(2).worker().effect(action)[1:]
        return None

    def test_a_shard_that_is_missed_only_for_a_moment_goes_on(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        worker = stream.worker()
        worker.fate = lambda action: (
            CodedError("ResourceNotFoundException")
            if isinstance(action, GetRecords) and not worker.times(GetRecords)[1:]
            else None
        )
        assert worker.read(10) == [b"a"]
        assert stream.lease().checkpoint != sp.Position.SHARD_END

    def test_new_shards_get_leases_when_they_are_listed(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        worker = stream.worker(failover_time=3600, shard_sync_interval=60)
        worker.run(1)
        assert worker.batch()  # and never a checkpoint, so that the parent does not end
        stream.kinesis.autoscale(shard(0))
        worker.run(61)
        assert {lease.key for lease in stream.leases.list()} == {shard(0), shard(1), shard(2)}

    def test_a_stream_that_is_gone_is_fatal(self) -> None:
        stream = Stream(1)
        worker = stream.worker()
        worker.run(1)
        stream.kinesis.delete_stream(**STREAM)
        worker.run(10)
        assert worker.engine.fatal is not None

    def test_a_finished_lease_is_deleted_once_its_children_are_begun(self) -> None:
        stream = Stream(1)
        stream.kinesis.autoscale(shard(0))
        worker = stream.worker()
        worker.run(100)
        assert {lease.key for lease in stream.leases.list()} == {shard(0), shard(1), shard(2)}
        stream.put(b"a")
        stream.put(b"b", hash_key=TOP)
        worker.read(60)
        assert {lease.key for lease in stream.leases.list()} == {shard(1), shard(2)}
        assert len(worker.times(DeleteLease)) == 1
        worker.run(200)
        assert {lease.key for lease in stream.leases.list()} == {shard(1), shard(2)}

    def test_a_finished_lease_stays_for_calls_that_are_late(self) -> None:
        stream = Stream(1)
        stream.kinesis.autoscale(shard(0))
        stream.put(b"a")
        stream.put(b"b", hash_key=TOP)
        worker = stream.worker()
        worker.read(2 * FAILOVER)
        assert stream.lease(0).checkpoint == sp.Position.SHARD_END

    def test_children_that_have_leases_without_their_parents_are_no_end_of_the_line(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        stream.kinesis.autoscale(shard(0))
        stream.put(b"b")
        stream.kinesis.autoscale(shard(1))
        stream.put(b"c")
        stream.leases.create(Lease(shard(0)))
        begun = sp.Position(stream.first(3))
        stream.leases.create(Lease(shard(3), parents=(shard(1),), checkpoint=begun))
        assert set(stream.worker().read(60)) >= {b"a", b"b"}

    def test_a_lease_is_not_made_any_more_when_the_call_was_held_up(self) -> None:
        stream = Stream(1)
        sleeper = stream.worker("sleeper")
        sleeper.holds_back = lambda action: isinstance(action, CreateLease)
        sleeper.step()
        assert [type(action) for action in sleeper.held_back] == [CreateLease]
        stream.kinesis.autoscale(shard(0))
        stream.put(b"left")
        stream.put(b"right", hash_key=TOP)
        other = stream.worker("other")
        assert sorted(other.read(8 * FAILOVER)) == [b"left", b"right"]
        assert {lease.key for lease in stream.leases.list()} == {shard(1), shard(2)}, "the shard is done"
        for action in sleeper.held_back:  # the process was suspended all the time
            sleeper.do(action)
        assert {lease.key for lease in stream.leases.list()} == {shard(1), shard(2)}
        assert sleeper.engine.fatal is None

    def test_a_worker_that_slept_does_not_bring_leases_back(self) -> None:
        stream = Stream(1)
        sleeper = stream.worker("sleeper")
        sleeper.holds_back = lambda action: isinstance(action, GetRecords)
        sleeper.run()
        stream.kinesis.autoscale(shard(0))
        stream.kinesis.autoscale(shard(1))
        for number in range(4):
            stream.put(b"a", hash_key=TOP // 4 * number + 1)
        stream.worker("other").read(200)
        left = {shard(2), shard(3), shard(4)}
        assert {lease.key for lease in stream.leases.list()} == left
        sleeper.holds_back = lambda _: False
        sleeper.release()
        sleeper.run(1)
        assert {lease.key for lease in stream.leases.list()} == left


class TestClosing:
    def test_it_writes_what_is_pending_and_releases(self) -> None:
        stream = Stream(2)
        stream.put(b"a")
        worker = stream.worker()
        worker.run(1)
        delivered = worker.batch(done=False)
        assert delivered
        assert delivered.hold.delivered
        worker.engine.close()
        worker.run()
        assert worker.held == {shard(0)}  # in hand
        assert not worker.engine.is_closed
        worker.engine.checkpoint(delivered.hold, delivered.hold.delivered, "token")
        worker.engine.done(delivered.hold)
        worker.run()
        assert worker.engine.is_closed
        assert worker.finished["token"] is None
        assert [lease.owner for lease in stream.leases.list()] == [None, None]
        assert worker.engine.deadline(stream.now) is None

    def test_a_worker_that_ends_gives_its_leases_to_the_others(self) -> None:
        stream = Stream(4)
        staying, ending = self.two(stream)
        ending.engine.close()
        for _ in range(15):
            ending.run(0.1)
            staying.run(0.1)
        assert ending.engine.is_closed
        assert len(staying.held) == 4
        assert not [action for _, action in ending.calls if isinstance(action, TakeBack)]

    def two(self, stream: Stream) -> tuple[Worker, Worker]:
        first, second = stream.worker("first"), stream.worker("second")
        for _ in range(120):
            first.run(0.25)
            second.run(0.25)
        assert len(first.held) == len(second.held) == 2
        return first, second

    def test_what_nobody_comes_for_is_nobody_s(self) -> None:
        stream = Stream(4)
        _dead, ending = self.two(stream)
        ending.engine.close()
        ending.run(5)
        assert ending.engine.is_closed
        assert sorted(lease.owner or "" for lease in stream.leases.list()) == ["", "", "first", "first"]

    @pytest.mark.parametrize(("failover", "discovery"), [(1.0, 1.0), (2.0, 1.0), (FAILOVER, 1.0), (FAILOVER, 60.0)])
    def test_all_are_nobody_s_within_the_time_that_closing_may_take(self, failover: float, discovery: float) -> None:
        """Which is the failover time."""
        stream = Stream(4)
        settings = {"failover_time": failover, "lease_discovery_interval": discovery}
        workers = [stream.worker(name, **settings) for name in ("a", "b")]
        for _ in range(40):
            for worker in workers:
                worker.run(failover / 4)
        assert {len(worker.held) for worker in workers} == {2}
        for worker in workers:
            worker.engine.close()
        until = stream.now + failover
        while stream.now < until - 0.1:
            for worker in workers:
                worker.run(0.05)
        assert all(worker.engine.is_closed for worker in workers)
        assert {lease.owner for lease in stream.leases.list()} == {None}

    def test_all_may_end_at_once(self) -> None:
        stream = Stream(4)
        workers = self.two(stream)
        for worker in workers:
            worker.engine.close()
        for _ in range(50):
            for worker in workers:
                worker.run(0.1)
        assert all(worker.engine.is_closed for worker in workers)
        assert {lease.owner for lease in stream.leases.list()} == {None}

    def test_a_worker_that_ends_passes_on_what_it_has_asked_for(self) -> None:
        stream = Stream(4)
        first, second = stream.worker("first"), stream.worker("second")
        while not second.times(AskForLease):
            first.run(0.25)
            second.run(0.25)
        second.engine.close()
        for _ in range(40):
            first.run(0.25)
            second.run(0.25)
        assert second.engine.is_closed
        assert "second" not in {lease.owner for lease in stream.leases.list()}

    def test_what_was_perhaps_given_is_given_to_the_same_worker_again(self) -> None:
        stream = Stream(3)
        owned(stream, {"first": 1, "second": 1})
        worker = stream.worker()
        run_beside(worker, ["first", "second"], 5)
        assert len(worker.held) == 1
        failures = iter([outage(), outage()])
        worker.fate = lambda action: next(failures, None) if isinstance(action, ReleaseLease) else None
        worker.engine.close()
        run_beside(worker, ["first", "second"], 3)
        assert worker.engine.is_closed
        assert [action.to for _, action in worker.calls if isinstance(action, ReleaseLease)] == ["first"] * 3

    def test_what_it_took_without_knowing_is_nobody_s_in_the_end(self) -> None:
        stream = Stream(1)
        worker = stream.worker()

        def hidden(action: Action) -> Any:
            if isinstance(action, TakeLease):
                worker.effect(action)
                return outage()
            return None

        worker.fate = hidden
        worker.run()
        assert (stream.lease().owner, worker.held) == ("me", set())
        worker.fate = lambda _: None
        worker.engine.close()
        worker.run(2)
        assert worker.engine.is_closed
        assert stream.lease().owner is None

    def test_a_store_that_cannot_tell_whose_leases_there_are_does_not_keep_it(self) -> None:
        class Blind(sp.MemoryLeases):
            def assigned(self, owner: str) -> None:
                assert owner == "me"

        stream = Stream(2)
        stream.leases = Blind()
        owned(stream, {"other": 2})
        worker = stream.worker()
        run_beside(worker, ["other"], FAILOVER + 2)
        (asked,) = (lease for lease in stream.leases.list() if lease.checkpoint_owner)
        assert stream.leases.release(asked)
        run_beside(worker, ["other"], FAILOVER + 2)
        assert worker.held == {asked.key}
        worker.engine.close()
        run_beside(worker, ["other"], 2)
        assert worker.engine.is_closed

    def test_a_lease_that_arrives_late_is_released_too(self) -> None:
        stream = Stream(1)
        worker = stream.worker()
        worker.holds_back = lambda action: isinstance(action, TakeLease)
        worker.run()
        worker.engine.close()
        worker.run()
        assert not worker.engine.is_closed
        worker.holds_back = lambda _: False
        worker.release()
        assert worker.engine.is_closed
        assert stream.lease().owner is None

    def test_it_goes_on_trying_through_an_outage(self) -> None:
        stream = Stream(1)
        worker = stream.worker()
        worker.run()
        worker.fate = lambda action: outage() if isinstance(action, ReleaseLease) else None
        worker.engine.close()
        worker.run(5)
        assert not worker.engine.is_closed
        assert len(worker.times(ReleaseLease)) < 40
        worker.fate = lambda _: None
        worker.run(6)
        assert worker.engine.is_closed

    def test_what_is_abandoned_is_told(self) -> None:
        stream = Stream(1)
        stream.put(b"a")
        worker = stream.worker()
        worker.run()
        delivered = worker.batch()
        assert delivered
        assert delivered.hold.delivered
        worker.engine.checkpoint(delivered.hold, delivered.hold.delivered, "token")
        assert worker.engine.abandon() == [(shard(0), "token")]
        assert not worker.held


class TestPeriodic:
    def test_what_is_asked_for_while_it_is_under_way_comes_after_it(self) -> None:
        periodic = Periodic(60.0, Random(0))
        assert periodic.begin(0.0)
        assert not periodic.begin(0.0)
        periodic.request(5.0)
        periodic.request(7.0)
        assert periodic.due is None
        periodic.succeeded(1.0)
        assert periodic.due == 5.0
        assert not periodic.begin(4.9)
        assert periodic.begin(5.0)
        periodic.succeeded(6.0)
        assert periodic.due == 66.0

    def test_a_request_is_never_later_than_what_is_due(self) -> None:
        periodic = Periodic(60.0, Random(0))
        periodic.begin(0.0)
        periodic.succeeded(0.0)
        periodic.request(100.0)
        assert periodic.due == 60.0
        periodic.request(30.0)
        assert periodic.due == 30.0

    def test_failures_are_followed_by_longer_and_longer_waits(self) -> None:
        periodic = Periodic(60.0, Random(0))
        waits = []
        for _ in range(200):
            assert periodic.begin(1e9)
            periodic.failed(0.0)
            assert periodic.due is not None
            waits.append(periodic.due)
        assert waits[0] <= 0.1
        assert 4.0 < max(waits) <= 5.0
