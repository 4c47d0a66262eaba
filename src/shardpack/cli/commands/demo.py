"""`shardpack demo`: the main job against a real Kinesis server, and the proof that nothing was lost."""

from __future__ import annotations

import base64
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, Never

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ...dedup import RecordDigest
from ...files._lines import Lines
from ...hashing import ShardMap
from ...limits import MAX_REQUEST_RECORDS, SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND, Limits
from ...packing.packer import pack
from ...packing.requests import PutRequest, put_requests
from ...records import UserRecord
from ...unpacking.unpacker import unpack
from .. import reading
from ..input_bar import opened_input
from ..terminal import Column, print_table, printable

_STREAM = "shardpack-demo"
_START_SECONDS = 60
_LAMBDA_BATCH = 100
_READ_PATIENCE_SECONDS = 30
_LAST_CALL_SECONDS = 2


@dataclass
class _Tally:
    """What went out."""

    digest: RecordDigest = field(default_factory=RecordDigest)
    kinesis_records: int = 0
    kinesis_bytes: int = 0
    requests: int = 0
    plain_bytes: int = 0

    def counted(self, records: Iterator[UserRecord]) -> Iterator[UserRecord]:
        for record in records:
            self.digest.add(record)
            self.plain_bytes += len(record.data) + len(record.partition_key.encode())
            yield record

    def sent(self, request: PutRequest) -> None:
        self.requests += 1
        self.kinesis_records += len(request.records)
        self.kinesis_bytes += request.size


def run(file: str | None, records: int, shards: int, endpoint_url: str | None, console: Console) -> bool:
    """Send, read back in two shapes, compare, print; whether everything came back."""
    with ExitStack() as stack:
        if endpoint_url is None:
            console.print("Starting a local Kinesis server (ministack) …")
            stack.enter_context(_exit_when_told_to())
            endpoint_url = stack.enter_context(_local_server())
        console.print(f"Kinesis at {printable(endpoint_url)}")
        client = stack.enter_context(_client(endpoint_url))
        stream = f"{_STREAM}-{os.getpid()}"
        _create_stream(client, stream, shards)
        stack.callback(_delete_stream, endpoint_url, client, stream)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=console) as progress:
            tally = _send(client, stream, file, records, progress)
            received, from_lambda = _read_back(client, stream, tally.digest.count, progress)
    _print_summary(console, tally)
    _print_proof(console, tally.digest, {"GetRecords": received, "a Lambda event": from_lambda})
    return tally.digest == received == from_lambda


def _send(client: Any, stream: str, file: str | None, records: int, progress: Progress) -> _Tally:
    shard_map = ShardMap(_all_shards(client, stream))
    tally = _Tally()
    with ExitStack() as stack:
        if file is None:
            source = _login_events(records)
        else:
            lines = Lines(stack.enter_context(opened_input(file, bar=False)).stream, file)
            stack.enter_context(reading.errors_at(lines))
            source = reading.user_records(lines, None, one_key=False)
        task = progress.add_task("packing and putting user records", total=records if file is None else None)
        for request in put_requests(pack(tally.counted(source), shard_map=shard_map)):
            _put(client, stream, request)
            tally.sent(request)
            progress.update(task, completed=tally.digest.count)
        progress.update(task, completed=tally.digest.count, total=tally.digest.count)
    return tally


def _put(client: Any, stream: str, request: PutRequest) -> None:
    left: PutRequest | None = request
    for attempt in range(10):
        if left is None:
            return
        if attempt:
            time.sleep(0.1 * 2**attempt)
        left = left.retry(client.put_records(StreamName=stream, Records=left.entries))
    if left is not None:
        raise reading.InputError(f"the server refused {len(left.records)} records ten times over")


def _read_back(client: Any, stream: str, expected: int, progress: Progress) -> tuple[RecordDigest, RecordDigest]:
    """Digests of what came back from `GetRecords`, and of the same as Lambda hands it to a function."""
    received, from_lambda = RecordDigest(), RecordDigest()
    task = progress.add_task("reading back and unpacking", total=expected)
    for shard_id, page in _pages(client, stream, lambda: received.count >= expected):
        received.update(unpack(page))
        for event in _lambda_events(page, shard_id):
            from_lambda.update(unpack(event))
        progress.update(task, completed=received.count)
    return received, from_lambda


