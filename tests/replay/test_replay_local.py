"""`shardpack replay`, as a user's shell runs it, against a local server that has Kinesis, Lambda, SQS, S3 and DynamoDB.

No local server writes to the on-failure destination of a stream's mapping: the messages are in the shape of
"Retain discarded batch records for a Kinesis Data Streams event source in Lambda".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from command_line import json_lines, run
from deployment import ROLE, package

import shardpack as sp
from shardpack.aws_lambda import DynamoDBProgress, process

pytest.importorskip("boto3")
pytest.importorskip("typer")

REGION = "us-east-1"
NAMES = iter(f"replay-{n}" for n in range(1000))
FUNCTION = """
import json
import os

from shardpack.aws_lambda import process


def handle(record):
    if record.data == b"poison" and not os.path.exists(os.environ["ANTIDOTE"]):
        raise ValueError("poison")
    with open(os.environ["HANDLED"], "a") as out:
        print(json.dumps([record.data.decode(), record.sequence_number, record.sub_sequence_number]), file=out)


def handler(event, context):
    return process(event, handle)
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with servers.ministack("kinesis,lambda,sqs,s3,dynamodb,iam,sts,logs") as url, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("AWS_ENDPOINT_URL", url)
        yield url


class Failed:
    """A stream of one shard whose second to last but one records were a batch that Lambda gave up."""

    def __init__(self, url: str) -> None:
        self.name = next(NAMES)
        self.url = url
        self.kinesis = servers.client("kinesis", url)
        self.sqs = servers.client("sqs", url)
        self.s3 = servers.client("s3", url)
        servers.create_stream(self.kinesis, self.name, 1)
        summary = self.kinesis.describe_stream_summary(StreamName=self.name)
        self.arn = summary["StreamDescriptionSummary"]["StreamARN"]
        self.batch = [[b"%d.%d" % (n, m) for m in range(20)] for n in range(5)]
        for data in (b"before", *(sp.encode([("k", one) for one in some]) for some in self.batch), b"after"):
            self.kinesis.put_record(StreamName=self.name, PartitionKey="k", Data=data)
        self.records = self.read(self.name)[1:-1]
        self.queue = self.sqs.create_queue(QueueName=self.name)["QueueUrl"]
        self.data = [one.decode() for some in self.batch for one in some]

    def read(self, stream: str) -> list[dict[str, Any]]:
        iterator = self.kinesis.get_shard_iterator(
            StreamName=stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records: list[dict[str, Any]] = self.kinesis.get_records(ShardIterator=iterator)["Records"]
        return records

    def message(self, first: int = 0, last: int = -1, **changed: str) -> dict[str, Any]:
        info = {
            "streamArn": self.arn,
            "shardId": "shardId-000000000000",
            "startSequenceNumber": self.records[first]["SequenceNumber"],
            "endSequenceNumber": self.records[last]["SequenceNumber"],
            "approximateArrivalOfFirstRecord": "2026-11-01T00:00:00.000Z",
            "batchSize": len(self.records),
            **changed,
        }
        return {"requestContext": {"condition": "RetryAttemptsExhausted"}, "version": "1.0", "KinesisBatchInfo": info}

    def send(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=json.dumps(message))

    def left(self) -> int:
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["All"])["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])


@pytest.fixture
def failed(url: str) -> Failed:
    return Failed(url)


def told(out: bytes) -> dict[str, Any]:
    (line,) = json_lines(out)
    return dict(line)


def test_from_a_queue_to_the_function_that_had_failed(failed: Failed, tmp_path: Path) -> None:
    """The function stops inside an aggregate again; once it is mended, the rest comes, and only the rest."""
    functions = servers.client("lambda", failed.url, read_timeout=60)
    functions.create_function(
        FunctionName=failed.name,
        Runtime="python3.11",
        Role=ROLE,
        Handler="function.handler",
        Code={"ZipFile": package(FUNCTION.replace('b"poison"', 'b"2.7"'))},
        Timeout=30,
        Environment={"Variables": {"HANDLED": str(tmp_path / "handled"), "ANTIDOTE": str(tmp_path / "antidote")}},
    )
    failed.send(failed.message())
    progress = ["--progress-file", str(tmp_path / "progress"), "--consumer", failed.name]

    out, _ = run("replay", failed.queue, "--invoke", failed.name, *progress, "--json", status=1)
    first = told(out)
    assert (first["messages"], first["done"], first["user_records"], failed.left()) == (1, 0, 40, 1)
    assert failed.records[2]["SequenceNumber"] in first["failed"][0]["error"]
    (tmp_path / "antidote").touch()
    out, _ = run("replay", failed.queue, "--invoke", failed.name, *progress, "--json")
    assert told(out) | {"messages": 1, "done": 1, "user_records": 60, "skipped": 40} == told(out)
    assert failed.left() == 0
    handled = [json.loads(line) for line in (tmp_path / "handled").read_text().splitlines()]
    # The aggregate in which the function failed came to it as a whole once more: what it had done there, it did twice.
    assert [data for data, *_ in handled] == [*failed.data[:47], *failed.data[40:]]


def test_a_dry_run_and_then_a_handler_with_the_progress_of_the_function(
    failed: Failed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = DynamoDBProgress(f"{failed.name}-progress", servers.client("dynamodb", failed.url), consumer="orders")
    table.create_table()

    def handle(record: sp.ReceivedRecord) -> None:
        if record.data == b"1.3":
            raise ValueError

    in_queue = {"messageId": "m", "body": json.dumps(failed.message())}
    process({"Records": [in_queue]}, handle, progress=table, client=failed.kinesis)
    failed.send(failed.message())
    progress = ["--progress-table", f"{failed.name}-progress", "--consumer", "orders"]

    for _ in range(2):
        out, _ = run("replay", failed.queue, "--dry-run", *progress)
        assert out.decode().splitlines() == [
            "1 messages, 1 of them can be done: 77 user records would be handed over, 23 done before, out of 5 Kinesis"
            " records"
        ]
        assert failed.left() == 1
    (tmp_path / "mine.py").write_text("def handle(record):\n    print(record.data.decode(), file=open('seen', 'a'))\n")
    monkeypatch.chdir(tmp_path)
    out, _ = run("replay", failed.queue, "--handler", "mine:handle", *progress, "--keep", "--json")
    assert (told(out)["user_records"], told(out)["skipped"], failed.left()) == (77, 23, 1)
    assert (tmp_path / "seen").read_text().split() == failed.data[23:]
    out, _ = run("replay", failed.queue, "--handler", "mine:handle", *progress, "--json")
    assert (told(out)["user_records"], told(out)["skipped"], failed.left()) == (0, 100, 0)


def test_from_a_bucket_and_its_notifications_to_a_file_and_into_a_stream(failed: Failed, tmp_path: Path) -> None:
    bucket = failed.name
    failed.s3.create_bucket(Bucket=bucket)
    arn = failed.sqs.get_queue_attributes(QueueUrl=failed.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    configuration = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    failed.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    key = "aws/lambda/0/shardId-000000000000/2026/11/28/2026-11-28T07.00.00-a b+c"
    failed.s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(failed.message()).encode())

    out, _ = run("replay", f"s3://{bucket}/aws/lambda/", "--to", tmp_path / "out", "--json")
    assert (told(out)["done"], told(out)["user_records"]) == (1, 100)
    lines = json_lines((tmp_path / "out").read_bytes())
    assert [line["data"] for line in lines] == failed.data
    assert [line["sequence_number"] for line in lines[::20]] == [one["SequenceNumber"] for one in failed.records]

    again = f"{failed.name}-again"
    servers.create_stream(failed.kinesis, again, 1)
    out, _ = run("replay", arn, "--put", again, "--json")
    assert (told(out)["failed"], told(out)["user_records"], failed.left()) == ([], 100, 0)
    assert [one.data.decode() for one in sp.unpack(failed.read(again))] == failed.data


def test_what_has_expired_is_listed_and_has_an_exit_status_of_its_own(failed: Failed, tmp_path: Path) -> None:
    """No local server lets records expire within a test: here the batch begins where nothing was stored."""
    number = failed.records[1]["SequenceNumber"]
    before = failed.message(1, 2, startSequenceNumber=str(int(number) - 1).zfill(len(number)))
    gone = failed.message(shardId="shardId-000000000099")
    path = tmp_path / "messages"
    path.write_text(f"{json.dumps(before)}\n{json.dumps(failed.message(3, 3), indent=2)}\n")

    out, _ = run("replay", path, "--to", tmp_path / "out", status=3)
    first, second = out.decode().splitlines()
    assert first.startswith("2 messages, 1 of them done: 60 user records handed over")
    assert second.startswith(f"expired: {before['KinesisBatchInfo']['startSequenceNumber']} to ")
    assert f"only those from {failed.records[1]['SequenceNumber']} on are left ({path}:1)" in second
    assert "which arrived at 2026-11-01" in second
    path.write_text(json.dumps(before) + "\n" + json.dumps(gone) + "\nno message\n")
    out, err = run("replay", path, "--to", tmp_path / "out", "--json", status=1)
    assert "messages:3: not JSON" in err
    out, _ = run("replay", "-", "--dry-run", "--json", stdin=json.dumps(gone).encode(), status=3)
    assert [(one["shard_id"], one["left"]) for one in told(out)["expired"]] == [
        ("shardId-000000000099", "none is left")
    ]


def test_the_example_of_the_page(failed: Failed, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "replay.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    DynamoDBProgress("clicks-progress", servers.client("dynamodb", failed.url), consumer="clicks").create_table()
    namespace: dict[str, Any] = {"__name__": "docs"}
    exec(compile(example, "docs/replay.md", "exec"), namespace)
    failed.send(failed.message(), failed.message(shardId="shardId-000000000099"))

    assert not namespace["replay_failed"](failed.queue)
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines() if "Position(" not in line] == ["expired:"]
    assert printed.count("Position(") == 100
    assert failed.left() == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "choose one of --handler"),
        (["--to", "a", "--put", "b"], 2, "choose one of --handler"),
        (["--dry-run", "--progress-file", "x"], 2, "--consumer"),
        (["--to", "a", "--workers", "2"], 2, "--workers goes with --handler"),
        (["--to", "a", "--max-attempts", "2"], 2, "--max-attempts goes with"),
        (["--handler", "json"], 1, "MODULE:FUNCTION"),
        (["--handler", "not_there:handle"], 1, "there is no module not_there here"),
        (["--handler", "json:not_there"], 1, "the module has no not_there"),
        (["--handler", "json:__name__"], 1, "--handler is 'json', of type str"),
        (["--to", "SOURCE"], 1, "is the source itself"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, arguments: list[str], status: int, message: str) -> None:
    source = tmp_path / "messages"
    source.write_text("")

    _, err = run("replay", source, *[str(source) if one == "SOURCE" else one for one in arguments], status=status)
    assert message in " ".join(err.replace("│", " ").split())
