"""Large fleets come to equal shares within two intervals between looks for shards, and then nothing moves."""

from __future__ import annotations

from random import Random

from balance_sim import Balance

from shardpack.consumer import ConsumerConfig, FleetConfig, Lease
from shardpack.leases.balance import LeaseView
from shardpack.leases.plan import part_of, shares

CONFIG = ConsumerConfig()
MOST = 2 * CONFIG.shard_sync_interval


def test_a_fleet_is_even_after_every_change_and_stays_so() -> None:
    balance = Balance(1000, CONFIG)
    for _ in range(20):
        balance.join()
    balance.until_even(1000, MOST)
    balance.moves.clear()
    for _ in range(4):
        balance.join()
    balance.until_even(1000, MOST)
    # Twenty had 50 each, and 24 have 41 or 42: what the new ones get must move, and a few more for the odd ones.
    assert 4 * 41 <= balance.moves.total() <= 4 * 42 + 24
    for player in balance.players[:3]:
        balance.kill(player)
    balance.until_even(1000, MOST)
    balance.moves.clear()
    balance.run(120)
    assert not balance.moves


def test_a_led_fleet_is_even_after_every_change_and_stays_so() -> None:
    balance = Balance(300, ConsumerConfig(lease_assignment="leader", fleet=FleetConfig(strategy="lease_count_based")))
    for _ in range(8):
        balance.join()
    balance.until_even(300, MOST)
    balance.run(60)
    balance.moves.clear()
    for _ in range(2):
        balance.join()
    balance.until_even(300, MOST)
    assert 2 * 30 <= balance.moves.total() <= 2 * 30 + 8
    (leads,) = (player for player in balance.players if player.coordinator.member.is_leader(balance.now))
    balance.kill(leads)
    balance.until_even(300, MOST)
    balance.moves.clear()
    balance.run(120)
    assert not balance.moves


def test_nobody_goes_for_the_same_lease_as_another() -> None:
    owned = {f"old-{n}": [Lease(f"{n}-{key:03}", owner=f"old-{n}") for key in range(100)] for n in range(3)}
    free = [Lease(f"free-{key:03}") for key in range(50)]
    share = shares({owner: len(leases) for owner, leases in owned.items()} | {"new-0": 0, "new-1": 0}, 350)

    parts = [part_of(worker, owned, free, share) for worker in share]

    keys = [lease.key for part in parts for lease in part]
    assert len(keys) == len(set(keys)) == 140
    assert {lease.key for lease in free} <= set(keys)


def test_what_moves_already_is_asked_for_by_nobody_else() -> None:
    moving = Lease("0", owner="a", checkpoint_owner="b")
    owned = {"a": [moving, Lease("1", owner="a"), Lease("2", owner="a")], "c": []}
    assert [lease.key for lease in part_of("c", owned, [], {"a": 2, "c": 1})] == ["1"]


def test_who_was_given_a_lease_by_a_leader_has_the_time_to_find_it() -> None:
    """The KCL's workers look for what they were given once in ten seconds, which is the failover time."""
    view = LeaseView("leader", CONFIG, Random(0))
    view.update(Lease("0", owner="found", counter=1), 0.0)
    view.update(Lease("1", owner="dead", counter=1), 0.0)
    after = CONFIG.failover_time
    view.update(Lease("0", owner="given", counter=2), after)  # assigned, and not renewed yet

    def free(now: float) -> list[str]:
        return [one.lease.key for one in view.candidates((), now) if one.is_free]

    assert free(2.9 * after) == ["1"]
    assert free(3.1 * after) == ["0", "1"]


def test_what_is_even_is_left_as_it_is() -> None:
    assert shares({"a": 2, "b": 3, "c": 3}, 8) == {"a": 2, "b": 3, "c": 3}
    assert shares({"a": 1, "b": 0, "c": 0}, 1) == {"a": 1, "b": 0, "c": 0}
