"""A record processor of ours under the KCL's own MultiLangDaemon."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import servers
from java_programs import CREDENTIALS, command, versions
from kcl_application import table_of_ours

import shardpack as sp

PAGE = (Path(__file__).parent.parent.parent / "docs/kcl-multilang.md").read_text(encoding="utf-8")
PROPERTIES = dict(re.findall(r"^(\w+) = (.*)$", PAGE, re.MULTILINE))
OPTIONS = "".join(re.findall(r"^java (.*)$", PAGE, re.MULTILINE))
PROXY = Path(__file__).with_name("h2c_proxy.mjs")
PROCESSOR = """
from pathlib import Path
from typing import Any
from shardpack import multilang

seen = Path(__file__).with_name("seen")
poison = Path(__file__).with_name("poison")

def handle(record):
    if poison.exists() and record.data == poison.read_bytes():
        raise ValueError("poison")
    with seen.open("ab") as file:
        file.write(record.data + b"\\n")
    print("what a handler prints is not said to the daemon")

multilang.run_each(handle)
"""

BUFFERING = """
import json
from pathlib import Path
from typing import Any
from shardpack import multilang

class Processor(multilang.RecordProcessor):
    def write(self, *line):
        with Path(__file__).with_name("calls").open("a") as file:
            print(json.dumps(line), file=file)

    def initialize(self, shard_id, position):
        self.write("initialize", shard_id, position.sequence_number, position.sub_sequence_number)

    def process_records(self, batch, checkpointer):
        for record in batch:
            if record.data == b"137:":
                self.done = record
            timestamp = record.approximate_arrival_timestamp.timestamp()
            where = record.shard_id, record.sequence_number, record.sub_sequence_number, timestamp
            self.write("record", *where, record.partition_key, record.data.hex())

    def shutdown_requested(self, checkpointer):
        checkpointer.checkpoint(self.done)
        self.write("shutdown_requested", checkpointer.position.sub_sequence_number)

    def lease_lost(self):
        self.write("lease_lost")

multilang.run_processor(Processor())
"""


@pytest.fixture(scope="module")
def kinesis() -> Iterator[str]:
    with servers.kinesis_local() as url:
        yield url


@pytest.fixture
def http2(kinesis: str) -> Iterator[str]:
    """The Kinesis server by HTTP/2, which the daemon insists on."""
    process = subprocess.Popen(["node", PROXY, kinesis.rpartition(":")[2]], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as lines:
        yield f"http://127.0.0.1:{int(lines.readline())}"
        process.kill()
        process.wait()


@contextmanager
def daemon(
    folder: Path, stream: str, http2: str, dynamodb: str, *, processor: str = PROCESSOR, options: str = OPTIONS
) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon with a processor in this folder."""
    (folder / "processor.py").write_text(processor)
    properties = PROPERTIES | {
        "executableName": f"{sys.executable} {folder}/processor.py",
        "streamName": stream,
        "applicationName": stream,
        "workerId": "multilang",
        "kinesisEndpoint": http2,
        "dynamoDBEndpoint": dynamodb,
        "metricsLevel": "NONE",
        "failoverTimeMillis": "3000",
        "leaseAssignmentIntervalMillis": "2000",
        "shutdownGraceMillis": "5000",  # it waits as long even for the process that failed
        "shardSyncIntervalMillis": "1000",  # as long it waits when it begins, too
        "parentShardPollIntervalMillis": "200",
        "idleTimeBetweenReadsInMillis": "200",
    }
    path = folder / "kcl.properties"
    path.write_text("".join(f"{key} = {value}\n" for key, value in properties.items()))
    main = "software.amazon.kinesis.multilang.MultiLangDaemon"
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command(
                main,
                "--properties-file",
                str(path),
                properties={"aws.cborEnabled": "false", **dict(re.findall(r"-D(\S+?)=(\S+)", options))},
            ),
            stdout=log,
            stderr=log,
            env=os.environ | CREDENTIALS | {"LC_ALL": "C"},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(done: Callable[[], bool], folder: Path, seconds: int = 400) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, (folder / "log").read_text()[-4000:]
        time.sleep(0.1)


def seen(folder: Path) -> list[int]:
    path = folder / "seen"
    return [int(line.partition(b":")[0]) for line in path.read_bytes().splitlines()] if path.exists() else []


def test_the_page_names_the_versions_that_are_tried() -> None:
    assert re.findall("<version>(.*?)</version>", PAGE)[1:] == [versions()["multilang"], versions()["kcl"]]


def test_a_failure_is_gone_on_from_inside_the_aggregate(
    kinesis: str, http2: str, dynamodb: str, tmp_path: Path
) -> None:
    client, stream = servers.client("kinesis", kinesis), "multilang-failure"
    servers.create_stream(client, stream, 1)
    table_of_ours(dynamodb, stream)
    for put in sp.put_requests(sp.pack([(f"user-{n % 7}", b"%d:" % n) for n in range(200)], limits=sp.Limits(200))):
        assert put.retry(client.put_records(StreamName=stream, Records=put.entries)) is None

    (tmp_path / "poison").write_bytes(b"137:")
    with daemon(tmp_path, stream, http2, dynamodb) as process:
        wait_until(lambda: process.poll() is not None, tmp_path)
    assert process.returncode == 1
    assert seen(tmp_path) == list(range(137))
    assert "ValueError: poison" in (tmp_path / "log").read_text()

    (tmp_path / "poison").unlink()
    with daemon(tmp_path, stream, http2, dynamodb):
        wait_until(lambda: len(seen(tmp_path)) >= 200, tmp_path)
    assert seen(tmp_path) == list(range(200))


