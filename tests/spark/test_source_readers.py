"""Spark's own classes around the source, called as Spark calls them, on a Kinesis in memory. No Java is started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("boto3")
pytest.importorskip("pyspark.sql.datasource")
import servers
from mini_spark import MiniSpark, Setting
from pyspark.sql.datasource import InputPartition
from pyspark.sql.types import StringType, StructType

import shardpack as sp
import shardpack.spark
from shardpack.leases import Lease
from shardpack.ranges.core.marks import BEGINNING, END, Mark
from shardpack.ranges.shells.leases import marks_of_leases
from shardpack.records import Position
from shardpack.spark.core.options import source_options
from shardpack.spark.core.rows import COLUMNS
from shardpack.spark.shells import source

# What pyspark and pandas warn of is not ours to judge.
pytestmark = pytest.mark.filterwarnings("default")

SHARD = "shardId-000000000000"


def limits_of_spark() -> Any:
    return pytest.importorskip("pyspark.sql.streaming.datasource", reason="Spark has them since 4.2")


class Reading:
    """A reader of Spark's on the stream of a setting, and what Spark does with it."""

    def __init__(self, setting: Setting, **given: str) -> None:
        self.query: MiniSpark = setting.query(initialPosition="trim_horizon", **given)
        self.reader = source.StreamReader(self.query.options, [*COLUMNS])
        self.reader._made = self.query.driver, self.query.stream
        self.start: Any = json.loads(json.dumps(self.reader.initialOffset()))

    def batch(self, *arguments: Any) -> list[bytes]:
        """The data of the next batch; `arguments` as Spark gives them to `latestOffset` behind the start."""
        given = (self.start, *arguments) if arguments else ()  # before Spark 4.2, it gave nothing at all
        end = json.loads(json.dumps(self.reader.latestOffset(*given)))
        parts = [part.value for part in self.reader.partitions(self.start, end)]
        self.start = end
        return [row[3] for row in self.query.run(parts)]


def put(setting: Setting, records: int = 20) -> None:
    setting.put(records, passes=1.0)
    setting.clock.advance(5)


@pytest.mark.parametrize(
    ("given", "kind", "rows"),
    [
        ({}, "ReadAllAvailable", 20),
        ({"maxRowsPerTrigger": "3"}, "ReadMaxRows", 3),
        ({"maxBytesPerTrigger": "4"}, "ReadMaxBytes", 4),
        ({"maxTimePerTrigger": "5s"}, "ReadMaxBytes", 5),
        ({"maxRowsPerTrigger": "9", "maxTimePerTrigger": "5s"}, "ReadMaxRows", 5),
        ({"maxRowsPerTrigger": "9", "maxBytesPerTrigger": "4"}, "ReadMaxRows", 4),
        ({"maxBytesPerTrigger": "9", "maxTimePerTrigger": "5s"}, "ReadMaxBytes", 5),
    ],
)
def test_the_options_limit_a_batch_whatever_spark_makes_of_them(given: dict[str, str], kind: str, rows: int) -> None:
    limits = limits_of_spark()
    setting = Setting(1)
    put(setting)
    reading = Reading(setting, **given)
    limit = reading.reader.getDefaultReadLimit()
    assert type(limit) is getattr(limits, kind)
    assert len(reading.batch(limit)) == rows


def test_a_limit_by_time_lets_the_driver_read_nothing_but_the_ends() -> None:
    limits_of_spark()
    setting = Setting(1)
    put(setting, 200)
    reading = Reading(setting, maxTimePerTrigger="100s")
    setting.kinesis.calls.clear()
    reading.reader.latestOffset(reading.start, reading.reader.getDefaultReadLimit())
    answers = [call.response or {} for call in setting.kinesis.calls]
    assert 0 < sum(len(answer.get("Records", ())) for answer in answers) <= 3


def test_a_limit_of_spark_s_own_goes_before_that_of_the_options() -> None:
    limits = limits_of_spark()
    setting = Setting(1)
    put(setting)
    reading = Reading(setting, maxRowsPerTrigger="3")
    assert len(reading.batch(limits.ReadMaxRows(2))) == 2
    assert len(reading.batch(limits.ReadAllAvailable())) == 18  # Trigger.Once


def test_the_next_batch_begins_at_the_last_one_that_was_planned_where_spark_gives_no_start() -> None:
    setting = Setting(1)
    put(setting)
    reading = Reading(setting, maxRowsPerTrigger="3")
    first, second = reading.batch(), reading.batch()
    assert [*map(int, first + second)] == [0, 1, 2, 3, 4, 5]

    again = Reading(setting, maxRowsPerTrigger="3")  # a new driver: Spark plans what is between the offset and itself
    assert again.reader.partitions(reading.start, reading.start) == []
    again.start = reading.start
    assert [*map(int, again.batch())] == [6, 7, 8]


def test_available_now_is_bounded_by_when_it_began() -> None:
    limits = limits_of_spark()
    setting = Setting(1)
    put(setting)
    reading = Reading(setting)
    assert isinstance(reading.reader, limits.SupportsTriggerAvailableNow)
    reading.reader.prepareForTriggerAvailableNow()
    put(setting)
    assert len(reading.batch(limits.ReadAllAvailable())) == 20
    assert reading.batch(limits.ReadAllAvailable()) == []


