"""`ordering="key"`: what may be on its way at a time, what waits, and where a key goes after an unseen reshard."""

from __future__ import annotations

from typing import Any

import pytest
from driven_engine import HALF, THROTTLED, Driven, shard

import shardpack as sp
from shardpack.limits import MAX_HASH_KEY
from shardpack.producer import ProducerConfig
from shardpack.producer.core.actions import DescribeStream, ListShards, PutRecords
from shardpack.producer.core.ordering.lanes import Lanes
from shardpack.producer.core.ordering.turn import Turn

LOW_KEY, HIGH_KEY = "a", "b"
"""Partition keys whose hash keys lie in the two halves."""
CLOSED = {"SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": "2"}}
WHOLE = shard("whole", 0, MAX_HASH_KEY)
LOW = {**shard("low", 0, HALF - 1), "ParentShardId": "whole"}
HIGH = {**shard("high", HALF, MAX_HASH_KEY), "ParentShardId": "whole"}
SPLIT = [{**WHOLE, **CLOSED}, LOW, HIGH]
JOINED = {**shard("joined", 0, MAX_HASH_KEY), "ParentShardId": "low", "AdjacentParentShardId": "high"}
MERGED = [{**WHOLE, **CLOSED}, {**LOW, **CLOSED}, {**HIGH, **CLOSED}, JOINED]


def ordered(shards: list[dict[str, Any]] | None = None, **settings: Any) -> Driven:
    return Driven(shards or [WHOLE], ordering="key", **settings)


def after_a_slow_call() -> Driven:
    """The next turn is as large as any, because the shard could take so much during such a call."""
    driven = ordered(record_ttl=600)
    driven.put("slow")
    put = driven.until_put()
    driven.now += 1.0
    driven.stored(put, "whole")
    return driven


def keys_of(put: PutRecords) -> list[list[str]]:
    """The partition keys in each Kinesis record of a call."""
    return [
        [record.partition_key for record in sp.decode(packed.data)]
        if sp.is_aggregated(packed.data)
        else [packed.partition_key]
        for packed in put.request.records
    ]


def list_of_shards(driven: Driven, shards: list[dict[str, Any]]) -> None:
    """Answer the list that the engine asks for."""
    for _ in range(20):
        actions = driven.poll()
        assert not [action for action in actions if isinstance(action, PutRecords)], "it has not waited for the list"
        if any(isinstance(action, ListShards) for action in actions):
            assert actions == [ListShards(with_closed=True)]
            driven.engine.answered(actions[0], shards, driven.now)
            return
        driven.now = max(driven.now, driven.engine.deadline() or 0.0)
    raise AssertionError("it does not list the shards")


def test_the_keys_of_these_tests_lie_where_they_say() -> None:
    assert sp.hash_key(LOW_KEY) < HALF <= sp.hash_key(HIGH_KEY)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ordering": "time"}, 'ordering is \'time\'; choose "none" or "key"'),
        ({"ordering": "key", "hash_keys": "kpl"}, 'Choose hash_keys="pinned"'),
        ({"on_failure": "halt_key"}, 'Choose ordering="key"'),
        ({"ordering": "key", "on_failure": "stop"}, 'choose "continue" or "halt_key"'),
    ],
)
def test_settings_that_keep_no_order_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ProducerConfig(**settings)


def test_a_shard_has_one_aggregate_on_its_way_and_the_next_one_grows_meanwhile() -> None:
    driven = ordered()
    driven.put(0, data=b"x" * 60_000)
    first = driven.until_put()
    for token in range(1, 16):
        driven.put(token, data=b"x" * 60_000)
    assert not driven.puts(after=5.0), "nothing may overtake what is on its way"

    driven.stored(first, "whole")
    second = driven.until_put()

    (packed,) = second.request.records
    assert packed.user_record_count == 15
    assert packed.size > 900_000


def test_an_aggregate_does_not_outgrow_what_the_stream_takes() -> None:
    driven = after_a_slow_call()
    for token in range(30):
        driven.put(token, data=b"x" * 60_000)

    for expected in (17, 13):
        put = driven.until_put()
        (packed,) = put.request.records
        assert packed.user_record_count == expected
        assert packed.size <= 2**20
        driven.now += 1.0
        driven.stored(put, "whole")


