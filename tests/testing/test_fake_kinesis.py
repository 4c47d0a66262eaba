"""What `FakeKinesis` does beyond calls and answers: limits, budgets, time, capacity modes, and what it shows to a test.

`test_fake_conformance` has what any Kinesis does, and `test_fake_script` what goes wrong on order.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any

import old_botocore
import pytest
from botocore.exceptions import ClientError, OperationNotPageableError
from hypothesis import example, given
from hypothesis import strategies as st
from kinesis_calls import (
    HIGH,
    LOW,
    SHARD_0,
    SHARD_1,
    SHARD_2,
    SHARD_3,
    SHARD_4,
    code_of,
    data_of,
    hash_range,
    iterator,
    put,
    read,
    shard_ids,
    shards,
    walk,
)

import shardpack as sp
from shardpack.limits import MAX_HASH_KEY, MIB
from shardpack.testing import FakeKinesis, ManualClock

S = "events"
THROTTLED = "ProvisionedThroughputExceededException"
HALF, QUARTER = str(2**127), str(2**126)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def fake(clock: ManualClock) -> FakeKinesis:
    return FakeKinesis(streams={S: 2}, clock=clock)


def data(fake: FakeKinesis, shard_id: str | None = None) -> list[bytes]:
    return [record["Data"] for record in fake.records(shard_id)]


def split(fake: FakeKinesis, shard_id: str = SHARD_0, at: str = QUARTER) -> None:
    fake.split_shard(StreamName=S, ShardToSplit=shard_id, NewStartingHashKey=at)


def stored(results: list[dict[str, Any]]) -> int:
    codes = {result["ErrorCode"] for result in results if "ErrorCode" in result}
    assert codes <= {THROTTLED}
    return sum("SequenceNumber" in result for result in results)


def status(fake: FakeKinesis) -> str:
    summary = fake.describe_stream_summary(StreamName=S)["StreamDescriptionSummary"]
    return str(summary["StreamStatus"])


# Limits


def test_a_stream_s_record_size_is_its_own() -> None:
    fake = FakeKinesis()
    arn = fake.add_stream(S, max_record_size_kib=10 * 1024)
    fake.put_record(StreamARN=arn, Data=bytes(10 * MIB - 1), PartitionKey="k")
    with pytest.raises(ClientError, match=r"A record has 10485761 bytes .* takes 10485760"):
        fake.put_record(StreamARN=arn, Data=bytes(10 * MIB - 1), PartitionKey="\u00e9")
    fake.create_stream(StreamName="created", ShardCount=1, MaxRecordSizeInKiB=2048)
    fake.put_record(StreamName="created", Data=bytes(2 * MIB - 1), PartitionKey="k")
    too_large = {"StreamARN": arn, "MaxRecordSizeInKiB": 10_241}
    assert code_of(lambda: fake.update_max_record_size(**too_large)) == "ValidationException"


def test_a_request_takes_10_mebibytes_and_not_one_byte_more(fake: FakeKinesis) -> None:
    full = [bytes(MIB - 1)] * 10
    assert stored(put(fake, S, *full)) == 10
    assert code_of(lambda: put(fake, S, *full, b"")) == "InvalidArgumentException"
    assert len(data(fake)) == 10


def test_the_limit_of_a_request_is_the_test_s_to_set() -> None:
    fake = FakeKinesis(streams={S: 1}, max_request_bytes=5 * MIB)
    assert stored(put(fake, S, *[bytes(MIB - 1)] * 5)) == 5
    assert code_of(lambda: put(fake, S, *[bytes(MIB - 1)] * 5, b"")) == "InvalidArgumentException"


def test_a_page_takes_10_mebibytes_with_partition_keys() -> None:
    fake = FakeKinesis()
    fake.add_stream(S, max_record_size_kib=10 * 1024)
    for size in (10 * MIB - 1, 0, 10 * MIB - 2, 0, 0):
        put(fake, S, bytes(size))
    sizes = []
    token = iterator(fake, S)
    while page := fake.get_records(ShardIterator=token)["Records"]:
        sizes.append([len(record["Data"]) for record in page])
        token = fake.get_records(ShardIterator=token)["NextShardIterator"]
    assert sizes == [[10 * MIB - 1], [0, 10 * MIB - 2], [0, 0]]


def test_a_page_has_10_000_records_unless_it_is_told() -> None:
    fake = FakeKinesis(streams={S: 1})
    for _ in range(21):
        put(fake, S, *[b""] * 500)
    token = iterator(fake, S)
    assert len(read(fake, token)) == 10_000
    assert len(read(fake, token, Limit=1)) == 1


def test_list_shards_gives_1000_at_most() -> None:
    fake = FakeKinesis(streams={S: 1002})
    first = fake.list_shards(StreamName=S, MaxResults=10_000)
    assert len(first["Shards"]) == 1000
    assert len(fake.list_shards(NextToken=first["NextToken"])["Shards"]) == 2
    with pytest.raises(ClientError, match="NextToken and StreamName cannot be provided together"):
        list(fake.get_paginator("list_shards").paginate(StreamName=S))


def test_only_list_shards_has_a_paginator(fake: FakeKinesis) -> None:
    for operation in ("put_records", "describe_stream"):
        with pytest.raises(OperationNotPageableError):
            fake.get_paginator(operation)


# Budgets


def test_a_shard_takes_1000_records_a_second() -> None:
    clock = ManualClock()
    fake = FakeKinesis(streams={S: 2}, clock=clock, throttling=True)
    assert [stored(put(fake, S, *[b""] * 400)) for _ in range(4)] == [400, 400, 200, 0]
    assert stored(put(fake, S, b"", ehk=HIGH)) == 1  # the other shard has a budget of its own
    clock.advance(0.25)
    assert stored(put(fake, S, *[b""] * 400)) == 250
    clock.advance(60)  # no more than a second is saved up
    assert [stored(put(fake, S, *[b""] * 400)) for _ in range(3)] == [400, 400, 200]


def test_a_shard_takes_a_mebibyte_a_second() -> None:
    clock = ManualClock()
    fake = FakeKinesis(streams={S: 2}, clock=clock, throttling=True)
    quarter = bytes(MIB // 4 - 1)
    results = put(fake, S, *[quarter] * 6)
    assert ["ErrorCode" in result for result in results] == [False] * 4 + [True] * 2
    assert results[4]["ErrorMessage"] == (
        f"Rate exceeded for shard {SHARD_0} in stream {S} under account 123456789012."
    )
    clock.advance(0.25)
    assert stored(put(fake, S, quarter, quarter)) == 1


def test_put_record_raises_when_its_shard_is_over_its_budget() -> None:
    fake = FakeKinesis(streams={S: 2}, throttling=True)
    put(fake, S, bytes(MIB - 1))
    with pytest.raises(fake.exceptions.ProvisionedThroughputExceededException):
        fake.put_record(StreamName=S, Data=b"x", PartitionKey="k", ExplicitHashKey=LOW)
    fake.put_record(StreamName=S, Data=b"x", PartitionKey="k", ExplicitHashKey=HIGH)


def test_a_large_record_takes_a_full_budget_and_leaves_a_debt() -> None:
    clock = ManualClock()
    fake = FakeKinesis(clock=clock, throttling=True)
    fake.add_stream(S, max_record_size_kib=10 * 1024)
    assert stored(put(fake, S, bytes(4 * MIB - 1))) == 1
    clock.advance(2.9)
    assert stored(put(fake, S, b"x")) == 0
    clock.advance(0.2)
    assert stored(put(fake, S, b"x")) == 1
    assert stored(put(fake, S, bytes(4 * MIB - 1))) == 0


def test_children_have_budgets_of_their_own() -> None:
    fake = FakeKinesis(streams={S: 2}, throttling=True)
    put(fake, S, bytes(MIB - 1))
    split(fake)
    assert stored(put(fake, S, bytes(MIB - 1))) == 1
    assert stored(put(fake, S, bytes(MIB - 1), ehk=QUARTER)) == 1


@given(st.lists(st.floats(0, 0.7), min_size=1, max_size=12), st.integers(1, 400))
def test_a_budget_never_exceeds_its_rate(waits: list[float], count: int) -> None:
    clock = ManualClock()
    fake = FakeKinesis(streams={S: 1}, clock=clock, throttling=True)
    taken = 0
    for wait in waits:
        taken += stored(put(fake, S, *[b""] * count))
        assert taken <= 1000 + 1000 * (clock.now() - 1_800_000_000) + 1
        clock.advance(wait)


# Time


def test_the_clock_stands_still_until_it_is_moved(clock: ManualClock, fake: FakeKinesis) -> None:
    clock.advance(1.5)
    put(fake, S, b"0")
    (record,) = fake.records()
    assert clock.now() == clock() == 1_800_000_001.5
    assert record["ApproximateArrivalTimestamp"] == datetime.fromtimestamp(1_800_000_001.5, UTC)
    with pytest.raises(ValueError, match=r"seconds is -1; the clock only goes forward"):
        clock.advance(-1)


def test_steps_that_floats_do_not_have_add_up(clock: ManualClock, fake: FakeKinesis) -> None:
    for _ in range(100):
        clock.advance(0.1)
    put(fake, S, b"0")
    assert fake.records()[0]["ApproximateArrivalTimestamp"] == datetime.fromtimestamp(1_800_000_010, UTC)


def test_nothing_arrives_in_the_future(clock: ManualClock, fake: FakeKinesis) -> None:
    clock.advance(0.0009)
    put(fake, S, b"0")
    assert fake.records()[0]["ApproximateArrivalTimestamp"] == datetime.fromtimestamp(1_800_000_000, UTC)


@given(st.floats(1e9, 2e9), st.floats(0, 1), st.floats(0.0011, 1))
@example(1000000000.8536658, 0.0, 0.3333333333333333)
def test_at_timestamp_takes_a_record_from_its_arrival_on(start: float, before: float, after: float) -> None:
    clock = ManualClock(start)
    fake = FakeKinesis(streams={S: 1}, clock=clock)
    clock.advance(before)
    put(fake, S, b"0")
    for timestamp in (fake.records()[0]["ApproximateArrivalTimestamp"], clock.now()):
        assert read(fake, iterator(fake, S, "AT_TIMESTAMP", Timestamp=timestamp)) == [b"0"]
    clock.advance(after)
    assert read(fake, iterator(fake, S, "AT_TIMESTAMP", Timestamp=clock.now())) == []


def test_iterators_expire_after_five_minutes(clock: ManualClock, fake: FakeKinesis) -> None:
    token = iterator(fake, S)
    clock.advance(300)
    following = fake.get_records(ShardIterator=token)["NextShardIterator"]
    clock.advance(1)
    assert code_of(lambda: read(fake, token)) == "ExpiredIteratorException"
    assert read(fake, following) == []


def test_tokens_of_list_shards_expire_after_five_minutes(clock: ManualClock, fake: FakeKinesis) -> None:
    token = fake.list_shards(StreamName=S, MaxResults=1)["NextToken"]
    clock.advance(300)
    assert len(fake.list_shards(NextToken=token)["Shards"]) == 1
    clock.advance(1)
    assert code_of(lambda: fake.list_shards(NextToken=token)) == "ExpiredNextTokenException"


def test_a_token_is_not_an_iterator(fake: FakeKinesis) -> None:
    token = fake.list_shards(StreamName=S, MaxResults=1)["NextToken"]
    assert code_of(lambda: read(fake, token)) == "InvalidArgumentException"
    assert code_of(lambda: fake.list_shards(NextToken=iterator(fake, S))) == "InvalidArgumentException"
    for garbage in ("bnVsbA==", "W10=", "[]", "\u00e9"):
        assert code_of(partial(read, fake, garbage)) == "InvalidArgumentException"


def test_records_expire_after_a_day_and_records_has_them_still(clock: ManualClock, fake: FakeKinesis) -> None:
    (old,) = put(fake, S, b"old")
    clock.advance(3600)
    put(fake, S, b"new")
    clock.advance(23 * 3600 + 1)
    assert read(fake, iterator(fake, S)) == [b"new"]
    asked = {"kind": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": old["SequenceNumber"]}
    assert read(fake, iterator(fake, S, **asked)) == [b"new"]
    assert data(fake) == [b"old", b"new"]


def test_a_closed_shard_disappears_with_its_last_record(clock: ManualClock, fake: FakeKinesis) -> None:
    split(fake)
    clock.advance(24 * 3600)
    assert SHARD_0 in shard_ids(fake, S)
    clock.advance(1)
    assert shard_ids(fake, S) == [SHARD_1, SHARD_2, SHARD_3]
    assert shard_ids(fake, S, ShardFilter={"Type": "AT_TRIM_HORIZON"}) == [SHARD_1, SHARD_2, SHARD_3]


def test_at_the_moment_of_a_split_parent_and_children_are_open(clock: ManualClock, fake: FakeKinesis) -> None:
    clock.advance(5)
    split(fake)
    at = clock.now()
    clock.advance(5)
    expected = [SHARD_0, SHARD_1, SHARD_2, SHARD_3]
    assert shard_ids(fake, S, ShardFilter={"Type": "AT_TIMESTAMP", "Timestamp": at}) == expected


def test_a_reader_is_as_late_as_the_record_it_reached(clock: ManualClock, fake: FakeKinesis) -> None:
    for number in range(3):
        put(fake, S, b"%d" % number)
        clock.advance(10)
    page = fake.get_records(ShardIterator=iterator(fake, S), Limit=2)
    assert page["MillisBehindLatest"] == 20_000
    page = fake.get_records(ShardIterator=page["NextShardIterator"])
    assert page["MillisBehindLatest"] == 0


def test_a_reader_is_late_even_when_the_clock_stands_still(fake: FakeKinesis) -> None:
    put(fake, S, b"0", b"1")
    assert fake.get_records(ShardIterator=iterator(fake, S), Limit=1)["MillisBehindLatest"] > 0


# Streams that come, change and go


@pytest.mark.skipif(not old_botocore.knows("CreateStream", "Tags"), reason="botocore does not know Tags there")
def test_a_stream_is_creating_for_a_while(clock: ManualClock) -> None:
    fake = FakeKinesis(clock=clock, transition_seconds=2)
    fake.create_stream(StreamName=S, ShardCount=2, Tags={"Records": "of events", "Type": "any", "Limit": "none"})
    assert status(fake) == "CREATING"
    refused: dict[str, Callable[[], object]] = {
        "ResourceNotFoundException": lambda: put(fake, S, b"x"),
        "ResourceInUseException": lambda: split(fake),
    }
    for code, call in refused.items():
        assert code_of(call) == code
    assert code_of(lambda: iterator(fake, S)) == "ResourceNotFoundException"
    assert code_of(lambda: shards(fake, S)) == "ResourceInUseException"
    summary = fake.describe_stream_summary(StreamName=S)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 0
    clock.advance(2)
    assert status(fake) == "ACTIVE"
    assert stored(put(fake, S, b"x")) == 1


def test_a_stream_is_updating_for_a_while_and_works_on(clock: ManualClock) -> None:
    fake = FakeKinesis(clock=clock, transition_seconds=2)
    arn = fake.add_stream(S, 2)
    assert status(fake) == "ACTIVE"
    waiting = iterator(fake, S)
    split(fake)
    assert status(fake) == "UPDATING"
    assert put(fake, S, b"0")[0]["ShardId"] == SHARD_0
    assert shard_ids(fake, S) == [SHARD_0, SHARD_1]
    for call in (
        lambda: split(fake, SHARD_1, str(3 * 2**126)),
        lambda: fake.merge_shards(StreamName=S, ShardToMerge=SHARD_0, AdjacentShardToMerge=SHARD_1),
        lambda: fake.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=2048),
    ):
        assert code_of(call) == "ResourceInUseException"
    with pytest.raises(ValueError, match="not ACTIVE, instead in state UPDATING"):
        fake.autoscale(SHARD_1)
    clock.advance(10)
    page = fake.get_records(ShardIterator=waiting)
    assert [record["Data"] for record in page["Records"]] == [b"0"]
    assert [child["ShardId"] for child in page["ChildShards"]] == [SHARD_2, SHARD_3]
    closed_at = 1_800_000_002  # when it fell due, whoever looked later
    assert shard_ids(fake, S, ShardFilter={"Type": "FROM_TIMESTAMP", "Timestamp": closed_at})[0] == SHARD_0
    assert shard_ids(fake, S, ShardFilter={"Type": "FROM_TIMESTAMP", "Timestamp": closed_at + 1})[0] == SHARD_1


def test_the_other_changes_take_their_time_too(clock: ManualClock) -> None:
    fake = FakeKinesis(clock=clock, transition_seconds=2)
    arn = fake.add_stream(S, 2)
    fake.merge_shards(StreamName=S, ShardToMerge=SHARD_1, AdjacentShardToMerge=SHARD_0)
    assert len(shards(fake, S)) == 2
    clock.advance(2)
    assert hash_range(shards(fake, S)[2]) == (0, MAX_HASH_KEY)
    fake.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=2048)
    assert code_of(lambda: put(fake, S, bytes(MIB))) == "InvalidArgumentException"
    clock.advance(2)
    assert stored(put(fake, S, bytes(MIB))) == 1
    fake.delete_stream(StreamName=S)
    clock.advance(1)
    fake.delete_stream(StreamARN=arn)
    assert status(fake) == "DELETING"
    clock.advance(1)
    assert code_of(lambda: status(fake)) == "ResourceNotFoundException"


def test_a_stream_made_anew_has_nothing_of_the_old_one(fake: FakeKinesis) -> None:
    (old,) = put(fake, S, b"old")
    token = iterator(fake, S)
    fake.delete_stream(StreamName=S)
    fake.add_stream(S, 2)
    (new,) = put(fake, S, b"new")
    assert int(new["SequenceNumber"]) > int(old["SequenceNumber"])
    assert code_of(lambda: read(fake, token)) == "ResourceNotFoundException"
    asked = {"kind": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": old["SequenceNumber"]}
    assert code_of(lambda: iterator(fake, S, **asked)) == "InvalidArgumentException"


def test_shards_are_merged_in_any_order(fake: FakeKinesis) -> None:
    fake.merge_shards(StreamName=S, ShardToMerge=SHARD_1, AdjacentShardToMerge=SHARD_0)
    child = shards(fake, S)[2]
    assert hash_range(child) == (0, MAX_HASH_KEY)
    assert (child["ParentShardId"], child["AdjacentParentShardId"]) == (SHARD_1, SHARD_0)


# On-demand


@pytest.mark.skipif(old_botocore.wants("PutRecord", "PartitionKey"), reason="botocore asks for it")
def test_auto_distribution_ignores_keys() -> None:
    fake = FakeKinesis(seed=3)
    arn = fake.add_stream(S, 4, on_demand=True, distribution="AUTO")
    results = [fake.put_record(StreamName=S, Data=b"x", PartitionKey="k", ExplicitHashKey=LOW) for _ in range(8)]
    rounds = [result["ShardId"] for result in results]
    assert set(rounds[:4]) == set(rounds[4:]) == {SHARD_0, SHARD_1, SHARD_2, SHARD_3}
    again = FakeKinesis(seed=3)
    again.add_stream(S, 4, on_demand=True, distribution="AUTO")
    assert [result["ShardId"] for result in put(again, S, *[b"x"] * 8)] == rounds
    fake.put_records(StreamName=S, Records=[{"Data": b"without a key"}])
    assert [record.get("PartitionKey") for record in fake.records()].count(None) == 1
    assert len(fake.user_records()) == 9

    fake.update_stream_record_distribution_strategy(StreamARN=arn, RecordDistributionStrategy="USER_PARTITION_KEY")
    assert {result["ShardId"] for result in put(fake, S, *[b"x"] * 8)} == {SHARD_0}


def test_a_distribution_strategy_takes_effect_at_once() -> None:
    fake = FakeKinesis(transition_seconds=5)
    arn = fake.add_stream(S, 2, on_demand=True)
    fake.update_stream_record_distribution_strategy(StreamARN=arn, RecordDistributionStrategy="AUTO")
    summary = fake.describe_stream_summary(StreamName=S)["StreamDescriptionSummary"]
    assert (summary["RecordDistributionStrategy"], summary["StreamStatus"]) == ("AUTO", "ACTIVE")
    assert {result["ShardId"] for result in put(fake, S, b"x", b"x")} == {SHARD_0, SHARD_1}


def test_auto_distribution_is_for_on_demand_alone(fake: FakeKinesis) -> None:
    arn = fake.describe_stream_summary(StreamName=S)["StreamDescriptionSummary"]["StreamARN"]
    wanted = {"RecordDistributionStrategy": "AUTO"}
    assert code_of(lambda: fake.update_stream_record_distribution_strategy(StreamARN=arn, **wanted)) == (
        "InvalidArgumentException"
    )
    assert code_of(lambda: fake.create_stream(StreamName="b", ShardCount=1, **wanted)) == "InvalidArgumentException"


def test_an_on_demand_stream_grows_by_itself() -> None:
    fake = FakeKinesis()
    fake.create_stream(StreamName=S, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    fake.autoscale(SHARD_3)
    low, high = shards(fake, S)[4:]
    assert low["ParentShardId"] == high["ParentShardId"] == SHARD_3
    assert hash_range(low) == (3 * 2**126, 7 * 2**125 - 1)
    assert low["ShardId"] == SHARD_4
    for call in (
        lambda: split(fake),
        lambda: fake.merge_shards(StreamName=S, ShardToMerge=SHARD_0, AdjacentShardToMerge=SHARD_1),
    ):
        assert code_of(call) == "ValidationException"


def test_the_shard_count_belongs_to_the_provisioned_mode(fake: FakeKinesis) -> None:
    on_demand = {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}}
    assert code_of(lambda: fake.create_stream(StreamName="b", ShardCount=1, **on_demand)) == "InvalidArgumentException"
    assert code_of(lambda: fake.create_stream(StreamName="b")) == "InvalidArgumentException"


# What a test looks at


def test_records_shows_everything_stored(fake: FakeKinesis) -> None:
    fake.put_record(StreamName=S, Data=b"plain", PartitionKey="k")
    put(fake, S, b"pinned", ehk=HIGH)
    split(fake, SHARD_1, str(3 * 2**126))
    put(fake, S, b"late", ehk=HALF)
    plain, pinned, late = sorted(fake.records(), key=lambda record: int(record["SequenceNumber"]))
    assert "ExplicitHashKey" not in plain
    assert (pinned["Data"], pinned["ShardId"], pinned["ExplicitHashKey"]) == (b"pinned", SHARD_1, HIGH)
    assert (late["Data"], late["ShardId"], late["PartitionKey"]) == (b"late", SHARD_2, "k")
    assert data(fake, SHARD_2) == [b"late"]
    assert [record["ShardId"] for record in fake.records()] == sorted(record["ShardId"] for record in fake.records())


def test_user_records_applies_the_kcl_s_hash_range_rule(fake: FakeKinesis) -> None:
    shard_map = sp.ShardMap(shards(fake, S))
    keys = [key for key in map(str, range(60)) if shard_map.shard_for_partition_key(key).shard_id == SHARD_0]
    records = [(key, b"of %s" % key.encode()) for key in keys]
    expected = sorted(data for _, data in records)

    def received(hash_keys: Any, shard_id: str) -> list[bytes]:
        fake = FakeKinesis(streams={S: 2})
        requests = list(sp.put_requests(sp.pack(records, shard_map=shard_map, hash_keys=hash_keys)))
        if shard_id == SHARD_2:
            split(fake)
        for request in requests:
            fake.put_records(StreamName=S, Records=request.entries)
        assert {record["ShardId"] for record in fake.records()} <= {SHARD_0, SHARD_2, SHARD_3}
        return sorted(record.data for record in fake.user_records())

    assert received("kpl", SHARD_0) == received("pinned", SHARD_0) == expected
    assert received("pinned", SHARD_2) == expected
    assert received("kpl", SHARD_2) == []  # it has records of both children, so the KCL drops it whole


def test_user_records_reads_a_parent_by_the_range_that_the_parent_had(fake: FakeKinesis) -> None:
    put(fake, S, sp.encode([sp.UserRecord("k", b"low", LOW), sp.UserRecord("k", b"high", str(2**127 - 1))]))
    split(fake)
    assert [record.data for record in fake.user_records()] == [b"low", b"high"]
    assert [record.data for record in fake.user_records(SHARD_2)] == []


def test_a_stream_is_named_where_there_are_several(fake: FakeKinesis) -> None:
    fake.add_stream("other")
    put(fake, "other", b"x")
    assert [record["Data"] for record in fake.records(stream_name="other")] == [b"x"]
    assert len(fake.user_records(stream_name="other")) == 1
    with pytest.raises(ValueError, match=r"stream_name is None; the streams are events, other"):
        fake.records()
    with pytest.raises(ValueError, match=r"stream_name is 'nowhere'; the streams are events, other"):
        fake.user_records(stream_name="nowhere")
    with pytest.raises(ValueError, match=r"stream_name is None; the streams are none"):
        FakeKinesis().records()
    with pytest.raises(ValueError, match=r"stream events never had the shard 'shardId-7'"):
        fake.records("shardId-7", stream_name=S)


def test_wrong_settings_are_refused_with_a_reason(fake: FakeKinesis) -> None:
    cases: dict[str, Callable[[], object]] = {
        "already exists": lambda: fake.add_stream(S),
        "Value '0' at 'shardCount'": lambda: fake.add_stream("b", 0),
        "at 'streamName'.*length greater than or equal to 1": lambda: fake.add_stream(""),
        "at 'streamName'.*regular expression": lambda: fake.add_stream("a b"),
        "'maxRecordSizeInKiB'.*less than or equal to 10240": lambda: fake.add_stream("b", max_record_size_kib=10241),
        "enum value set": lambda: fake.add_stream("b", on_demand=True, distribution="SOME"),
        "AUTO is only supported in on-demand mode": lambda: fake.add_stream("b", distribution="AUTO"),
        "Shard shardId-7 in stream events .* does not exist": lambda: fake.autoscale("shardId-7"),
    }
    for message, call in cases.items():
        with pytest.raises(ValueError, match=message):
            call()
    assert fake.calls == []


def test_errors_are_botocore_s(fake: FakeKinesis) -> None:
    with pytest.raises(fake.exceptions.ResourceNotFoundException) as caught:
        put(fake, "nowhere", b"x")
    error = caught.value
    assert isinstance(error, ClientError)
    assert isinstance(error, fake.exceptions.ClientError)
    assert error.operation_name == "PutRecords"
    assert error.response["Error"] == {
        "Code": "ResourceNotFoundException",
        "Message": "Stream nowhere under account 123456789012 not found.",
    }
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert fake.describe_stream_summary(StreamName=S)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_broken_rule_is_named_as_the_service_names_it(fake: FakeKinesis) -> None:
    with pytest.raises(ClientError, match=r"Value 'x' at 'records\.2\.member\.explicitHashKey' failed to satisfy"):
        fake.put_records(
            StreamName=S,
            Records=[{"Data": b"", "PartitionKey": "k"}, {"Data": b"", "PartitionKey": "k", "ExplicitHashKey": "x"}],
        )


def test_meta_is_that_of_a_client(fake: FakeKinesis) -> None:
    assert fake.meta.region_name == "us-east-1"
    assert fake.meta.service_model.service_name == "kinesis"
    assert fake.meta.method_to_api_mapping["put_records"] == "PutRecords"
    fake.close()


def test_calls_shows_what_arrived(clock: ManualClock, fake: FakeKinesis) -> None:
    clock.advance(3)
    put(fake, S, b"x")
    code_of(lambda: fake.list_shards(StreamName="nowhere"))
    done, failed = fake.calls
    assert (done.operation, done.time, done.error) == ("put_records", 1_800_000_003.0, None)
    assert done.parameters["Records"][0]["Data"] == b"x"
    assert done.response is not None
    assert done.response["FailedRecordCount"] == 0
    assert isinstance(failed.error, fake.exceptions.ResourceNotFoundException)
    assert failed.response is None


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_eight_threads_put_at_once() -> None:
    fake = FakeKinesis(streams={S: 2})

    def put_many(thread: int) -> list[dict[str, Any]]:
        return [put(fake, S, b"%d %d" % (thread, n), ehk=LOW if n % 2 else HIGH)[0] for n in range(100)]

    with ThreadPoolExecutor(8) as threads:
        results = [result for many in threads.map(put_many, range(8)) for result in many]
    assert len({result["SequenceNumber"] for result in results}) == 800
    assert len(fake.calls) == 800
    assert sorted(data(fake)) == sorted(b"%d %d" % (thread, n) for thread in range(8) for n in range(100))
    for shard_id in (SHARD_0, SHARD_1):
        numbers = [int(record["SequenceNumber"]) for record in fake.records(shard_id)]
        assert numbers == sorted(numbers)


def test_it_is_imported_without_botocore_and_made_with_it() -> None:
    # Named in sys.modules as None, a module is not found.
    code = (
        "import sys; sys.modules['botocore'] = None; sys.modules['hypothesis'] = None\n"
        "from shardpack.testing import FakeKinesis\n"
        "FakeKinesis()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    expected = "ModuleNotFoundError: shardpack.testing.FakeKinesis needs botocore: pip install 'shardpack[aws]'"
    assert expected in done.stderr


# Properties

_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, MAX_HASH_KEY)),
        st.tuples(st.just("split"), st.integers(0, MAX_HASH_KEY)),
        st.tuples(st.just("merge"), st.integers(0, MAX_HASH_KEY)),
    ),
    max_size=25,
)


def _apply(fake: FakeKinesis, events: list[tuple[str, int]]) -> dict[bytes, str]:
    """Do as told where the service lets one; returns where each record went."""
    went: dict[bytes, str] = {}
    for kind, hash_key in events:
        open_shards = sp.ShardMap(shards(fake, S, ShardFilter={"Type": "AT_LATEST"}))
        here = open_shards.shard_for(hash_key)
        try:
            if kind == "put":
                data = b"%d" % len(went)
                went[data] = put(fake, S, data, ehk=str(hash_key))[0]["ShardId"]
                assert went[data] == here.shard_id
            elif kind == "split":
                split(fake, here.shard_id, str(hash_key))
            elif here.ending_hash_key < MAX_HASH_KEY:
                adjacent = open_shards.shard_for(here.ending_hash_key + 1).shard_id
                fake.merge_shards(StreamName=S, ShardToMerge=here.shard_id, AdjacentShardToMerge=adjacent)
        except fake.exceptions.InvalidArgumentException:
            assert kind == "split"  # at an edge
    return went


@given(_EVENTS, st.integers(1, 4), st.integers(1, 5))
def test_resharding_loses_doubles_and_reorders_nothing(events: list[tuple[str, int]], count: int, limit: int) -> None:
    fake = FakeKinesis(streams={S: count})
    went = _apply(fake, events)
    listed = shards(fake, S)
    is_open = {shard["ShardId"]: "EndingSequenceNumber" not in shard["SequenceNumberRange"] for shard in listed}
    ranges = sorted(hash_range(shard) for shard in listed if is_open[shard["ShardId"]])
    assert (ranges[0][0], ranges[-1][1]) == (0, MAX_HASH_KEY)
    assert all(before[1] + 1 == after[0] for before, after in pairwise(ranges))

    found = walk(fake, S, Limit=limit)
    assert {record["Data"]: shard_id for shard_id, records in found.items() for record in records} == went
    assert len(list(data_of(found))) == len(went)
    starts = {shard["ShardId"]: int(shard["SequenceNumberRange"]["StartingSequenceNumber"]) for shard in listed}
    for shard in listed:
        numbers = [starts[shard["ShardId"]], *(int(r["SequenceNumber"]) for r in found[shard["ShardId"]])]
        numbers += [int(n) for n in [shard["SequenceNumberRange"].get("EndingSequenceNumber")] if n]
        assert numbers == sorted(set(numbers))
        for parent in (shard.get("ParentShardId"), shard.get("AdjacentParentShardId")):
            assert parent is None or starts[shard["ShardId"]] > max(
                [0, *(int(r["SequenceNumber"]) for r in found[parent])]
            )


@given(_EVENTS, st.data())
def test_reading_goes_on_from_anywhere(events: list[tuple[str, int]], draw: st.DataObject) -> None:
    fake = FakeKinesis(streams={S: 2})
    _apply(fake, events)
    shard_id = draw.draw(st.sampled_from(shard_ids(fake, S)))
    records = fake.records(shard_id)
    for index, record in enumerate(records):
        rest = [each["Data"] for each in records[index:]]
        asked = {"shard_id": shard_id, "StartingSequenceNumber": record["SequenceNumber"]}
        assert read(fake, iterator(fake, S, "AT_SEQUENCE_NUMBER", **asked)) == rest
        assert read(fake, iterator(fake, S, "AFTER_SEQUENCE_NUMBER", **asked)) == rest[1:]
