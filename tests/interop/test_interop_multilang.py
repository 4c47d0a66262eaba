"""A record processor of ours under the KCL's own MultiLangDaemon."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path

import pytest
from java_programs import CREDENTIALS, command, versions

import servers
import shardpack as sp

PAGE = (Path(__file__).parent.parent.parent / "docs/kcl-multilang.md").read_text(encoding="utf-8")
PROPERTIES = dict(re.findall(r"^(\w+) = (.*)$", PAGE, re.MULTILINE))
PROXY = Path(__file__).with_name("h2c_proxy.mjs")
PROCESSOR = """
from pathlib import Path
from shardpack import kcl

seen = Path(__file__).with_name("seen")
poison = Path(__file__).with_name("poison")

def handle(record):
    if poison.exists() and record.data == poison.read_bytes():
        raise ValueError("poison")
    with seen.open("ab") as file:
        file.write(record.data + b"\\n")
    print("what a handler prints is not said to the daemon")

kcl.run_each(handle)
"""


@pytest.fixture(scope="module")
def kinesis() -> Iterator[str]:
    with servers.kinesis_local() as url:
        yield url


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[str]:
    with servers.dynalite() as url:
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
def daemon(folder: Path, stream: str, http2: str, dynamodb: str) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon with the processor of this folder."""
    (folder / "processor.py").write_text(PROCESSOR)
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
        "shardSyncIntervalMillis": "1000",  # as long it waits when it begins, too
        "parentShardPollIntervalMillis": "200",
        "idleTimeBetweenReadsInMillis": "200",
    }
    path = folder / "kcl.properties"
    path.write_text("".join(f"{key} = {value}\n" for key, value in properties.items()))
    main = "software.amazon.kinesis.multilang.MultiLangDaemon"
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command(main, "--properties-file", str(path), properties={"aws.cborEnabled": "false"}),
            stdout=log,
            stderr=log,
            env=os.environ | CREDENTIALS,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(done: Callable[[], bool], folder: Path, seconds: int = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, (folder / "log").read_text()[-4000:]
        time.sleep(0.1)


def seen(folder: Path) -> list[int]:
    path = folder / "seen"
    return [int(line.partition(b":")[0]) for line in path.read_bytes().splitlines()] if path.exists() else []


def table_of_ours(dynamodb: str, application: str) -> None:
    """The lease table: dynalite cannot add the index that the KCL adds to one of its own making."""
    sp.DynamoDBLeases(application, client=servers.client("dynamodb", dynamodb)).prepare()


def test_the_page_names_the_version_that_is_tried() -> None:
    assert f"<version>{versions()['multilang']}</version>" in PAGE


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
