"""The producer's decisions: what the engine asks for, and what it makes of the answers."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from driven_engine import HALF, HIGH, LOW, ONE, THROTTLED, TWO, Driven, shard

import shardpack as sp
from shardpack.limits import KIB, MAX_HASH_KEY, MIB
from shardpack.producer import ProducerConfig
from shardpack.producer.core.actions import DescribeStream, ListShards, PutRecords


def keys_of(put: PutRecords) -> list[list[str | None]]:
    return [[r.partition_key for r in sp.unpack(packed)] for packed in put.request.records]


def test_records_of_a_shard_share_an_aggregate_until_they_have_waited_long_enough() -> None:
    driven = Driven(ONE)
    driven.put(1)
    driven.now += 0.06
    driven.put(2)

    assert driven.puts(0.03) == []
    put = driven.until_put()
    driven.now += 0.5
    driven.stored(put)

    assert [driven.delivery(n).sub_sequence_number for n in (1, 2)] == [0, 1]
    assert driven.delivery(1).aggregated
    assert driven.delivery(1).position == sp.Position("1", 0)
    (first,), (second,) = driven.delivery(1).attempts, driven.delivery(2).attempts
    assert (first.start, first.duration) == pytest.approx((0.12, 0.5))
    assert first.error_code is None
    assert second.start == pytest.approx(0.06)
    assert driven.engine.outstanding_records == driven.engine.outstanding_bytes == 0
    assert driven.engine.deadline() is None


def test_a_lone_record_goes_plain() -> None:
    driven = Driven(ONE)
    driven.put(1)
    driven.stored(driven.until_put())

    assert not driven.delivery(1).aggregated


def test_each_shard_has_aggregates_of_its_own() -> None:
    driven = Driven(TWO)
    for n in range(6):
        driven.put(n, f"k{n}")

    put = driven.until_put()

    shard_map = sp.ShardMap(TWO)
    predicted = {record.shard_id for record in put.request.records}
    assert predicted == {"low", "high"}
    for packed in put.request.records:
        for received in sp.unpack(packed):
            assert shard_map.shard_for(sp.hash_key(received.partition_key or "")).shard_id == packed.shard_id


def test_puts_do_not_wait_for_the_shard_map() -> None:
    driven = Driven()
    driven.put(1, "a")
    driven.put(2, "b")

    put = driven.until_put()

    assert keys_of(put) == [["a", "b"]]
    assert put.request.records[0].shard_id is None


def test_without_a_shard_map_the_kpl_s_hash_keys_are_not_mixed() -> None:
    driven = Driven(hash_keys="kpl")
    for n, key in enumerate("abab"):
        driven.put(n, key)

    assert keys_of(driven.until_put()) == [["a", "a"], ["b", "b"]]


def test_a_full_aggregate_does_not_wait_for_its_time() -> None:
    driven = Driven(ONE, aggregation_max_count=2)
    for n in range(5):
        driven.put(n)

    put = driven.until_put()

    assert [packed.user_record_count for packed in put.request.records] == [2, 2]
    assert driven.now < 100.1


@pytest.mark.parametrize("size", [60_000, MIB - 1])
def test_a_record_larger_than_an_aggregate_goes_alone_and_after_those_before_it(size: int) -> None:
    driven = Driven(ONE)
    driven.put(1)
    driven.put(2)
    driven.put(3, data=b"x" * size)

    assert [packed.user_record_count for packed in driven.until_put().request.records] == [2, 1]


def test_a_record_larger_than_the_stream_takes_is_refused_at_once() -> None:
    driven = Driven(ONE)
    with pytest.raises(sp.RecordTooLargeError, match="UpdateMaxRecordSize") as caught:
        driven.put(1, data=b"x" * MIB)

    assert (caught.value.size, caught.value.limit) == (MIB + 1, MIB)
    assert driven.engine.outstanding_records == 0


def test_a_large_record_waits_until_the_stream_s_limit_is_known() -> None:
    driven = Driven()
    driven.poll()
    driven.put("large", data=b"x" * 2 * MIB)
    driven.put("small")
    assert keys_of(driven.until_put()) == [["k"]]

    driven.engine.answered(DescribeStream(), {"MaxRecordSizeInKiB": 4 * KIB}, driven.now)
    assert [record.size for record in driven.until_put().request.records] == [2 * MIB + 1]


@pytest.mark.parametrize(
    ("described", "size", "counts"),
    [(None, 2 * MIB, [10, 5]), (1024 * KIB, 2 * MIB, [10, 5]), (1536 * KIB, 2 * MIB, [15]), (4096 * KIB, MIB, [10, 5])],
)
def test_aggregates_are_as_large_as_the_stream_takes_and_the_setting_allows(
    described: int | None, size: int, counts: list[int]
) -> None:
    driven = Driven(aggregation_max_size=size)
    driven.poll()
    if described is not None:
        driven.engine.answered(DescribeStream(), {"MaxRecordSizeInKiB": described // KIB}, driven.now)
    for n in range(15):
        driven.put(n, data=bytes(100_000))

    driven.engine.flush(driven.now)
    packed = driven.until_put().request.records
    assert [one.user_record_count for one in packed] == counts


@pytest.mark.parametrize("measure", ["measure", "measure_one"])
def test_a_stream_whose_limit_is_raised_takes_larger_records_later(measure: str) -> None:
    driven = Driven(ONE)
    early = sp.UserRecord("early", bytes(MIB))
    with pytest.raises(sp.RecordTooLargeError):
        driven.engine.measure_one(early) if measure == "measure_one" else driven.engine.measure([early])
    assert driven.poll() == []  # not at once: an application may try again and again
    assert driven.engine.deadline() == driven.now + 60.0  # but also when nothing else is to do
    assert driven.poll(61.0) == [DescribeStream()]
    driven.engine.answered(DescribeStream(), {"MaxRecordSizeInKiB": 2048}, driven.now)
    driven.put("late", data=bytes(MIB))

    assert [packed.size for packed in driven.until_put().request.records] == [MIB + 1]
    assert driven.poll(100.0) == []


@pytest.mark.parametrize("enabled", [True, False])
def test_a_record_that_is_too_large_only_when_wrapped_has_an_error_as_its_outcome(enabled: bool) -> None:
    driven = Driven(aggregation_enabled=enabled)
    driven.poll()
    driven.engine.answered(DescribeStream(), {"MaxRecordSizeInKiB": 10 * KIB}, driven.now)
    driven.put("before")
    driven.put("looks aggregated", data=sp.encode([("k", bytes(10 * MIB - 50))]))
    driven.put("after")
    driven.engine.flush(driven.now)
    driven.stored(driven.until_put())

    assert "takes 10,485,7" in str(driven.error("looks aggregated"))
    assert driven.delivery("before")
    assert driven.delivery("after")
    assert driven.engine.outstanding_bytes == 0


def test_a_large_record_fails_when_the_stream_turns_out_to_take_none() -> None:
    driven = Driven()
    driven.poll()
    driven.put("large", data=b"x" * 2 * MIB)
    driven.engine.answered(DescribeStream(), {}, driven.now)
    driven.poll()

    assert not driven.error("large").retriable


def test_never_more_than_500_records_or_the_collection_s_size_in_a_call() -> None:
    driven = Driven(ONE, aggregation_enabled=False, rate_limit=10_000)
    for n in range(1201):
        driven.put(n, f"k{n}")

    assert [len(put.request.records) for put in driven.puts()] == [500, 500]
    assert [len(put.request.records) for put in driven.puts(0.1)] == [201]


def test_no_more_calls_at_once_than_connections() -> None:
    driven = Driven(ONE, aggregation_enabled=False, max_connections=2, rate_limit=10_000)
    for n in range(1500):
        driven.put(n, f"k{n}")
    first, second = driven.puts()
    assert driven.puts(1.0) == []

    driven.stored(first)

    assert len(driven.puts()) == 1
    assert len(second.request.records) == 500


def test_a_full_shard_does_not_hold_up_the_others() -> None:
    driven = Driven(TWO, aggregation_enabled=False, rate_limit=100)
    for n in range(3000):
        driven.put(n, hash_key=LOW)
    driven.put("other", hash_key=HIGH)

    sent = [packed for put in driven.puts(0.05) for packed in put.request.records]

    assert sum(packed.shard_id == "low" for packed in sent) <= 1051
    assert sum(packed.shard_id == "high" for packed in sent) == 1


def test_records_of_unknown_shards_do_not_share_one_shard_s_budget() -> None:
    """A stream of many shards would be held to the rate of one while they cannot be listed."""
    driven = Driven(aggregation_enabled=False)
    for n in range(5000):
        driven.put(n)
    puts = [action for action in driven.poll() if isinstance(action, PutRecords)]

    assert sum(len(put.request.records) for put in puts) == 5000


def test_what_is_throttled_goes_again_byte_for_byte_and_only_that() -> None:
    driven = Driven(TWO)
    for n in range(10):
        driven.put(n, f"k{n}")
    put = driven.until_put()
    first, second = put.request.records
    driven.answered(
        put,
        [{"ErrorCode": THROTTLED, "ErrorMessage": "slow down"}, {"ShardId": second.shard_id, "SequenceNumber": "7"}],
    )
    assert driven.puts() == []

    again = driven.until_put()

    assert again.request.records == (first,)
    driven.stored(again, first.shard_id or "")
    throttled = driven.delivery(next(n for n in range(10) if len(driven.delivery(n).attempts) == 2))
    assert throttled.attempts[0].error_code == THROTTLED
    assert throttled.attempts[0].error_message == "slow down"


def test_waits_grow_with_failures_and_end_with_the_record_s_time() -> None:
    driven = Driven(ONE, record_ttl=10.0)
    driven.put(1)
    starts = []
    while 1 not in driven.outcomes:
        deadline = driven.engine.deadline()
        assert deadline is not None
        driven.now = max(driven.now, deadline)
        for put in driven.puts():
            starts.append(driven.now)
            driven.failed(put, "InternalFailure")

    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert waits == sorted(waits)
    assert len(waits) > 4
    assert driven.now == pytest.approx(110.0)
    assert driven.error(1).retriable
    assert driven.error(1).records == (sp.UserRecord("k", b"data"),)
    last = driven.error(1).attempts[-1]
    assert (last.error_code, last.start) == ("Expired", pytest.approx(10.0))


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException", "KMSDisabledException"])
@pytest.mark.parametrize("whole", [True, False])
def test_what_no_retry_mends_fails_at_once(code: str, whole: bool) -> None:
    driven = Driven(ONE)
    driven.put(1)
    put = driven.until_put()
    if whole:
        driven.failed(put, code)
    else:
        driven.answered(put, [{"ErrorCode": code, "ErrorMessage": "no"}])

    assert not driven.error(1).retriable
    assert code in str(driven.error(1))


def test_an_unknown_error_is_tried_again() -> None:
    driven = Driven(ONE)
    driven.put(1)
    driven.failed(driven.until_put(), "NeverHeardOfException")
    driven.stored(driven.until_put())

    assert len(driven.delivery(1).attempts) == 2


def test_a_wrong_number_of_results_fails_the_call_s_records_with_that_as_the_reason() -> None:
    driven = Driven(ONE)
    driven.put(1)
    driven.answered(driven.until_put(), [])

    assert driven.error(1).attempts[0].error_code == "Record Count Mismatch"
    assert driven.error(1).retriable


def test_fail_if_throttled() -> None:
    driven = Driven(ONE, fail_if_throttled=True)
    driven.put(1)
    driven.answered(driven.until_put(), [{"ErrorCode": THROTTLED}])

    assert driven.error(1).retriable


def test_a_pinned_aggregate_that_lands_elsewhere_is_delivered_and_the_shards_are_listed_again() -> None:
    driven = Driven(ONE)
    driven.put(1, "a")
    driven.put(2, "b")
    put = driven.until_put()
    driven.stored(put, "child")

    assert driven.delivery(1).shard_id == "child"
    assert [type(action) for action in driven.poll()] == [ListShards]
    driven.engine.answered(ListShards(), TWO, driven.now)
    assert driven.poll() == []


def test_the_kpl_s_aggregate_is_judged_as_a_whole() -> None:
    """The KPL acknowledges the records that are at home, and the KCL drops them with the others."""
    driven = Driven(ONE, hash_keys="kpl")
    driven.put("low", "a", hash_key=LOW)
    driven.put("high", "a", hash_key=HIGH)
    put = driven.until_put()
    driven.poll()
    driven.engine.answered(ListShards(), TWO, driven.now)
    driven.stored(put, "low")

    assert driven.outcomes == {}
    again = driven.until_put()
    assert [packed.user_record_count for packed in again.request.records] == [1, 1]
    assert {packed.explicit_hash_key for packed in again.request.records} == {LOW, HIGH}


def test_while_the_map_is_stale_the_kpl_s_hash_keys_are_not_mixed() -> None:
    driven = Driven(ONE, hash_keys="kpl")
    driven.put(1, "a")
    driven.stored(driven.until_put(), "child")
    driven.poll()
    for n, key in enumerate("abab"):
        driven.put((2, n), key)

    assert keys_of(driven.until_put()) == [["a", "a"], ["b", "b"]]


def test_a_call_from_before_the_shards_were_listed_does_not_have_them_listed_again() -> None:
    driven = Driven(ONE)
    driven.put(1)
    old = driven.until_put()
    driven.put(2)
    driven.stored(driven.until_put(), "child")
    driven.poll()
    driven.now += 1
    driven.engine.answered(ListShards(), TWO, driven.now)
    driven.stored(old, "low")

    assert driven.poll() == []


def test_the_kpl_s_aggregate_at_home_elsewhere_is_delivered() -> None:
    driven = Driven(TWO, hash_keys="kpl")
    driven.put(1, "a", hash_key=LOW)
    driven.put(2, "b", hash_key=LOW)
    put = driven.until_put()
    driven.engine.answered(ListShards(), ONE, driven.now)
    driven.stored(put, "s")

    assert driven.delivery(2).shard_id == "s"


MERGED = [shard("merged", 0, MAX_HASH_KEY)]


def landed_on_a_shard_not_listed_yet(**settings: Any) -> Driven:
    """An aggregate of two records that went to "merged", of which the engine has not heard."""
    driven = Driven(TWO, hash_keys="kpl", **settings)
    driven.put(1, "a", hash_key=LOW)
    driven.put(2, "b", hash_key=LOW)
    driven.stored(driven.until_put(), "merged")
    return driven


def test_the_kpl_s_aggregate_in_a_shard_not_listed_yet_is_not_put_again_before_it_is() -> None:
    """A merge's child has all that its parents had, so putting it again would store it twice."""
    driven = landed_on_a_shard_not_listed_yet()
    assert driven.outcomes == {}
    assert driven.poll(5.0) == [ListShards()]
    driven.engine.answered(ListShards(), MERGED, driven.now)

    assert driven.poll() == []
    assert driven.delivery(2).position == sp.Position("1", 1)
    assert driven.delivery(2).attempts[-1].duration < 5.0
    assert driven.engine.deadline() is None


