"""User records a second out of a local Kinesis into Spark, beside the same data out of files; and what the driver asks.

The three ways read the same user records, and Spark counts each. The first reads them from a local server by the source
``kinesis``; the second reads the same Kinesis records from Parquet and unpacks them by ``mapInArrow``; the third reads
the user records as JSON lines. With ``--driver``, the calls and the time of planning a batch are counted for many
shards, against answers that cost nothing, and with what the AWS SDK does for a call.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).parents[1] / "tests" / "tools"))

import servers
from botocore import xform_name
from soak_spark import patiently

import shardpack as sp
from shardpack.ranges.core.marks import BEGINNING, Mark
from shardpack.ranges.core.offsets import Offset
from shardpack.ranges.core.options import Connection
from shardpack.ranges.core.ranges import Range
from shardpack.ranges.shells.clients import Caller, kinesis_of
from shardpack.ranges.shells.driver import Driver
from shardpack.ranges.shells.stream import KinesisStream
from shardpack.ranges.shells.tasks import RangeReader
from shardpack.spark.core.options import source_options
from shardpack.spark.core.rows import COLUMNS, Rows

SHARDS = 16


def session(cores: int) -> Any:
    from pyspark.sql import SparkSession

    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1")
    os.environ.update(PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")
    builder = SparkSession.builder.master(f"local[{cores}]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.driver.host", "127.0.0.1").config("spark.log.level", "ERROR").getOrCreate()
    import shardpack.spark

    shardpack.spark.register(spark)
    return spark


class Taken(NamedTuple):
    """What a way took: seconds by the clock, and of processor time in this process and all that it has started."""

    clock: float
    processor: float


def processor_seconds(without: int) -> float:
    """Of this process and those under it, but for the one that serves the stream, and what has ended under them."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, _, rest = path.read_text().partition(" (")
            fields = rest.rpartition(") ")[2].split()
            stats[int(pid)] = int(fields[1]), sum(map(int, fields[11:15]))
    ours = {os.getpid()}
    while more := {pid for pid, (parent, _) in stats.items() if parent in ours and pid not in ours | {without}}:
        ours |= more
    return sum(stats[pid][1] for pid in ours) / os.sysconf("SC_CLK_TCK")


def timed(action: Callable[[], int], rounds: int, records: int, server: int) -> Taken:
    """The best of some rounds; each has to count all records. The first one, in which all is cold, does not count."""
    best = Taken(float("inf"), float("inf"))

    def one() -> Taken:
        clock, processor = time.perf_counter(), processor_seconds(server)
        assert action() == records
        return Taken(time.perf_counter() - clock, processor_seconds(server) - processor)

    for nth in range(rounds + 1):
        took = patiently(one)
        if nth:
            best = Taken(min(best.clock, took.clock), min(best.processor, took.processor))
    return best


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def counted(df: Any) -> int:
    """Rows, all of whose data is looked at."""
    ((rows, size),) = df.selectExpr("count(1)", "sum(length(data))").collect()
    assert size >= rows
    return int(rows)


def out_of_kinesis(spark: Any, url: str) -> int:
    options = {"streamName": "s", "endpointUrl": url, "initialPosition": "trim_horizon"}
    return counted(spark.read.format("kinesis").options(**options).load())


def out_of_parquet(spark: Any, path: str) -> int:
    from shardpack.spark import SCHEMA, unpack

    return counted(spark.read.parquet(path).mapInArrow(unpack, SCHEMA))


def out_of_lines(spark: Any, path: str) -> int:
    lines = spark.read.schema("partitionKey STRING, data STRING").json(path)
    return counted(lines.selectExpr("partitionKey", "unbase64(data) as data"))


def records_of(records: int, size: int) -> list[tuple[str, bytes]]:
    return [(f"key-{nth % 5000}", b"%012d" % nth + b"x" * (size - 12)) for nth in range(records)]


def filled(url: str, user_records: list[tuple[str, bytes]]) -> tuple[list[sp.PackedRecord], dict[str, str]]:
    """A stream with user records: its Kinesis records, and the last sequence number of each shard."""
    kinesis = servers.client("kinesis", url)
    servers.create_stream(kinesis, "s", SHARDS)
    shards = sp.ShardMap(kinesis.list_shards(StreamName="s")["Shards"])
    packed = list(sp.pack(user_records, by="shard", shard_map=shards, limits=sp.Limits.kpl()))
    last: dict[str, str] = {}
    for request in sp.put_requests(packed):
        answer = kinesis.put_records(StreamName="s", Records=request.entries)
        assert not answer["FailedRecordCount"]
        for one in answer["Records"]:
            last[one["ShardId"]] = max(last.get(one["ShardId"], "0"), one["SequenceNumber"], key=int)
    return packed, last


def tasks(records: int, size: int, rounds: int) -> None:
    """What the Python side of tasks takes, without Java: a stream's ranges into rows, and what mapInArrow calls."""
    import pyarrow as pa

    from shardpack.spark import unpack

    given = {"streamName": "s", "region": "us-east-1", "awsAccessKey": "test", "awsSecretKey": "test"}
    best = {"a task of the source": float("inf"), "mapInArrow's function": float("inf")}
    with servers.kinesalite() as url:
        packed, last = filled(url, records_of(records, size))
        options = source_options({**given, "endpointUrl": url}, is_stream=False)
        blobs = [one.data for one in packed]
        batches = [pa.RecordBatch.from_pydict({"data": blobs[at : at + 64]}) for at in range(0, len(blobs), 64)]
        call = Caller(options.connection, kinesis_of(options.connection))
        reader = RangeReader(call, options, Rows("s", [*COLUMNS], "raw").of)
        ranges = [Range(key, BEGINNING, Mark("AFTER", number)) for key, number in last.items()]
        for _ in range(rounds):
            for way, rows in (
                ("a task of the source", (batch for one in ranges for batch in reader.read(one))),
                ("mapInArrow's function", unpack(batches)),
            ):
                began = time.process_time()
                assert sum(batch.num_rows for batch in rows) == records
                best[way] = min(best[way], time.process_time() - began)
    for way, seconds in best.items():
        print(f"{way:22} {seconds / records * 1e6:5.2f} µs of processor time a user record of {size} bytes")


def reading(records: int, size: int, rounds: int, cores: list[int]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with servers.kinesalite() as url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (server,) = children()
        user_records = records_of(records, size)
        packed, _ = filled(url, user_records)
        pq.write_table(pa.table({"data": [one.data for one in packed]}), folder / "packed.parquet", row_group_size=64)
        with (folder / "lines.json").open("w") as lines:
            for key, data in user_records:
                json.dump({"partitionKey": key, "data": base64.b64encode(data).decode()}, lines)
                lines.write("\n")
        for count in cores:
            spark = session(count)
            ways = {
                "kinesis source": partial(out_of_kinesis, spark, url),
                "mapInArrow over Parquet": partial(out_of_parquet, spark, str(folder / "packed.parquet")),
                "JSON lines": partial(out_of_lines, spark, str(folder / "lines.json")),
            }
            times = {way: timed(action, rounds, records, server) for way, action in ways.items()}
            plain = times["JSON lines"]
            for way, took in times.items():
                by_clock = (
                    f"{records / took.clock:11,.0f} user records/s, {took.clock / plain.clock:5.2f} times JSON lines"
                )
                each, ratio = took.processor / records * 1e6, took.processor / plain.processor
                by_processor = f"{each:6.2f} µs of processor time for each, {ratio:5.2f} times"
                print(f"local[{count}]  {way:24} {by_clock}; {by_processor}")
            spark.stop()


class Answers:
    """A Kinesis of many shards whose answers cost nothing. All are busy, with a record at any moment, or all quiet."""

    def __init__(self, shards: int, *, is_busy: bool) -> None:
        self.calls: Counter[str] = Counter()
        self.is_busy = is_busy
        self.shards = [
            {
                "ShardId": f"shardId-{nth:012}",
                "HashKeyRange": {"StartingHashKey": str(nth), "EndingHashKey": str(nth)},
                "SequenceNumberRange": {"StartingSequenceNumber": "0"},
            }
            for nth in range(shards)
        ]

    def describe_stream_summary(self, **_: Any) -> dict[str, Any]:
        self.calls["DescribeStreamSummary"] += 1
        about = {"StreamARN": "arn:aws:kinesis:r:1:stream/s", "StreamName": "s", "RetentionPeriodHours": 24}
        return {"StreamDescriptionSummary": about | {"StreamCreationTimestamp": datetime(2026, 1, 1, tzinfo=UTC)}}

    def list_shards(self, NextToken: str = "0", **_: Any) -> dict[str, Any]:  # noqa: N803  # boto3's name
        self.calls["ListShards"] += 1
        start = int(NextToken)
        more = {"NextToken": str(start + 1000)} if start + 1000 < len(self.shards) else {}
        return {"Shards": self.shards[start : start + 1000], **more}

    def get_shard_iterator(self, **arguments: Any) -> dict[str, Any]:
        self.calls["GetShardIterator"] += 1
        is_at = arguments["ShardIteratorType"] == "AT_SEQUENCE_NUMBER"
        return {"ShardIterator": arguments["StartingSequenceNumber"] if is_at else "-"}

    def get_records(self, *, ShardIterator: str, **_: Any) -> dict[str, Any]:  # noqa: N803  # boto3's name
        self.calls["GetRecords"] += 1
        number = ShardIterator.strip("-") or (str(time.time_ns()) if self.is_busy else "")
        record = {"SequenceNumber": number, "ApproximateArrivalTimestamp": datetime.now(UTC), "Data": b""}
        return {"Records": [record] if number else [], "NextShardIterator": "-", "MillisBehindLatest": 0}


def through_the_sdk(answers: Answers) -> Any:
    """A client of the AWS SDK that does all of its work for a call, but for the network's part."""

    def answer(request: Any, **_: Any) -> Any:
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        told = getattr(answers, xform_name(operation))(**json.loads(request.body))
        body = json.dumps(told, default=lambda one: "" if one == b"" else one.timestamp()).encode()
        return SimpleNamespace(status_code=200, headers={}, content=body, raw=None)

    client = kinesis_of(Connection("s", region="us-east-1", access_key="test", secret_key="test"))
    client.meta.events.register("before-send.kinesis", answer)
    return client


def planning(shards: int, *, with_sdk: bool = False) -> None:
    for is_busy in (False, True):
        answers = Answers(shards, is_busy=True)
        client = through_the_sdk(answers) if with_sdk else answers
        options = source_options({"streamName": "s", "initialPosition": "trim_horizon"}, is_stream=True)
        driver = Driver(KinesisStream(Caller(options.connection, client), "s"), options, lambda *_: {})
        offset = driver.next(driver.initial(options.initial))
        answers.is_busy = is_busy
        if not is_busy:  # read to the tip first, and look once more
            offset = driver.next(driver.next(offset))
        answers.calls.clear()
        time.sleep(1)  # the driver looks once a second at most
        began = time.process_time()
        text = json.dumps(driver.next(Offset.from_json(json.loads(json.dumps(offset.as_json())))).as_json())
        seconds = time.process_time() - began
        calls = ", ".join(f"{count:,} {name}" for name, count in sorted(answers.calls.items()))
        kind = "busy" if is_busy else "quiet"
        print(
            f"{shards:6,} {kind:5} shards{', with the AWS SDK' if with_sdk else ''}: {calls or 'no calls'};"
            f" {seconds:6.2f} s of processor time; an offset of {len(text):9,} bytes"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=100, help="bytes of a user record")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--tasks", action="store_true", help="time the Python side of tasks, instead")
    parser.add_argument("--driver", action="store_true", help="count what the driver asks, instead")
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    arguments = parser.parse_args()
    if arguments.driver:
        for shards in (10, 1000, 10_000):
            planning(shards)
        planning(1000, with_sdk=True)
        return
    records = arguments.records // 10 if arguments.quick else arguments.records
    if arguments.tasks:
        tasks(records, arguments.size, arguments.rounds)
        return
    reading(records, arguments.size, 1 if arguments.quick else arguments.rounds, arguments.cores)


if __name__ == "__main__":
    main()