def test_the_progress_says_how_far_the_query_is_behind() -> None:
    setting = Setting(1)
    setting.put(10, passes=10.0)
    reading = Reading(setting, maxRowsPerTrigger="4")
    reading.batch()
    assert reading.reader.reportLatestOffset() == {
        "time": datetime.fromtimestamp(setting.clock.now(), UTC).isoformat(timespec="milliseconds"),
        "millisBehindLatest": 60_000,
        "shards": {SHARD: 60_000},
    }


def test_a_row_has_what_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(1)
    arrived = datetime.fromtimestamp(round(setting.clock.now(), 3), UTC)
    blob = sp.encode([("one", b"1", "5"), ("two", b"2")])
    number = setting.kinesis.put_record(StreamName="s", PartitionKey="outer", Data=blob)["SequenceNumber"]
    monkeypatch.setattr(source, "shared_kinesis_of", lambda _: setting.kinesis)
    reader = source.BatchReader(source_options({"streamName": "s"}, is_stream=False), [*COLUMNS])
    reader._made = setting.query().driver, setting.query().stream
    setting.clock.advance(5)
    (part,) = reader.partitions()
    rows = [row for batch in reader.read(part) for row in batch.to_pylist()]
    same = {"stream": "s", "shardId": SHARD, "sequenceNumber": number, "approximateArrivalTimestamp": arrived}
    assert rows == [
        {"partitionKey": "one", "data": b"1", "explicitHashKey": "5", "subSequenceNumber": 0, **same},
        {"partitionKey": "two", "data": b"2", "explicitHashKey": None, "subSequenceNumber": 1, **same},
    ]
    few = source.BatchReader(source_options({"streamName": "s"}, is_stream=False), ["data", "subSequenceNumber"])
    assert [batch.to_pydict() for batch in few.read(part)] == [{"data": [b"1", b"2"], "subSequenceNumber": [0, 1]}]


@pytest.mark.parametrize("partition", [None, InputPartition(None)], ids=["4.0", "later"])
def test_a_range_without_records_has_no_rows(partition: Any) -> None:
    reader = source.BatchReader(source_options({"streamName": "s"}, is_stream=False), ["data"])
    assert list(reader.read(partition)) == []


def test_slices_of_a_shard_are_not_run_one_after_the_other_while_there_are_others() -> None:
    setting = Setting(2)
    put(setting, 40)
    options = source_options({"streamName": "s", "sliceTime": "10s"}, is_stream=False)
    query = setting.query()
    query.driver._options = options
    reader = source.BatchReader(options, ["data"])
    reader._made = query.driver, query.stream
    parts = [part.value for part in reader.partitions()]
    assert [part.shard_id[-1] for part in parts] == ["0", "1"] * 4
    rows = [int(row[3]) for row in query.run(sorted(parts, key=lambda one: (one.shard_id, one.begin.order)))]
    assert sorted(rows) == [*range(40)]


# What is wrong


def made(**given: str) -> source.KinesisSource:
    return source.KinesisSource({"streamName": "s", "region": "eu-west-1", **given})


def test_options_are_looked_at_before_anything_is_read() -> None:
    assert made().schema().startswith("partitionKey STRING, data BINARY, ")
    with pytest.raises(ValueError, match="no option 'streamNme'; did you mean streamName"):
        made(streamNme="t").schema()
    with pytest.raises(ValueError, match=r"sliceTime is not one of this read; it goes with spark.read"):
        made(sliceTime="1h").streamReader(StructType())
    with pytest.raises(ValueError, match=r"maxRowsPerTrigger is not one of this read; it goes with spark.readStream"):
        made(maxRowsPerTrigger="1").reader(StructType())


def test_a_schema_may_choose_columns_and_not_make_them_up() -> None:
    assert made().reader(StructType().add("shardId", StringType()))._names == ["shardId"]
    for name in ("data", "shard"):
        with pytest.raises(ValueError, match=f"the schema has '{name}' as string; leave .schema"):
            made().streamReader(StructType().add(name, StringType()))


def test_a_stream_is_only_added_to() -> None:
    with pytest.raises(ValueError, match=r'the mode is "overwrite", and .*; write .mode\("append"\)'):
        made().writer(StructType(), overwrite=True)
    with pytest.raises(ValueError, match=r'the output mode is "complete", and .*; use "append"'):
        made().streamWriter(StructType(), overwrite=True)


def test_what_is_no_session_is_refused() -> None:
    with pytest.raises(TypeError, match=r"spark is 5, of type int; give a SparkSession of Spark 4\.0"):
        shardpack.spark.register(5)


# Leases


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[str]:
    with servers.dynalite() as url:
        yield url


def test_a_lease_table_says_where_to_go_on(dynamodb: str) -> None:
    access = {"region": "us-east-1", "awsAccessKey": "test", "awsSecretKey": "test", "dynamodbEndpointUrl": dynamodb}
    given = {"streamName": "s", "initialPosition": "leases:application", **access}
    options = source_options(given, is_stream=True)
    with pytest.raises(sp.LeaseStoreError, match="application"):
        marks_of_leases(options, 7)

    table = sp.DynamoDBLeases("application", client=servers.client("dynamodb", dynamodb))
    checkpoints = {
        "a": Position("49", 2),
        "b": Position.SHARD_END,
        "c": Position.TRIM_HORIZON,
        "d": Position.LATEST,
    }
    table.prepare()
    for key, checkpoint in checkpoints.items():
        table.create(Lease(key, checkpoint=checkpoint))
    assert marks_of_leases(options, 7) == {
        "a": Mark("AT", "49", 3),
        "b": END,
        "c": BEGINNING,
        "d": Mark("AT_TIMESTAMP", time=7),
    }