def test_a_shard_that_a_list_begun_before_does_not_name_is_looked_for_in_the_next() -> None:
    driven = Driven(TWO, hash_keys="kpl")
    for token in (1, 2):
        driven.put(token, "a", hash_key=HIGH)
    other = driven.until_put()
    driven.put(3, "a", hash_key=LOW)
    driven.put(4, "b", hash_key=LOW)
    put = driven.until_put()
    driven.stored(other, "new")
    assert driven.poll() == [ListShards()]
    driven.stored(put, "merged")
    driven.engine.answered(ListShards(), [TWO[0], shard("new", HALF, MAX_HASH_KEY)], driven.now)

    assert driven.poll() == [ListShards()]
    assert set(driven.outcomes) == {1, 2}
    driven.engine.answered(ListShards(), MERGED, driven.now)
    driven.poll()
    assert driven.delivery(4).shard_id == "merged"


def test_the_kpl_s_aggregate_in_a_shard_that_no_list_names_is_put_again() -> None:
    driven = landed_on_a_shard_not_listed_yet()
    driven.poll()
    driven.engine.answered(ListShards(), ONE, driven.now)  # "merged" has closed meanwhile
    driven.stored(driven.until_put(), "s")

    wrong, right = driven.delivery(2).attempts
    assert (wrong.error_code, right.error_code) == ("Wrong Shard", None)
    assert "not listed" in str(wrong.error_message)


