"""Run an example as it stands, on a server of this machine: python examples/run_local.py orders|firehose

ministack (shardpack[demo]) stands in for AWS, and aws-sam-translator expands the template as CloudFormation does:
pip install '.[demo]' aws-sam-translator. The functions run with the Python and the shardpack that run this.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

import shardpack as sp

HERE = Path(__file__).parent
ORDERS, IN_EUROS = 120, 180
SECONDS = 120  # until something that should happen has not happened


class Stack:
    """A template, deployed.

    Attributes:
        outputs: of the stack, by name.
    """

    def __init__(self, example: str, url: str) -> None:
        self.url = url
        self.s3 = self.client("s3")
        self.s3.create_bucket(Bucket="artifacts")
        template = (HERE / example / "template.yaml").read_text(encoding="utf-8")
        template = template.replace("../layer/build/layer.zip", self._upload("layer.zip", layer()))
        template = template.replace("src/", self._upload("src.zip", zipped(HERE / example / "src", Path())))
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName=example, TemplateBody=template, Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
        )
        cloudformation.get_waiter("stack_create_complete").wait(StackName=example, WaiterConfig={"Delay": 1})
        (stack,) = cloudformation.describe_stacks(StackName=example)["Stacks"]
        self.outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

    def client(self, service: str) -> Any:
        """A client of the local server."""
        return boto3.client(service, endpoint_url=self.url, config=Config(read_timeout=SECONDS))

    def invoke(self, function: str, event: Any) -> Any:
        """The answer of a function."""
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
        payload = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise SystemExit(f"{function} failed: {payload}")
        return payload

    def _upload(self, key: str, content: bytes) -> str:
        self.s3.put_object(Bucket="artifacts", Key=key, Body=content)
        return f"s3://artifacts/{key}"


def layer() -> bytes:
    """What examples/layer/build.sh makes for Lambda, here of what is installed; what shardpack needs is there."""
    return zipped(Path(sp.__file__).parent, Path("python/shardpack"))


def zipped(folder: Path, below: Path) -> bytes:
    """A ZIP archive of a folder."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, below / path.relative_to(folder))
    return out.getvalue()


def orders(stack: Stack) -> None:
    """Orders by HTTP into the table; a rate is missing; Lambda gives a batch up; the rate is there; the replay."""
    table = boto3.resource("dynamodb", endpoint_url=stack.url).Table(stack.outputs["Orders"])
    table.put_item(Item={"id": "rate#USD", "rate": Decimal(1)})

    def stored() -> int:
        return int(table.scan(Select="COUNT", ConsistentRead=True)["Count"])

    answer = post(stack, [order(n, "USD") for n in range(ORDERS)])
    assert answer == {"stored": ORDERS, "not_stored": 0}, answer
    wait("the orders in the table", lambda: stored() == ORDERS + 1)
    print(f"{ORDERS} orders by HTTP, through the stream, into the table")

    # The local server does not write to on-failure destinations; so the mapping rests, and the message is ours.
    functions = stack.client("lambda")
    (mapping,) = functions.list_event_source_mappings()["EventSourceMappings"]
    settings = {name: mapping.get(name) for name in ("ParallelizationFactor", "FunctionResponseTypes")}
    assert settings == {"ParallelizationFactor": 4, "FunctionResponseTypes": ["ReportBatchItemFailures"]}, settings
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    wait("the mapping to rest", lambda: functions.get_event_source_mapping(UUID=mapping["UUID"])["State"] == "Disabled")
    shards = list(batches(stack))
    post(stack, [order(n, "EUR" if n == IN_EUROS else "USD") for n in range(ORDERS, 2 * ORDERS)])
    for (stream_arn, shard_id, before), (_, _, after) in zip(shards, batches(stack), strict=True):
        given_up = after[len(before) :]
        info = {
            "streamArn": stream_arn,
            "shardId": shard_id,
            "startSequenceNumber": given_up[0],
            "endSequenceNumber": given_up[-1],
            "batchSize": len(given_up),
        }
        message = json.dumps({"version": "1.0", "KinesisBatchInfo": info})
        stack.client("sqs").send_message(QueueUrl=stack.outputs["Failed"], MessageBody=message)
    first = stack.invoke(stack.outputs["Replay"], {})
    assert not first["ok"], first
    assert "no rate for EUR" in first["failed"][0], first
    print(f"replayed while the rate is missing: {first}")
    table.put_item(Item={"id": "rate#EUR", "rate": Decimal("1.25")})
    second = stack.invoke(stack.outputs["Replay"], {})
    assert second["ok"], second
    assert first["user_records"] + second["user_records"] == ORDERS, (first, second)
    assert stored() == 2 * ORDERS + 2
    assert table.get_item(Key={"id": str(IN_EUROS)})["Item"]["total"] == IN_EUROS * Decimal("1.25")
    print(f"replayed with the rate: {second}")


