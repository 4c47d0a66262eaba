"""Every example of docs/producer.md runs as it stands, against real local servers."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import servers
from producer_client import read_all

import shardpack as sp
from shardpack.producer.shells.otel import _INSTRUMENTS

PAGE = (Path(__file__).parents[2] / "docs/producer.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """The text below a heading; "" for what comes first."""
    parts = re.split(r"^## (.+)\n", PAGE, flags=re.MULTILINE)
    return dict(zip(["", *parts[1::2]], parts[::2], strict=True))[heading]


def source(heading: str) -> str:
    """The example below a heading."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", section(heading), re.DOTALL | re.MULTILINE)
    return str(block)


def example(heading: str) -> dict[str, Any]:
    """The names that the example below a heading leaves behind."""
    namespace: dict[str, Any] = {"__name__": "docs"}
    exec(compile(source(heading), f"docs/producer.md, {heading or 'first'} example", "exec"), namespace)
    return namespace


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with servers.ministack("kinesis,sqs") as url:
        yield url


@pytest.fixture
def kinesis(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A stream "clicks", which the examples find by themselves."""
    settings = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", server)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", server)
    client = servers.client("kinesis", server)
    servers.create_stream(client, "clicks", 2)
    yield client
    client.delete_stream(StreamName="clicks")


def received(client: Any) -> list[tuple[str | None, bytes]]:
    return sorted(((record.partition_key, record.data) for _, record in read_all(client, "clicks")), key=repr)


CLICKS = sorted(((f"user-{n % 7}", b'{"page": %d}' % n) for n in range(1000)), key=repr)


def test_the_first_example_delivers(kinesis: Any, capsys: pytest.CaptureFixture[str]) -> None:
    example("")

    assert received(kinesis) == CLICKS
    assert capsys.readouterr().out.startswith("shardId-")


def test_many_at_once(kinesis: Any, capsys: pytest.CaptureFixture[str]) -> None:
    example("Many at once")

    assert received(kinesis) == CLICKS
    assert len(capsys.readouterr().out.splitlines()) == 1000


def test_a_key_is_in_order(kinesis: Any) -> None:
    assert example("Order per key")["config"].ordering == "key"
    assert received(kinesis) == sorted((("user-1", b'{"step": %d}' % n) for n in range(1000)), key=repr)


def test_dead_letters_have_every_record_that_failed(kinesis: Any, server: str) -> None:
    queue = example("Keep what fails")["dead_letters"]

    messages = servers.client("sqs", server).receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    )["Messages"]
    assert {
        (message["MessageAttributes"]["partition_key"]["StringValue"], base64.b64decode(message["Body"]))
        for message in messages
    } == {(f"user-{n}", b'{"page": %d}' % n) for n in range(3)}
    assert {message["MessageAttributes"]["reason"]["StringValue"] for message in messages} == {
        "ResourceNotFoundException"
    }
    assert received(kinesis) == []


class Context:
    """Lambda's."""

    def __init__(self, remaining_ms: int = 30_000) -> None:
        self.remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


def test_the_lambda_function_has_stored_everything_when_it_returns(kinesis: Any) -> None:
    function = example("In a Lambda function")
    orders = [{"user": f"user-{n}", "n": n} for n in range(20)]
    try:
        for invocation in range(3):
            answer = function["handler"]({"orders": orders}, Context())
            assert len(answer["stored"]) == 20
            assert len(received(kinesis)) == 20 * (invocation + 1)
    finally:
        function["producer"].close()

    assert received(kinesis)[0] == ("user-0", json.dumps(orders[0]).encode())


def test_the_lambda_function_does_not_wait_longer_than_it_may(kinesis: Any) -> None:
    function = example("In a Lambda function")
    try:
        with pytest.raises(TimeoutError, match="1 user records"):
            function["handler"]({"orders": [{"user": "u"}]}, Context(remaining_ms=1000))
    finally:
        function["producer"].close()

    assert len(received(kinesis)) == 1


def test_a_record_that_fails_fails_the_invocation(kinesis: Any) -> None:
    function = example("In a Lambda function")
    kinesis.delete_stream(StreamName="clicks")
    try:
        with pytest.raises(sp.DeliveryError, match="ResourceNotFoundException"):
            function["handler"]({"orders": [{"user": "u"}]}, Context())
    finally:
        function["producer"].close()
        servers.create_stream(kinesis, "clicks", 2)


def post(port: int, path: str, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the web service does not come up")


def test_the_web_service_answers_when_the_record_is_stored(kinesis: Any, tmp_path: Path) -> None:
    pytest.importorskip("aiobotocore")
    pytest.importorskip("hypercorn", reason="comes with ministack")
    (tmp_path / "service.py").write_text(source("In a web service"), encoding="utf-8")
    port = servers.free_port()
    command = [sys.executable, "-m", "hypercorn", "service:app", "--bind", f"127.0.0.1:{port}", "--workers", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        try:
            wait_for_port(process, port)
            with ThreadPoolExecutor(10) as clients:
                answers = list(clients.map(lambda n: post(port, f"/user-{n % 3}", b"click %d" % n), range(30)))
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=60)
        finally:
            process.kill()

    assert {status for status, _ in answers} == {201}, answers
    assert len(set(answers)) == 30
    assert received(kinesis) == sorted(((f"/user-{n % 3}", b"click %d" % n) for n in range(30)), key=repr)
    assert b"Traceback" not in log, log.decode()


@pytest.mark.parametrize(
    ("error", "status", "answer"),
    [
        (sp.BufferFullError("full", records=(), retriable=True), 503, b"busy"),
        (
            sp.DeliveryError("failed", records=(), attempts=(sp.Attempt(0, 0, "Expired", ""),), retriable=True),
            *(502, b"Expired"),
        ),
        (sp.DeliveryError("closed", records=(), retriable=True), 502, b"not delivered"),
    ],
)
def test_the_web_service_says_what_went_wrong(error: Exception, status: int, answer: bytes) -> None:
    class Failing:
        async def put(self, *_arguments: Any, **_more: Any) -> None:
            raise error

    sent: list[dict[str, Any]] = []

    async def main() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"x"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "path": "/", "state": {"producer": Failing()}}
        await example("In a web service")["app"](scope, receive, send)

    asyncio.run(main())

    assert (sent[0]["status"], sent[1]["body"]) == (status, answer)


def test_the_metrics_example_counts(kinesis: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("opentelemetry.sdk")
    names = example("Metrics")

    assert received(kinesis) == CLICKS
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"1000 user records in \d+ Kinesis records", first)
    assert re.fullmatch(r"[\d.]+ ms a call, at most [\d.]+", second)
    (resource,) = names["reader"].get_metrics_data().resource_metrics
    assert "UserRecordsPut" in {metric.name for metric in resource.scope_metrics[0].metrics}


def test_the_table_of_metrics_is_complete() -> None:
    rows = re.findall(r"^\| (`.+`) \| (.+), (.+) \| (.+) \| (.+) \|$", section("Metrics"), re.MULTILINE)
    told = {
        name: (level, kind.replace("up-down", "up_down").replace(" ", "_"), unit)
        for names, kind, unit, level, _ in rows
        for name in re.findall(r"`(\w+)`", names)
    }

    assert told == {name: (level, kind, unit) for name, (level, kind, unit, _) in _INSTRUMENTS.items()}


def test_the_page_names_no_setting_that_is_not_there() -> None:
    settings = {field.name for field in fields(sp.ProducerConfig)}
    named = set(re.findall(r"\b((?:record|max|collection|aggregation|metrics|connect|request|rate)_\w+)\b", PAGE))

    assert named - settings == {"request_time"}
