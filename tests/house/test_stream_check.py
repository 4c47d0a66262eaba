"""The verdict on a stream: what must not be overlooked is found."""

from __future__ import annotations

import base64
from typing import Any

from fault_calls import LostAnswer
from stream_check import Stored, Verdict, _fingerprint, judge

import shardpack as sp
from shardpack.producer import Attempt, Delivery

SHARD = "shardId-000000000000"


def put(number: int) -> sp.UserRecord:
    return sp.UserRecord("k", b"%d:data" % number)


def stored(sequence_number: int, *numbers: int) -> Stored:
    """An aggregate of user records."""
    (packed,) = sp.pack(map(put, numbers), shard_map=sp.ShardMap.single(SHARD))
    entry = {"PartitionKey": packed.partition_key, "Data": packed.data, "SequenceNumber": str(sequence_number)}
    fingerprint = _fingerprint(packed.partition_key, packed.data)
    return Stored(SHARD, str(sequence_number), fingerprint, list(sp.unpack(entry)))


def lost(*numbers: int, kind: str = "reset_after") -> LostAnswer:
    (packed,) = sp.pack(map(put, numbers), shard_map=sp.ShardMap.single(SHARD))
    entry = {"PartitionKey": packed.partition_key, "Data": base64.b64encode(packed.data).decode()}
    return LostAnswer(kind, "PutRecords", {"Records": [entry]})


def at(sequence_number: int, sub_sequence_number: int = 0, error: str | None = None) -> Delivery:
    attempts = (Attempt(0.0, 0.0, "Wrong Shard", error), Attempt(0.0, 0.0))
    return Delivery(SHARD, str(sequence_number), sub_sequence_number, True, attempts)


def verdict(read: list[Stored], outcomes: dict[int, Any], answers: list[LostAnswer] | None = None) -> Verdict:
    return judge(read, outcomes, put, answers or [])


def test_what_is_where_it_should_be_is_sound() -> None:
    found = verdict([stored(1, 0, 1)], {0: at(1), 1: at(1, 1)})

    assert found.is_sound
    assert (found.acknowledged, found.duplicates, found.overtaken) == (2, 0, 0)


def test_what_is_acknowledged_and_not_read_is_missing() -> None:
    found = verdict([stored(1, 0)], {0: at(1), 1: at(2)})

    assert found.missing == [1]
    assert not found.is_sound


def test_a_delivery_that_points_at_another_record_is_misplaced() -> None:
    found = verdict([stored(1, 0, 1)], {0: at(1, 1), 1: at(1, 0)})

    assert found.misplaced == [0, 1]
    assert not found.is_sound


def test_what_nobody_put_is_unknown() -> None:
    found = verdict([stored(1, 0, 7)], {0: at(1)})

    assert found.unknown == 1
    assert not found.is_sound


def test_an_answer_that_was_surely_lost_explains_before_one_that_may_have_been_read() -> None:
    copies, outcomes = [stored(1, 0), stored(2, 0), stored(3, 0)], {0: at(3)}
    for answers in ([lost(0), lost(0, kind="last")], [lost(0, kind="last"), lost(0)]):
        assert verdict(copies[1:], outcomes, answers).explained == {"reset_after": 1}
        assert verdict(copies, outcomes, answers).explained == {"reset_after": 1, "last": 1}


def test_each_lost_answer_explains_one_copy() -> None:
    copies, outcomes = [stored(1, 0), stored(2, 0), stored(3, 0)], {0: at(2)}
    one, both = verdict(copies, outcomes, [lost(0)]), verdict(copies, outcomes, [lost(0), lost(0)])

    assert (one.duplicates, one.explained, len(one.unexplained)) == (2, {"reset_after": 1}, 1)
    assert not one.is_sound
    assert both.is_sound


def test_another_aggregate_s_lost_answer_explains_nothing() -> None:
    assert not verdict([stored(1, 0), stored(2, 0)], {0: at(1)}, [lost(0, 1)]).is_sound


def test_what_the_producer_could_not_judge_is_explained_by_its_attempts() -> None:
    message = f"predicted shardId-000000000009, stored in {SHARD}, which is not listed, so that the KCL may drop it"
    copies = [stored(1, 0), stored(2, 0)]

    assert verdict(copies, {0: at(2, error=message)}).explained == {"unlisted_shard": 1}
    assert not verdict(copies, {0: at(2, error="something else")}).is_sound


def test_failures_are_counted_by_reason() -> None:
    attempts = [Attempt(0.0, 0.0, "InternalFailure", ""), Attempt(0.0, 0.0, "Expired", "")]
    error = sp.DeliveryError("", records=(put(0),), attempts=attempts, retriable=True)
    found = verdict([stored(1, 0)], {0: error}, [lost(0)])

    assert found.is_sound
    assert found.failed == {"Expired after InternalFailure": 1}
    assert (found.acknowledged, found.failed_but_stored, found.duplicates) == (0, 1, 0)


def test_a_younger_record_before_an_older_one_of_its_key_has_overtaken_it() -> None:
    assert verdict([stored(1, 1), stored(2, 0)], {0: at(2), 1: at(1)}).overtaken == 1
