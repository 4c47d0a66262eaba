"""How `shardpack put` ends when something goes wrong: what was taken is delivered or reported, and nothing hangs."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
import warm_python
from command_line import COMMAND, json_lines, started_warm
from command_line import run as run_command

import shardpack as sp
from shardpack.cli.commands import reaching
from shardpack.cli.commands.put.running import Input, run
from shardpack.cli.failed_file import FailedFile, Tally
from shardpack.cli.reading import InputError
from shardpack.files._lines import Lines
from shardpack.testing import FakeKinesis

pytestmark = pytest.mark.usefixtures("aws_credentials")
NOWHERE = ("--endpoint-url", "http://127.0.0.1:9")
NAMES = iter(f"stream-{n}" for n in range(1000))


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Any, str]]:
    with servers.kinesalite() as url:
        yield servers.client("kinesis", url), url


def new_stream(client: Any) -> str:
    name = next(NAMES)
    servers.create_stream(client, name, 1)
    return name


def told(out: bytes) -> dict[str, Any]:
    (line,) = json_lines(out)
    assert isinstance(line, dict)
    return line


class TestWhatEndsTheReading:
    @pytest.mark.parametrize(
        "error",
        [RuntimeError("a bug"), RecursionError("deep"), MemoryError(), SystemExit(3), AssertionError(), KeyError("k")],
    )
    @pytest.mark.parametrize("where", ["in the lines", "in the conversion"])
    def test_whatever_it_is_what_was_taken_is_delivered(self, error: BaseException, where: str) -> None:
        kinesis = FakeKinesis(streams={"s": 1})
        producer = sp.Producer("s", client=kinesis)
        tally = Tally()

        def raw() -> Iterator[bytes]:
            yield from [b"line"] * 700
            if where == "in the lines":
                raise error
            yield b"the one"

        def convert(line: bytes) -> sp.UserRecord:
            if line == b"the one":
                raise error
            return sp.UserRecord("k", line)

        lines = Lines(io.BytesIO(), "x")
        lines.__class__ = type("Raising", (Lines,), {"__iter__": lambda _: raw()})
        with FailedFile(None, tally, "-") as failed:
            run(producer, Input(lines, convert, skip_errors=False), failed, tally)

        assert (tally.put, tally.delivered, tally.failed) == (700, 700, 0)
        assert (tally.error, tally.status) == (error, 1)
        with pytest.raises(RuntimeError, match="closed"):
            producer.put("k", b"more")

    def test_a_line_that_is_nested_too_deeply(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0])
        good = b'{"partition_key": "k", "data": "x"}\n'
        deep = b'{"partition_key": "k", "data": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001 + b"\n"

        out, error = run_command(
            "put",
            name,
            "-",
            "--user-records",
            "--json",
            "--endpoint-url",
            server[1],
            stdin=good * 5000 + deep,
            status=1,
        )

        assert (told(out)["put"], told(out)["delivered"]) == (5000, 5000)
        assert error.startswith("shardpack: -:5001: not JSON (it is nested too deeply); --user-records takes what")

    def test_a_stream_that_cannot_be_reached_ends_it_though_there_is_more(self) -> None:
        command = f"yes line | {' '.join(started_warm())} put s - {' '.join(NOWHERE)} --record-ttl 0.5 --json"

        done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=120, check=False)

        assert done.returncode == 1
        summary = told(done.stdout)
        assert summary["put"] == summary["failed"] > 0
        assert summary["error"].startswith("nothing was delivered, and nothing will be (")
        assert "EndpointConnectionError" in summary["error"]
        assert done.stderr.count(b"\n") <= 3

    def test_a_stream_that_is_not_there_is_told_before_a_line_is_read(
        self, server: tuple[Any, str], tmp_path: Path
    ) -> None:
        failed = tmp_path / "failed.jsonl"
        where = ("--endpoint-url", server[1], "--failed", str(failed))
        command = f"yes line | {' '.join([*started_warm(), 'put', 'nowhere', *where])}"

        done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=120, check=False)

        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.decode() == (
            f"shardpack: nowhere: there is no such stream in us-east-1 at {server[1]} (ResourceNotFoundException);"
            " check the name, --region and --endpoint-url\n"
        )
        assert not failed.exists()

    @pytest.mark.parametrize("code", ["AccessDeniedException", "InternalFailure", "UnrecognizedClientException"])
    def test_a_missing_permission_to_ask_stops_nothing(self, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
        class Refusing:
            def list_shards(self, **_more: object) -> None:
                error = OSError("refused")
                vars(error)["response"] = {"Error": {"Code": code, "Message": "no"}}
                raise error

        monkeypatch.setattr(reaching, "kinesis_client", lambda *_: Refusing())
        where = {"region_name": None, "endpoint_url": None, "profile_name": None}
        if code == "UnrecognizedClientException":
            with pytest.raises(InputError, match="clicks: UnrecognizedClientException: no"):
                reaching.check_stream("clicks", where)
        else:
            reaching.check_stream("clicks", where)

    @pytest.mark.parametrize("ask", [reaching.check_stream, reaching.reached_client])
    def test_a_bug_is_not_taken_for_an_answer(self, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
        class Broken:
            def list_shards(self, **_more: object) -> None:
                raise KeyError("MaxResults")

        monkeypatch.setattr(reaching, "kinesis_client", lambda *_: Broken())
        with pytest.raises(KeyError, match="MaxResults"):
            ask("clicks", {"region_name": None, "endpoint_url": None, "profile_name": None})


class TestSignals:
    def silent(self) -> socket.socket:
        return socket.create_server(("127.0.0.1", 0))

    def accepted(self, silent: socket.socket) -> list[socket.socket]:
        """The calls that hang: about the stream, about its shards, and to put; what asks before reading gets an end."""
        silent.accept()[0].close()
        return [silent.accept()[0] for _ in range(3)]

    def started(self, silent: socket.socket, *more: str, **how: Any) -> subprocess.Popen[bytes]:
        where = ("--endpoint-url", f"http://127.0.0.1:{silent.getsockname()[1]}", "--request-timeout", "60")
        pipe = subprocess.PIPE
        command = COMMAND if how else started_warm()
        process = subprocess.Popen(
            [*command, "put", "s", "-", *where, *more], stdin=pipe, stdout=pipe, stderr=pipe, **how
        )
        assert process.stdin is not None
        process.stdin.write(b"one\ntwo\n")
        process.stdin.flush()
        return process

    # Another one is the second where that can be: of two equal ones, a process that has not run in between sees one.
    @pytest.mark.parametrize(
        ("number", "second"),
        [(signal.SIGHUP, signal.SIGINT), (signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGTERM)],
    )
    def test_the_second_gives_up_without_waiting_for_calls(
        self, number: signal.Signals, second: signal.Signals, tmp_path: Path
    ) -> None:
        failed = tmp_path / "failed.jsonl"
        with self.silent() as silent, self.started(silent, "--failed", str(failed)) as process:
            connections = self.accepted(silent)
            process.send_signal(number)
            time.sleep(1.0 if number is second else 0.3)
            assert process.poll() is None
            process.send_signal(second)
            out, error = process.communicate(timeout=30)  # the calls would take 60 s
            for connection in connections:
                connection.close()

        assert (process.returncode, error.count(b"\n")) == (128 + number, 1)
        assert error.startswith(b"shardpack: closed with 2 user records")
        assert f"stopped by {number.name}" in out.decode()
        assert [line["data"] for line in json_lines(failed.read_bytes())] == ["one", "two"]

    def test_one_that_is_ignored_stays_ignored(self) -> None:
        """As by nohup."""

        def ignore() -> None:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

        with self.silent() as silent, self.started(silent, preexec_fn=ignore) as process:
            connections = self.accepted(silent)
            process.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            assert process.poll() is None
            for number in (signal.SIGINT, signal.SIGTERM):
                process.send_signal(number)
                time.sleep(0.3)
            out, _ = process.communicate(timeout=30)
            for connection in connections:
                connection.close()
        assert b"stopped by SIGINT" in out

    def test_without_a_reader_of_the_summary(self, tmp_path: Path) -> None:
        """A terminal that hangs up takes the output with it."""
        failed = tmp_path / "failed.jsonl"
        with self.silent() as silent, self.started(silent, "--failed", str(failed)) as process:
            connections = self.accepted(silent)
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            process.stderr.close()
            for number in (signal.SIGHUP, signal.SIGTERM):
                process.send_signal(number)
                time.sleep(0.3)
            assert process.wait(timeout=30) == 128 + signal.SIGHUP
            for connection in connections:
                connection.close()
        assert [line["data"] for line in json_lines(failed.read_bytes())] == ["one", "two"]


def put_nowhere(failed: Path, lines: bytes, *, most_bytes: int | None = None) -> dict[str, Any]:
    """The summary of a put that fails; with a disk, so to speak, that takes only so many bytes of a file."""
    code = "from shardpack.cli import main; main()"
    if most_bytes is not None:
        code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({most_bytes}, {most_bytes})); {code}"
    command = ["put", "s", "-", *NOWHERE, "--record-ttl", "0.2", "--json", "--failed", str(failed)]
    status, out, error = warm_python.run(["-c", code, *command], lines)
    assert status == 1, error.decode()
    return told(out)


class TestTheFileForWhatFails:
    @pytest.mark.parametrize("spare", [1, 100, 210])
    def test_a_disk_that_fills_up_leaves_no_half_line(self, tmp_path: Path, spare: int) -> None:
        failed = tmp_path / "failed.jsonl"
        put_nowhere(failed, b"before")
        size = failed.stat().st_size

        full = put_nowhere(failed, b"a\nb\nc\nd\n", most_bytes=2 * size + spare)

        assert full["failed_not_saved"] > 0
        assert "File too large" in full["error"]
        whole = failed.read_bytes()
        assert whole.endswith(b"\n")
        saved = json_lines(whole)  # every line of it is whole
        assert len(saved) == 1 + full["failed"] - full["failed_not_saved"]
        put_nowhere(failed, b"after")
        assert [line["data"] for line in json_lines(failed.read_bytes())] == [line["data"] for line in saved] + [
            "after"
        ]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
    def test_a_device_that_is_full(self, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
        )
        if mount.returncode:
            pytest.skip("nothing can be mounted here")
        try:
            failed = disk / "failed.jsonl"
            (disk / "filler").write_bytes(b"x" * 4096 * 14)
            summary = put_nowhere(failed, b"x" * 1500 + b"\n" + b"y" * 1500 + b"\n" + b"z" * 9000)
            assert summary["failed_not_saved"] > 0
            assert "No space left on device" in summary["error"]
            assert len(json_lines(failed.read_bytes())) == 3 - summary["failed_not_saved"]
            (disk / "filler").unlink()
            put_nowhere(failed, b"after")
            assert json_lines(failed.read_bytes())[-1]["data"] == "after"
        finally:
            subprocess.run(["umount", str(disk)], check=True)

    def test_after_a_half_line_it_goes_on_with_a_new_one(self, tmp_path: Path) -> None:
        """As a process leaves it that was killed while it wrote."""
        failed = tmp_path / "failed.jsonl"
        failed.write_bytes(b'{"partition_key": "k", "da')

        put_nowhere(failed, b"first\nsecond")

        half, *lines = failed.read_bytes().splitlines()
        assert half == b'{"partition_key": "k", "da'
        assert sorted(json.loads(line)["data"] for line in lines) == ["first", "second"]

    def test_nothing_is_added_where_nothing_fails(self, tmp_path: Path) -> None:
        failed = tmp_path / "failed.jsonl"
        failed.write_bytes(b"half")
        with FailedFile(str(failed), Tally(), str(tmp_path)):
            pass
        assert failed.read_bytes() == b"half"

    def test_it_is_not_the_input_by_whatever_name(self, tmp_path: Path) -> None:
        failed = tmp_path / "failed.jsonl"
        failed.write_bytes(b"precious\n")
        (tmp_path / "link").symlink_to(failed)
        shell = f"{' '.join(started_warm())} put s - --failed {tmp_path / 'link'} {' '.join(NOWHERE)} < {failed}"

        done = subprocess.run(["bash", "-c", shell], capture_output=True, timeout=60, check=False)

        assert (done.returncode, done.stdout) == (1, b"")
        assert b"is the input itself" in done.stderr
        assert failed.read_bytes() == b"precious\n"


class TestLinesThatAreNone:
    BAD = (
        b"nonsense",
        b'{"u": ""}',
        b'{"u": "' + b"k" * 257 + b'"}',
        b'{"v": 1}',
        b'{"u": null}',
        b"\xff",
        b"[" * 100_000,
        b"",
    )

    def test_they_are_left_out_counted_and_kept(self, server: tuple[Any, str], tmp_path: Path) -> None:
        name = new_stream(server[0])
        failed = tmp_path / "failed.jsonl"
        good = b'{"u": "a"}'
        lines = good + b"\n" + b"".join(bad + b"\n" + good + b"\n" for bad in self.BAD)
        options = ("--key", "u", "--on-error", "skip", "--failed", failed, "--endpoint-url", server[1])

        out, error = run_command("put", name, "-", "--json", *options, stdin=lines, status=1)

        summary = told(out)
        assert (summary["put"], summary["delivered"], summary["skipped"]) == (len(self.BAD) + 1,) * 2 + (len(self.BAD),)
        assert (summary["error"], error) == (None, "")
        kept = json_lines(failed.read_bytes())
        assert [line.get("input", line.get("data")) for line in kept if "input_base64" not in line] == [
            bad.decode() for bad in self.BAD if bad != b"\xff"
        ]
        assert [line["input_base64"] for line in kept if "input_base64" in line] == ["/w=="]
        assert [line["error"].split(":")[1] for line in kept] == [str(2 * n) for n in range(1, len(self.BAD) + 1)]
        assert kept[2]["partition_key"] == "k" * 257  # it can be read, so it is kept as a user record

    def test_people_are_told_too(self, server: tuple[Any, str]) -> None:
        name = new_stream(server[0])
        out, _ = run_command(
            "put",
            name,
            "-",
            "--key",
            "u",
            "--on-error",
            "skip",
            "--endpoint-url",
            server[1],
            stdin=b"nonsense\n{}\n",
            status=1,
        )
        assert "skipped: 2 lines, first with: -:1: not JSON" in out.decode()

    def test_what_was_kept_is_told_apart_when_it_is_put_again(self, server: tuple[Any, str], tmp_path: Path) -> None:
        name, failed = new_stream(server[0]), tmp_path / "failed.jsonl"
        where = ("--on-error", "skip", "--endpoint-url", server[1])
        run_command("put", name, "-", "--key", "u", "--failed", failed, *where, stdin=b"nonsense", status=1)

        out, _ = run_command("put", name, failed, "--user-records", *where, status=1)

        assert 'a line that was no user record before, kept as "input"; put it right' in out.decode()

    def test_a_line_that_is_longer_than_any_record(self, server: tuple[Any, str], tmp_path: Path) -> None:
        name, failed = new_stream(server[0]), tmp_path / "failed.jsonl"
        lines = b"a\n" + b"x" * 50_000_000 + b"\nb\n" + b"y" * 21_000_000
        options = ("--on-error", "skip", "--failed", failed, "--endpoint-url", server[1], "--json")

        out, _ = run_command("put", name, "-", *options, stdin=lines, status=1)

        assert (told(out)["delivered"], told(out)["skipped"]) == (2, 2)
        kept = json_lines(failed.read_bytes())
        assert [(line["input"][:1], len(line["input"]), line["truncated"]) for line in kept] == [
            ("x", 1000, True),
            ("y", 1000, True),
        ]
        assert kept[1]["error"].startswith("-:4: the line is longer than 20,971,520 bytes")

    def test_without_being_asked_it_stops(self, server: tuple[Any, str], tmp_path: Path) -> None:
        name, failed = new_stream(server[0]), tmp_path / "failed.jsonl"
        options = ("--key", "u", "--failed", failed, "--endpoint-url", server[1], "--json")
        out, _ = run_command("put", name, "-", *options, stdin=b'{"u": 1}\nnonsense\n{"u": 2}', status=1)
        assert (told(out)["put"], told(out)["skipped"]) == (1, 0)
        assert failed.read_bytes() == b""
