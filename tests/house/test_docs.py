"""Every example of the pages on Lambda, Firehose and duplicates runs, its AWS calls against a real local server."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from lambda_model import aggregate, event, record

import shardpack as sp
from shardpack.aws_lambda import DynamoDBProgress

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["lambda.md", "firehose.md", "deduplication.md"]


def examples(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def run(page: str, number: int) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "docs"}
    exec(compile(examples(page)[number], f"docs/{page}, example {number}", "exec"), namespace)
    return namespace


@pytest.fixture
def clicks() -> dict[str, Any]:
    return event(record(7, b'{"page": 0}', "user-0"), aggregate(8, [("user-1", b'{"page": 1}'), ("user-2", b"poison")]))


@pytest.fixture(scope="module")
def aws() -> Iterator[None]:
    """What `boto3.client` finds when the examples call it: a table for progress and a queue for poison records."""
    boto3 = pytest.importorskip("boto3")
    with servers.ministack("dynamodb,sqs") as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        DynamoDBProgress("clicks-progress").create_table()
        boto3.client("dynamodb").create_table(
            TableName="clicks-idempotency",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )
        boto3.client("sqs").create_queue(QueueName="clicks-poison")
        yield


def test_there_is_a_test_for_each_example() -> None:
    assert [len(examples(page)) for page in PAGES] == [9, 2, 2]


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("number", [0, 1])
def test_lambda_handlers(number: int, clicks: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    handler = run("lambda.md", number)["handler"]

    assert handler(clicks, None) == {"batchItemFailures": []}
    assert capsys.readouterr().out.count("Position('8', ") == 2
    assert handler(clicks, None) == {"batchItemFailures": []}
    assert ("user-1" in capsys.readouterr().out) == (number == 0)  # with progress, once


@pytest.mark.usefixtures("aws")
def test_lambda_poison_goes_to_the_queue(clicks: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "poison")
    namespace = run("lambda.md", 2)

    for _ in range(2):
        assert namespace["handler"](clicks, None) == {"batchItemFailures": []}
    messages = namespace["sqs"].receive_message(
        QueueUrl=namespace["queue_url"], MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    )["Messages"]
    assert [bytes.fromhex(one["Body"]) for one in messages] == [b"poison"]
    assert messages[0]["MessageAttributes"]["position"]["StringValue"] == "shardId-000000000000 8 1"
    with pytest.raises(ConnectionError):
        namespace["divert"](None, ConnectionError())


def test_lambda_tumbling_window(clicks: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    handler = run("lambda.md", 3)["handler"]
    window = {
        "window": {"start": "2024-10-27T03:32:00Z", "end": "2024-10-27T03:34:00Z"},
        "shardId": "shardId-000000000007",
        "isFinalInvokeForWindow": False,
    }

    first = handler(clicks | window | {"state": {}}, None)
    assert first == {"batchItemFailures": [], "state": {"clicks": 3}}
    second = handler(clicks | window | {"state": first["state"]}, None)
    assert second["state"] == {"clicks": 6}
    assert capsys.readouterr().out == ""
    handler(window | {"Records": [], "state": second["state"], "isFinalInvokeForWindow": True}, None)
    times = "2024-10-27 03:32:00+00:00 2024-10-27 03:34:00+00:00"
    assert capsys.readouterr().out == f"shardId-000000000007 {times} 6 False\n"


@pytest.mark.parametrize("number", [4, 5])
def test_lambda_powertools(number: int, clicks: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aws_lambda_powertools")

    assert run("lambda.md", number)["handler"](clicks, None) == {"batchItemFailures": []}
    printed = capsys.readouterr().out.splitlines()
    assert sorted(printed) == ["user-0 7 0", "user-1 8 0", "user-2 8 1"]


@pytest.mark.usefixtures("aws")
def test_lambda_idempotency(
    clicks: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aws_lambda_powertools")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "charges")
    handler = run("lambda.md", 6)["handler"]

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 30_000

    for _ in range(2):
        assert handler(clicks, Context()) == {"batchItemFailures": []}
    shard = "shardId-000000000000"
    assert capsys.readouterr().out.splitlines() == [f"charged {shard}:{key}" for key in ("7:0", "8:0", "8:1")]


def test_lambda_decoders(capsys: pytest.CaptureFixture[str]) -> None:
    written = Path(__file__).parents[1] / "vectors" / "aws-events" / "data"
    change = (written / "dynamodb-change.json").read_bytes()
    lines = gzip.compress((written / "cloudwatch-logs.json").read_bytes())

    assert run("lambda.md", 7)["handler"](event(aggregate(7, [("k", change)])), None) == {"batchItemFailures": []}
    assert capsys.readouterr().out.startswith("MODIFY orders {'id': 'ann'} {'id': 'ann', 'sum': Decimal('12.50')")
    assert run("lambda.md", 8)["handler"](event(record(7, lines)), None) == {"batchItemFailures": []}
    assert capsys.readouterr().out.splitlines() == [
        "/orders/web 2024-10-27T03:33:20.250000+00:00 GET / 200",
        "/orders/web 2024-10-27T03:33:20.251000+00:00 GET /x 404",
    ]


def firehose_event(*data: bytes) -> dict[str, Any]:
    return {"records": [{"recordId": f"{n}", "data": base64.b64encode(one).decode()} for n, one in enumerate(data)]}


def test_firehose_handlers() -> None:
    blob = sp.encode([("user-1", b'{"page": 1}'), ("user-2", b'{"bot": true}'), ("user-3", b'{"page": 3}')])

    (one,) = run("firehose.md", 0)["handler"](firehose_event(blob), None)["records"]
    assert one["result"] == "Ok"
    assert base64.b64decode(one["data"]) == b'{"page": 1, "key": "user-1"}\n{"page": 3, "key": "user-3"}'

    of_one = sp.encode([("user-1", b"a"), ("user-1", b"b")])
    answers = run("firehose.md", 1)["handler"](firehose_event(of_one, blob), None)["records"]
    assert answers[0]["metadata"] == {"partitionKeys": {"customer": "user-1"}}
    assert [answer["result"] for answer in answers] == ["Ok", "ProcessingFailed"]


def test_deduplication(clicks: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    handler = run("deduplication.md", 0)["handler"]
    handler(clicks, None)
    handler(clicks, None)
    assert len(capsys.readouterr().out.splitlines()) == 3

    deduplicator = run("deduplication.md", 1)["deduplicator"]
    deduplicator.add(sp.UserRecord("k", b'{"id": "1", "sent": 1}'))
    assert deduplicator.seen(sp.UserRecord("k", b'{"id": "1", "sent": 2}')) == "reproduction"
    assert deduplicator.seen(sp.UserRecord("k", b'{"id": "2", "sent": 2}')) is None


@pytest.mark.parametrize("page", [path.name for path in sorted(DOCS.glob("*.md"))])
def test_the_files_that_they_link_to_exist(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (DOCS / page).read_text(encoding="utf-8")):
        assert (DOCS / target).exists(), target
