"""The demo, against the real server process that it starts."""

from __future__ import annotations

import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import warm_python
from rich.console import Console

from shardpack.cli.commands import demo

pytestmark = pytest.mark.skipif(find_spec("ministack") is None, reason="the demo's local server is not installed")

COMMAND = ["-m", "shardpack", "demo"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    status, out, error = warm_python.run([*COMMAND, *arguments], seconds=180)
    return subprocess.CompletedProcess([*COMMAND, *arguments], status, out.decode(), error.decode())


def digests(output: str) -> list[tuple[str, str]]:
    """(digest, records) as sent, from GetRecords, from a Lambda event."""
    return re.findall(r"([0-9a-f]{32})  ([0-9,]+) records", output)


def test_login_events_come_back_and_the_server_stops() -> None:
    done = run("--records", "5000", "--shards", "3")

    assert done.returncode == 0, done.stderr
    assert "Exactly the records that were sent came back" in done.stdout
    assert len(digests(done.stdout)) == 3
    assert len(set(digests(done.stdout))) == 1
    assert digests(done.stdout)[0][1] == "5,000"
    (url,) = re.findall(r"Kinesis at (http://127\.0\.0\.1:\d+)", done.stdout)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


def test_a_file_comes_back_over_another_endpoint(tmp_path: Path, server: str) -> None:
    file = tmp_path / "access.log"
    file.write_bytes(b"".join(b"line %d \xff\n" % n for n in range(20_000)))

    done = run(str(file), "--endpoint-url", server, "--shards", "2")

    assert done.returncode == 0, done.stderr
    assert {records for _, records in digests(done.stdout)} == {"20,000"}
    assert len(set(digests(done.stdout))) == 1


def test_an_empty_file_is_no_trouble(tmp_path: Path, server: str) -> None:
    (tmp_path / "empty").touch()

    assert run(str(tmp_path / "empty"), "--endpoint-url", server).returncode == 0


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense"])
def test_an_endpoint_that_does_not_answer_is_named(url: str) -> None:
    done = run("--endpoint-url", url)

    assert done.returncode == 1
    assert done.stderr.startswith(f"shardpack: {url}: ")
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_named(server: str) -> None:
    done = run("nowhere.log", "--endpoint-url", server)

    assert done.returncode == 1
    assert "nowhere.log: No such file" in done.stderr


def test_a_loss_is_not_passed_over(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof must be able to fail: a record that is counted as sent, and never put, shows."""

    def forgetful(client: Any, stream: str, request: Any) -> None:
        client.put_records(StreamName=stream, Records=request.entries[1:])

    monkeypatch.setattr(demo, "_put", forgetful)
    monkeypatch.setattr(demo, "_READ_PATIENCE_SECONDS", 0.5)

    assert not demo.run(None, 1000, 2, server, Console(quiet=True))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with demo._local_server() as url:
        yield url