def test_the_kpl_s_aggregate_in_a_shard_that_cannot_be_looked_up_expires() -> None:
    driven = landed_on_a_shard_not_listed_yet(record_ttl=5.0)
    for action in driven.poll():
        driven.engine.failed(action, "LimitExceededException", "slow", driven.now)
    while (deadline := driven.engine.deadline()) is not None and deadline < 105.0:
        driven.now = deadline
        for action in driven.poll():
            driven.engine.failed(action, "LimitExceededException", "slow", driven.now)
    assert driven.outcomes == {}
    assert deadline == 105.0
    driven.now = deadline
    driven.poll()

    assert [attempt.error_code for attempt in driven.error(1).attempts] == ["Wrong Shard", "Expired"]


def test_a_failure_to_list_shards_is_tried_again_ever_more_slowly() -> None:
    driven = Driven()
    times = []
    while driven.now < 300:
        for action in driven.poll():
            if isinstance(action, ListShards):
                times.append(driven.now)
                driven.engine.failed(ListShards(), "LimitExceededException", "slow", driven.now)
            else:
                driven.engine.answered(DescribeStream(), {}, driven.now)
        driven.now = driven.engine.deadline() or 0.0

    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits[:3] == pytest.approx([1.0, 1.5, 2.25])
    assert max(waits) == 30.0