def order(number: int, currency: str) -> dict[str, Any]:
    return {"id": str(number), "user": f"user-{number % 17}", "currency": currency, "total": number}


def post(stack: Stack, body: list[dict[str, Any]]) -> Any:
    """POST to the API; the local server has all of them under one address, and tells them by the host."""
    host, _, path = stack.outputs["Api"].partition("://")[2].partition("/")
    headers = {"Host": host, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{stack.url}/{path}", json.dumps(body).encode(), headers)  # noqa: S310  # see below
    with urllib.request.urlopen(request, timeout=SECONDS) as response:  # noqa: S310  # the local server
        return json.load(response)


def batches(stack: Stack) -> Iterator[tuple[str, str, list[str]]]:
    """The stream's ARN, a shard, and the sequence numbers in it."""
    kinesis = stack.client("kinesis")
    arn = kinesis.describe_stream_summary(StreamName=stack.outputs["Stream"])["StreamDescriptionSummary"]["StreamARN"]
    for shard in kinesis.list_shards(StreamARN=arn)["Shards"]:
        where = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(StreamARN=arn, **where)["ShardIterator"]
        records = kinesis.get_records(StreamARN=arn, ShardIterator=iterator)["Records"]
        yield arn, shard["ShardId"], [record["SequenceNumber"] for record in records]


def firehose(stack: Stack) -> None:
    """Clicks in aggregates into the stream, and click by click out of the bucket."""
    clicks = [(f"user-{n % 7}", json.dumps({"page": n, "bot": n % 10 == 3}).encode()) for n in range(200)]
    kinesis = stack.client("kinesis")
    # One key an aggregate: the local Firehose does not take aggregates apart, as AWS's does, and a record that comes
    # back has one partition key.
    for request in sp.put_requests(sp.pack(clicks, by="key")):
        assert request.retry(kinesis.put_records(StreamName=stack.outputs["Stream"], Records=request.entries)) is None

    def written() -> list[dict[str, Any]]:
        found = stack.s3.list_objects_v2(Bucket=stack.outputs["Bucket"], Prefix="clicks/").get("Contents", ())
        bodies = (stack.s3.get_object(Bucket=stack.outputs["Bucket"], Key=one["Key"])["Body"].read() for one in found)
        return [json.loads(line) for body in bodies for line in body.splitlines()]

    wait("the clicks in the bucket", lambda: len(written()) >= 180)
    assert sorted(one["page"] for one in written()) == [n for n in range(200) if n % 10 != 3]
    assert {one["user"] for one in written()} == {f"user-{n}" for n in range(7)}
    print("200 clicks into the stream, and the 180 of people on a line each in the bucket")


def wait(for_what: str, condition: Callable[[], bool]) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {SECONDS} s for {for_what}")
        time.sleep(0.2)


@contextmanager
def server() -> Iterator[str]:
    """The URL of a ministack, which ends with this."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="shardpack-example-") as folder:
        settings = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "LOG_LEVEL": "ERROR"}
        environment = os.environ | settings | {"STATE_DIR": folder, "TMPDIR": folder}
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env=environment, cwd=folder, stdout=subprocess.DEVNULL
        )
        try:
            wait("the local server", lambda: process.poll() is not None or is_open(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    examples = {"orders": orders, "firehose": firehose}
    parser.add_argument("example", choices=examples)
    chosen = parser.parse_args().example
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1")
    for name in [name for name in os.environ if re.match("AWS_(PROFILE|SESSION_TOKEN|ENDPOINT_URL)", name)]:
        del os.environ[name]  # nothing of this goes to AWS
    with server() as url:
        examples[chosen](Stack(chosen, url))
