"""A real local Spark reads and writes a real local Kinesis. What needs no Spark is in the other files."""

from __future__ import annotations

import json
import re
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


PAGE = Path(__file__).parents[2] / "docs" / "spark.md"


class Streams:
    """A Kinesis server, and the options that name its streams."""

    def __init__(self, url: str) -> None:
        self.kinesis = servers.client("kinesis", url)
        self.environment = {
            "AWS_ENDPOINT_URL_KINESIS": url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        self.count = 0

    def create(self, name: str, shards: int) -> dict[str, str]:
        servers.create_stream(self.kinesis, name, shards)
        return {"streamName": name, "initialPosition": "trim_horizon"}

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


@pytest.fixture
def session(spark: Any, streams: Streams, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The Spark of all tests, whose Python processes find this server as they would find AWS."""
    for name, value in streams.environment.items():
        monkeypatch.setitem(spark.sparkContext.environment, name, value)
    shardpack.spark.register(spark)
    return spark


def patiently(action: Callable[[], Any]) -> Any:
    """On a machine that is busy, a Python process may take longer to come up than Spark waits: ten seconds."""
    for _ in range(30):
        try:
            return action()
        except Exception as error:
            if "failed to connect back" not in str(error):
                raise
    return action()


def test_the_example_of_the_page_reads_a_stream_into_a_table_and_writes_one(
    session: Any, streams: Streams, tmp_path: Path
) -> None:
    streams.create("clicks", 2)
    streams.create("clean", 2)
    streams.put("clicks", 200)
    first, second, *_ = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    code = compile(first.replace('"checkpoints"', repr(str(tmp_path / "checkpoints"))), "docs/spark.md", "exec")

    def run() -> None:
        exec(code, {"spark": session})
        queries = session.streams.active
        try:
            while len(streams.everything("clean")) < 200:
                for query in queries:
                    query.awaitTermination(0.1)  # raises what has ended it
        finally:
            for query in queries:
                query.stop()

    patiently(run)

    put, there = RecordDigest(), RecordDigest()
    put.update(streams.everything("clicks"))
    there.update(streams.everything("clean"))
    assert there == put
    assert session.table("clicks").count() == 200
    namespace = {"spark": session}
    exec(compile(second, "docs/spark.md", "exec"), namespace)
    assert patiently(namespace["day"].count) == 0  # nothing arrived on that day


def test_a_query_goes_on_over_reshards_and_a_batch_is_put(session: Any, streams: Streams, tmp_path: Path) -> None:
    options, copy = streams.create("orders", 2), streams.create("copy", 2)
    streams.put("orders", 300)
    batches: dict[int, list[int]] = {}

    def keep(df: Any, batch: int) -> None:
        batches[batch] = [int(row.data) for row in df.select("data").collect()]

    def run() -> None:
        orders = session.readStream.format("kinesis").schema("data BINARY").options(**options).load()
        writer = orders.writeStream.option("checkpointLocation", str(tmp_path / "checkpoint")).foreachBatch(keep)
        writer.trigger(availableNow=True).start().awaitTermination()

    patiently(run)
    assert sorted(batches[0]) == [*range(streams.count - 300, streams.count)]

    streams.put("orders", 50)
    streams.kinesis.split_shard(
        StreamName="orders", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126)
    )
    servers.wait_until_active(streams.kinesis, "orders")
    streams.put("orders", 50)
    patiently(run)
    if len(batches) < 3:  # before Spark 4.2, one run is one batch
        patiently(run)
    assert Counter(number for rows in batches.values() for number in rows) == Counter(
        range(streams.count - 400, streams.count)
    )

    offset = json.loads(sorted((tmp_path / "checkpoint" / "offsets").glob("[0-9]*"))[-1].read_text().splitlines()[-1])
    assert offset["stream"].endswith("/orders")
    assert set(offset["shards"]) == {"shardId-000000000001", "shardId-000000000002", "shardId-000000000003"}

    del copy["initialPosition"]
    rows = session.read.format("kinesis").options(**options).load()
    rows.write.format("kinesis").options(**copy).mode("append").save()
    assert sorted(int(one.data) for one in streams.everything("copy")) == [*range(streams.count - 400, streams.count)]


def test_what_is_wrong_is_told_on_the_driver(session: Any) -> None:
    with pytest.raises(Exception, match="there is no option 'streamnam'; did you mean streamName"):
        session.read.format("kinesis").option("streamNam", "none").load()
    missing = session.read.format("kinesis").option("streamName", "none").load()
    with pytest.raises(Exception, match=r"does not find the stream none .*; check the options streamName"):
        patiently(missing.count)
