"""What goes wrong in a `FakeKinesis` on order: `FakeKinesis.script`, and its twin for asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ParamValidationError,
    ReadTimeoutError,
)
from kinesis_calls import HIGH, LOW, SHARD_0, SHARD_1, SHARD_2, code_of, iterator, put, read, shard_ids

import shardpack as sp
from shardpack.testing import FakeKinesis, ManualClock, SystemClock

S = "events"
THROTTLED = "ProvisionedThroughputExceededException"
START = 1_800_000_000.0


@pytest.fixture
def fake() -> FakeKinesis:
    return FakeKinesis(streams={S: 2})


def data(fake: FakeKinesis) -> list[bytes]:
    return [record["Data"] for record in fake.records()]


def codes(results: list[dict[str, Any]]) -> list[str | None]:
    return [result.get("ErrorCode") for result in results]


# Errors


@pytest.mark.parametrize("after_storing", [False, True])
def test_an_error_before_or_after_storing(fake: FakeKinesis, after_storing: bool) -> None:
    fake.script("put_records", error="InternalFailure", after_storing=after_storing)
    assert code_of(lambda: put(fake, S, b"0")) == "InternalFailure"
    assert data(fake) == [b"0"] * after_storing
    put(fake, S, b"1")
    assert data(fake) == [*[b"0"] * after_storing, b"1"]


@pytest.mark.parametrize(
    "kind", [ConnectTimeoutError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError]
)
def test_an_error_of_the_connection(fake: FakeKinesis, kind: type[Exception]) -> None:
    fake.script("put_records", error=kind.__name__, after_storing=True)
    with pytest.raises(kind, match=r"https://kinesis\.us-east-1\.amazonaws\.com"):
        put(fake, S, b"0")
    assert data(fake) == [b"0"]


def test_an_error_of_the_test_s_own(fake: FakeKinesis) -> None:
    mine = KeyboardInterrupt("mine")
    fake.script("list_shards", error=mine)
    with pytest.raises(KeyboardInterrupt) as caught:
        shard_ids(fake, S)
    assert caught.value is mine
    assert fake.calls[0].error is mine


def test_an_error_code_is_of_its_class_and_status(fake: FakeKinesis) -> None:
    fake.script("get_records", error=THROTTLED)
    with pytest.raises(fake.exceptions.ProvisionedThroughputExceededException):
        read(fake, iterator(fake, S))
    for code, status in {"InternalFailure": 500, "ServiceUnavailable": 503, "Colourful": 400}.items():
        fake.script("get_records", error=code)
        with pytest.raises(ClientError) as caught:
            read(fake, iterator(fake, S))
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
        assert caught.value.response["Error"] == {"Code": code, "Message": f"scripted: {code}"}


def test_a_call_that_the_service_refuses_has_its_own_error_before_a_scripted_one_after_storing(
    fake: FakeKinesis,
) -> None:
    fake.script("put_records", error="InternalFailure", after_storing=True)
    assert code_of(lambda: put(fake, "nowhere", b"0")) == "ResourceNotFoundException"
    assert fake.scripts == []


def test_what_boto3_refuses_uses_no_entry(fake: FakeKinesis) -> None:
    fake.script("put_records", error="InternalFailure")
    with pytest.raises(ParamValidationError):
        fake.put_records(StreamName=S, Records=[{"Colour": "red"}])
    assert len(fake.scripts) == 1
    assert fake.calls == []


# Records


def test_records_fail_by_index(fake: FakeKinesis) -> None:
    fake.script("put_records", records={1: "InternalFailure", 9: "InternalFailure"})
    response = fake.put_records(
        StreamName=S, Records=[{"Data": b"%d" % n, "PartitionKey": "k", "ExplicitHashKey": LOW} for n in range(3)]
    )
    assert response["FailedRecordCount"] == 1
    assert codes(response["Records"]) == [None, "InternalFailure", None]
    assert response["Records"][1] == {"ErrorCode": "InternalFailure", "ErrorMessage": "scripted: InternalFailure"}
    assert data(fake) == [b"0", b"2"]


def test_records_fail_by_a_function(fake: FakeKinesis) -> None:
    def judge(index: int, entry: Mapping[str, Any]) -> str | None:
        return THROTTLED if index and entry["Data"] == b"a" else None

    fake.script("put_records", records=judge)
    assert codes(put(fake, S, b"a", b"b", b"a")) == [None, None, THROTTLED]
    assert data(fake) == [b"a", b"b"]


def test_records_are_said_to_fail_and_stored_all_the_same(fake: FakeKinesis) -> None:
    fake.script("put_records", records={0: "InternalFailure"}, after_storing=True)
    assert codes(put(fake, S, b"0", b"1")) == ["InternalFailure", None]
    assert data(fake) == [b"0", b"1"]


def test_records_of_two_entries_fail_together(fake: FakeKinesis) -> None:
    fake.script("put_records", records={0: "InternalFailure"}, times=None)
    fake.script("put_records", records={0: THROTTLED, 1: THROTTLED})
    assert codes(put(fake, S, b"0", b"1")) == ["InternalFailure", THROTTLED]
    assert codes(put(fake, S, b"0", b"1")) == ["InternalFailure", None]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_or_too_many_results(fake: FakeKinesis, count: int) -> None:
    fake.script("put_records", result_count=count, records={1: "InternalFailure"})
    results = put(fake, S, b"0", b"1")
    assert codes(results) == [None, "InternalFailure", None, "InternalFailure", None][:count]
    assert fake.calls[0].response is not None
    assert fake.calls[0].response["FailedRecordCount"] == codes(results).count("InternalFailure")
    assert data(fake) == [b"0"]


# Throttling


def test_a_shard_is_throttled(fake: FakeKinesis) -> None:
    entries = [{"Data": b"x", "PartitionKey": "k", "ExplicitHashKey": key} for key in (LOW, HIGH)]
    tokens = [iterator(fake, S, shard_id=shard_id) for shard_id in (SHARD_0, SHARD_1)]
    fake.script("*", throttle=[SHARD_0], times=None)
    assert codes(fake.put_records(StreamName=S, Records=entries)["Records"]) == [THROTTLED, None]
    assert code_of(lambda: fake.put_record(StreamName=S, **entries[0])) == THROTTLED
    fake.put_record(StreamName=S, **entries[1])
    assert code_of(lambda: iterator(fake, S)) == THROTTLED
    iterator(fake, S, shard_id=SHARD_1)
    assert code_of(lambda: read(fake, tokens[0])) == THROTTLED
    assert read(fake, tokens[1]) == [b"x", b"x"]
    assert shard_ids(fake, S) == [SHARD_0, SHARD_1]


@pytest.mark.parametrize("shards", ["*", SHARD_0, {SHARD_0, SHARD_1}])
def test_shards_to_throttle_are_named_one_by_one_or_all(fake: FakeKinesis, shards: Any) -> None:
    fake.script("put_records", throttle=shards)
    (result,) = put(fake, S, b"x")
    assert result == {
        "ErrorCode": THROTTLED,
        "ErrorMessage": f"Rate exceeded for shard {SHARD_0} in stream {S} under account 123456789012.",
    }


# Time


def test_latency_passes_before_and_after_the_effect(fake: FakeKinesis) -> None:
    fake.script("put_records", latency=2, latency_after=3)
    put(fake, S, b"0")
    assert fake.records()[0]["ApproximateArrivalTimestamp"].timestamp() == START + 2
    assert fake.clock.now() == START + 5
    assert fake.calls[0].time == START


def test_latencies_add_up_and_pass_for_errors_too(fake: FakeKinesis) -> None:
    fake.script("put_records", latency=2, times=None)
    fake.script("put_records", latency=1, error="InternalFailure", latency_after=4)
    code_of(lambda: put(fake, S, b"0"))
    assert fake.clock.now() == START + 7


def test_latency_on_the_real_clock_takes_its_time() -> None:
    fake = FakeKinesis(streams={S: 1}, clock=SystemClock())
    fake.script("put_records", latency=0.02, latency_after=0.02)
    before = time.monotonic()
    put(fake, S, b"0")
    assert time.monotonic() - before >= 0.04
    assert abs(fake.clock.now() - time.time()) < 60


def test_a_slow_call_holds_up_no_other() -> None:
    waiting, go = threading.Event(), threading.Event()

    class Slow(ManualClock):
        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            waiting.set()
            assert go.wait(60)

    fake = FakeKinesis(streams={S: 1}, clock=Slow())
    fake.script("put_records", latency=1)
    slow = threading.Thread(target=put, args=(fake, S, b"slow"))
    slow.start()
    assert waiting.wait(60)
    put(fake, S, b"fast")
    go.set()
    slow.join(60)
    assert data(fake) == [b"fast", b"slow"]


# Which calls


def test_an_action_splits_a_shard_under_a_call(fake: FakeKinesis) -> None:
    def split() -> None:
        fake.split_shard(StreamName=S, ShardToSplit=SHARD_0, NewStartingHashKey=str(2**126))

    fake.script("put_records", action=split)
    assert put(fake, S, b"0")[0]["ShardId"] == SHARD_2
    assert [call.operation for call in fake.calls] == ["put_records", "split_shard"]


def test_an_action_comes_before_the_error(fake: FakeKinesis) -> None:
    fake.script("put_records", action=lambda: fake.autoscale(SHARD_0), error="InternalFailure")
    code_of(lambda: put(fake, S, b"0"))
    assert shard_ids(fake, S)[2:]


def test_what_an_action_raises_is_raised(fake: FakeKinesis) -> None:
    fake.script("put_records", action=lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        put(fake, S, b"0")
    assert data(fake) == []


def test_entries_are_used_in_order_one_a_call(fake: FakeKinesis) -> None:
    fake.script("put_records", error="First", times=2)
    fake.script("*", error="Second")
    fake.script("list_shards", error="Third")
    assert [code_of(lambda: put(fake, S, b"0")) for _ in range(2)] == ["First", "First"]
    assert code_of(lambda: shard_ids(fake, S)) == "Second"
    assert code_of(lambda: shard_ids(fake, S)) == "Third"
    put(fake, S, b"0")
    assert shard_ids(fake, S) == [SHARD_0, SHARD_1]


def test_a_standing_entry_meets_every_call_beside_the_one_that_is_used(fake: FakeKinesis) -> None:
    standing = fake.script("put_records", records={0: "InternalFailure"}, times=None)
    used = fake.script("put_records", records={1: "InternalFailure"})
    assert fake.scripts == [standing, used]
    assert codes(put(fake, S, b"0", b"1")) == ["InternalFailure", "InternalFailure"]
    assert fake.scripts == [standing]
    assert codes(put(fake, S, b"0", b"1")) == ["InternalFailure", None]


def test_only_calls_for_whose_parameters_it_holds(fake: FakeKinesis) -> None:
    fake.script("get_records", error="InternalFailure", when=lambda parameters: parameters.get("Limit") == 7)
    token = iterator(fake, S)
    assert read(fake, token) == []
    assert code_of(lambda: read(fake, token, Limit=7)) == "InternalFailure"
    assert read(fake, token, Limit=7) == []


def test_only_for_some_seconds(fake: FakeKinesis) -> None:
    clock = fake.clock
    assert isinstance(clock, ManualClock)
    entry = fake.script("put_records", error="InternalFailure", times=None, for_seconds=10)
    assert entry.until == START + 10
    clock.advance(9.9)
    code_of(lambda: put(fake, S, b"0"))
    assert fake.scripts == [entry]
    clock.advance(0.1)
    assert fake.scripts == []
    put(fake, S, b"1")
    assert data(fake) == [b"1"]


def test_an_entry_whose_time_has_passed_meets_no_call(fake: FakeKinesis) -> None:
    clock = fake.clock
    assert isinstance(clock, ManualClock)
    fake.script("put_records", error="InternalFailure", times=None, for_seconds=10)
    clock.advance(10)
    put(fake, S, b"0")
    assert data(fake) == [b"0"]


def test_scripts_can_be_forgotten(fake: FakeKinesis) -> None:
    fake.script("put_records", error="InternalFailure")
    left = fake.script("list_shards", error="InternalFailure")
    fake.clear_scripts("put_records")
    assert fake.scripts == [left]
    fake.clear_scripts()
    assert fake.scripts == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"operation": "put"}, r'operation is \'put\'; choose "\*" or one of create_stream, '),
        ({"operation": "put_records"}, "the script does nothing; give error, records, throttle"),
        ({"operation": "put_record", "records": {0: "X"}}, "records and result_count are put_records' own"),
        ({"operation": "put_record", "result_count": 1}, "records and result_count are put_records' own"),
        ({"operation": "list_shards", "throttle": "*"}, "throttle is for put_records, .*; for list_shards give error"),
        ({"operation": "*", "throttle": "*", "after_storing": True}, "after_storing is about error and records"),
        ({"operation": "*", "error": "X", "times": 0}, "times is 0; give at least 1, or None for every call"),
        ({"operation": "*", "latency": -1}, "latency is -1; give seconds from 0"),
        ({"operation": "*", "latency_after": -2}, "latency is -2; give seconds from 0"),
        ({"operation": "*", "error": "X", "for_seconds": 0}, "for_seconds is 0; give more than 0"),
        ({"operation": "put_records", "result_count": -1}, "result_count is -1; give 0 or more"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused(fake: FakeKinesis, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fake.script(**arguments)
    assert fake.scripts == []


def test_a_call_s_outcome_can_be_had_again(fake: FakeKinesis) -> None:
    put(fake, S, b"0")
    fake.script("list_shards", error="InternalFailure")
    code_of(lambda: shard_ids(fake, S))
    assert fake.calls[0].outcome()["FailedRecordCount"] == 0
    assert code_of(fake.calls[1].outcome) == "InternalFailure"


# asyncio


def test_the_twin_does_every_operation_on_the_same_streams() -> None:
    async def main() -> None:
        fake = FakeKinesis()
        async with fake.aio as client:
            assert client.fake is fake
            await client.create_stream(StreamName=S, ShardCount=2)
            summary = await client.describe_stream_summary(StreamName=S)
            arn = summary["StreamDescriptionSummary"]["StreamARN"]
            await client.put_record(StreamName=S, Data=b"0", PartitionKey="k", ExplicitHashKey=LOW)
            await client.put_records(
                StreamName=S, Records=[{"Data": b"1", "PartitionKey": "k", "ExplicitHashKey": HIGH}]
            )
            await client.merge_shards(StreamName=S, ShardToMerge=SHARD_0, AdjacentShardToMerge=SHARD_1)
            await client.split_shard(StreamName=S, ShardToSplit=SHARD_2, NewStartingHashKey="7")
            assert len((await client.list_shards(StreamName=S))["Shards"]) == 5
            token = await client.get_shard_iterator(StreamName=S, ShardId=SHARD_0, ShardIteratorType="TRIM_HORIZON")
            page = await client.get_records(ShardIterator=token["ShardIterator"])
            assert [record["Data"] for record in page["Records"]] == [b"0"]
            await client.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=2048)
            auto = {"StreamARN": arn, "RecordDistributionStrategy": "AUTO"}
            with pytest.raises(client.exceptions.InvalidArgumentException):
                await client.update_stream_record_distribution_strategy(**auto)
            assert data(fake) == [b"0", b"1"]
            await client.delete_stream(StreamName=S)
            with pytest.raises(client.exceptions.ResourceNotFoundException):
                await client.list_shards(StreamName=S)
        assert len({call.operation for call in fake.calls}) == len(client.meta.method_to_api_mapping)

    asyncio.run(main())


@pytest.mark.parametrize(("setting", "stored"), [("latency", []), ("latency_after", [b"0"])])
def test_a_cancelled_call_has_taken_effect_or_not(setting: str, stored: list[bytes]) -> None:
    async def main() -> None:
        fake = FakeKinesis(streams={S: 1}, clock=SystemClock())
        fake.script("put_records", **{setting: 60})  # type: ignore[arg-type]
        entry = {"Data": b"0", "PartitionKey": "k"}
        call = asyncio.create_task(fake.aio.put_records(StreamName=S, Records=[entry]))
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert data(fake) == stored

    asyncio.run(main())


def test_another_task_runs_before_a_call_takes_effect() -> None:
    async def main() -> None:
        fake = FakeKinesis(streams={S: 1})
        entry = {"Data": b"0", "PartitionKey": "k"}
        call = asyncio.create_task(fake.aio.put_records(StreamName=S, Records=[entry]))
        await asyncio.sleep(0)
        assert (len(fake.calls), data(fake)) == (1, [])
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert data(fake) == []

    asyncio.run(main())


def test_the_twin_s_faults_are_the_fake_s() -> None:
    async def main() -> None:
        fake = FakeKinesis(streams={S: 1})
        fake.script("list_shards", error="ReadTimeoutError", latency=1, latency_after=2)
        with pytest.raises(ReadTimeoutError):
            await fake.aio.list_shards(StreamName=S)
        assert fake.clock.now() == START + 3

    asyncio.run(main())


# This library's own producers


def test_a_producer_delivers_through_what_goes_wrong() -> None:
    fake = FakeKinesis(streams={S: 2}, clock=SystemClock())
    fake.script("put_records", error="InternalFailure")
    fake.script("put_records", records={0: "InternalFailure"})
    fake.script("put_records", action=lambda: fake.autoscale(SHARD_0))
    with sp.Producer(S, client=fake) as producer:
        futures = [producer.put(f"user-{n % 7}", b"%d" % n) for n in range(100)]
    assert {future.result().shard_id for future in futures} <= {s["ShardId"] for s in fake.records()}
    assert sorted(record.data for record in fake.user_records()) == sorted(b"%d" % n for n in range(100))
