"""Local servers of other people for the tests: each on 127.0.0.1, on a free port, stopped by its process id.

kinesalite and kinesis-local reshard as Kinesis does, dynalite keeps lease tables; all three come from npm, and
`make test` installs them where npm is. ministack comes with the extra `demo`; it cannot reshard.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NODE = Path(__file__).parent / "node"
DYNAMODB_LOCAL = Path(__file__).parent / "dynamodb_local"
START_SECONDS = 60


@contextmanager
def kinesalite(path: Path | None = None, *, port: int = 0, change_ms: int = 20) -> Iterator[str]:
    """The URL of a kinesalite.

    Args:
        path: where it keeps its data, so that it survives a kill; None: in memory.
        port: where to listen; 0: anywhere.
        change_ms: how long streams stay CREATING, UPDATING and DELETING.
    """
    durations = dict.fromkeys(("createStreamMs", "updateStreamMs", "deleteStreamMs"), change_ms)
    options = {"shardLimit": 10_000, "port": port, **durations, **({} if path is None else {"path": str(path)})}
    with _node("kinesalite", options) as url:
        yield url


@contextmanager
def dynalite(path: Path | None = None, *, port: int = 0) -> Iterator[str]:
    """The URL of a dynalite, which is a DynamoDB."""
    options = {"port": port, "createTableMs": 20, **({} if path is None else {"path": str(path)})}
    with _node("dynalite", options) as url:
        yield url


@contextmanager
def dynamodb_local() -> Iterator[str]:
    """The URL of the DynamoDB that AWS gives out for tests, in memory; it needs Java, and Maven to bring it here once.

    Raises:
        FileNotFoundError: there is no Java or no Maven.
    """
    if (java := shutil.which("java")) is None or (maven := shutil.which("mvn")) is None:
        raise FileNotFoundError("DynamoDB Local needs Java 17 or later and Maven")
    home, port = DYNAMODB_LOCAL / "target" / "jars", free_port()
    if not home.is_dir():
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        command = [maven, "--batch-mode", "--quiet", "--file", str(DYNAMODB_LOCAL / "pom.xml"), plugin]
        subprocess.run([*command, f"-DoutputDirectory={home}"], check=True)
    settings = ["-XX:+UseSerialGC", f"-Djava.library.path={home}", "-cp", f"{home}/*"]
    main = "com.amazonaws.services.dynamodbv2.local.main.ServerRunner"
    with running([java, *settings, main, "-inMemory", "-port", str(port)], {}) as (process, log):
        _wait_for_port(process, port, log)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def kinesis_local(change_ms: int = 20) -> Iterator[str]:
    """The URL of a kinesis-local (kinesis-mock); it grows slow with what it stores."""
    port, tls_port = free_port(), free_port()
    changes = ("CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "UPDATE_SHARD_COUNT")
    settings = {
        "KINESIS_MOCK_CERT_PATH": str(NODE / "node_modules" / "kinesis-local" / "server.json"),
        "KINESIS_MOCK_PLAIN_PORT": str(port),
        "KINESIS_MOCK_TLS_PORT": str(tls_port),
        "SHARD_LIMIT": "1000",
        "LOG_LEVEL": "ERROR",
        **{f"{change}_DURATION": f"{change_ms}ms" for change in changes},
    }
    _require_node()
    with running([_node_binary(), str(NODE / "serve.js"), "kinesis-local"], settings) as (process, log):
        _wait_for_port(process, port, log)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def ministack(services: str = "kinesis", settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of a ministack with some of its services, such as ``"kinesis,dynamodb,lambda"``."""
    if find_spec("ministack") is None:
        pytest.skip("ministack is not installed (extra demo)")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="shardpack-test-") as folder:
        env = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": services, "LOG_LEVEL": "ERROR"}
        env |= {"TMPDIR": folder, "STATE_DIR": folder, **(settings or {})}
        with running([sys.executable, "-m", "ministack"], env, folder) as (process, log):
            _wait_for_port(process, port, log)
            yield f"http://127.0.0.1:{port}"


def client(service: str, url: str, **settings: Any) -> Any:
    """A boto3 client of a local server that does not retry."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}, **settings),
    )


def create_stream(kinesis: Any, name: str, shards: int) -> None:
    """A stream that is ACTIVE when this returns."""
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    wait_until_active(kinesis, name)


def wait_until_active(kinesis: Any, name: str) -> None:
    """Return when the stream is neither CREATING nor UPDATING."""
    deadline = time.monotonic() + START_SECONDS
    while kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        assert time.monotonic() < deadline, f"{name} does not become ACTIVE"
        time.sleep(0.01)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _node_binary() -> str:
    return shutil.which("node") or ""


def _require_node() -> None:
    if not _node_binary() or not (NODE / "node_modules").is_dir():
        pytest.skip("kinesalite, kinesis-local and dynalite are not installed: `make test` does it where npm is")


@contextmanager
def _node(name: str, options: dict[str, Any]) -> Iterator[str]:
    _require_node()
    with running([_node_binary(), str(NODE / "serve.js"), name, json.dumps(options)], {}) as (process, log):
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            _raise_not_up(process, log)
        yield f"http://127.0.0.1:{int(port)}"


@contextmanager
def running(
    command: list[str], settings: Mapping[str, str], folder: str | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A server's process and the file of its standard error; an error within the block is told when it had ended."""
    with tempfile.TemporaryDirectory(prefix="shardpack-log-") as logs:
        log = Path(logs) / "stderr"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env=os.environ | settings, stdout=subprocess.PIPE, stderr=out, cwd=folder or logs
            )
        try:
            yield process, log
        except BaseException as error:
            if process.poll() is not None:
                error.add_note(f"a server had ended by itself: {_last_words(process, log)}")
            raise
        finally:
            process.kill()  # not asked: kinesis-local takes its time, and nothing of theirs outlives the test
            process.communicate()


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    _raise_not_up(process, log)


def _raise_not_up(process: subprocess.Popen[bytes], log: Path) -> None:
    raise RuntimeError(f"did not come up within {START_SECONDS} s: {_last_words(process, log)}")


def _last_words(process: subprocess.Popen[bytes], log: Path) -> str:
    return f"{process.args!r}, exit status {process.poll()}\n{log.read_text(errors='replace')[-2000:]}"
