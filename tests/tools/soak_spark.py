"""Kills a Spark query again and again while a stream is written to and resharded, and counts what its sink holds.

The query reads the stream by the source ``kinesis`` and writes Parquet, which Spark does exactly once. It is killed at
random moments, with all its processes, and started again. In the end the sink has to hold every user record once: the
digests of what was put and of what is there are compared. Calls fail meanwhile, and shards are split and merged while
the query runs and while it is down.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import servers
from fault_proxy import FaultProxy, Faults
from fault_services import Kinesis

import shardpack as sp

STREAM = "s"
T = TypeVar("T")
MOST_SHARDS = 8
FAULTS = Faults(reset_before=0.01, reset_after=0.01, internal_failure=0.01, throttle=0.02, latency=0.02)


# A Java that is killed within seconds gets nothing back for what its compiler does.
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def session(master: str) -> Any:
    """A Spark that talks to nobody outside."""
    from pyspark.sql import SparkSession

    return (
        SparkSession.builder.master(master)
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.extraJavaOptions", SHORT_LIVED)
        .config("spark.executor.extraJavaOptions", SHORT_LIVED)
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )


def query(arguments: argparse.Namespace) -> None:
    """The query, in a process of its own; with ``--finish``, until nothing is left, and then what the sink holds."""
    import shardpack.spark

    spark = session(arguments.master)
    spark.sparkContext.setLogLevel("ERROR")
    shardpack.spark.register(spark)
    folder = Path(arguments.folder)
    events = (
        spark.readStream.format("kinesis")
        .option("streamName", STREAM)
        .option("endpointUrl", arguments.url)
        .option("initialPosition", "trim_horizon")
        .options(**json.loads(arguments.options))
        .load()
    )
    writer = events.writeStream.format("parquet").option("path", str(folder / "sink"))
    writer = writer.option("checkpointLocation", str(folder / "checkpoint"))
    while not arguments.finish:
        started = writer.start()
        print("up", flush=True)
        with suppress(Exception):  # whatever it says when one of its processes has been killed
            started.awaitTermination()
    batches = -1
    while batches != (batches := len(batches_of(folder, "commits"))):
        patiently(lambda: writer.trigger(availableNow=True).start().awaitTermination())
    digest = _digest()
    rows = spark.read.parquet(str(folder / "sink")).select("partitionKey", "data").toArrow()
    seen: dict[bytes, int] = {}
    for key, data in zip(rows["partitionKey"].to_pylist(), rows["data"].to_pylist(), strict=True):
        digest.add(sp.UserRecord(key, data))
        seen[data] = seen.get(data, 0) + 1
    told = {"digest": digest.hexdigest(), "rows": digest.count, "twice": sum(n > 1 for n in seen.values())}
    print(json.dumps(told | {"different": len(seen), "batches": batches, "version": spark.version}), flush=True)
    spark.stop()


def _digest() -> Any:
    from shardpack.dedup import RecordDigest

    return RecordDigest()


def patiently(action: Callable[[], T]) -> T:
    """On a machine that is busy, a Python process may take longer to come up than Spark waits: ten seconds.

    Spark has no setting for that (``PROCESS_WAIT_TIMEOUT_MS`` in its ``PythonWorkerFactory``).
    """
    for _ in range(30):
        try:
            return action()
        except Exception as error:
            if "failed to connect back" not in str(error):
                raise
    return action()


class Query:
    """The query's processes."""

    def __init__(self, arguments: argparse.Namespace, url: str, folder: Path, *, finish: bool = False) -> None:
        command = [sys.executable, __file__, "--query", "--url", url, "--folder", str(folder)]
        command += ["--master", arguments.master, "--options", arguments.options, *(["--finish"] if finish else [])]
        env = os.environ | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "SPARK_LOCAL_IP": "127.0.0.1"}
        env |= {"AWS_DEFAULT_REGION": "us-east-1", "PYSPARK_PYTHON": sys.executable}
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=log, start_new_session=True, text=True
            )

    def line(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def kill(self) -> int:
        """All of its processes, at once; how many."""
        killed = self.kill_those("")
        self.process.communicate()
        return killed

    def kill_those(self, what: str, most: int | None = None) -> int:
        """Those of its processes in whose command something stands; how many there were."""
        pids = [int(path.name) for path in Path("/proc").glob("[0-9]*") if self._runs(path, what)][:most]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)

    def _runs(self, process: Path, what: str) -> bool:
        # By the session, because pyspark's daemon makes a process group of its own for the tasks.
        try:
            return os.getsid(int(process.name)) == self.process.pid and what in (process / "cmdline").read_text()
        except (OSError, UnicodeDecodeError):  # it has ended, or is none of ours
            return False


