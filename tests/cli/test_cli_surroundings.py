"""The command line where things are not as they should be: closed streams, full disks, odd names, signals."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import servers
import warm_python
from relay import relay
from signals import ended_by

import shardpack as sp

SHARDPACK = f"{shlex.quote(sys.executable)} -m shardpack"


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """What a shell makes of a line in which ``shardpack`` stands for the command."""
    is_warm = not environment and "&-" not in line  # a process that begins warm has all streams, and our environment
    shardpack = shlex.join([*warm_python.for_shells(), "-m", "shardpack"]) if is_warm else SHARDPACK
    return subprocess.run(
        ["bash", "-c", line.replace("shardpack", shardpack)],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "log").write_bytes(b"one\ntwo\n")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("shardpack pack - <&-", "-: standard input is closed"),
        ("shardpack unpack - <&-", "-: standard input is closed"),
        ("shardpack pack log >&-", "standard output is closed"),
        ("shardpack inspect log >&-", "standard output is closed"),
        ("shardpack pack log > /dev/full", "No space left on device"),
        ("shardpack pack log | shardpack inspect - > /dev/full", "No space left on device"),
        ("shardpack --version > /dev/full", "No space left on device"),
        ("shardpack pack log >> log", "log: the input is the output too"),
        ("shardpack pack - < log >> log", "-: the input is the output too"),
        ("yes | shardpack unpack -", "-:1: neither JSON (Expecting value) nor an aggregate"),
    ],
)
def test_one_line_says_what_is_wrong(folder: Path, line: str, says: str) -> None:
    done = shell(line, folder)

    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"shardpack: {says}")
    assert done.stderr.count(b"\n") == 1
    assert (folder / "log").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("command", ["pack log --max-user-records 1", "unpack packed --text", "unpack packed --raw"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_disk_that_takes_a_part_of_the_last_piece_is_told(folder: Path, command: str, unbuffered: str) -> None:
    (folder / "log").write_bytes(b"".join(b"%0999d\n" % n for n in range(60)))
    shell("shardpack pack log > packed", folder)
    whole = shell(f"shardpack {command}", folder).stdout

    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({len(whole) - 9},) * 2)"
    python = f"import sys; {limit}; sys.argv[1:] = {command.split()!r}; from shardpack.cli import main; main()"
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(python)} > out"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (1, b"shardpack: File too large\n")


def test_a_closed_standard_error_changes_nothing(folder: Path) -> None:
    assert shell("shardpack pack log 2>&-", folder).stdout == shell("shardpack pack log", folder).stdout

    failed = shell("shardpack pack nowhere 2>&-", folder)
    assert (failed.returncode, failed.stdout) == (1, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_that_cannot_hold_a_table_ends_nothing(folder: Path, encoding: str) -> None:
    done = shell("shardpack pack log | shardpack inspect -", folder, PYTHONIOENCODING=encoding)

    assert done.returncode == 0, done.stderr.decode()
    assert b"partition key" in done.stdout


@pytest.mark.parametrize("name", ["a{b}.log", "[red]a.log", "a[.log", "[", "a{.log"])
def test_any_file_name_goes_with_the_progress_bar(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"one\ntwo\n")
    terminal, end = pty.openpty()
    with (folder / "out").open("wb") as out:
        command = [*warm_python.for_shells(), "-m", "shardpack", "pack", name]
        done = subprocess.run(command, cwd=folder, stdout=out, stderr=end, check=False, timeout=60)
    os.close(end)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)

    assert done.returncode == 0, shown
    assert (folder / "out").read_bytes() == shell(f"shardpack pack {shlex.quote(name)}", folder).stdout


def test_inspect_asks_about_many_shards_as_fast_as_about_few(folder: Path) -> None:
    packed = next(sp.pack([("k", b"data")] * 100_000, limits=sp.Limits.large()))
    (folder / "aggregate").write_bytes(packed.data)

    started = time.monotonic()
    done = shell("shardpack inspect aggregate --shards 5000 --records 0", folder)

    assert b"The KCL delivers 100,000 sub-records" in done.stdout, done.stderr.decode()
    assert time.monotonic() - started < 30  # parsing it for each shard takes minutes


@pytest.mark.parametrize("command", ["pack", "unpack", "inspect --first 1000"])
def test_ctrl_c_is_no_traceback(command: str) -> None:
    arguments = [*warm_python.for_shells(), "-m", "shardpack", *command.split(), "-"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        for _ in range(20):  # more than a pipe holds: it reads, so it has loaded
            process.stdin.write(json.dumps({"Data": "eA=="}).encode().ljust(8191) + b"\n")
        process.stdin.flush()
        assert ended_by(process, signal.SIGINT) == 130
        assert process.stderr.read() == b""
        process.stdin.close()


@pytest.mark.skipif(find_spec("ministack") is None, reason="the demo's local server is not installed")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_told_to_end_leaves_no_server_behind(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "shardpack", "demo", "--records", "10000000"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # the server's files are there as long as it runs
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while b"Kinesis at" not in process.stdout.readline():
            assert process.poll() is None
        assert list(tmp_path.iterdir())
        process.send_signal(number)
        assert process.wait(timeout=60) == 128 + number
        assert b"Traceback" not in process.stderr.read()
    assert list(tmp_path.iterdir()) == []


def test_a_demo_on_a_server_that_has_stopped_answering_ends_at_ctrl_c() -> None:
    """It would clean up, by a call that hangs for as long as the server likes."""
    with servers.kinesalite() as url, relay(url) as between:
        command = [
            sys.executable,
            "-u",
            "-m",
            "shardpack",
            "demo",
            "--records",
            "10000000",
            "--endpoint-url",
            between.url,
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            while b"Kinesis at" not in process.stdout.readline():
                assert process.poll() is None
            kinesis = servers.client("kinesis", url)
            deadline = time.monotonic() + 60
            while not kinesis.list_streams()["StreamNames"] and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(2)
            between.silent.set()
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in error
