"""The examples of the README, the tutorial and the codec's page run as they stand, against a real local server."""

from __future__ import annotations

import os
import re
import signal
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
    """What `boto3.client("kinesis")` finds when the README's examples call it: a local server."""
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
        yield boto3.client("kinesis")


def received(client: Any, stream: str) -> list[sp.ReceivedRecord]:
    out: list[sp.ReceivedRecord] = []
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        iterator = client.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while (page := client.get_records(ShardIterator=iterator))["Records"]:
            out += sp.unpack(page)
            iterator = page["NextShardIterator"]
    return out


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def run(language: str, name: str, text: str, **names: Any) -> dict[str, Any]:
    """What the examples of a page leave, one after the other."""
    namespace: dict[str, Any] = {"__name__": "docs", **names}
    for number, block in enumerate(blocks(language, text)):
        exec(compile(block, f"{name}, example {number}", "exec"), namespace)
    return namespace


def test_the_examples_of_the_readme_run_in_turn(kinesis: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kinesis.create_stream(StreamName="clicks", ShardCount=3)
    monkeypatch.chdir(tmp_path)
    printed: list[tuple[str, bytes]] = []

    def see(partition_key: str, data: bytes) -> None:
        printed.append((partition_key, data))
        if len(printed) == 1000:
            signal.raise_signal(signal.SIGINT)  # the consumer goes on until someone presses Ctrl-C

    put, consume, in_lambda = blocks("python")
    exec(put, {})
    handler = signal.getsignal(signal.SIGINT)
    try:
        exec(consume, {"print": see})
    finally:
        signal.signal(signal.SIGINT, handler)
    namespace: dict[str, Any] = {"print": see}
    exec(in_lambda, namespace)

    assert sorted(printed) == sorted((f"user-{n % 7}", b'{"page": %d}' % n) for n in range(1000))
    assert all(len(block.splitlines()) <= 10 for block in (put, consume, in_lambda))
    assert namespace["handler"]({"Records": [{"kinesis": {"data": "aGVsbG8=", "partitionKey": "k"}}]}, None) == {
        "batchItemFailures": []
    }
    assert printed[-1] == ("k", b"hello")


def test_the_examples_of_the_page_on_the_codec_run_in_turn(kinesis: Any) -> None:
    kinesis.create_stream(StreamName="packed", ShardCount=3)
    namespace = run("python", "docs/codec.md", page("codec.md").replace('"clicks"', '"packed"'))

    clicks = received(kinesis, "packed")
    assert len(clicks) == 100_000
    assert {(r.partition_key, r.data) for r in clicks} == {
        (f"user-{n % 500}", b'{"user": %d, "page": %d}' % (n % 500, n)) for n in range(100_000)
    }
    assert len(list(namespace["deaggregate_records"]([{"kinesis": {"data": "aGVsbG8=", "partitionKey": "k"}}]))) == 1


def test_the_tutorial_runs(tmp_path: Path) -> None:
    pytest.importorskip("ministack")
    text = page("getting-started.md").replace("4567", str(servers.free_port())).replace("100000", "3000")
    for name, block in zip(("make_stream.py", "put.py", "consume.py"), blocks("python", text), strict=True):
        (tmp_path / name).write_text(block.replace("100_001", "3_001"), encoding="utf-8")
    setting = f"export PATH={Path(sys.executable).parent}:$PATH TMPDIR={tmp_path} STATE_DIR={tmp_path}\n"
    script = setting + "trap 'kill $server' EXIT\n" + "".join(blocks("sh", text)) + "trap - EXIT\n"

    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}

    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env=env, capture_output=True, check=False, text=True, timeout=240
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3,000 of 3,000 user records delivered" in done.stdout
    assert "all of them came back\nstored in shardId-" in done.stdout
    assert "consumed 3001" in done.stdout
    for shown in blocks("text", text):
        first = shown.splitlines()[0]
        assert shape(first) in shape(done.stdout), first


def shape(text: str) -> str:
    """What is printed, without the numbers, which depend on how many events there are, and without the breaks."""
    return re.sub(r"\d[\d,.]*", "#", " ".join(text.split()))


def test_the_settings_that_the_pages_on_fleets_show_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    leader, shared = blocks("python", page("fleet.md"))
    assert executed(leader, "docs/fleet.md")["config"].fleet.strategy == "lease_count_based"
    assert executed(shared, "docs/fleet.md")["config"].lease_assignment == "auto"
    with executed(blocks("python", page("several-streams.md"))[-1], "docs/several-streams.md")["consumer"] as consumer:
        assert not consumer.is_caught_up


def executed(block: str, name: str) -> dict[str, Any]:
    """What an example leaves."""
    namespace: dict[str, Any] = {"__name__": "docs"}
    exec(compile(block, name, "exec"), namespace)
    return namespace


def test_the_examples_of_the_page_on_testing_run() -> None:
    namespace = run("python", "docs/testing.md", page("testing.md"))
    tests = [value for name, value in namespace.items() if name.startswith("test_")]
    assert len(tests) == 9
    for test in tests:
        test()


def test_the_shell_examples_run(tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text("".join(f"GET /{n}\n" for n in range(5000)), encoding="utf-8")
    (script,) = blocks("sh", page("command-line.md"))
    path = f"export PATH={Path(sys.executable).parent}:$PATH\n"

    done = subprocess.run(
        ["bash", "-euc", path + script], cwd=tmp_path, capture_output=True, check=False, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for line in blocks("text", page("command-line.md"))[0].splitlines():
        assert line in done.stdout, line


def test_contributing_tells_of_every_make_target_and_of_no_other() -> None:
    rows = re.findall(r"^\| (`make .*?) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    told = {target for row in rows for target in re.findall(r"`make ([a-z-]+)", row)}
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert told == targets - {"help", "demo"}  # which the first lines are about


def test_the_make_targets_exist() -> None:
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", README))
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert {"demo", "test", "bench"} <= named <= targets


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: path.name
)
def test_what_a_page_links_to_exists(path: Path) -> None:
    for target, _, anchor in re.findall(r"\]\(([^)#:\s]*)(#([^)\s]+))?\)", path.read_text(encoding="utf-8")):
        found = path.parent / target if target else path
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
