"""Every example of docs/consumer.md and docs/fan-out.md runs as it stands, against real local servers."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import servers

import shardpack as sp

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "consumer.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FAN_OUT = re.findall(r"^```python\n(.*?)^```$", (DOCS / "fan-out.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
PAGES_SEEN = 40


@pytest.fixture(scope="module")
def aws() -> Iterator[tuple[Any, dict[str, str]]]:
    """A Kinesis client, and an environment in which the examples find the local servers."""
    with ExitStack() as stack:
        kinesis = stack.enter_context(servers.kinesalite())
        dynamodb = stack.enter_context(servers.dynalite())
        sqs = stack.enter_context(servers.ministack("kinesis,sqs"))
        yield (
            servers.client("kinesis", kinesis),
            {
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_ENDPOINT_URL_KINESIS": kinesis,
                "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
                "AWS_ENDPOINT_URL_SQS": sqs,
            },
        )


@pytest.fixture
def environment(aws: tuple[Any, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """With a stream "clicks" that holds forty aggregated clicks in two shards."""
    client, environment = aws
    if "clicks" in client.list_streams()["StreamNames"]:
        client.delete_stream(StreamName="clicks")
        while "clicks" in client.list_streams()["StreamNames"]:
            time.sleep(0.02)
    servers.create_stream(client, "clicks", 2)
    shards = sp.ShardMap(client.list_shards(StreamName="clicks")["Shards"])
    clicks = ((f"user-{n}", b'{"page": %d}' % n) for n in range(PAGES_SEEN))
    for packed in sp.pack(clicks, by="shard", shard_map=shards):
        client.put_record(StreamName="clicks", **packed.entry)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


def output(number: int, folder: Path, lines: int, end: int | None = None) -> list[str]:
    """What an example prints as a script; `end`: the signal that ends it when it has printed so many lines."""
    return output_of(EXAMPLES[number], folder, lines, end)


def output_of(example: str, folder: Path, lines: int, end: int | None) -> list[str]:
    """The same of any example."""
    script = folder / "example.py"
    script.write_text(example, encoding="utf-8")
    process = subprocess.Popen([sys.executable, script], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = [process.stdout.readline().strip() for _ in range(lines)]
    if end is not None:
        process.send_signal(end)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert rest == ""
    return printed


def handled(printed: list[str]) -> int:
    """How many user records the handlers have counted; they print from several threads, also into one line."""
    return sum(map(int, re.findall(r"(\d+) user records", " ".join(printed))))


def test_there_is_a_test_for_each_example() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.usefixtures("environment")
def test_batch_by_batch(tmp_path: Path) -> None:
    printed = output(0, tmp_path, PAGES_SEEN, signal.SIGINT)
    assert sorted(printed) == sorted(f'user-{n} {{"page": {n}}}' for n in range(PAGES_SEEN))


@pytest.mark.usefixtures("environment")
def test_a_handler_ends_by_sigterm_and_gives_the_leases_up(tmp_path: Path) -> None:
    printed = output(1, tmp_path, 2, signal.SIGTERM)
    assert handled(printed) == PAGES_SEEN
    leases = sp.SQLiteLeases(tmp_path / "counter.db").list()
    assert [lease.owner for lease in leases] == [None, None]
    assert all(lease.checkpoint > sp.Position.LATEST for lease in leases)


def test_poison_goes_to_the_queue(aws: tuple[Any, dict[str, str]], environment: dict[str, str], tmp_path: Path) -> None:
    for data in (b"no JSON", b'{"page": 40}'):  # in one shard, so that the second comes after the first is diverted
        aws[0].put_record(StreamName="clicks", PartitionKey="user-0", Data=data)
    assert "40" in output(2, tmp_path, PAGES_SEEN + 1, signal.SIGINT)
    sqs = servers.client("sqs", environment["AWS_ENDPOINT_URL_SQS"])
    queue = sqs.get_queue_url(QueueName="clicks-poison")["QueueUrl"]
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"]
    assert message["Body"] == "bm8gSlNPTg=="


@pytest.mark.usefixtures("environment")
def test_the_asynchronous_fleet(environment: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("aiobotocore")
    printed = output(3, tmp_path, 2, signal.SIGINT)
    assert handled(printed) == PAGES_SEEN
    client = servers.client("dynamodb", environment["AWS_ENDPOINT_URL_DYNAMODB"])
    assert len(sp.DynamoDBLeases("clicks-dashboard", client=client).list()) == 2


@pytest.mark.usefixtures("environment")
def test_until_it_has_caught_up(tmp_path: Path) -> None:
    assert output(4, tmp_path, 1) == [f"{PAGES_SEEN} user records since the last time"]
    assert output(4, tmp_path, 1) == ["0 user records since the last time"]


def test_fan_out(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = environment["AWS_ENDPOINT_URL_SQS"]  # which has streams too, with enhanced fan-out
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", url)
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    client = servers.client("kinesis", url)
    servers.create_stream(client, "clicks", 1)
    client.put_record(StreamName="clicks", PartitionKey="k", Data=sp.encode([("k", b"one"), ("k", b"two")]))

    (example,) = FAN_OUT
    assert output_of(example, tmp_path, 2, signal.SIGINT) == ["b'one'", "b'two'"]
    arn = client.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]["StreamARN"]
    (consumer,) = client.list_stream_consumers(StreamARN=arn)["Consumers"]
    assert consumer["ConsumerName"] == "dashboard"


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", PAGE, re.MULTILINE)
    told = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    for field in fields(sp.ConsumerConfig):
        assert field.name in told
    config = sp.ConsumerConfig()
    assert told["failover_time"] == f"{config.failover_time} s"
    assert told["max_records"] == f"{config.max_records:,}"
    assert told["prefetch_max_bytes"] == f"{config.prefetch_max_bytes >> 20} MiB"
