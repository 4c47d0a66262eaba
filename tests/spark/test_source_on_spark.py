"""A real local Spark reads and writes a real local Kinesis. What needs no Spark is in the other files."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers

pytest.importorskip("pyarrow")
pytest.importorskip("boto3")
pytest.importorskip("pyspark.sql.datasource")
from soak_spark import patiently

import shardpack as sp
import shardpack.spark

# What pyspark, py4j and pandas warn of is not ours to judge.
pytestmark = pytest.mark.filterwarnings("default")


PAGE = Path(__file__).parents[2] / "docs" / "spark.md"
EXAMPLES = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Streams:
    """A Kinesis server, and the settings by which the AWS SDK finds it in place of AWS."""

    def __init__(self, url: str) -> None:
        self.kinesis = servers.client("kinesis", url)
        self.settings = {
            "AWS_ENDPOINT_URL_KINESIS": url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        self.count = 0

    def put(self, name: str, records: int) -> None:
        """Put user records that are numbers, into those shards that are open."""
        shards = self.kinesis.list_shards(StreamName=name)["Shards"]
        shards = [one for one in shards if "EndingSequenceNumber" not in one["SequenceNumberRange"]]
        data = [(f"key-{nth % 9}", b"%d" % nth) for nth in range(self.count, self.count + records)]
        self.count += records
        packed = sp.pack(data, by="shard", shard_map=sp.ShardMap(shards), limits=sp.Limits(max_user_records=20))
        for request in sp.put_requests(packed):
            self.kinesis.put_records(StreamName=name, Records=request.entries)

    def split(self, name: str, shard_id: str, at: int) -> None:
        self.kinesis.split_shard(StreamName=name, ShardToSplit=shard_id, NewStartingHashKey=str(at))
        servers.wait_until_active(self.kinesis, name)

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
    """The Spark of all tests, whose Python processes find the local server as they would find AWS."""
    for name, value in streams.settings.items():
        monkeypatch.setitem(spark.sparkContext.environment, name, value)
    shardpack.spark.register(spark)
    return spark


def wait_until(is_so: Callable[[], bool], queries: list[Any]) -> None:
    """Raises what has ended a query."""
    deadline = time.monotonic() + 240
    while not is_so():
        assert time.monotonic() < deadline, "it does not come to it"
        for query in queries:
            query.awaitTermination(0.2)


def test_the_example_of_the_page_reads_a_stream_into_a_table_and_writes_one_back(
    session: Any, streams: Streams, tmp_path: Path
) -> None:
    """It stands as it is on the page, but for the folder. In one test, because a query that starts costs seconds."""
    for name in ("clicks", "clean", "copy"):
        servers.create_stream(streams.kinesis, name, 2)
    streams.put("clicks", 200)
    first, second, *_ = EXAMPLES.findall(PAGE.read_text(encoding="utf-8"))
    assert sum(bool(line) for line in first.splitlines()) <= 10
    checkpoints = tmp_path / "checkpoints"
    code = compile(first.replace('"checkpoints"', repr(str(checkpoints))), "docs/spark.md", "exec")
    names = {"spark": session}

    def is_all_in(name: str) -> bool:
        return len({one.data for one in streams.everything(name)}) == streams.count

    def run() -> None:
        try:
            exec(code, names)
            queries = session.streams.active
            wait_until(lambda: is_all_in("clean"), queries)
            if streams.count == 200:  # the queries go on while shards are split
                streams.split("clicks", "shardId-000000000000", 2**126)
                streams.put("clicks", 100)
            wait_until(lambda: is_all_in("clean"), queries)
            wait_until(lambda: is_lag_told(session, queries), queries)
        finally:
            for query in session.streams.active:
                query.stop()

    patiently(run)

    streams.split("clicks", "shardId-000000000001", 3 * 2**126)  # while they are down
    streams.put("clicks", 50)

    def go_on() -> None:
        writer = names["events"].writeStream.option("checkpointLocation", str(checkpoints / "table"))
        writer.trigger(availableNow=True).toTable("clicks").awaitTermination()

    for _ in range(1 if session.version >= "4.2" else 4):  # before, one run is one batch
        patiently(go_on)

    put = Counter((one.partition_key, one.data) for one in streams.everything("clicks"))
    assert len(put) == 350
    assert Counter((row.partitionKey, row.event.encode()) for row in session.table("clicks").collect()) == put
    written = {(one.partition_key, one.data) for one in streams.everything("clean")}
    assert written == {one for one in put if int(one[1]) < 300}

    assert stream_and_open_shards(checkpoints / "table") == ("clicks", {f"shardId-{nth:012}" for nth in (2, 3, 4, 5)})

    exec(compile(second, "docs/spark.md", "exec"), names)
    assert patiently(names["day"].count) == 0  # nothing arrived on that day
    rows = session.read.format("kinesis").option("streamName", "clicks").load()
    rows.write.format("kinesis").option("streamName", "copy").mode("append").save()
    assert Counter((one.partition_key, one.data) for one in streams.everything("copy")) == put


def stream_and_open_shards(checkpoint: Path) -> tuple[str, set[str]]:
    """The stream's name, and the shards that go on, as the newest offset of a query has them."""
    offsets = (checkpoint / "offsets").glob("[0-9]*")
    offset = json.loads(max(offsets, key=lambda one: int(one.name)).read_text().splitlines()[-1])
    name = offset["stream"].rpartition("/")[2]
    return name, {key for key, mark in offset["shards"].items() if mark.get("position") != "SHARD_END"}


def is_lag_told(session: Any, queries: list[Any]) -> bool:
    """Since Spark 4.2, the progress of the query that reads the stream says how far it is behind."""
    told = [source for query in queries if query.lastProgress for source in query.lastProgress["sources"]]
    return session.version < "4.2" or any("millisBehindLatest" in str(one["latestOffset"]) for one in told)


def test_what_is_wrong_is_told_on_the_driver_and_no_secret_with_it(session: Any) -> None:
    with pytest.raises(Exception, match="there is no option 'streamnam'; did you mean streamName"):
        session.read.format("kinesis").option("streamNam", "none").load()
    keys = {"awsAccessKey": "AKIAHUSH", "awsSecretKey": "hush-hush", "sessionToken": "hush-token"}
    missing = session.read.format("kinesis").options(streamName="none", **keys).load()
    with pytest.raises(Exception, match=r"does not find the stream none .*; check the options streamName") as caught:
        patiently(missing.count)
    plan = missing._jdf.queryExecution().toString()
    assert "kinesis" in plan.lower()
    assert "hush" not in (plan + str(caught.value)).lower()