def test_shards_with_a_gap_are_listed_again() -> None:
    driven = Driven()
    driven.poll()
    driven.engine.answered(ListShards(), TWO[:1], driven.now)

    assert ListShards() in driven.poll(1.0)


def test_on_an_auto_stream_records_go_plain() -> None:
    driven = Driven()
    driven.poll()
    driven.engine.answered(ListShards(), ONE, driven.now)
    driven.engine.answered(DescribeStream(), {"RecordDistributionStrategy": "AUTO"}, driven.now)
    driven.poll()
    for n in range(10):
        driven.put(n, f"k{n}")

    assert {packed.user_record_count for packed in driven.until_put().request.records} == {1}


@pytest.mark.parametrize("route", ["shard", "key", "any"])
def test_what_was_aggregated_before_auto_was_known_is_put_again_plain(route: str) -> None:
    driven = Driven(route=route)
    driven.poll()
    driven.put(1)
    driven.put(2)
    early, late = driven.until_put(), None
    driven.put(3)
    driven.put(4)
    late = driven.until_put()
    assert [packed.user_record_count for packed in (*early.request.records, *late.request.records)] == [2, 2]
    driven.stored(early, "elsewhere")
    assert driven.outcomes == {}

    driven.engine.answered(DescribeStream(), {"RecordDistributionStrategy": "AUTO"}, driven.now)
    driven.settle()
    driven.stored(late, "elsewhere")  # a call that was under way
    assert driven.outcomes == {}
    for _ in range(2):
        again = driven.until_put()
        assert {packed.user_record_count for packed in again.request.records} == {1}
        driven.stored(again, "anywhere")
        if len(driven.outcomes) == 4:
            break
    assert {driven.delivery(n).shard_id for n in (1, 2, 3, 4)} == {"anywhere"}
    assert [attempt.error_code for attempt in driven.delivery(1).attempts] == ["Wrong Shard", None]