def test_an_aggregate_is_no_larger_than_the_shard_takes_while_a_call_is_on_its_way() -> None:
    driven = ordered()
    for token in range(30):
        driven.put(token, "k", data=b"x")
        driven.stored(driven.until_put(), "whole")  # at once
    for token in range(30, 60):
        driven.put(token, data=b"x" * 60_000)

    (packed,) = driven.until_put().request.records
    assert packed.size < 400_000


def test_what_was_throttled_goes_again_before_anything_younger() -> None:
    driven = ordered()
    driven.put(0)
    first = driven.until_put()
    driven.put(1)
    driven.answered(first, [{"ErrorCode": THROTTLED, "ErrorMessage": ""}])

    again = driven.until_put()
    assert again.request == first.request
    driven.stored(again, "whole")
    driven.stored(driven.until_put(), "whole")

    assert driven.delivery(0).position < driven.delivery(1).position


def test_nothing_is_left_of_turns_that_are_over() -> None:
    driven = ordered(record_ttl=3600)
    for token in range(500):
        driven.put(token)
        put = driven.until_put()
        driven.put(-token - 1)  # waits, and would expire in an hour
        driven.stored(put, "whole")
        driven.stored(driven.until_put(), "whole")
    lanes = driven.engine._lanes

    assert driven.engine.deadline() is None, "a thread would be kept for it"
    assert lanes is not None
    assert len(lanes._alarms) < 100


def test_entries_of_several_shards_share_a_call() -> None:
    driven = ordered(SPLIT)
    driven.put(0, LOW_KEY)
    driven.put(1, HIGH_KEY)

    assert keys_of(driven.until_put()) == [[LOW_KEY], [HIGH_KEY]]


def test_a_key_waits_for_an_aggregate_that_another_map_has_sent_and_others_do_not_wait_long() -> None:
    driven = ordered()
    driven.put(0, HIGH_KEY)
    first = driven.until_put()
    driven.engine.answered(ListShards(with_closed=True), SPLIT, driven.now)
    driven.put(1, HIGH_KEY)
    driven.put(2, LOW_KEY)

    assert keys_of(driven.until_put()) == [[LOW_KEY]], "this one has nothing on its way"
    assert not driven.puts(after=5.0)
    driven.stored(first, "whole")
    assert keys_of(driven.until_put()) == [[HIGH_KEY]]


def test_keys_that_landed_astray_follow_their_pin_until_a_merge_joins_it_with_their_home() -> None:
    driven = ordered()
    driven.put(0, HIGH_KEY)
    assert driven.engine.stats().keys_astray == 0
    driven.stored(driven.until_put(), "low")  # split meanwhile, and the pin is 0
    assert driven.engine.stats().keys_astray == 1
    driven.put(1, HIGH_KEY)
    list_of_shards(driven, SPLIT)
    second = driven.until_put()
    assert second.request.records[0].shard_id == "low"
    assert second.request.records[0].explicit_hash_key == "0"
    driven.stored(second, "low")

    driven.put(2, HIGH_KEY)
    third = driven.until_put()
    driven.stored(third, "joined")
    driven.put(3, HIGH_KEY)
    list_of_shards(driven, MERGED)
    driven.stored(driven.until_put(), "joined")
    again = [{**shard, **CLOSED} if shard is JOINED else shard for shard in MERGED]
    again += [
        {**shard("low-2", 0, HALF - 1), "ParentShardId": "joined"},
        {**shard("high-2", HALF, MAX_HASH_KEY), "ParentShardId": "joined"},
    ]
    driven.engine.answered(ListShards(with_closed=True), again, driven.now)
    driven.put(4, HIGH_KEY)

    assert driven.until_put().request.records[0].shard_id == "high-2"
    assert driven.engine.stats().keys_astray == 0


def test_a_list_that_is_older_than_an_answer_is_not_believed() -> None:
    driven = ordered(SPLIT)
    driven.put(0, LOW_KEY)
    first = driven.until_put()
    driven.engine.answered(ListShards(with_closed=True), [WHOLE], driven.now)
    driven.stored(first, "low")
    driven.put(1, LOW_KEY)

    assert driven.until_put().request.records[0].shard_id == "low"


