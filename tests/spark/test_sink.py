"""The sink's tasks against a Kinesis in memory: what they put, what fails, and how repeats are dropped."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import pytest

pa = pytest.importorskip("pyarrow")
pytest.importorskip("botocore")
pytest.importorskip("pyspark.sql.datasource")
from pyspark.sql.types import BinaryType, IntegerType, StringType, StructType

import shardpack as sp
from shardpack.dedup import Deduplicator
from shardpack.ranges.shells import putting
from shardpack.spark.core.options import sink_options
from shardpack.spark.shells import sink
from shardpack.testing import FakeKinesis, SystemClock

# What pyspark and pandas warn of is not ours to judge.
pytestmark = pytest.mark.filterwarnings("default")

SCHEMA = StructType().add("partitionKey", StringType()).add("data", BinaryType()).add("other", IntegerType())


@pytest.fixture
def kinesis(monkeypatch: pytest.MonkeyPatch) -> FakeKinesis:
    fake = FakeKinesis(streams={"s": 2}, clock=SystemClock())
    monkeypatch.setattr(sink, "kinesis_of", lambda _: fake)
    return fake


def batches(records: int, size: int = 1000, fails_at: int | None = None) -> Iterator[Any]:
    for start in range(0, records, size):
        if fails_at is not None and start >= fails_at:
            raise RuntimeError("the task is lost")
        numbers = range(start, min(records, start + size))
        columns = {"other": [*numbers], "partitionKey": [f"k{nth % 50}" for nth in numbers]}
        yield pa.RecordBatch.from_pydict({**columns, "data": [b"%d" % nth for nth in numbers]})


def writer(**given: str) -> sink.BatchWriter:
    return sink.BatchWriter(sink_options({"streamName": "s", **given}), sink.check_columns(SCHEMA))


def test_every_row_is_put_in_aggregates(kinesis: FakeKinesis) -> None:
    assert writer().write(batches(5000)).rows == 5000
    assert sorted(int(one.data) for one in kinesis.user_records()) == [*range(5000)]
    assert len(kinesis.records()) < 100


def test_aggregation_is_off_if_that_is_asked_for(kinesis: FakeKinesis) -> None:
    writer(aggregation="false").write(batches(200))
    assert len(kinesis.records()) == 200


def test_a_task_that_is_run_again_puts_all_and_a_deduplicator_drops_the_repeats(kinesis: FakeKinesis) -> None:
    with pytest.raises(RuntimeError, match="the task is lost"):
        writer().write(batches(3000, fails_at=2000))
    writer().write(batches(3000))
    received = kinesis.user_records()
    assert len(received) > 3000
    seen = Deduplicator()
    once = []
    for record in received:
        if seen.seen(record) is None:
            once.append(record)
            seen.add(record)
    assert sorted(int(one.data) for one in once) == [*range(3000)]


def test_a_row_that_cannot_be_stored_fails_the_task(kinesis: FakeKinesis) -> None:
    kinesis.script("put_records", error="AccessDeniedException", times=None)
    with pytest.raises(sp.DeliveryError, match="AccessDenied"):
        writer().write(batches(10))


def test_rows_of_a_key_keep_their_order_though_calls_fail(kinesis: FakeKinesis) -> None:
    kinesis.script("put_records", error="InternalFailure", times=3)
    writer(ordering="key", aggregationMaxSize="100").write(batches(5000))
    assert sorted(int(one.data) for one in kinesis.user_records()) == [*range(5000)]
    for key in (f"k{nth}" for nth in range(50)):
        numbers = [int(one.data) for one in kinesis.user_records() if one.partition_key == key]
        assert numbers == sorted(numbers)


def test_what_is_stored_is_let_go(kinesis: FakeKinesis, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows a task has, it waits for few of them."""
    waiting: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Watched(sp.Producer):
        def put_many(self, *arguments: Any, **named: Any) -> Any:
            nonlocal most
            future = super().put_many(*arguments, **named)
            waiting.add(future)
            most = max(most, len(waiting))
            return future

    monkeypatch.setattr(putting, "_AT_ONCE", 10)
    monkeypatch.setattr(putting, "_WAITING", 5)
    monkeypatch.setattr(putting, "Producer", Watched)
    writer().write(batches(1000, 100))
    assert len(kinesis.user_records()) == 1000
    assert most <= 50


