"""Processes under a daemon that talks as the KCL's MultiLangDaemon does, through pipes; the page's examples too."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from kcl_daemon import SHARD, Daemon, in_aggregates

import shardpack as sp

PAGE = (Path(__file__).parents[2] / "docs/kcl-multilang.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def start(folder: Path, handler: str) -> subprocess.Popen[bytes]:
    script = folder / "processor.py"
    script.write_text("import os, subprocess, sys\nfrom shardpack import multilang\n" + textwrap.dedent(handler))
    pipe = subprocess.PIPE
    # In no locale: what the daemon says is UTF-8 everywhere.
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen([sys.executable, script], stdin=pipe, stdout=pipe, stderr=pipe, env=env)


def talk(process: subprocess.Popen[bytes], daemon: Daemon, lines: Iterator[bytes] | None = None) -> str:
    """Be the daemon of a process; what it has written to standard error."""
    assert process.stdin is not None
    assert process.stdout is not None
    for line in daemon.lines() if lines is None else lines:
        process.stdin.write(line)
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            break
        daemon.say(answer)
    rest, errors = process.communicate(timeout=60)
    assert rest == b""
    return errors.decode()


def test_what_is_printed_goes_to_standard_error(tmp_path: Path) -> None:
    handler = """
        def handle(batch):
            print("printed \\u00e9", [record.data for record in batch])
            os.write(1, b"written\\n")
            subprocess.run(["echo", "by a child"], check=True)
            assert sys.stdin.read() == ""
            assert subprocess.run(["cat"], capture_output=True).stdout == b""
        multilang.run(handle)
        """
    process = start(tmp_path, handler)
    daemon = Daemon(in_aggregates([3]), [2])
    errors = talk(process, daemon)
    assert process.returncode == 0, errors
    assert daemon.checkpoint == sp.Position.SHARD_END
    for text in ("printed \u00e9", "written", "by a child", "Position('100', 1)"):
        assert text in errors


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_page_run(number: int, tmp_path: Path) -> None:
    process = start(tmp_path, EXAMPLES[number])
    daemon = Daemon(in_aggregates([3]), [])
    errors = talk(process, daemon)
    assert process.returncode == 0, errors
    assert daemon.checkpoint == sp.Position.SHARD_END
    assert "Position('100', 2)" in errors


def test_a_failure_ends_the_process_with_its_traceback(tmp_path: Path) -> None:
    handler = """
        def handle(record):
            if record.sub_sequence_number == 2:
                raise ValueError("what went wrong")
        multilang.run_each(handle)
        """
    process = start(tmp_path, handler)
    daemon = Daemon(in_aggregates([4]), [])
    errors = talk(process, daemon)
    assert process.returncode == 1
    assert "what went wrong" in errors
    assert f"at Position('100', 2) of {SHARD}" in errors
    assert daemon.checkpoint == sp.Position("100", 1)


def test_ctrl_c_is_the_daemon_s(tmp_path: Path) -> None:
    process = start(tmp_path, f"multilang.run(lambda batch: os.kill(os.getpid(), {int(signal.SIGINT)}))")
    daemon = Daemon(in_aggregates([4]), [])
    errors = talk(process, daemon)
    assert process.returncode == 0, errors
    assert daemon.checkpoint == sp.Position.SHARD_END


def test_a_processor_that_is_asked_to_stop(tmp_path: Path) -> None:
    handler = """
        class Processor(multilang.RecordProcessor):
            def initialize(self, shard_id, position):
                print("initialize", shard_id, position)
            def process_records(self, batch, checkpointer):
                self.last = batch[0]
                print("process_records", ascii(batch[0].partition_key))
            def shutdown_requested(self, checkpointer):
                checkpointer.checkpoint(self.last)
            def lease_lost(self):
                print("lease_lost")
        multilang.run_processor(Processor())
        sys.exit(7)
        """
    process = start(tmp_path, handler)
    daemon = Daemon(in_aggregates([4]), [])
    errors = talk(process, daemon, daemon.until_asked_to_stop([3]))
    assert process.returncode == 7, errors
    assert errors.splitlines() == [
        f"initialize {SHARD} Position('TRIM_HORIZON', 0)",
        "process_records 'user-\\xe9'",
        "lease_lost",
    ]
    assert daemon.checkpoint == sp.Position("100", 0)


def test_what_is_printed_comes_at_once(tmp_path: Path) -> None:
    """So that it stands in the daemon's log where it belongs, and nothing is missing after a crash."""
    process = start(tmp_path, "multilang.run(lambda batch: (print('last words'), os._exit(3)))")
    errors = talk(process, Daemon(in_aggregates([1]), []))
    assert process.returncode == 3
    assert errors == "last words\n"


def test_a_checkpoint_that_is_refused(tmp_path: Path) -> None:
    process = start(tmp_path, "multilang.run(list)")
    daemon = Daemon(in_aggregates([2]), [], ["ThrottlingException", "InvalidStateException"])
    errors = talk(process, daemon)
    assert process.returncode == 1
    assert "LeaseStoreError: " in errors
    assert "the daemon said InvalidStateException" in errors
    assert daemon.errors == []


def test_a_lost_lease(tmp_path: Path) -> None:
    process = start(tmp_path, "multilang.run(list)")
    daemon = Daemon(in_aggregates([2]), [], ["ShutdownException"])
    errors = talk(process, daemon, daemon.until_asked_to_stop([2]))
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("line", [b"hello\n", b"\xff\xfe\n", b'{"action": "explode"}\n'])
def test_what_is_not_the_daemon_s_protocol(line: bytes, tmp_path: Path) -> None:
    process = start(tmp_path, "multilang.run(list)")
    out, errors = process.communicate(line, timeout=60)
    assert (process.returncode, out) == (1, b"")
    assert b"Error: " in errors.splitlines()[-1]


def test_a_daemon_that_dies_while_it_waits(tmp_path: Path) -> None:
    process = start(tmp_path, "multilang.run(list)")
    daemon = Daemon(in_aggregates([2]), [])
    errors = talk(process, daemon, daemon.until_killed([1]))
    assert (process.returncode, errors) == (0, "")


def test_a_daemon_that_dies_while_a_batch_is_handled(tmp_path: Path) -> None:
    process = start(tmp_path, "multilang.run(lambda batch: (print('begun'), open(sys.argv[0] + '.go').read()))")
    os.mkfifo(tmp_path / "processor.py.go")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    daemon = Daemon(in_aggregates([2]), [])
    lines = daemon.lines()
    process.stdin.write(next(lines))
    process.stdin.flush()
    daemon.say(process.stdout.readline())
    process.stdin.write(next(lines))
    process.stdin.flush()
    assert process.stderr.readline() == b"begun\n"
    process.stdout.close()
    (tmp_path / "processor.py.go").write_text("")
    errors = process.stderr.read()
    process.stdin.close()
    process.stderr.close()
    assert process.wait(60) == 1
    assert errors.endswith(b"the daemon is gone: nobody reads standard output any more\n")


def test_standard_output_is_as_before_afterwards(tmp_path: Path) -> None:
    handler = """
        print("before")
        buffered = sys.stdout.line_buffering
        multilang.run(list)
        assert sys.stdout.line_buffering == buffered
        print("after", sys.stdin.read() == "")
        """
    process = start(tmp_path, handler)
    assert process.communicate(timeout=60) == (b"before\nafter True\n", b"")
    assert process.returncode == 0
