"""Every example of the README and of docs/ runs as it stands, its AWS calls against a real local server."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers

import shardpack as sp

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def kinesis() -> Iterator[Any]:
    """What `boto3.client("kinesis")` finds when the README's examples call it: a server with the stream "clicks"."""
    boto3 = pytest.importorskip("boto3")
    settings = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    with servers.ministack() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL_KINESIS", url)
        client = boto3.client("kinesis")
        client.create_stream(StreamName="clicks", ShardCount=3)
        client.get_waiter("stream_exists").wait(StreamName="clicks", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        yield client


def received(client: Any) -> list[sp.ReceivedRecord]:
    out: list[sp.ReceivedRecord] = []
    for shard in client.list_shards(StreamName="clicks")["Shards"]:
        iterator = client.get_shard_iterator(
            StreamName="clicks", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while (page := client.get_records(ShardIterator=iterator))["Records"]:
            out += sp.unpack(page)
            iterator = page["NextShardIterator"]
    return out


def test_the_python_examples_run_in_turn(
    kinesis: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "readme"}
    for number, block in enumerate(blocks("python")):
        exec(compile(block, f"README.md, Python example {number}", "exec"), namespace)

    clicks = received(kinesis)
    assert capsys.readouterr().out.startswith("shardId-")
    clicks.remove(next(r for r in clicks if r.data == b'{"page": 1}'))
    assert len(clicks) == 100_000
    assert {(r.partition_key, r.data) for r in clicks} == {
        (f"user-{n % 500}", b'{"user": %d, "page": %d}' % (n % 500, n)) for n in range(100_000)
    }
    answer = namespace["handler"]({"Records": [{"kinesis": {"data": "aGVsbG8=", "partitionKey": "k"}}]}, None)
    assert answer == {"batchItemFailures": []}
    assert capsys.readouterr().out == "k None 0 b'hello'\n"
    assert len(list(namespace["deaggregate_records"]([{"kinesis": {"data": "aGVsbG8=", "partitionKey": "k"}}]))) == 1
    assert namespace["seen"] == 100_001
    namespace["test_my_handler_sees_every_record"]()


def test_the_examples_of_the_page_on_testing_run() -> None:
    namespace: dict[str, Any] = {"__name__": "docs"}
    for number, block in enumerate(blocks("python", (ROOT / "docs/testing.md").read_text(encoding="utf-8"))):
        exec(compile(block, f"docs/testing.md, Python example {number}", "exec"), namespace)
    tests = [value for name, value in namespace.items() if name.startswith("test_")]
    assert len(tests) == 9
    for test in tests:
        test()


def test_the_shell_examples_run(tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text("".join(f"GET /{n}\n" for n in range(5000)), encoding="utf-8")
    (script,) = blocks("sh")
    path = f"export PATH={Path(sys.executable).parent}:$PATH\n"

    done = subprocess.run(
        ["bash", "-euc", path + script], cwd=tmp_path, capture_output=True, check=False, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "GET /2" in done.stdout
    assert "An aggregate of" in done.stdout


def test_the_make_targets_exist() -> None:
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", README))
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert {"demo", "test", "bench"} <= named <= targets


def test_the_files_that_it_links_to_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
