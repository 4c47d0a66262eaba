"""Positions order as the KCL's ExtendedSequenceNumber does."""

from __future__ import annotations

import copy
import pickle
from functools import cmp_to_key
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp

SENTINELS = ("AT_TIMESTAMP", "TRIM_HORIZON", "LATEST", "SHARD_END")

sequence_numbers = st.sampled_from([*SENTINELS, "0", "00", "9", "10", "010"]) | st.integers(0, 2**200).map(str)
positions = st.builds(sp.Position, sequence_numbers, st.integers(0, 3) | st.integers(0, 2**64))


def compare_to(left: sp.Position, right: sp.Position) -> int:
    """ExtendedSequenceNumber.compareTo, line by line."""

    def value(position: sp.Position) -> tuple[int, int]:
        if position.sequence_number == "SHARD_END":
            return 1, 0
        specials = {"AT_TIMESTAMP": -3, "TRIM_HORIZON": -2, "LATEST": -1}
        return 0, specials.get(position.sequence_number) or int(position.sequence_number)

    for mine, theirs in (
        (value(left), value(right)),
        (left.sub_sequence_number, right.sub_sequence_number),
    ):
        if mine != theirs:
            return 1 if mine > theirs else -1  # type: ignore[operator]  # both of one type, of two in turn
    return 0


@given(positions, positions)
def test_every_comparison_is_the_kcl_s(left: sp.Position, right: sp.Position) -> None:
    expected = compare_to(left, right)

    assert (left < right) == (expected < 0)
    assert (left <= right) == (expected <= 0)
    assert (left > right) == (expected > 0)
    assert (left >= right) == (expected >= 0)
    assert (left == right) == (expected == 0)
    assert (left != right) == (expected != 0)


@given(positions, positions, positions)
def test_the_order_is_total(a: sp.Position, b: sp.Position, c: sp.Position) -> None:
    assert (a < b) + (a == b) + (a > b) == 1
    assert a <= c or not (a <= b <= c)
    assert sorted([a, b, c]) == sorted([c, b, a], key=cmp_to_key(compare_to))


@given(positions, positions)
def test_equal_positions_have_equal_hashes(left: sp.Position, right: sp.Position) -> None:
    assert left != right or hash(left) == hash(right)


def test_numbers_order_as_numbers_and_sentinels_around_them() -> None:
    ordered = [
        sp.Position.AT_TIMESTAMP,
        sp.Position.TRIM_HORIZON,
        sp.Position.LATEST,
        sp.Position("0"),
        sp.Position("9", 99),
        sp.Position("10"),
        sp.Position("10", 1),
        sp.Position("49546986683135544286507457936321625675700192471156785154"),
        sp.Position.SHARD_END,
    ]

    assert all(left < right for left, right in pairwise(ordered))


def test_a_number_too_large_for_a_float_is_still_before_shard_end() -> None:
    assert sp.Position("9" * 129) < sp.Position.SHARD_END
    assert sp.Position(str(2**53)) < sp.Position(str(2**53 + 1))


def test_leading_zeros_make_no_difference() -> None:
    assert sp.Position("007") == sp.Position("7")
    assert len({sp.Position("007"), sp.Position("7")}) == 1


@pytest.mark.parametrize("name", SENTINELS)
def test_a_sentinel_is_the_position_of_its_name(name: str) -> None:
    assert getattr(sp.Position, name) == sp.Position(name) == sp.Position(name, 0)
    assert sp.Position(name).sequence_number == name


@given(positions)
def test_copies_are_equal_and_alike(position: sp.Position) -> None:
    for copied in (
        *(pickle.loads(pickle.dumps(position, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
        copy.copy(position),
        copy.deepcopy(position),
    ):
        assert copied == position
        assert repr(copied) == repr(position)


@given(positions)
def test_the_repr_is_the_call_that_makes_it(position: sp.Position) -> None:
    assert eval(repr(position), {"Position": sp.Position}) == position


@pytest.mark.parametrize("name", ["sequence_number", "sub_sequence_number", "_order", "something_new"])
def test_nothing_can_be_set(name: str) -> None:
    position = sp.Position("1", 2)

    with pytest.raises(AttributeError, match=f"immutable.*{name}"):
        setattr(position, name, "3")
    assert (position.sequence_number, position.sub_sequence_number) == ("1", 2)


@pytest.mark.parametrize("name", ["sequence_number", "sub_sequence_number", "_order"])
def test_nothing_can_be_deleted(name: str) -> None:
    position = sp.Position("1", 2)

    with pytest.raises(AttributeError):
        delattr(position, name)
    assert position == sp.Position("1", 2)


@pytest.mark.parametrize(
    "sequence_number",
    [
        "",
        " 1",
        "1 ",
        "-1",
        "+1",
        "1_0",
        "1.0",
        "0x1",
        "\u0663",
        "\uff11",
        "\u00b2",
        "latest",
        "trim_horizon",
        b"1",
        1,
        None,
        [],
    ],
)
def test_what_is_no_sequence_number_is_refused(sequence_number: object) -> None:
    with pytest.raises(sp.InvalidRecordError, match="AT_TIMESTAMP, TRIM_HORIZON, LATEST, SHARD_END") as caught:
        sp.Position(sequence_number)  # type: ignore[arg-type]
    assert caught.value.field == "sequence_number"
    assert repr(sequence_number) in str(caught.value)


def test_a_sequence_number_of_absurd_length_is_refused_like_any_other() -> None:
    with pytest.raises(sp.InvalidRecordError):
        sp.Position("9" * 5000)


@pytest.mark.parametrize("sub_sequence_number", [-1, "0", 0.0, None])
def test_what_is_no_index_is_refused(sub_sequence_number: object) -> None:
    with pytest.raises(sp.InvalidRecordError, match="index from 0") as caught:
        sp.Position("1", sub_sequence_number)  # type: ignore[arg-type]
    assert caught.value.field == "sub_sequence_number"


def test_a_position_compares_with_positions_only() -> None:
    assert sp.Position("1") != ("1", 0)
    assert sp.Position("1") != "1"
    with pytest.raises(TypeError):
        assert sp.Position("1") < ("2", 0)  # type: ignore[operator]