def _pages(client: Any, stream: str, is_complete: Callable[[], bool]) -> Iterator[tuple[str, dict[str, Any]]]:
    """`GetRecords` responses of all shards in turn, until a round brings nothing more.

    What was put a moment ago may not be there to read yet, so rounds that bring nothing end it only when all has come,
    or when patience ends. A surplus is read too, because that would be as wrong as a loss.
    """
    tokens = {}
    for shard in _all_shards(client, stream):
        iterator = client.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        tokens[shard["ShardId"]] = iterator["ShardIterator"]
    patience_ends = time.monotonic() + _READ_PATIENCE_SECONDS
    while tokens and time.monotonic() < patience_ends:
        brought = 0
        for shard_id, token in list(tokens.items()):
            page = client.get_records(ShardIterator=token, Limit=1000)
            yield shard_id, page
            brought += len(page["Records"])
            if page.get("NextShardIterator"):
                tokens[shard_id] = page["NextShardIterator"]
            else:
                del tokens[shard_id]
        if brought:
            patience_ends = time.monotonic() + _READ_PATIENCE_SECONDS
        elif is_complete():
            return
        else:
            time.sleep(0.2)


def _lambda_events(page: dict[str, Any], shard_id: str) -> Iterator[dict[str, Any]]:
    records = page["Records"]
    for start in range(0, len(records), _LAMBDA_BATCH):
        yield {
            "Records": [
                {
                    "eventID": f"{shard_id}:{record['SequenceNumber']}",
                    "eventSource": "aws:kinesis",
                    "kinesis": {
                        "kinesisSchemaVersion": "1.0",
                        "partitionKey": record["PartitionKey"],
                        "sequenceNumber": record["SequenceNumber"],
                        "data": base64.b64encode(record["Data"]).decode(),
                        "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
                    },
                }
                for record in records[start : start + _LAMBDA_BATCH]
            ]
        }


