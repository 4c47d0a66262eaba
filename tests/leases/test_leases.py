"""What every store of leases promises: one suite for all of them, DynamoDB on two servers of other people."""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import servers
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from lease_steps import LONG, created, only, taken

import shardpack as sp
from shardpack.leases.lease import HandsOver, Lease, Leases
from shardpack.limits import MAX_HASH_KEY

MakeLeases: TypeAlias = Callable[[], Leases]


@pytest.fixture(scope="module", params=["memory", "sqlite", "dynalite", "ministack"])
def make_leases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeLeases]:
    """A function that makes an empty store."""
    numbers = itertools.count()
    if request.param == "memory":
        yield sp.MemoryLeases
    elif request.param == "sqlite":
        folder: Path = tmp_path_factory.mktemp("leases")
        yield lambda: sp.SQLiteLeases(folder / f"{next(numbers)}.db")
    else:
        pytest.importorskip("boto3")
        with servers.dynalite() if request.param == "dynalite" else servers.ministack("dynamodb") as url:
            client = servers.client("dynamodb", url, max_pool_connections=50)
            yield lambda: sp.DynamoDBLeases(f"leases-{next(numbers)}", client=client)


@pytest.fixture
def leases(make_leases: MakeLeases) -> Leases:
    made = make_leases()
    made.prepare()
    return made


class TestPrepareAndList:
    def test_a_new_store_is_empty_and_may_be_prepared_again(self, leases: Leases) -> None:
        created(leases, Lease("s"))

        leases.prepare()

        assert leases.list() == [Lease("s")]

    def test_lists_all(self, leases: Leases) -> None:
        keys = [f"shardId-{number:012}" for number in range(60)]
        for key in keys:
            created(leases, Lease(key))

        assert sorted(lease.key for lease in leases.list()) == keys