def test_a_key_whose_last_outcome_is_unknown_keeps_its_pin_until_the_shards_are_listed() -> None:
    driven = ordered(record_ttl=1.0)
    driven.put(0, HIGH_KEY)
    driven.failed(driven.until_put(), "ReadTimeoutError")
    for _ in range(50):
        driven.now = max(driven.now, driven.engine.deadline() or 0.0)
        actions = driven.poll()
        for put in (action for action in actions if isinstance(action, PutRecords)):
            driven.failed(put, "ReadTimeoutError")
        if 0 in driven.outcomes:
            break
    assert driven.error(0).attempts[-1].error_code == "Expired"
    list_of_shards(driven, SPLIT)
    driven.put(1, HIGH_KEY)

    # It may lie in `low`, which owns the pin, and in no descendant of `high`.
    assert driven.until_put().request.records[0].shard_id == "low"


def test_a_lane_with_another_pin_waits_until_a_list_explains_where_its_keys_are() -> None:
    driven = ordered(SPLIT)
    driven.put(0, HIGH_KEY)
    first = driven.until_put()
    driven.stored(first, "high-child")  # nobody has listed it yet
    driven.put(1, HIGH_KEY)
    merged = {**shard("merged", 0, MAX_HASH_KEY), "ParentShardId": "low", "AdjacentParentShardId": "high"}
    list_of_shards(driven, [{**WHOLE, **CLOSED}, {**LOW, **CLOSED}, {**HIGH, **CLOSED}, merged])

    # The pin of `merged` is 0, and the key's last record is in a shard of which nothing is known.
    assert not [action for action in driven.poll(after=0.15) if isinstance(action, PutRecords)]


def test_plain_records_of_a_key_go_one_by_one_and_those_of_others_together() -> None:
    driven = ordered(aggregation_enabled=False)
    for token, key in enumerate(["k", "k", "l", "m", "k"]):
        driven.put(token, key)

    for expected in ([["k"], ["l"], ["m"]], [["k"]], [["k"]]):
        put = driven.until_put()
        assert keys_of(put) == expected
        driven.stored(put, "whole")
    assert [driven.delivery(token).aggregated for token in range(5)] == [False] * 5


def test_a_record_too_large_for_an_aggregate_waits_for_those_of_its_key_and_goes_alone() -> None:
    driven = ordered()
    driven.put(0, "k")
    driven.put(1, "k", data=b"x" * (2**20 - 1))
    driven.put(2, "l")
    driven.put(3, "k")

    for expected in ([["k", "l"]], [["k"]], [["k"]]):
        put = driven.until_put()
        assert keys_of(put) == expected
        driven.stored(put, "whole")
    assert [driven.delivery(token).position for token in (0, 1, 3)] == sorted(
        driven.delivery(token).position for token in (0, 1, 3)
    )


def test_a_turn_has_as_many_small_records_as_fit() -> None:
    driven = after_a_slow_call()
    for token in range(20):
        driven.engine.put([sp.UserRecord(f"k{number}", b"x" * 50) for number in range(1000)], token, driven.now)

    (packed,) = driven.until_put().request.records
    assert packed.user_record_count > 15_000


def test_a_long_queue_of_one_key_is_not_walked_through_for_each_turn() -> None:
    driven = ordered(aggregation_enabled=False, record_ttl=600)
    for token in range(6000):
        driven.put(token, "k")
    driven.put(6000, "l")

    assert keys_of(driven.until_put()) == [["k"]], "it has not looked for the other key among thousands"


def test_put_many_keeps_the_order_too() -> None:
    driven = ordered()
    records = [sp.UserRecord(f"k{number % 3}", b"%d" % number) for number in range(9)]
    driven.engine.put(records, "many", driven.now)
    put = driven.until_put()

    (packed,) = put.request.records
    assert [record.data for record in sp.decode(packed.data)] == [record.data for record in records]


def test_a_stream_that_ignores_keys_is_refused_before_anything_is_sent() -> None:
    driven = Driven(ordering="key")
    driven.put(0)
    driven.poll()
    driven.engine.answered(ListShards(with_closed=True), [WHOLE], driven.now)
    assert not driven.puts(after=1.0), "nothing goes before the stream is known"
    driven.engine.answered(DescribeStream(), {"RecordDistributionStrategy": "AUTO"}, driven.now)
    driven.put(1)
    driven.settle()

    for token in (0, 1):
        assert 'Choose ordering="none"' in str(driven.error(token))
        assert not driven.error(token).retriable
    assert driven.engine.outstanding_records == driven.engine.outstanding_bytes == 0