class Stream:
    """What is put, and the shards it is put into."""

    def __init__(self, url: str, seed: int) -> None:
        self.kinesis = servers.client("kinesis", url)
        self.random = random.Random(seed)
        self.digest = _digest()
        self.reshards = 0

    def put(self, count: int) -> None:
        """Put so many user records, in aggregates of some hundreds."""
        first = self.digest.count
        records = [sp.UserRecord(f"key-{nth % 997}", b"%012d" % nth + b"x" * 60) for nth in range(first, first + count)]
        self.digest.update(records)
        shard_map = sp.ShardMap(self.open_shards())
        limits = sp.Limits(max_user_records=self.random.randint(20, 300))
        for request in sp.put_requests(sp.pack(records, by="shard", shard_map=shard_map, limits=limits)):
            answer = self.kinesis.put_records(StreamName=STREAM, Records=request.entries)
            assert not answer["FailedRecordCount"], answer

    def open_shards(self) -> list[Any]:
        shards = self.kinesis.list_shards(StreamName=STREAM)["Shards"]
        return [one for one in shards if "EndingSequenceNumber" not in one["SequenceNumberRange"]]

    def reshard(self) -> None:
        """Split a shard, or merge two."""
        shards = sorted(self.open_shards(), key=lambda one: int(one["HashKeyRange"]["StartingHashKey"]))
        place = self.random.randrange(len(shards))
        low, high = (int(shards[place]["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
        if len(shards) < MOST_SHARDS and (self.random.random() < 0.5 or place == 0):
            middle = str((low + high) // 2 + 1)
            self.kinesis.split_shard(
                StreamName=STREAM, ShardToSplit=shards[place]["ShardId"], NewStartingHashKey=middle
            )
        elif place:
            pair = [shards[place - 1]["ShardId"], shards[place]["ShardId"]]
            self.kinesis.merge_shards(StreamName=STREAM, ShardToMerge=pair[0], AdjacentShardToMerge=pair[1])
        else:
            return
        servers.wait_until_active(self.kinesis, STREAM)
        self.reshards += 1


KILLED = {"the source": "\0pyspark.sql.streaming.python_streaming_source_runner", "the tasks": "\0pyspark.daemon"}
KILLED_IN_CLUSTER = {"an executor": "\0org.apache.spark.executor.CoarseGrainedExecutorBackend"}


def strike(query: Query, victim: str) -> int:
    """Kill some of the processes of a query; how many."""
    if victim == "all":
        return query.kill()
    if victim == "both":
        return sum(query.kill_those(what) for what in KILLED.values())
    if victim in KILLED_IN_CLUSTER:
        return query.kill_those(KILLED_IN_CLUSTER[victim], most=1)
    return query.kill_those(KILLED[victim])


def batches_of(folder: Path, kind: str) -> list[Path]:
    return list((folder / "checkpoint" / kind).glob("[0-9]*"))


def wait_for_batches(folder: Path, count: int) -> None:
    """Until so many more are planned, or nothing comes."""
    wanted = len(batches_of(folder, "offsets")) + count
    deadline = time.monotonic() + 60
    while len(batches_of(folder, "offsets")) < wanted and time.monotonic() < deadline:
        time.sleep(0.05)


@contextmanager
def without_logs_of_executors() -> Iterator[None]:
    """Remove what a local cluster writes, which is beside pyspark itself, wherever it is told to write."""
    pyspark = find_spec("pyspark")
    work = Path(str(pyspark and pyspark.origin)).parent / "work"
    before = {*work.glob("*")}
    try:
        yield
    finally:
        for folder in {*work.glob("*")} - before:
            shutil.rmtree(folder, ignore_errors=True)


class Struck:
    """A query that is killed again and again, while its stream grows and is resharded.

    Args:
        arguments: of the command line.
        url: where the query finds the stream.
        stream: what it reads.
        folder: where it keeps what it has read.
    """

    def __init__(self, arguments: argparse.Namespace, url: str, stream: Stream, folder: Path) -> None:
        self.arguments = arguments
        self.url = url
        self.stream = stream
        self.folder = folder
        self.dice = random.Random(arguments.seed)
        is_cluster = arguments.master.startswith("local-cluster")
        self.victims = [*KILLED, "both", *(KILLED_IN_CLUSTER if is_cluster else ())]
        self.processes: Counter[str] = Counter()
        self.kills = 0
        self.query: Query | None = None

    def strike(self, share: int) -> str:
        """Let the query read twice so many user records, and kill some of it; which, and how far it had come."""
        self.grow(share)
        if self.query is not None and self.query.process.poll() is not None:  # it cannot go on without what was killed
            self.end()
        if self.query is None:
            self.query = Query(self.arguments, self.url, self.folder)
            assert self.query.line() == "up\n", self.log()
        wait_for_batches(self.folder, self.dice.choice([0, 1, 1, 2]))
        self.grow(share)
        time.sleep(self.dice.uniform(0, self.arguments.most_seconds))
        victim = self.dice.choice(self.victims) if self.kills % 5 else "all"
        hit = strike(self.query, victim)
        self.kills += 1
        self.processes[victim] += hit
        if victim == "all":
            self.query = None
        planned, committed = (len(batches_of(self.folder, kind)) for kind in ("offsets", "commits"))
        return f"kill {self.kills}: {victim}, {hit} processes; batches {planned} planned, {committed} committed"

    def grow(self, share: int) -> None:
        self.stream.put(share)
        self.stream.reshard()

    def end(self) -> None:
        """Kill what is left of the query."""
        if self.query is not None:
            self.query.kill()
            self.query = None

    def finish(self) -> Any:
        """What the sink holds when a last query has read all there is; None: that one failed."""
        self.end()
        last = Query(self.arguments, self.url, self.folder, finish=True)
        line = last.line()
        last.process.communicate()
        return json.loads(line) if line else None

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-5000:]


def soak(arguments: argparse.Namespace) -> bool:
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="shardpack-spark-") as name,
        without_logs_of_executors(),
        servers.kinesalite() as server,
        FaultProxy(server, Kinesis(), FAULTS, seed=arguments.seed) as proxy,
    ):
        stream = Stream(server, arguments.seed)
        servers.create_stream(stream.kinesis, STREAM, 3)
        struck = Struck(arguments, proxy.url, stream, Path(name))
        while struck.kills < arguments.kills and time.monotonic() - began <= arguments.seconds:
            state = struck.strike(arguments.records // (2 * arguments.kills + 1))
            print(f"{time.monotonic() - began:6.0f} s  {state}", flush=True)
        struck.end()
        stream.put(arguments.records - stream.digest.count)
        proxy.faults = Faults()
        told = struck.finish()
        counts = dict(proxy.counts)
        if told is None:
            print(struck.log())
            return False
    lost = stream.digest.count - told["different"]
    print(
        f"Spark {told['version']}, {arguments.master}: {stream.digest.count:,} user records, {struck.kills} kills,"
        f" {stream.reshards} reshards, {sum(counts.values())} faults, {told['batches']} batches,"
        f" {time.monotonic() - began:.0f} s: {lost} lost, {told['twice']} twice, digests"
        f" {'equal' if told['digest'] == stream.digest.hexdigest() else 'DIFFERENT'}; processes killed:"
        f" {dict(struck.processes)}"
    )
    return bool(told["digest"] == stream.digest.hexdigest() and not lost and not told["twice"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--master", default="local[2]", help="such as local-cluster[2,1,1024]")
    parser.add_argument("--options", default="{}", help="more options of the source, as JSON")
    parser.add_argument("--most-seconds", type=float, default=3.0, help="after a batch was planned, before a kill")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after which nothing more is killed")
    parser.add_argument("--query", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--finish", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.query:
        query(arguments)
    elif not soak(arguments):
        sys.exit(1)


if __name__ == "__main__":
    main()