@pytest.mark.parametrize("answer", ["described", "throttled", "not allowed"])
def test_what_was_aggregated_before_the_stream_was_described_is_delivered_when_it_is(answer: str) -> None:
    driven = Driven()
    driven.poll()
    driven.put(1)
    driven.put(2)
    driven.stored(driven.until_put(), "elsewhere")
    assert driven.outcomes == {}

    if answer == "described":
        driven.engine.answered(DescribeStream(), {}, driven.now)
    else:
        code = "LimitExceededException" if answer == "throttled" else "AccessDeniedException"
        driven.engine.failed(DescribeStream(), code, "no", driven.now)
    driven.settle()
    assert driven.delivery(1).shard_id == driven.delivery(2).shard_id == "elsewhere"


def test_what_nobody_describes_in_time_expires() -> None:
    driven = Driven(record_ttl=5)
    driven.poll()
    driven.put(1)
    driven.put(2)
    driven.stored(driven.until_put(), "elsewhere")
    deadline = driven.engine.deadline()
    assert deadline is not None
    assert deadline <= 105
    driven.poll(6)
    driven.settle()
    assert driven.error(1).attempts


@pytest.mark.parametrize("allowed", [True, False])
def test_a_switch_to_auto_shows_in_where_records_land(allowed: bool) -> None:
    driven = Driven(TWO)
    if not allowed:
        driven = Driven()
        driven.poll()
        driven.engine.answered(ListShards(), TWO, driven.now)
        driven.engine.failed(DescribeStream(), "AccessDeniedException", "no", driven.now)
    rng = random.Random(3)
    described = 0
    for n in range(400):
        driven.put((n, 0), f"k{n}")
        driven.put((n, 1), f"k{n}")
        driven.stored(driven.until_put(), rng.choice(["low", "high"]))
        for action in driven.poll(1.0):
            if isinstance(action, ListShards):
                driven.engine.answered(ListShards(), TWO, driven.now)
            elif isinstance(action, DescribeStream):
                described += 1
                if allowed:
                    driven.engine.answered(DescribeStream(), {"RecordDistributionStrategy": "AUTO"}, driven.now)
                else:
                    driven.engine.failed(DescribeStream(), "AccessDeniedException", "no", driven.now)

    assert described == 1
    driven.put("a", "k")
    driven.put("b", "k")
    assert {packed.user_record_count for packed in driven.until_put().request.records} == {1}


def test_flush_sends_at_once() -> None:
    driven = Driven(ONE)
    driven.put(1)
    driven.engine.flush(driven.now)

    assert len(driven.puts()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("aggregation_max_size", 63),
        ("aggregation_max_size", 10 * MIB + 1),
        ("aggregation_max_count", 0),
        ("collection_max_count", 501),
        ("collection_max_size", 52_223),
        ("record_ttl", 0.05),
        ("rate_limit", 0),
        ("max_connections", 257),
        ("max_outstanding_records", 0),
        ("record_max_buffered_time", float("nan")),
        ("rate_limit", True),
        ("hash_keys", "mixed"),
    ],
)
def test_settings_out_of_range_are_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        ProducerConfig(**{name: value})
