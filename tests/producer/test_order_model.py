"""Order per key in a small model of it: no interleaving breaks the promise, and each rule is needed."""

from __future__ import annotations

import pytest
from hypothesis import settings
from order_model import LAST_HASH_KEY, RULES, Left, Model, Shard

ONE = (Shard(0, LAST_HASH_KEY),)
TWO = (Shard(0, 1), Shard(2, LAST_HASH_KEY))


SOME = [
    (ONE, 2, Left(losses=1)),
    (TWO, 1, Left(refusals=1, given_up=1)),
    (ONE, 1, Left(losses=1, refusals=1)),
    (ONE, 1, Left(ghosts=1)),
]
MORE = [
    (ONE, 1, Left(losses=1, refusals=1, given_up=1)),
    (ONE, 1, Left(losses=1, ghosts=1)),
    (ONE, 3, Left()),
    (TWO, 2, Left(losses=1)),
    (TWO, 2, Left(refusals=1, given_up=1)),
    (ONE, 2, Left(ghosts=1)),
    (ONE, 2, Left(losses=1, given_up=1)),
]
"""For the night: minutes."""


@pytest.mark.parametrize(("shards", "reshards", "left"), SOME + MORE * (settings().max_examples > 1000))
def test_order_holds_whatever_happens(shards: tuple[Shard, ...], reshards: int, left: Left) -> None:
    result = Model(shards, reshards, left).explore()

    assert result.broken is None
    assert result.states > 1000


def test_the_last_hash_key_of_a_shard_is_as_good_a_pin() -> None:
    assert Model(ONE, 1, Left(losses=1), records=(2, 1), pin_last=True).explore().broken is None


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_can_be_left_out(rule: str) -> None:
    assert Model(ONE, 1, Left(given_up=1), without=rule).explore().broken is not None


@pytest.mark.parametrize("rule", ["pin", "descend"])
def test_a_reshard_that_was_not_seen_is_enough_to_break_the_order_of_acknowledged_records(rule: str) -> None:
    broken = Model(ONE, 1, Left(), without=rule).explore().broken

    assert broken is not None