class TestCreate:
    @pytest.mark.parametrize(
        "lease",
        [
            Lease("s"),
            Lease("123456789012:stream:1700000000:shardId-000000000000"),
            Lease("s", owner="me", counter=2**63 - 2, owner_switches=7, checkpoint_owner="old"),
            Lease("s", parents=("a",), children=("b", "c"), hash_range=(0, MAX_HASH_KEY)),
            Lease("s", hash_range=(MAX_HASH_KEY // 2 + 1, MAX_HASH_KEY)),
            Lease("s", origin="clicks/49", done_until=1_800_000_000),
            Lease("Schlüssel-✓ '\"; --", owner="Arbeiter ✓ '\""),
            *(
                Lease("s", checkpoint=position)
                for position in (
                    *(sp.Position.TRIM_HORIZON, sp.Position.LATEST, sp.Position.AT_TIMESTAMP, sp.Position.SHARD_END),
                    *(sp.Position(LONG), sp.Position(LONG, 2**31), sp.Position("9" * 129, 1), sp.Position("0")),
                )
            ),
        ],
        ids=lambda lease: f"{lease.key[:8]}-{lease.checkpoint.sequence_number[:12]}-{lease.counter}",
    )
    def test_keeps_every_field(self, leases: Leases, lease: Lease) -> None:
        created(leases, lease)

        got = only(leases)
        assert got == lease
        # Positions are equal as numbers; what is kept must be the very digits.
        assert repr(got.checkpoint) == repr(lease.checkpoint)

    def test_leaves_one_that_is_there_as_it_is(self, leases: Leases) -> None:
        created(leases, Lease("s", counter=3))

        assert leases.create(Lease("s", checkpoint=sp.Position.LATEST)) is False
        assert only(leases) == Lease("s", counter=3)

    def test_parents_and_children_are_sets(self, leases: Leases) -> None:
        created(leases, Lease("s", parents=("b", "a", "b"), children=("d", "c")))

        assert (only(leases).parents, only(leases).children) == (("a", "b"), ("c", "d"))


class TestTake:
    def test_of_a_free_one_changes_owner_and_counter(self, leases: Leases) -> None:
        first = created(leases, Lease("s", counter=4, parents=("p",), hash_range=(1, 2)))

        got = taken(leases, first)

        assert got == only(leases) == dataclasses.replace(first, owner="me", counter=5)

    def test_from_another_worker_counts_as_a_switch(self, leases: Leases) -> None:
        first = created(leases, Lease("s", owner="you", owner_switches=2))

        assert taken(leases, first) == only(leases) == Lease("s", owner="me", counter=1, owner_switches=3)

    def test_of_one_s_own_counts_as_none(self, leases: Leases) -> None:
        first = created(leases, Lease("s", owner="me", owner_switches=2))

        assert taken(leases, first) == only(leases) == Lease("s", owner="me", counter=1, owner_switches=2)

    @pytest.mark.parametrize("owner", ["old", "new", "third"])
    def test_ends_a_hand_over(self, leases: Leases, owner: str) -> None:
        first = created(leases, Lease("s", owner="new", checkpoint_owner="old"))

        switches = 0 if owner == "new" else 1
        assert (
            taken(leases, first, owner) == only(leases) == Lease("s", owner=owner, counter=1, owner_switches=switches)
        )

    def test_of_one_that_has_moved_on_changes_nothing(self, leases: Leases) -> None:
        first = created(leases, Lease("s", owner="you", counter=1))
        renewed = leases.renew(first)

        assert leases.take(first, "me") is None
        assert only(leases) == renewed


class TestRenew:
    def test_raises_the_counter_and_nothing_else(self, leases: Leases) -> None:
        mine = taken(leases, created(leases, Lease("s", owner="you", checkpoint=sp.Position(LONG, 3), children=("c",))))

        assert leases.renew(mine) == only(leases) == dataclasses.replace(mine, counter=2)

    def test_goes_on_in_a_hand_over_that_one_knows_of(self, leases: Leases) -> None:
        first = created(leases, Lease("s", owner="new", counter=4, checkpoint_owner="old"))

        assert leases.renew(first) == only(leases) == dataclasses.replace(first, counter=5)


class TestWhatTheKCLDoesNotWrite:
    def test_a_take_writes_the_origin_and_keeps_one_that_is_there(self, leases: Leases) -> None:
        lease = created(leases, Lease("s"))
        mine = leases.take(dataclasses.replace(lease, origin="clicks/49"), "me")
        assert mine is not None
        assert mine.origin == only(leases).origin == "clicks/49"
        again = leases.take(dataclasses.replace(mine, origin=None), "me")
        assert again is not None
        assert again.origin == only(leases).origin == "clicks/49"

    def test_a_renewal_and_a_checkpoint_write_until_when_all_is_done_and_keep_it(self, leases: Leases) -> None:
        lease = taken(leases, created(leases, Lease("s")), "me")
        lease = leases.renew(dataclasses.replace(lease, done_until=1_800_000_000))
        assert lease.done_until == only(leases).done_until == 1_800_000_000
        lease = leases.renew(dataclasses.replace(lease, done_until=None))
        assert lease.done_until == only(leases).done_until == 1_800_000_000
        lease = leases.checkpoint(dataclasses.replace(lease, done_until=1_800_000_007), sp.Position("5"))
        assert lease.done_until == only(leases).done_until == 1_800_000_007
        again = leases.checkpoint(dataclasses.replace(lease, done_until=None), sp.Position("5"))
        assert again.done_until == only(leases).done_until == 1_800_000_007
        assert leases.release(again)
        assert only(leases).done_until == 1_800_000_007

    def test_at_a_checkpoint_that_does_not_say_it_is_not_known_until_when_all_is_done(self, leases: Leases) -> None:
        lease = taken(leases, created(leases, Lease("s", done_until=1_800_000_000)), "me")
        lease = leases.checkpoint(dataclasses.replace(lease, done_until=None), sp.Position("5"))
        assert lease.done_until is None
        assert only(leases).done_until is None


class TestCheckpoint:
    @pytest.mark.parametrize(
        "position", [sp.Position(LONG, 12), sp.Position("1"), sp.Position.SHARD_END, sp.Position.LATEST]
    )
    def test_is_recorded_and_renews(self, leases: Leases, position: sp.Position) -> None:
        mine = taken(leases, created(leases, Lease("s", owner="you", parents=("p",), hash_range=(1, 2))))

        written = leases.checkpoint(mine, position)

        assert written == only(leases)
        assert written == dataclasses.replace(mine, counter=2, owner_switches=0, checkpoint=position)

    def test_the_children_are_told_at_the_end_and_stay(self, leases: Leases) -> None:
        mine = taken(leases, created(leases, Lease("s")))

        ended = leases.checkpoint(mine, sp.Position.SHARD_END, children=("d", "c"))
        again = leases.checkpoint(ended, sp.Position.SHARD_END)

        assert (ended.children, again.children, only(leases).children) == (("c", "d"),) * 3

    def test_is_the_old_owner_s_in_a_hand_over(self, leases: Leases) -> None:
        first = created(leases, Lease("s", owner="new", counter=4, checkpoint_owner="old"))

        written = leases.checkpoint(first, sp.Position("7"))

        assert written == only(leases) == dataclasses.replace(first, counter=5, checkpoint=sp.Position("7"))


class TestRelease:
    def test_leaves_it_to_nobody_with_its_checkpoint(self, leases: Leases) -> None:
        mine = leases.checkpoint(taken(leases, created(leases, Lease("s"))), sp.Position(LONG, 5))

        assert leases.release(mine) is True
        assert only(leases) == Lease("s", counter=3, checkpoint=sp.Position(LONG, 5))
        assert taken(leases, only(leases), "you").owner == "you"

    def test_in_a_hand_over_leaves_it_to_the_next(self, leases: Leases) -> None:
        first = created(leases, Lease("s", owner="new", counter=4, checkpoint_owner="old"))

        assert leases.release(first) is True
        assert only(leases) == Lease("s", owner="new", counter=5)

    def test_of_nobody_s_changes_nothing(self, leases: Leases) -> None:
        assert leases.release(created(leases, Lease("s"))) is False
        assert only(leases) == Lease("s")


class TestDelete:
    def test_removes_one_and_no_other(self, leases: Leases) -> None:
        created(leases, Lease("s"))
        ended = created(leases, Lease("t", checkpoint=sp.Position.SHARD_END))

        assert leases.delete(ended) is True
        assert leases.list() == [Lease("s")]
        assert leases.delete(ended) is False


def test_no_clock_is_asked(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = itertools.cycle([0.0, 1e10, 1e9, 1e12])
    monkeypatch.setattr(time, "time", lambda: next(jumps))

    lease = taken(leases, created(leases, Lease("s")))
    for number in range(10):
        lease = leases.checkpoint(leases.renew(lease), sp.Position(str(number)))

    assert lease == only(leases) == Lease("s", owner="me", counter=21, checkpoint=sp.Position("9"))


ORIGINAL = Lease("s", owner="me", counter=5)


class TestLost:
    """Whatever of a lease has changed, a holder that does not know it changes nothing."""

    @pytest.mark.parametrize(
        "row",
        [
            None,
            Lease("other", owner="me", counter=5),
            Lease("s", owner="me", counter=6),
            Lease("s", owner="me", counter=4),
            Lease("s", owner="you", counter=5),  # deleted, created again, taken five times
            Lease("s", owner=None, counter=5),
            Lease("s", owner="you", counter=6),
        ],
    )
    def test_nothing_succeeds(self, leases: Leases, row: Lease | None) -> None:
        if row is not None:
            created(leases, row)

        assert leases.take(ORIGINAL, "third") is None
        with pytest.raises(sp.LeaseLostError, match=r"'s'.*'me'.*5.*another worker") as error:
            leases.renew(ORIGINAL)
        assert error.value.shard_id == "s"
        for position in (sp.Position(LONG), sp.Position.SHARD_END):
            with pytest.raises(sp.LeaseLostError):
                leases.checkpoint(ORIGINAL, position, children=("c",))
        assert leases.release(ORIGINAL) is False
        assert leases.delete(ORIGINAL) is False
        assert leases.list() == ([] if row is None else [row])

    def test_a_lease_that_nobody_holds_is_neither_renewed_nor_checkpointed(self, leases: Leases) -> None:
        free = created(leases, Lease("s", counter=2))

        with pytest.raises(sp.LeaseLostError):
            leases.renew(free)
        with pytest.raises(sp.LeaseLostError):
            leases.checkpoint(free, sp.Position("1"))
        assert only(leases) == free

    def test_in_a_hand_over_that_has_begun_meanwhile_the_holder_may_still_checkpoint_and_go(
        self, leases: Leases
    ) -> None:
        row = created(leases, Lease("s", owner="new", counter=5, checkpoint_owner="me"))

        with pytest.raises(sp.LeaseLostError):
            leases.renew(ORIGINAL)
        assert leases.take(ORIGINAL, "third") is None
        assert leases.delete(ORIGINAL) is False
        assert only(leases) == row
        written = leases.checkpoint(ORIGINAL, sp.Position("1"))
        assert written == only(leases) == dataclasses.replace(row, counter=6, checkpoint=sp.Position("1"))
        assert leases.release(written) is True
        assert only(leases) == Lease("s", owner="new", counter=7, checkpoint=sp.Position("1"))

    def test_a_release_ends_a_hand_over_that_has_begun_meanwhile(self, leases: Leases) -> None:
        created(leases, Lease("s", owner="new", counter=5, checkpoint_owner="me"))

        assert leases.release(ORIGINAL) is True
        assert only(leases) == Lease("s", owner="new", counter=6)

    def test_a_hand_over_that_has_ended_is_over(self, leases: Leases) -> None:
        created(leases, Lease("s", owner="new", counter=5))
        in_hand_over = Lease("s", owner="new", counter=5, checkpoint_owner="old")

        for write in (leases.renew, lambda lease: leases.checkpoint(lease, sp.Position("1"))):
            with pytest.raises(sp.LeaseLostError):
                write(in_hand_over)
        assert leases.release(in_hand_over) is False
        assert leases.take(in_hand_over, "me") is None
        assert leases.delete(in_hand_over) is False
        assert only(leases) == Lease("s", owner="new", counter=5)


def at_once(*work: Callable[[], Any]) -> list[Any]:
    """What several threads give that begin at the same moment."""
    start = threading.Barrier(len(work))

    def run(one: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return one()
        except sp.LeaseLostError:
            return None

    with ThreadPoolExecutor(len(work)) as threads:
        return list(threads.map(run, work))


class TestRaces:
    def test_one_of_eight_takes(self, leases: Leases) -> None:
        for round_ in range(10):
            free = created(leases, Lease(f"s-{round_}"))

            (winner,) = filter(None, at_once(*(partial(leases.take, free, f"w-{n}") for n in range(8))))

            assert winner in leases.list()

    def test_one_of_eight_checkpoints_of_one_lease_is_recorded(self, leases: Leases) -> None:
        for round_ in range(10):
            mine = taken(leases, created(leases, Lease(f"s-{round_}")))

            positions = [sp.Position(str(number)) for number in range(8)]
            (recorded,) = filter(None, at_once(*(partial(leases.checkpoint, mine, one) for one in positions)))

            assert recorded in leases.list()

    def test_a_take_and_a_checkpoint_do_not_both_succeed(self, leases: Leases) -> None:
        for round_ in range(20):
            mine = taken(leases, created(leases, Lease(f"s-{round_}")))

            stolen, recorded = at_once(
                partial(leases.take, mine, "you"), partial(leases.checkpoint, mine, sp.Position("1"))
            )

            assert (stolen is None) != (recorded is None)
            assert (stolen or recorded) in leases.list()

    def test_one_of_eight_creates(self, leases: Leases) -> None:
        for round_ in range(10):
            work = (partial(leases.create, Lease(f"s-{round_}", counter=number)) for number in range(8))

            assert sorted(at_once(*work)) == [False] * 7 + [True]

    def test_each_renewal_that_succeeds_is_one_step_of_the_counter(self, leases: Leases) -> None:
        taken(leases, created(leases, Lease("s")))

        def renew_twenty_times() -> int:
            done = 0
            for _ in range(20):
                with suppress(sp.LeaseLostError):
                    leases.renew(only(leases))
                    done += 1
            return done

        assert sum(at_once(*[renew_twenty_times] * 8)) == only(leases).counter - 1


class TestHandOver:
    def test_asking_makes_the_holder_the_checkpoint_owner_and_leaves_the_counter(self, leases: Leases) -> None:
        held = taken(leases, created(leases, Lease("s")), "old")
        renewed = leases.renew(held)  # the holder goes on, and that does not matter

        asked = handing_over(leases).ask_for(held, "new")

        assert asked == dataclasses.replace(renewed, owner="new", checkpoint_owner="old")
        assert handing_over(leases).get("s") == asked

    def test_one_of_eight_gets_what_all_ask_for(self, leases: Leases) -> None:
        held = taken(leases, created(leases, Lease("s")), "old")
        store = handing_over(leases)

        asked = at_once(*[partial(store.ask_for, held, f"new-{n}") for n in range(8)])

        assert len([one for one in asked if one is not None]) == 1

    def test_nobody_asks_for_what_nobody_holds(self, leases: Leases) -> None:
        free = created(leases, Lease("s"))
        assert handing_over(leases).ask_for(free, "new") is None

    def test_what_is_given_is_the_other_s(self, leases: Leases) -> None:
        held = taken(leases, created(leases, Lease("s")), "old")
        store = handing_over(leases)

        given = store.give(held, "new")

        assert given == dataclasses.replace(held, owner="new", counter=2, owner_switches=1)
        assert (store.assigned("old"), store.assigned("new")) == ([], ["s"])
        with pytest.raises(sp.LeaseLostError):
            leases.renew(held)

    def test_who_has_asked_goes_before_who_is_given(self, leases: Leases) -> None:
        held = taken(leases, created(leases, Lease("s")), "old")
        store = handing_over(leases)
        store.ask_for(held, "asker")

        given = store.give(held, "other")

        assert given is not None
        assert (given.owner, given.checkpoint_owner, given.counter) == ("asker", None, held.counter + 1)


def handing_over(leases: Leases) -> HandsOver:
    assert isinstance(leases, HandsOver)
    return leases


WORKERS = st.sampled_from(["a", "b", "c"])
POSITIONS = st.builds(sp.Position, st.integers(0, 10**56).map(str), st.integers(0, 9)) | st.sampled_from(
    [sp.Position.TRIM_HORIZON, sp.Position.SHARD_END]
)


class Workers(RuleBasedStateMachine):
    """Several workers write with whatever they once read; a dictionary says what should come of it."""

    leases: Leases
    seen: Bundle[Lease] = Bundle("seen")

    @initialize()
    def empty(self) -> None:
        for lease in self.leases.list():
            assert self.leases.delete(lease)
        self.model: dict[str, Lease] = {}

    @rule(target=seen, key=st.sampled_from(["s", "t"]), owner=st.none() | WORKERS, old=st.none() | WORKERS)
    def create(self, key: str, owner: str | None, old: str | None) -> Lease:
        lease = Lease(key, owner=owner, checkpoint_owner=old if owner else None)
        assert self.leases.create(lease) == (key not in self.model)
        return self.model.setdefault(key, lease)

    @rule(target=seen, lease=seen, owner=WORKERS)
    def take(self, lease: Lease, owner: str) -> Lease:
        got = self.leases.take(lease, owner)
        if not self.is_as_read(lease):
            assert got is None
            return lease
        switches = int(lease.owner is not None and (lease.owner != owner or lease.checkpoint_owner == owner))
        switches += self.model[lease.key].owner_switches
        return self.expect(got, lease, owner=owner, checkpoint_owner=None, owner_switches=switches)

    @rule(target=seen, lease=seen)
    def renew(self, lease: Lease) -> Lease:
        if not self.is_held(lease):
            with pytest.raises(sp.LeaseLostError):
                self.leases.renew(lease)
            return lease
        return self.expect(self.leases.renew(lease), lease)

    @rule(target=seen, lease=seen, position=POSITIONS, children=st.sets(st.sampled_from("xyz")).map(tuple))
    def checkpoint(self, lease: Lease, position: sp.Position, children: tuple[str, ...]) -> Lease:
        if not self.may_checkpoint(lease):
            with pytest.raises(sp.LeaseLostError):
                self.leases.checkpoint(lease, position, children=children)
            return lease
        known = tuple(sorted(children)) or self.model[lease.key].children
        got = self.leases.checkpoint(lease, position, children=children)
        return self.expect(got, lease, checkpoint=position, owner_switches=0, children=known)

    @rule(lease=seen)
    def release(self, lease: Lease) -> None:
        may = self.may_checkpoint(lease)
        assert self.leases.release(lease) == may
        if may:
            row = self.model[lease.key]
            next_owner = row.owner if row.checkpoint_owner else None
            self.change(lease, owner=next_owner, checkpoint_owner=None)

    @rule(target=seen, lease=seen, owner=WORKERS)
    def ask_for(self, lease: Lease, owner: str) -> Lease:
        store = handing_over(self.leases)
        row = self.model.get(lease.key)
        got = store.ask_for(lease, owner)
        if lease.owner is None or row is None or row.owner != lease.owner or row.checkpoint_owner is not None:
            # In DynamoDB a write whose answer was lost is recognised by what it has done.
            assert got is None
            return lease
        self.model[lease.key] = dataclasses.replace(row, owner=owner, checkpoint_owner=row.owner)
        assert got == self.model[lease.key]
        return got

    @rule(lease=seen, owner=WORKERS)
    def give(self, lease: Lease, owner: str) -> None:
        may, row = self.may_checkpoint(lease), self.model.get(lease.key)
        got = handing_over(self.leases).give(lease, owner)
        assert (got is not None) == may
        if may and row is not None:
            switches = row.owner_switches + (row.checkpoint_owner is None)
            owner = row.owner if row.checkpoint_owner and row.owner else owner
            self.expect(got, lease, owner=owner, checkpoint_owner=None, owner_switches=switches)

    @rule(key=st.sampled_from(["s", "t"]))
    def get(self, key: str) -> None:
        assert handing_over(self.leases).get(key) == self.model.get(key)

    @rule(owner=WORKERS)
    def assigned(self, owner: str) -> None:
        keys = handing_over(self.leases).assigned(owner)
        assert keys is not None
        assert sorted(keys) == sorted(key for key, lease in self.model.items() if lease.owner == owner)

    @rule(lease=seen)
    def delete(self, lease: Lease) -> None:
        assert self.leases.delete(lease) == self.is_as_read(lease)
        if self.is_as_read(lease):
            del self.model[lease.key]

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        if hasattr(self, "model"):
            assert {lease.key: lease for lease in self.leases.list()} == self.model

    def is_as_read(self, lease: Lease) -> bool:
        row = self.model.get(lease.key)
        return row is not None and all(
            getattr(row, name) == getattr(lease, name) for name in ("owner", "counter", "checkpoint_owner")
        )

    def is_held(self, lease: Lease) -> bool:
        return lease.owner is not None and self.is_as_read(lease)

    def may_checkpoint(self, lease: Lease) -> bool:
        row = self.model.get(lease.key)
        if row is None or lease.owner is None or row.counter != lease.counter:
            return False
        return self.is_as_read(lease) or (lease.checkpoint_owner is None and row.checkpoint_owner == lease.owner)

    def change(self, lease: Lease, **changes: Any) -> Lease:
        self.model[lease.key] = dataclasses.replace(self.model[lease.key], counter=lease.counter + 1, **changes)
        return self.model[lease.key]

    def expect(self, got: Lease | None, lease: Lease, **changes: Any) -> Lease:
        assert got == self.change(lease, **changes)
        assert got is not None
        return got


def test_workers_with_stale_leases_do_what_the_model_says(leases: Leases) -> None:
    class OfThisStore(Workers):
        pass

    OfThisStore.leases = leases
    in_memory = isinstance(leases, sp.MemoryLeases)
    profile = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
    run_state_machine_as_test(
        OfThisStore,
        settings=settings(profile, max_examples=profile.max_examples if in_memory else profile.max_examples // 4),
    )
