"""A real local Spark reads and writes a real local Kinesis. What needs no Spark is in the other files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers

pytest.importorskip("pyarrow")
pytest.importorskip("boto3")
import shardpack as sp
import shardpack.spark
from shardpack.dedup import RecordDigest

# What pyspark, py4j and pandas warn of is not ours to judge.
pytestmark = pytest.mark.filterwarnings("default")


class Streams:
    """A Kinesis server, and the options that name its streams."""

    def __init__(self, url: str) -> None:
        self.kinesis = servers.client("kinesis", url)
        self.access = {"endpointUrl": url, "region": "us-east-1", "awsAccessKey": "test", "awsSecretKey": "test"}
        self.count = 0

    def create(self, name: str, shards: int) -> dict[str, str]:
        servers.create_stream(self.kinesis, name, shards)
        return {**self.access, "streamName": name, "initialPosition": "trim_horizon"}

    def put(self, name: str, records: int) -> None:
        shards = self.kinesis.list_shards(StreamName=name)["Shards"]
        shards = [one for one in shards if "EndingSequenceNumber" not in one["SequenceNumberRange"]]
        data = [(f"key-{nth % 9}", b"%d" % nth) for nth in range(self.count, self.count + records)]
        self.count += records
        packed = sp.pack(data, by="shard", shard_map=sp.ShardMap(shards), limits=sp.Limits(max_user_records=20))
        for request in sp.put_requests(packed):
            self.kinesis.put_records(StreamName=name, Records=request.entries)

    def everything(self, name: str) -> list[Any]:
        """All user records, by another way than the source's."""
        found: list[Any] = []
        for shard in self.kinesis.list_shards(StreamName=name)["Shards"]:
            where = {"StreamName": name, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
            iterator = self.kinesis.get_shard_iterator(**where)["ShardIterator"]
            found += sp.unpack(self.kinesis.get_records(ShardIterator=iterator))
        return found


@pytest.fixture(scope="module")
def streams() -> Iterator[Streams]:
    with servers.kinesalite() as url:
        yield Streams(url)


def patiently(action: Callable[[], Any]) -> Any:
    """On a machine that is busy, a Python process may take longer to come up than Spark waits: ten seconds."""
    for _ in range(30):
        try:
            return action()
        except Exception as error:
            if "failed to connect back" not in str(error):
                raise
    return action()


def test_a_stream_is_read_over_reshards_and_put_into_another(spark: Any, streams: Streams, tmp_path: Path) -> None:
    """In one test, because each query that starts costs more than what it reads."""
    options, clean = streams.create("clicks", 2), streams.create("clean", 2)
    shardpack.spark.register(spark)
    streams.put("clicks", 300)
    clicks = spark.readStream.format("kinesis").options(**options).load()
    batches: dict[int, list[bytes]] = {}

    def keep(df: Any, batch: int) -> None:
        batches[batch] = [bytes(row.data) for row in df.select("data").collect()]

    def run() -> None:
        writer = clicks.writeStream.foreachBatch(keep).option("checkpointLocation", str(tmp_path / "checkpoint"))
        writer.trigger(availableNow=True).start().awaitTermination()

    patiently(run)
    assert Counter(map(int, batches[0])) == Counter(range(300))

    streams.put("clicks", 50)
    streams.kinesis.split_shard(
        StreamName="clicks", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126)
    )
    servers.wait_until_active(streams.kinesis, "clicks")
    streams.put("clicks", 50)
    patiently(run)
    if len(batches) < 3:  # before Spark 4.2, one run is one batch
        patiently(run)
    assert Counter(int(data) for batch in batches.values() for data in batch) == Counter(range(400))

    offset = json.loads(sorted((tmp_path / "checkpoint" / "offsets").glob("[0-9]*"))[-1].read_text().splitlines()[-1])
    assert offset["stream"].endswith("/clicks")
    assert set(offset["shards"]) == {"shardId-000000000001", "shardId-000000000002", "shardId-000000000003"}

    rows = spark.read.format("kinesis").options(**options).load()
    del clean["initialPosition"]
    rows.write.format("kinesis").options(**clean).mode("append").save()
    put, there = RecordDigest(), RecordDigest()
    put.update(streams.everything("clicks"))
    there.update(streams.everything("clean"))
    assert there == put
    assert there.count == 400


def test_what_is_wrong_is_told_on_the_driver(spark: Any, streams: Streams) -> None:
    shardpack.spark.register(spark)
    reader = spark.read.format("kinesis").options(**streams.access)

    with pytest.raises(Exception, match="there is no option 'streamnam'; did you mean streamName"):
        reader.option("streamNam", "none").load()
    missing = spark.read.format("kinesis").options(**streams.access).option("streamName", "none").load()
    with pytest.raises(Exception, match=r"does not find the stream none .*; check the options streamName"):
        patiently(missing.count)