@pytest.mark.parametrize("on_failure", ["continue", "halt_key"])
def test_what_is_younger_than_a_failure_goes_on_or_fails_until_it_is_resumed(on_failure: str) -> None:
    driven = ordered(on_failure=on_failure)
    driven.put(0, "k")
    first = driven.until_put()
    driven.put(1, "k")
    driven.put(2, "l")
    driven.answered(first, [{"ErrorCode": "KMSDisabledException", "ErrorMessage": "off"}])
    driven.put(3, "k")
    driven.stored(driven.until_put(), "whole")
    driven.engine.resume(("k", None))
    driven.put(4, "k")
    driven.stored(driven.until_put(), "whole")

    assert not driven.error(0).retriable
    assert driven.delivery(2)
    assert driven.delivery(4)
    for token in (1, 3):
        if on_failure == "halt_key":
            assert "resume()" in str(driven.error(token))
            assert driven.error(token).retriable
        else:
            assert driven.delivery(token)
    assert driven.engine.outstanding_records == driven.engine.outstanding_bytes == 0


def test_records_expire_while_they_wait_for_their_turn() -> None:
    driven = ordered(record_ttl=2.0)
    driven.put(0)
    first = driven.until_put()
    driven.put(1)
    driven.poll(after=3.0)

    assert driven.error(1).attempts[-1].error_code == "Expired"
    driven.stored(first, "whole")
    assert driven.delivery(0)


def test_records_with_an_explicit_hash_key_keep_it_and_their_order() -> None:
    driven = ordered()
    for token, own in enumerate([None, "7", "7", None]):
        driven.put(token, "k", hash_key=own)

    put = driven.until_put()
    assert [(packed.explicit_hash_key, packed.user_record_count) for packed in put.request.records] == [
        ("0", 2),
        ("7", 2),
    ]


def test_what_an_engine_knows_of_keys_outlives_it() -> None:
    driven = ordered()
    driven.put(0, HIGH_KEY)
    driven.stored(driven.until_put(), "low")
    lanes = driven.engine._lanes
    assert lanes is not None
    successor = ordered(SPLIT, keys=lanes._keys)
    successor.put(1, HIGH_KEY)

    assert successor.until_put().request.records[0].shard_id == "low"


@pytest.mark.parametrize("on_failure", ["continue", "halt_key"])
def test_to_fail_what_waits_takes_no_turn_for_each(on_failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without aggregation, a turn takes one record of a key, and looks through thousands for others."""
    turns = []

    def take(turn: Turn, queue: Any) -> Any:
        turns.append(len(queue))
        return real(turn, queue)

    real = Turn.take
    monkeypatch.setattr(Turn, "take", take)
    driven = ordered(aggregation_enabled=False, record_ttl=5.0, on_failure=on_failure)
    for token in range(300):
        driven.put(token, "k")
    driven.until_put()
    driven.poll(after=6.0)

    assert [driven.error(token).attempts[-1].error_code for token in range(1, 300)] == ["Expired"] * 299
    assert driven.engine.outstanding_records == 1
    assert driven.engine.stats().user_record_expired == 299
    assert len(turns) == 1


def test_a_put_of_a_halted_key_does_not_look_through_all_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def is_halted(lanes: Lanes, record: sp.UserRecord) -> bool:
        looks.append(record)
        return real(lanes, record)

    real = Lanes._is_halted
    monkeypatch.setattr(Lanes, "_is_halted", is_halted)
    driven = ordered(on_failure="halt_key")
    driven.put("first", "k")
    driven.answered(driven.until_put(), [{"ErrorCode": "KMSDisabledException", "ErrorMessage": "off"}])
    for token in range(100):
        driven.put(token, f"l{token}")
    for token in range(100, 200):
        driven.put(token, "k")
    driven.settle()

    assert all("resume()" in str(driven.error(token)) for token in range(100, 200))
    assert len(looks) < 1000