def test_rows_of_which_an_early_one_was_not_stored_fail_the_task(
    kinesis: FakeKinesis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(putting, "_AT_ONCE", 100)
    monkeypatch.setattr(putting, "_WAITING", 2)
    kinesis.script("put_records", error="AccessDeniedException", times=1)
    with pytest.raises(sp.DeliveryError, match="AccessDenied"):
        writer(aggregation="false").write(batches(2000))


def test_what_fails_for_a_while_is_tried_again_and_each_row_is_put(kinesis: FakeKinesis) -> None:
    for error in ("InternalFailure", "ProvisionedThroughputExceededException"):
        kinesis.script("put_records", error=error, times=2)
    assert writer().write(batches(1000)).rows == 1000
    assert sorted(int(one.data) for one in kinesis.user_records()) == [*range(1000)]


def test_a_row_is_given_up_after_its_time(kinesis: FakeKinesis) -> None:
    kinesis.script("put_records", error="InternalFailure", times=None)
    with pytest.raises(sp.DeliveryError) as caught:
        writer(recordTtl="300ms").write(batches(10))
    assert len(caught.value.records) == 10


def test_options_say_what_shares_an_aggregate(kinesis: FakeKinesis) -> None:
    writer(route="key", aggregationMaxSize="100").write(batches(2000))
    together = [sp.decode(record["Data"]) for record in kinesis.records() if sp.is_aggregated(record["Data"])]
    assert together
    assert all(len({one.partition_key for one in some}) == 1 for some in together)
    assert all(len(record["Data"]) <= 100 for record in kinesis.records())


def test_an_explicit_hash_key_decides_the_shard(kinesis: FakeKinesis) -> None:
    schema = StructType([*SCHEMA.fields]).add("explicitHashKey", StringType())
    rows = {"partitionKey": ["k"] * 9, "data": [b"x"] * 9, "explicitHashKey": [str(2**128 - 1), None, "0"] * 3}
    put = sink.BatchWriter(sink_options({"streamName": "s"}), sink.check_columns(schema))
    put.write(iter([pa.RecordBatch.from_pydict(rows)]))
    there = [(one.shard_id, one.explicit_hash_key) for one in kinesis.user_records()]
    assert there.count(("shardId-000000000001", str(2**128 - 1))) == 3
    assert there.count(("shardId-000000000000", "0")) == 3


def test_a_stream_that_is_missing_is_told_before_the_first_task(kinesis: FakeKinesis) -> None:
    del kinesis
    with pytest.raises(sp.CallError, match=r"does not find the stream t .*check the options streamName"):
        sink.StreamWriter(sink_options({"streamName": "t"}), sink.check_columns(SCHEMA))


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        (StructType().add("data", BinaryType()), "no column partitionKey, but data; name one so: df.withColumnRenamed"),
        (StructType(), "no column partitionKey, but none"),
        (StructType().add("partition_key", IntegerType()), "'partition_key' has the type int; it takes string: cast"),
        (
            StructType().add("partition_key", StringType()).add("partitionKey", StringType()),
            "the columns 'partition_key' and 'partitionKey' both mean partition_key; drop one",
        ),
        (
            StructType().add("partitionKey", StringType()).add("data", IntegerType()),
            "'data' has the type int; it takes",
        ),
    ],
    ids=["missing", "empty", "number", "twice", "no bytes"],
)
def test_columns_that_do_not_do_are_named(schema: StructType, what: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the text is looked at below
        sink.check_columns(schema)
    assert what in str(caught.value)


def test_columns_are_found_by_any_spelling() -> None:
    schema = (
        StructType().add("Data", StringType()).add("PARTITION_KEY", StringType()).add("explicitHashKey", StringType())
    )
    found = {"data": "Data", "partition_key": "PARTITION_KEY", "explicit_hash_key": "explicitHashKey"}
    assert sink.check_columns(schema) == found