def _print_summary(console: Console, tally: _Tally) -> None:
    limit = Limits().max_record_bytes
    count = tally.digest.count
    plain_requests = -(-count // MAX_REQUEST_RECORDS)
    fill = tally.kinesis_bytes / (limit * tally.kinesis_records) if count else 0.0
    plain_fill = tally.plain_bytes / (limit * count) if count else 0.0
    counts = (
        ("user records", count, count),
        ("Kinesis records", tally.kinesis_records, count),
        ("PutRecords requests", tally.requests, plain_requests),
        ("bytes, partition keys counted", tally.kinesis_bytes, tally.plain_bytes),
    )
    seconds = (
        _shard_seconds(records, size)
        for records, size in ((tally.kinesis_records, tally.kinesis_bytes), (count, tally.plain_bytes))
    )
    rows = [
        *([name, f"{packed:,}", f"{plain:,}"] for name, packed, plain in counts),
        ["seconds of one shard's budget", *(f"{value:,.1f}" for value in seconds)],
        ["fill: bytes used of 1 MiB a record", f"{fill:.1%}", f"{plain_fill:.3%}"],
    ]
    heads = [Column("what was sent"), Column("with shardpack", is_number=True)]
    print_table(console, [*heads, Column("one record an entry", is_number=True)], rows)
    console.print()


def _shard_seconds(kinesis_records: int, size: int) -> float:
    return max(kinesis_records / SHARD_RECORDS_PER_SECOND, size / SHARD_BYTES_PER_SECOND)


def _print_proof(console: Console, sent: RecordDigest, came_back: dict[str, RecordDigest]) -> None:
    console.print("Order-independent xxh3-128 digest of all user records:")
    for name, digest in {"sent": sent, **{f"from {shape}": digest for shape, digest in came_back.items()}}.items():
        amount = f"{digest.count:,} records, {digest.data_bytes:,} bytes"
        console.print(f"  {name:<20} {digest.hexdigest()}  {amount}", soft_wrap=True)
    if all(digest == sent for digest in came_back.values()):
        console.print("Exactly the records that were sent came back, in both shapes.", style="bold green")
    else:
        console.print("What came back is not what was sent.", style="bold red")


def _login_events(count: int) -> Iterator[UserRecord]:
    """Login attempts of 50 to 100 bytes: the small events that waste a shard when each is a record of its own."""
    rng = random.Random(2026)  # noqa: S311  # the same events every time, no secrets
    for number in range(count):
        user = f"user-{rng.randrange(5000)}"
        event = f'{{"n":{number},"user":"{user}","ok":{"true" if rng.random() < 0.9 else "false"},"agent":"'
        yield UserRecord(user, (event.ljust(rng.randint(48, 98), "m") + '"}').encode())


def _all_shards(client: Any, stream: str) -> list[dict[str, Any]]:
    page = client.list_shards(StreamName=stream)
    shards: list[dict[str, Any]] = page["Shards"]
    while page.get("NextToken"):
        page = client.list_shards(NextToken=page["NextToken"])
        shards += page["Shards"]
    return shards


def _create_stream(client: Any, stream: str, shards: int) -> None:
    client.create_stream(StreamName=stream, ShardCount=shards)
    client.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def _delete_stream(endpoint_url: str, client: Any, stream: str) -> None:
    """Clean up; after Ctrl-C only if the server answers at once, because it may be what it was pressed for."""
    if sys.exc_info()[0] is None:
        client.delete_stream(StreamName=stream)
        return
    with suppress(Exception), _client(endpoint_url, seconds=_LAST_CALL_SECONDS) as quick:
        quick.delete_stream(StreamName=stream)


@contextmanager
def _client(endpoint_url: str, seconds: float | None = None) -> Iterator[Any]:
    """A Kinesis client; what fails in it is said with the endpoint."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:
        raise reading.InputError("the demo needs boto3: pip install 'shardpack[aws]'") from None
    local = {"aws_access_key_id": "demo", "aws_secret_access_key": "demo", "region_name": "us-east-1"}
    credentials = local if "127.0.0.1" in endpoint_url or "localhost" in endpoint_url else {}
    config = Config(retries={"mode": "standard"})
    if seconds is not None:
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=seconds, read_timeout=seconds)
    try:
        client = boto3.client("kinesis", endpoint_url=endpoint_url, config=config, **credentials)
    except (BotoCoreError, ValueError) as error:
        raise reading.InputError(f"{endpoint_url}: {error}") from None
    try:
        yield client
    except (BotoCoreError, ClientError) as error:
        raise reading.InputError(f"{endpoint_url}: {error}") from error


@contextmanager
def _local_server() -> Iterator[str]:
    """A ministack of our own on a free loopback port; stopped by its process id."""
    if find_spec("ministack") is None:
        raise reading.InputError(
            "the demo's local server is not installed: pip install 'shardpack[demo]', or give an --endpoint-url"
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="shardpack-demo-") as folder:
        log = Path(folder) / "server.log"
        env = os.environ | {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "SERVICES": "kinesis",
            "LOG_LEVEL": "ERROR",
            "TMPDIR": folder,
            "STATE_DIR": folder,
        }
        with log.open("wb") as out:
            command = [sys.executable, "-m", "ministack"]
            server = subprocess.Popen(command, env=env, stdout=out, stderr=out, cwd=folder)  # noqa: S603  # ours
        try:
            _wait_until_up(server, f"{url}/_ministack/health", log)
            yield url
        finally:
            _stop(server)


@contextmanager
def _exit_when_told_to() -> Iterator[None]:
    """Leave by an exception when asked to end, so that the server does not stay behind."""
    told = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has one
    handlers = {number: signal.signal(number, _exit) for number in told}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _exit(number: int, _frame: FrameType | None) -> Never:
    raise SystemExit(128 + number)


def _wait_until_up(server: subprocess.Popen[bytes], health: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(health, timeout=1):  # noqa: S310  # our own http URL on the loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    tail = " | ".join(log.read_text(errors="replace").splitlines()[-20:])
    raise reading.InputError(f"the local Kinesis server did not come up within {_START_SECONDS} s: {tail[-1500:]}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
