"""`shardpack put`, as a user's shell runs it, against real local servers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from command_line import json_lines, run, started_warm
from producer_client import read_all

import shardpack as sp

pytestmark = pytest.mark.usefixtures("aws_credentials")
NAMES = iter(f"stream-{n}" for n in range(1000))
TOOLS = Path(__file__).parents[1] / "tools"
# Where nobody listens, and no record waits for long, but for long enough to be tried once on a busy machine.
NOBODY = ("--endpoint-url", "http://127.0.0.1:9", "--record-ttl", "1.5")


@pytest.fixture(scope="module", params=[servers.ministack, servers.kinesalite], ids=["ministack", "kinesalite"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Any, str]]:
    with request.param() as url:
        yield servers.client("kinesis", url), url


@pytest.fixture(scope="module")
def ministack() -> Iterator[tuple[Any, str]]:
    with servers.ministack() as url:
        yield servers.client("kinesis", url), url


def new_stream(client: Any, shards: int = 2) -> str:
    name = next(NAMES)
    servers.create_stream(client, name, shards)
    return name


def received(client: Any, name: str) -> list[tuple[str | None, bytes]]:
    return [(record.partition_key, record.data) for _, record in read_all(client, name)]


def told(out: bytes) -> dict[str, Any]:
    (line,) = json_lines(out)
    assert isinstance(line, dict)
    return line


def test_every_line_arrives(server: tuple[Any, str], tmp_path: Path) -> None:
    client, url = server
    name = new_stream(client)
    file = tmp_path / "access.log"
    lines = [b"GET /%d \xff" % n for n in range(2500)]
    file.write_bytes(b"\n".join(lines))

    out, error = run("put", name, file, "--endpoint-url", url, "--json")

    assert sorted(received(client, name)) == sorted((str(n // 1000), line) for n, line in enumerate(lines))
    summary = told(out)
    assert error == ""
    assert summary.pop("seconds") > 0
    assert summary.pop("kinesis_records") < 50
    assert summary.pop("put_records_requests") > 0
    assert summary.pop("kinesis_data_bytes") > summary["data_bytes"]
    assert summary == {
        "stream": name,
        "put": 2500,
        "delivered": 2500,
        "failed": 0,
        "reasons": {},
        "skipped": 0,
        "failed_file": None,
        "failed_not_saved": 0,
        "errors_by_code": {},
        "data_bytes": sum(map(len, lines)),
        "error": None,
        "signal": None,
    }


def test_with_order_the_lines_of_a_text_stay_in_theirs(server: tuple[Any, str], tmp_path: Path) -> None:
    client, url = server
    name = new_stream(client)
    file = tmp_path / "access.log"
    lines = [b"GET /%d" % n for n in range(2500)]
    file.write_bytes(b"\n".join(lines))

    run("put", name, file, "--endpoint-url", url, "--ordering", "key", "--aggregation-max-size", "5000")

    assert received(client, name) == [("0", line) for line in lines]


def test_the_summary_is_for_people(ministack: tuple[Any, str]) -> None:
    client, url = ministack
    name = new_stream(client)

    out, _ = run("put", name, "-", "--endpoint-url", url, stdin=b"a\nbc\n")

    first, second = out.decode().splitlines()
    assert re.fullmatch(rf"{name}: 2 of 2 user records delivered in \d+\.\d s \([\d,]+/s\), 0 failed", first)
    assert second == "3 bytes of data in 1 Kinesis records and 1 PutRecords calls"


def test_a_field_of_json_lines_is_the_partition_key(ministack: tuple[Any, str]) -> None:
    client, url = ministack
    name = new_stream(client)
    lines = [b'{"user": {"id": "ann"}}', b'{"user": {"id": 7}}']

    run("put", name, "-", "--key", "user.id", "--endpoint-url", url, stdin=b"\n".join(lines))

    assert sorted(received(client, name)) == sorted([("ann", lines[0]), ("7", lines[1])])


@pytest.mark.parametrize("route", ["shard", "any"])
def test_one_hot_key_is_on_one_shard_or_on_all(ministack: tuple[Any, str], route: str) -> None:
    client, url = ministack
    name = new_stream(client)
    lines = [b'{"user": "ann", "n": %d}' % n for n in range(100)]
    options = ["--route", route, "--aggregation-max-count", "5"]

    run("put", name, "-", "--key", "user", *options, "--endpoint-url", url, stdin=b"\n".join(lines))

    got = [*read_all(client, name)]
    assert sorted(record.data for _, record in got) == sorted(lines)
    assert len({shard_id for shard_id, _ in got}) == (2 if route == "any" else 1)


def test_what_unpack_writes_is_put_again_as_it_was(ministack: tuple[Any, str]) -> None:
    client, url = ministack
    name = new_stream(client)
    records = [sp.UserRecord("k1", b"text"), sp.UserRecord("grüße", b"\xff\x00", "5"), sp.UserRecord("k1", b"\n")]
    unpacked, _ = run("unpack", "-", stdin=sp.encode(records))

    run("put", name, "-", "--user-records", "--endpoint-url", url, stdin=unpacked)

    got = {(record.partition_key, record.data): record for _, record in read_all(client, name)}
    assert set(got) == {(record.partition_key, record.data) for record in records}
    assert got["grüße", b"\xff\x00"].explicit_hash_key in ("5", None)  # alone, it is the Kinesis record's own


def test_what_fails_is_kept_and_can_be_put_again(ministack: tuple[Any, str], tmp_path: Path) -> None:
    client, url = ministack
    failed, still_failed = tmp_path / "failed.jsonl", tmp_path / "still.jsonl"
    lines = [b"one", b"\xff\xfe", "grüße".encode()]
    again = ("--user-records", "--failed", still_failed, "--json", *NOBODY)

    out, _ = run("put", "s", "-", "--failed", failed, *NOBODY, stdin=b"\n".join(lines), status=1)

    assert "failed: 3 x Expired (EndpointConnectionError), first with: Expired: " in out.decode()
    assert f"shardpack put s {failed} --user-records" in out.decode()
    assert [(line["retriable"], line["error"][:7]) for line in json_lines(failed.read_bytes())] == [
        (True, "Expired")
    ] * 3
    summary = told(run("put", "s", failed, *again, status=1)[0])
    assert (summary["failed"], summary["reasons"]) == (3, {"Expired (EndpointConnectionError)": 3})
    assert still_failed.read_bytes() == failed.read_bytes()

    name = new_stream(client)
    run("put", name, still_failed, "--user-records", "--endpoint-url", url)
    assert sorted(received(client, name)) == sorted(("0", line) for line in lines)


def test_the_file_for_what_fails_is_added_to(tmp_path: Path) -> None:
    failed = tmp_path / "failed.jsonl"
    for data in (b"first", b"second"):
        run("put", "s", "-", "--failed", failed, *NOBODY, stdin=data, status=1)

    assert [line["data"] for line in json_lines(failed.read_bytes())] == ["first", "second"]


def test_the_reason_behind_an_expiry_is_told() -> None:
    summary = told(run("put", "s", "-", "--json", *NOBODY, stdin=b"a\nb", status=1)[0])

    assert summary["reasons"] == {"Expired (EndpointConnectionError)": 2}
    assert set(summary["errors_by_code"]) == {"EndpointConnectionError", "Expired"}


@pytest.mark.parametrize(
    ("options", "lines", "message"),
    [
        (["--key", "u"], [b'{"u": "a"}', b"nonsense", b'{"u": "b"}'], "-:2: not JSON"),
        (["--key", "u"], [b'{"u": "a"}', b'{"u": ""}', b'{"u": "b"}'], "-:2: partition_key has 0 characters"),
        (["--user-records"], [b'{"partition_key": "a", "data": "x"}', b"[]"], "-:2: no user record"),
        (["--user-records"], [b'{"partition_key": "a", "data": "x"}', b'{"partition_key": "b"}'], "-:2: no user rec"),
        (
            ["--user-records"],
            [b'{"partition_key": "a", "data": "x"}', b'{"partition_key": "b", "data_base64": "?"}'],
            '-:2: "data_base64" is not base64',
        ),
        (
            ["--user-records"],
            [b'{"partition_key": "a", "data": "x"}', b'{"partition_key": "b", "data": "\\ud800"}'],
            '-:2: "data" is not text',
        ),
        (
            ["--user-records"],
            [b'{"partition_key": "a", "data": "x"}', b'{"partition_key": "b", "data": "", "tags": [["t", "v"]]}'],
            "-:2: the user record has tags",
        ),
        (
            ["--user-records"],
            [b'{"partition_key": "a", "data": "x"}', b'{"partition_key": "b", "data": "", "explicit_hash_key": "x"}'],
            "-:2: explicit_hash_key is 'x'",
        ),
        ([], [b"a", b"x" * 1_100_000, b"b"], "-:2: a user record takes 1,100,001 bytes"),
    ],
)
def test_a_broken_line_is_named_and_what_came_before_it_is_delivered(
    ministack: tuple[Any, str], options: list[str], lines: list[bytes], message: str
) -> None:
    client, url = ministack
    name = new_stream(client, 1)
    if not options:  # the stream's limit is known only when it has answered
        options = ["--record-max-buffered-time", "0.01"]
        run_slowly(name, url, options, lines, message)
    else:
        out, error = run("put", name, "-", "--json", "--endpoint-url", url, *options, stdin=b"\n".join(lines), status=1)
        assert error.startswith(f"shardpack: {message}")
        assert told(out)["error"].startswith(message)
        assert (told(out)["put"], told(out)["delivered"]) == (1, 1)

    assert len(received(client, name)) == 1


def run_slowly(name: str, url: str, options: list[str], lines: list[bytes], message: str) -> None:
    with started("put", name, "-", "--endpoint-url", url, *options) as process:
        assert process.stdin is not None
        process.stdin.write(lines[0] + b"\n")
        process.stdin.flush()
        client = servers.client("kinesis", url)
        until(lambda: len(received(client, name)) == 1)
        _, error = process.communicate(b"\n".join(lines[1:]), timeout=60)
        assert process.returncode == 1
        assert error.decode().startswith(f"shardpack: {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.log"], "nowhere.log: No such file"),
        (["-", "--failed", "no/such/folder"], "no/such/folder: No such file"),
        (["-", "--aggregation-max-size", "3"], "aggregation_max_size is 3; it takes 64 to 10,485,760"),
        (["-", "--route", "any", "--hash-keys", "kpl"], 'hash_keys="kpl" with route="any" loses records'),
        (["-", "--profile", "nobody"], "The config profile (nobody) could not be found"),
        (["-", "--endpoint-url", "nonsense"], "Invalid endpoint: nonsense"),
    ],
)
def test_wrong_settings_are_named(arguments: list[str], message: str) -> None:
    _, error = run("put", "s", *arguments, stdin=b"line", status=1)

    assert error.startswith(f"shardpack: {message}")
    assert "Traceback" not in error


def test_the_input_is_not_its_own_place_for_failures(tmp_path: Path) -> None:
    file = tmp_path / "failed.jsonl"
    file.write_bytes(b"precious\n")

    _, error = run("put", "s", file, "--failed", file, status=1)

    assert "is the input itself" in error
    assert file.read_bytes() == b"precious\n"


def test_without_a_region_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    _, error = run("put", "s", "-", stdin=b"line", status=1)

    assert error.startswith("shardpack: no AWS region is set: name one (--region, or")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_full_disk_is_told() -> None:
    where = ("--endpoint-url", "http://127.0.0.1:9", "--record-ttl", "0.2", "--failed", "/dev/full")

    out, error = run("put", "s", "-", *where, stdin=b"line", status=1)

    assert "1 of them could not be written to /dev/full, and are lost" in out.decode()
    assert error.endswith("shardpack: /dev/full: No space left on device\n")


def started(*arguments: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([*started_warm(), *arguments], stdin=pipe, stdout=pipe, stderr=pipe)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_reading_and_delivers_what_was_read(
    ministack: tuple[Any, str], number: signal.Signals
) -> None:
    client, url = ministack
    name = new_stream(client, 1)
    lines = [b"%d" % n for n in range(5000)]
    with started("put", name, "-", "--endpoint-url", url, "--json") as process:
        assert process.stdin is not None
        process.stdin.write(b"\n".join(lines) + b"\n")
        process.stdin.flush()
        until(lambda: bool(received(client, name)))
        process.send_signal(number)
        process.wait(240)  # with its standard input still open
        assert process.stdout is not None
        summary = told(process.stdout.read())
        process.stdin.close()

    assert process.returncode == 128 + number
    assert summary["signal"] == number.name
    assert 0 < summary["put"] == summary["delivered"]
    assert sorted(data for _, data in received(client, name)) == sorted(lines[: summary["put"]])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_second_signal_gives_up_and_keeps_what_was_not_delivered(tmp_path: Path) -> None:
    failed = tmp_path / "failed.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = ("--endpoint-url", f"http://127.0.0.1:{silent.getsockname()[1]}", "--request-timeout", "2")
        with started("put", "s", "-", *where, "--failed", str(failed)) as process:
            assert process.stdin is not None
            process.stdin.write(b"one\ntwo\n")
            process.stdin.flush()
            silent.accept()[0].close()  # what asks before reading
            connections = [silent.accept()[0] for _ in range(3)]  # ListShards, DescribeStreamSummary, PutRecords
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)  # another one: of two equal ones a busy machine may see only one
            out, _ = process.communicate(timeout=60)
            for connection in connections:
                connection.close()

    assert process.returncode == 130
    assert "stopped by SIGINT: what comes after the first 2 user records is not put" in out.decode()
    assert "failed: 2 x not finished" in out.decode()
    assert [line["data"] for line in json_lines(failed.read_bytes())] == ["one", "two"]


def test_endless_input_streams_through_in_constant_memory(tmp_path: Path) -> None:
    """Peak memory must not grow with the input: the larger is four times the smaller."""
    script = """
