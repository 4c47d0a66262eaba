"""When leases are created: never for a shard that is done."""

from __future__ import annotations

from random import Random
from typing import Any

import shardpack as sp
from shardpack.consumer import ConsumerConfig, Lease
from shardpack.consumer.core.actions import CreateLease, ListLeases, ListShards
from shardpack.consumer.core.sharing.coordinator import Coordinator
from shardpack.consumer.start import Start
from shardpack.limits import MAX_HASH_KEY


def shard(shard_id: str, *parents: str, is_open: bool = True) -> dict[str, Any]:
    """As `ListShards` gives it."""
    return {
        "ShardId": shard_id,
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(MAX_HASH_KEY)},
        "SequenceNumberRange": {"StartingSequenceNumber": "1"} | ({} if is_open else {"EndingSequenceNumber": "2"}),
        **dict(zip(("ParentShardId", "AdjacentParentShardId"), parents, strict=False)),
    }


def coordinator(start: str = "TRIM_HORIZON") -> Coordinator:
    return Coordinator("s", "me", ConsumerConfig(), Start.of(start, None), Random(0))


def created(asked: list[Any]) -> list[str]:
    return [action.lease.key for action in asked if isinstance(action, CreateLease)]


A = shard("a", is_open=False)
B = shard("b", "a", is_open=False)
C = shard("c", "b")
BEGUN = Lease("c", checkpoint=sp.Position("5"), parents=("b",))


def test_a_list_of_shards_that_is_older_than_the_leases_makes_no_lease_anew() -> None:
    looking = coordinator()
    looking.poll(0.0)
    looking.shards_listed([A], 0.1)
    looking.leases_listed([BEGUN], 0.2)  # meanwhile a was split into b and b into c, and the others' leases deleted

    asked = looking.poll(0.3)
    assert [type(action) for action in asked if not isinstance(action, CreateLease)][:1] == [ListShards]
    assert created(asked) == []
    looking.shards_listed([A, B, C], 0.4)
    assert created(looking.poll(0.5)) == []


def test_a_new_shard_is_found_by_the_first_list_after_the_leases() -> None:
    looking = coordinator()
    looking.poll(0.0)
    looking.leases_listed([], 0.1)
    looking.shards_listed([A, C], 0.2)  # asked for before the leases came
    assert created(looking.poll(0.3)) == []
    looking.shards_listed([A, C], 0.4)
    assert created(looking.poll(0.5)) == ["a", "c"]


def test_leases_that_were_listed_long_ago_are_listed_again() -> None:
    looking = coordinator()
    looking.poll(0.0)
    looking.shards_listed([C], 0.1)
    looking.leases_listed([BEGUN], 0.2)
    looking.poll(0.3)  # begins to list the shards, and the process stands still for an hour
    looking.look_at_shards(0.3)
    looking.poll(0.4)
    looking.shards_listed([C, shard("d")], 3600.0)

    asked = looking.poll(3600.1)
    assert created(asked) == []
    assert any(isinstance(action, ListLeases) for action in asked)


def test_leases_that_came_long_after_they_were_asked_for_are_as_old_as_the_question() -> None:
    """A long list comes page by page, and what was on the first may have changed when the last one comes."""
    patience = ConsumerConfig().failover_time
    for took, is_old in ((1.5 * patience, False), (2.5 * patience, True)):
        looking = coordinator()
        looking.poll(0.0)
        looking.shards_listed([C], 0.1)
        looking.leases_listed([BEGUN], took)
        looking.look_at_shards(took)
        looking.poll(took)
        looking.shards_listed([C, shard("d")], took + 0.1)
        asked = looking.poll(took + 0.2)
        assert created(asked) == ([] if is_old else ["d"])
        assert any(isinstance(action, ListLeases) for action in asked) == is_old


def test_parents_get_their_leases_before_their_children() -> None:
    looking = coordinator()
    looking.poll(0.0)
    looking.leases_listed([], 0.1)
    looking.shards_listed([], 0.1)
    looking.look_at_shards(0.2)
    looking.poll(0.2)
    looking.shards_listed([C, B, A], 0.3)
    (create,) = (action for action in looking.poll(0.4) if isinstance(action, CreateLease))
    assert create.lease == Lease("a", hash_range=(0, MAX_HASH_KEY), origin="s/1")
