"""A real local Spark with two workers reads aggregated records from Parquet."""

from __future__ import annotations

import functools
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aggregate_bytes import frame

import shardpack as sp

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq

import shardpack.spark

# What pyspark, py4j and pandas warn of is not ours to judge.
pytestmark = pytest.mark.filterwarnings("default")

TIME = datetime(2026, 7, 21, 12, 30, 15, 250_000, UTC)
USER_RECORDS = [(f"user-{nth % 50}", f"event {nth}".encode()) for nth in range(5000)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kinesis records in two Parquet files, the second repeating the last record of the first."""
    folder = tmp_path_factory.mktemp("archive")
    packed = [*sp.pack(USER_RECORDS, limits=sp.Limits(5000)), sp.PackedRecord(b"plain", "user-0", None, 1)]
    table = pa.table(
        {
            "data": pa.array([record.data for record in packed], pa.binary()),
            "partitionKey": [record.partition_key for record in packed],
            "sequenceNumber": [str(10**55 + nth) for nth in range(len(packed))],
            "shardId": ["shardId-000000000000"] * len(packed),
            "approximateArrivalTimestamp": pa.array([TIME] * len(packed), pa.timestamp("us", "UTC")),
            "stream": ["clicks"] * len(packed),
        }
    )
    half = len(packed) // 2
    pq.write_table(table.slice(0, half), folder / "1.parquet")
    pq.write_table(table.slice(half - 1), folder / "2.parquet")
    return folder


def _with_key(characters: int) -> bytes:
    """An aggregate of two empty user records with a key of so many characters, from 128 on."""
    body = bytes([0x0A, characters & 127 | 128, characters >> 7]) + b"k" * characters
    body += b"\x1a\x04\x08\x00\x1a\x00" * 2
    return frame(body)


EXPECTED = sorted([*USER_RECORDS, ("user-0", b"plain")])


def test_every_user_record_comes_out_once_by_drop_duplicates(spark: Any, archive: Path) -> None:
    df = spark.read.parquet(str(archive))

    users = df.mapInArrow(shardpack.spark.unpack, shardpack.spark.SCHEMA)
    once = users.dropDuplicates(["shard_id", "sequence_number", "sub_sequence_number"])

    assert users.count() > len(EXPECTED)
    rows = once.collect()
    assert sorted((row.partition_key, bytes(row.data)) for row in rows) == EXPECTED
    assert {row.shard_id for row in rows} == {"shardId-000000000000"}
    assert {row.approximate_arrival_timestamp.astimezone(UTC) for row in rows} == {TIME}
    assert {row.aggregated for row in rows if bytes(row.data) != b"plain"} == {True}
    assert {row.fault for row in rows} == {None}


def test_two_workers_share_the_work(spark: Any, archive: Path) -> None:
    from pyspark.sql.functions import spark_partition_id

    df = spark.read.parquet(str(archive)).repartition(2)
    users = df.mapInArrow(shardpack.spark.unpack, shardpack.spark.SCHEMA)

    assert users.select(spark_partition_id()).distinct().count() == 2


def test_the_other_columns_are_repeated(spark: Any, archive: Path) -> None:
    df = spark.read.parquet(str(archive)).withColumnRenamed("data", "blob").withColumnRenamed("stream", "the stream")

    users = shardpack.spark.unpacked(df, data="blob", max_rows=100)

    assert users.columns[-1] == "the stream"
    assert users.filter("`the stream` = 'clicks'").count() == users.count() > len(EXPECTED)


def test_options_are_handed_over(spark: Any) -> None:
    blob = sp.encode([("k", b"x", "5"), ("k", b"y", "9")])
    df = spark.createDataFrame([(bytearray(blob),), (bytearray(blob[:-1]),)], "data BINARY")
    unpack = functools.partial(shardpack.spark.unpack, hash_range=(0, 7), max_rows=1)

    rows = df.mapInArrow(unpack, shardpack.spark.SCHEMA).collect()

    assert sorted((bytes(row.data), row.fault) for row in rows if row.aggregated) == [
        (b"x", None),
        (b"y", "out_of_range"),
    ]
    assert [row.fault for row in rows if not row.aggregated] == ["checksum_mismatch"]


def test_a_stream(spark: Any, archive: Path, tmp_path: Path) -> None:
    schema = spark.read.parquet(str(archive)).schema
    df = spark.readStream.schema(schema).parquet(str(archive))
    users = shardpack.spark.unpacked(df).withWatermark("approximate_arrival_timestamp", "1 hour")
    once = users.dropDuplicatesWithinWatermark(["shard_id", "sequence_number", "sub_sequence_number"])

    query = (
        once.writeStream.format("parquet")
        .option("path", str(tmp_path / "out"))
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()

    rows = spark.read.parquet(str(tmp_path / "out")).collect()
    assert sorted((row.partition_key, bytes(row.data)) for row in rows) == EXPECTED


def test_keys_longer_than_the_service_allows_are_not_written_out_unless_that_is_asked_for() -> None:
    source = pa.RecordBatch.from_pydict({"data": [_with_key(257), _with_key(256)]})

    def faults(**options: Any) -> list[Any]:
        return [fault for out in shardpack.spark.unpack([source], **options) for fault in out["fault"].to_pylist()]

    assert faults() == ["long_key", None, None]
    assert faults(max_key_characters=None) == [None] * 4
    (first, *_) = shardpack.spark.unpack([source], repeated="dictionary")
    assert first.schema.field("partition_key").type == pa.string()


def test_it_travels_to_workers() -> None:
    assert pickle.loads(pickle.dumps(shardpack.spark.unpack)) is shardpack.spark.unpack
