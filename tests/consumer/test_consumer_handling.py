"""What is handed to a handler that fails: nothing is ever skipped, whatever it does."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.consumer.core.handling import Handling, Policy, describe

RECORDS = [sp.ReceivedRecord("k", b"%d" % n, None, str(10 + n // 2), n % 2, True, None, "shard") for n in range(8)]


def policy(
    *, one_by_one: bool = False, on_failure: Literal["stop", "divert"] = "stop", max_attempts: int = 1
) -> Policy:
    return Policy(one_by_one, 1, on_failure, max_attempts, on_failure == "divert")


def position(index: int) -> sp.Position:
    found = RECORDS[index].position
    assert found is not None
    return found


@given(
    count=st.integers(1, len(RECORDS)),
    one_by_one=st.booleans(),
    on_failure=st.sampled_from(["stop", "divert"]),
    max_attempts=st.integers(1, 3),
    data=st.data(),
)
def test_nothing_is_ever_skipped(
    count: int, one_by_one: bool, on_failure: Literal["stop", "divert"], max_attempts: int, data: st.DataObject
) -> None:
    handling = Handling(
        RECORDS[:count], policy(one_by_one=one_by_one, on_failure=on_failure, max_attempts=max_attempts)
    )
    accounted = 0  # records handled, checkpointed by the handler itself, or diverted: always the first so many
    checkpoint = sp.Position("1")
    failures = 0
    while not handling.is_over:
        part = handling.part
        assert part == RECORDS[accounted : accounted + len(part)]
        assert len(part) == (1 if one_by_one else count - accounted) or (on_failure == "divert" and len(part) == 1)
        if data.draw(st.booleans(), "succeeds"):
            handling.succeeded()
            accounted += len(part)
            failures = 0
            assert not part or handling.done_to == position(accounted - 1)
            continue
        own = 0 if one_by_one else data.draw(st.integers(0, len(part)), "checkpointed by itself")
        if own:
            checkpoint = position(accounted + own - 1)
        verdict = handling.failed(checkpoint)
        accounted += own
        failures = 1 if own else failures + 1
        if verdict == "stop":
            assert on_failure == "stop"
            assert failures == max_attempts
            break
        if verdict == "divert":
            assert on_failure == "divert"
            assert len(part) == 1
            assert failures == max_attempts
            handling.succeeded()
            accounted += 1
            failures = 0
        elif failures == max_attempts:
            failures = 0  # from here on one by one, or the handler was done with all
            assert on_failure == "divert"
        if handling.done_to is not None:
            assert handling.done_to <= position(accounted - 1)
    else:
        assert accounted == count


def test_a_handler_of_batches_gets_what_is_not_checkpointed_again() -> None:
    handling = Handling(RECORDS, policy(max_attempts=3))
    assert handling.failed(position(2)) == "retry"
    assert handling.part == RECORDS[3:]
    assert handling.failed(position(2)) == "retry"
    assert handling.failed(position(2)) == "stop"


def test_progress_counts_as_the_first_attempt_at_what_is_left() -> None:
    handling = Handling(RECORDS, policy(max_attempts=2))
    for index in range(7):
        assert handling.failed(position(index)) == "retry"
    assert handling.failed(position(6)) == "stop"


def test_to_divert_one_of_a_batch_they_are_handed_one_by_one() -> None:
    handling = Handling(RECORDS[:3], policy(on_failure="divert", max_attempts=2))
    nothing = sp.Position.TRIM_HORIZON
    assert handling.failed(nothing) == "retry"
    assert handling.part == RECORDS[:3]
    assert handling.failed(nothing) == "retry"
    assert handling.part == RECORDS[:1]
    handling.succeeded()
    assert handling.part == RECORDS[1:2]
    assert handling.failed(nothing) == "retry"
    assert handling.failed(nothing) == "divert"
    handling.succeeded()
    assert handling.part == RECORDS[2:3]
    handling.succeeded()
    assert handling.is_over
    assert handling.done_to == position(2)


def test_without_records_there_is_nothing_to_hand_one_by_one() -> None:
    assert Handling([], policy(one_by_one=True)).is_over
    assert not Handling([], policy()).is_over  # a batch may say that its shard has ended


def test_the_end_of_a_shard_cannot_be_diverted() -> None:
    assert Handling([], policy(on_failure="divert")).failed(sp.Position.LATEST) == "stop"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((False, 1, "skip", 1, False), 'choose "stop" or "divert"'),
        ((False, 1, "divert", 1, False), "go together"),
        ((False, 1, "stop", 1, True), "go together"),
        ((False, 0, "stop", 1, False), "workers is 0"),
        ((False, True, "stop", 1, False), "workers is True"),
        ((False, 1, "stop", 0, False), "max_attempts is 0"),
    ],
)
def test_policies_that_make_no_sense_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Policy(*arguments)


def test_failures_are_described() -> None:
    assert describe("s", [], None) == "at the end of s"
    assert describe("s", RECORDS[:1], None) == f"at {position(0)} of s"
    assert describe("s", RECORDS, None) == f"in the 8 user records of s from {position(0)} to {position(7)}"
    assert describe("s", RECORDS, 2).endswith(f"while it had number 2, {position(1)}")