import resource, sys
from shardpack.cli import app
from shardpack.producer.shells import producer
sys.path[:0] = [sys.argv[1]]
from producer_client import Client
client = Client()
put_records = client.put_records
def forget(**arguments):
    answer = put_records(**arguments)
    client.stored.clear()
    return answer
client.put_records = forget
producer.kinesis_client = lambda *_: client
sys.argv[1:] = ["put", "s", sys.argv[2], "--json", "--max-outstanding-bytes", "4000000", "--rate-limit", "100000"]
try:
    app.app()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = []
    for megabytes in (8, 32):
        file = tmp_path / f"{megabytes}.log"
        with file.open("wb") as out:
            for n in range(megabytes * 1024):
                out.write(b"%1023d\n" % n)
        done = subprocess.run(
            [sys.executable, "-c", script, str(TOOLS), str(file)],
            capture_output=True,
            check=True,
        )
        summary, peak = done.stdout.splitlines()
        assert json.loads(summary)["delivered"] == megabytes * 1024
        peaks.append(int(peak))

    assert peaks[1] - peaks[0] < 6 * 1024, "KiB more for 24 MiB more input"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pty")
def test_on_a_terminal_there_is_a_bar(ministack: tuple[Any, str], tmp_path: Path) -> None:
    import pty

    client, url = ministack
    name = new_stream(client, 1)
    file = tmp_path / "{x}[y].log"
    file.write_bytes(b"line\n" * 20_000)
    ours, theirs = pty.openpty()
    command = [*started_warm(), "put", name, str(file), "--endpoint-url", url, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # how Linux says that the other side is closed
            pass
        assert process.stdout is not None
        assert told(process.stdout.read())["delivered"] == 20_000
    os.close(ours)

    assert b"delivered" in shown
    assert b"{x}[y].log" in shown


def test_the_defaults_in_the_help_are_those_of_the_producer() -> None:
    import typer.main

    from shardpack.cli.app import app

    command = typer.main.get_command(app).commands["put"]  # type: ignore[attr-defined]
    shown = {parameter.name: parameter.show_default for parameter in command.params if parameter.name is not None}
    config = sp.ProducerConfig()
    for name in ("aggregation_max_size", "collection_max_count", "collection_max_size", "record_max_buffered_time"):
        assert shown[name] == str(getattr(config, name))
    for name in ("record_ttl", "rate_limit", "max_connections", "connect_timeout", "request_timeout"):
        assert shown[name] == str(getattr(config, name))
    for name in ("max_outstanding_records", "max_outstanding_bytes"):
        assert shown[name] == str(getattr(config, name))
