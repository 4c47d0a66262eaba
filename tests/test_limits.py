"""What fits into a Kinesis record."""

from __future__ import annotations

from typing import Any

import pytest

import shardpack as sp
from shardpack import limits


def test_the_service_s_numbers() -> None:
    assert limits.MAX_RECORD_BYTES == 10_485_760
    assert limits.MAX_REQUEST_RECORDS == 500
    assert limits.DEFAULT_REQUEST_BYTES == 5_242_880
    assert limits.MAX_REQUEST_BYTES == 10_485_760
    assert limits.SHARD_RECORDS_PER_SECOND == 1000
    assert limits.SHARD_BYTES_PER_SECOND == 1_048_576
    assert limits.MAX_PARTITION_KEY_CHARACTERS == 256
    assert limits.PUT_PAYLOAD_UNIT_BYTES == 25_600
    assert limits.MAX_HASH_KEY == 340282366920938463463374607431768211455


def test_the_presets() -> None:
    assert sp.Limits() == sp.Limits(1_048_576, None, None)
    assert sp.Limits.kpl() == sp.Limits(1_048_576, None, 51_200)
    assert sp.Limits.large() == sp.Limits(10_485_760)
    assert sp.Limits.put_units(1) == sp.Limits(1_048_576, None, 25_600)
    assert sp.Limits.put_units(2) == sp.Limits.kpl()
    assert sp.Limits.put_units(40) == sp.Limits(1_048_576, None, 1_024_000)
    assert sp.Limits.put_units(41) == sp.Limits(1_049_600, None, 1_049_600)
    assert sp.Limits.put_units(409) == sp.Limits(10_470_400, None, 10_470_400)


def test_what_an_aggregate_may_take() -> None:
    assert sp.Limits(1000).aggregate_bytes == 1000
    assert sp.Limits(1000, max_aggregate_bytes=64).aggregate_bytes == 64
    assert sp.Limits.large().aggregate_bytes == 10_485_760


@pytest.mark.parametrize("arguments", [(64,), (10_485_760,), (64, 1), (64, 10**9), (64, None, 64), (65, 1, 64)])
def test_the_bounds_are_allowed(arguments: tuple[Any, ...]) -> None:
    made = sp.Limits(*arguments)

    told = made.max_record_bytes, made.max_user_records, made.max_aggregate_bytes
    assert told == (*arguments, None, None)[:3]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((63,), "max_record_bytes is 63; .* 64 to 10,485,760"),
        ((0,), "max_record_bytes is 0"),
        ((-1,), "max_record_bytes is -1"),
        ((10_485_761,), "max_record_bytes is 10,485,761"),
        ((64, 0), "max_user_records is 0"),
        ((64, -1), "max_user_records is -1"),
        ((100, None, 63), "max_aggregate_bytes is 63; give 64 to max_record_bytes, which is 100"),
        ((100, None, 101), "max_aggregate_bytes is 101; give 64 to max_record_bytes, which is 100"),
        ((100, None, -1), "max_aggregate_bytes is -1"),
    ],
)
def test_beyond_the_bounds_is_refused_with_the_numbers(arguments: tuple[Any, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        sp.Limits(*arguments)


@pytest.mark.parametrize("n", [-1, 0, 410])
def test_put_units_beyond_a_record_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match=rf"n is {n}; .* 1 to 409 PUT payload units"):
        sp.Limits.put_units(n)


@pytest.mark.parametrize("value", [1000.5, float("nan"), "1000", True, None])
def test_what_is_no_int_is_refused_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match=r"max_record_bytes is .* give an int"):
        sp.Limits(value)
    with pytest.raises(TypeError, match=r"n is .* give an int"):
        sp.Limits.put_units(value)
    if value is not None:
        with pytest.raises(TypeError, match=r"max_user_records is .* give an int"):
            sp.Limits(1000, value)
        with pytest.raises(TypeError, match=r"max_aggregate_bytes is .* give an int"):
            sp.Limits(1000, None, value)


def test_limits_are_values() -> None:
    made = sp.Limits(100, 2)

    assert made == sp.Limits(max_record_bytes=100, max_user_records=2)
    assert len({made, sp.Limits(100, 2), sp.Limits(100)}) == 2
    with pytest.raises(AttributeError):
        made.max_record_bytes = 5  # type: ignore[misc]


def test_names_in_messages_are_bounded() -> None:
    assert limits.brief("s" * 150) == "s" * 150
    assert limits.brief("s" * 151) == "s" * 147 + "..."
    assert limits.listed(["a", "b"]) == "a, b"
    assert limits.listed([]) == ""
    assert limits.listed(["x" * 1000] * 7) == ", ".join(["x" * 147 + "..."] * 5) + ", and 2 more"