def calls(folder: Path) -> list[list[Any]]:
    path = folder / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_processor_of_records_is_asked_to_stop_inside_an_aggregate(
    kinesis: str, http2: str, dynamodb: str, tmp_path: Path
) -> None:
    client, stream = servers.client("kinesis", kinesis), "multilang-stop"
    servers.create_stream(client, stream, 1)
    table_of_ours(dynamodb, stream)
    keys = ["user", "\u00e9", "\u65e5\u672c\u8a9e", "\U0001f600" * 3, "a\u2028b", "\x01", "\\"]
    packed = [*sp.pack([(keys[n % 7], b"%d:" % n) for n in range(200)], limits=sp.Limits(200))]
    # What only looks like an aggregate, which the daemon is to hand over whole.
    for data in (packed[0].data[:4], packed[0].data[:-1], packed[0].data[:20] + bytes(40), b"\0\xff"):
        packed.insert(9, sp.PackedRecord(data, "\u00e9", None, 1))
    for put in sp.put_requests(packed):
        assert put.retry(client.put_records(StreamName=stream, Records=put.entries)) is None
    (shard,) = client.list_shards(StreamName=stream)["Shards"]
    iterator = client.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")[
        "ShardIterator"
    ]
    stored = [*sp.unpack(client.get_records(ShardIterator=iterator), on_corrupt="kcl")]
    assert len(stored) == 204
    expected = [
        [
            "record",
            shard["ShardId"],
            record.sequence_number,
            record.sub_sequence_number,
            record.approximate_arrival_timestamp and record.approximate_arrival_timestamp.timestamp(),
            record.partition_key,
            record.data.hex(),
        ]
        for record in stored
    ]
    (index,) = [n for n, record in enumerate(stored) if record.data == b"137:"]
    done = stored[index]
    assert stored[index + 1].sequence_number == done.sequence_number

    with daemon(tmp_path, stream, http2, dynamodb, processor=BUFFERING) as process:
        wait_until(lambda: len(calls(tmp_path)) >= 205, tmp_path)
        process.terminate()
        wait_until(lambda: process.poll() is not None, tmp_path)
    assert calls(tmp_path) == [
        ["initialize", shard["ShardId"], "TRIM_HORIZON", 0],
        *expected,
        ["shutdown_requested", done.sub_sequence_number],
        ["lease_lost"],
    ]

    (tmp_path / "calls").unlink()
    with daemon(tmp_path, stream, http2, dynamodb, processor=BUFFERING, options=""):
        wait_until(lambda: len(calls(tmp_path)) >= 204 - index, tmp_path)
    begun, *rest = calls(tmp_path)
    assert begun == ["initialize", shard["ShardId"], done.sequence_number, done.sub_sequence_number]
    assert [record[:-2] + record[-1:] for record in rest] == [
        record[:-2] + record[-1:] for record in expected[index + 1 :]
    ]
    # Java 17 and older speak to their children as the locale is, and in none that is ASCII.
    java = int(
        subprocess.run(["java", "-version"], stderr=subprocess.PIPE, text=True, check=True)
        .stderr.split('"')[1]
        .split(".")[0]
    )
    assert ("?" in {record[-2] for record in rest}) == (java < 18)


def test_every_record_through_a_split_and_a_merge(kinesis: str, http2: str, dynamodb: str, tmp_path: Path) -> None:
    client, stream = servers.client("kinesis", kinesis), "multilang-reshard"
    servers.create_stream(client, stream, 1)
    table_of_ours(dynamodb, stream)
    with daemon(tmp_path, stream, http2, dynamodb), sp.Producer(stream, client=client) as producer:
        put = count()

        def put_some() -> None:
            for number in islice(put, 100):
                producer.put(f"user-{number}", b"%d:" % number)
            producer.flush(30)
            servers.wait_until_active(client, stream)

        put_some()
        wait_until(lambda: len(seen(tmp_path)) == 100, tmp_path)
        (shard,) = client.list_shards(StreamName=stream)["Shards"]
        client.split_shard(StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(2**127))
        put_some()
        _, left, right = client.list_shards(StreamName=stream)["Shards"]
        client.merge_shards(StreamName=stream, ShardToMerge=left["ShardId"], AdjacentShardToMerge=right["ShardId"])
        put_some()
        wait_until(lambda: len(set(seen(tmp_path))) >= 300, tmp_path)
    print(
        f"\nMultiLangDaemon {versions()['multilang']} on KCL {versions()['kcl']}: {len(seen(tmp_path))} of 300 records"
    )
    assert sorted(seen(tmp_path)) == list(range(300))
