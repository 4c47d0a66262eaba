"""A process that begins warm is what a cold one is: the same arguments, surroundings, streams and endings."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm_python
from signals import ended_by

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="without fork, all processes begin cold")

Ended = tuple[int, bytes, bytes]


def cold(*arguments: str, stdin: bytes = b"") -> Ended:
    done = subprocess.run([sys.executable, *arguments], input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


def warm(*arguments: str, stdin: bytes = b"", **environment: str) -> Ended:
    return warm_python.run(arguments, stdin, environment)


ENDINGS = {
    "at the end": "print('out'); import sys; print('error', file=sys.stderr)",
    "a status": "print('out'); raise SystemExit(7)",
    "a large status": "raise SystemExit(258)",
    "no status": "raise SystemExit",
    "a message": "raise SystemExit('what is wrong')",
    "at once": "import os; print('lost'); os._exit(3)",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "at exit": "import atexit; atexit.register(print, 'last'); print('first')",
    "a thread": "import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()",
    "a full disk": "import sys; sys.stdout = open('/dev/full', 'w'); print('lost')",
    "standard input": "import sys; print(sys.stdin.read()[::-1], sys.argv, __name__, sys.path[0])",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_it_ends_as_a_cold_one_does(name: str) -> None:
    arguments = ("-c", ENDINGS[name], "an argument", "--another")

    assert warm(*arguments, stdin=b"abc") == cold(*arguments, stdin=b"abc")


@pytest.mark.parametrize("name", ENDINGS)
def test_from_a_shell_too(name: str) -> None:
    command = [*warm_python.for_shells(), "-c", ENDINGS[name], "an argument", "--another"]

    done = subprocess.run(command, input=b"abc", capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == cold(*command[-4:], stdin=b"abc")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("handled", [True, False])
def test_signals_reach_it_from_a_shell(number: signal.Signals, handled: bool) -> None:
    handle = f"import signal; signal.signal({number}, lambda number, _: sys.exit(100 + number));"
    code = f"import sys; {handle if handled else ''} print('ready', flush=True); sys.stdin.read()"
    ended = []
    for python in ([sys.executable], warm_python.for_shells()):
        with subprocess.Popen([*python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            ended.append(ended_by(process, number))

    assert ended == [100 + number if handled else -number] * 2


@pytest.mark.parametrize("asked", [b"", b"\0\0", b"\0\0\1\0[["])
def test_one_that_ends_before_it_has_asked_harms_nobody(asked: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(warm_python.for_shells()[-1])
        connection.sendall(asked)

    assert warm("-c", "print('here')") == (0, b"here\n", b"")


def test_a_shell_sees_when_it_closes_its_output() -> None:
    code = "import os, sys; print('all'); sys.stdout.flush(); os.close(1); sys.stdin.read()"
    with subprocess.Popen(
        [*warm_python.for_shells(), "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"all\n"  # to its end, while the process is there still
        assert process.poll() is None


def test_an_exception_is_told_on_standard_error() -> None:
    status, out, error = warm("-c", "print('before'); raise KeyError('k')")

    assert (status, out) == (1, b"before\n")
    assert error.endswith(b"KeyError: 'k'\n")


def test_where_it_runs_and_what_it_knows_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(
        "import json, os, sys; print(json.dumps([os.getcwd(), os.environ['AWS_X'], sys.path[0]]))"
    )

    status, out, _ = warm("script.py", AWS_X="1")

    assert (status, json.loads(out)) == (0, [str(tmp_path), "1", str(tmp_path)])
    assert "AWS_X" not in os.environ


def test_where_the_environment_could_matter_to_an_import_it_begins_cold() -> None:
    loaded = "import sys; print('shardpack.cli.app' in sys.modules)"

    assert warm("-c", loaded) == (0, b"True\n", b"")
    assert warm("-c", loaded, SHARDPACK_NO_SUCH_THING="1") == (0, b"False\n", b"")


def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with pytest.raises(subprocess.TimeoutExpired):
        warm_python.run(
            ["-c", f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(600)"], seconds=1
        )

    deadline = time.monotonic() + 60
    while is_there(int(told.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_signals_are_heeded() -> None:
    code = (
        "from signal import *; print(getsignal(SIGINT) is default_int_handler, getsignal(SIGTERM), getsignal(SIGHUP))"
    )

    assert warm("-c", code) == cold("-c", code)
    assert warm("-c", f"import os; os.kill(os.getpid(), {signal.SIGTERM})")[0] == -signal.SIGTERM
