"""Processes of Python that begin warm: forked from one that has imported already what nearly every test needs.

A process of its own costs a second of work, and nearly all of that is imports. Here it costs some milliseconds, and is
a process all the same, with its own arguments, environment, folder, standard streams, signals and exit status. Where
the environment could matter to an import, or where there is no fork, it begins cold.
"""

from __future__ import annotations

import ast
import atexit
import functools
import gc
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

WARM = ("shardpack.cli.app", "shardpack.consumer", "shardpack.leases", "shardpack.producer", "shardpack.density.charts")
OTHERS = (
    "boto3.session",
    "matplotlib.backends.backend_svg",
    "pyarrow.parquet",
    "botocore.client",
    "botocore.httpsession",
    "botocore.parsers",
    "botocore.signers",
    "rich.table",
)
# Nothing asks for these while it is imported; Polars sets the last one.
_HARMLESS = ("AWS_", "COLUMNS", "PYTEST_", "_RJEM_")


class Parent:
    """The process that is forked, on the side of the tests."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        self._folder = tempfile.mkdtemp(prefix="shardpack-warm-")
        self.address = str(Path(self._folder) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen(64)
            # Its standard streams are pipes, as its children's are. When the first of them ends, it ends.
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(listener.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
        atexit.register(self._end)

    def begin(self, arguments: Sequence[str], environment: Mapping[str, str], streams: Sequence[int]) -> socket.socket:
        """Begin a process; the connection tells its exit status, and ends it when it is closed before."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.address)
        asked = ascii([list(arguments), dict(environment), str(Path.cwd())]).encode()
        socket.send_fds(connection, [len(asked).to_bytes(4, "big")], list(streams))
        connection.sendall(asked)
        return connection

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)


_parents: dict[int, Parent] = {}  # by process: a fork of this one must not share it


def run(
    arguments: Sequence[str], stdin: bytes = b"", environment: Mapping[str, str] | None = None, seconds: float = 120
) -> tuple[int, bytes, bytes]:
    """What ``python`` answers to these arguments: its exit status, standard output and standard error."""
    wanted = {**os.environ, **(environment or {})}
    if not hasattr(os, "fork"):
        return _run_cold(arguments, stdin, wanted, seconds)
    if _could_matter(wanted):
        return _run_cold(arguments, stdin, wanted, seconds)
    return _run_warm(_parent(), arguments, stdin, wanted, seconds)


def _could_matter(environment: Mapping[str, str]) -> bool:
    differs = {name for name, _ in environment.items() ^ _parent().environment.items()}
    return any(not name.startswith(_HARMLESS) for name in differs)


def for_shells() -> list[str]:
    """What stands for ``python`` in a shell's line or a process of one's own, in the environment of the tests.

    SIGHUP, SIGINT and SIGTERM reach it, and are not ignored; standard streams must be open.
    """
    if not hasattr(os, "fork") or _could_matter(os.environ):
        return [sys.executable]
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("warm_client.py")), _parent().address]


def _parent() -> Parent:
    if os.getpid() not in _parents:
        _parents[os.getpid()] = Parent()
    return _parents[os.getpid()]


def _run_cold(
    arguments: Sequence[str], stdin: bytes, environment: Mapping[str, str], seconds: float
) -> tuple[int, bytes, bytes]:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=seconds, env=environment)
    return done.returncode, done.stdout, done.stderr


def _run_warm(
    parent: Parent, arguments: Sequence[str], stdin: bytes, environment: Mapping[str, str], seconds: float
) -> tuple[int, bytes, bytes]:
    their_in, our_in = os.pipe()
    our_out, their_out = os.pipe()
    our_error, their_error = os.pipe()
    connection = parent.begin(arguments, environment, [their_in, their_out, their_error])
    for stream in (their_in, their_out, their_error):
        os.close(stream)
    read: dict[int, bytes] = {}

    def write() -> None:
        with suppress(BrokenPipeError), os.fdopen(our_in, "wb") as stream:  # it may not want all of it
            stream.write(stdin)

    def drain(number: int) -> None:
        with os.fdopen(number, "rb") as stream:
            read[number] = stream.read()

    threads = [
        threading.Thread(target=write),
        *(threading.Thread(target=drain, args=[n]) for n in (our_out, our_error)),
    ]
    for thread in threads:
        thread.start()
    with connection:
        connection.settimeout(seconds)
        try:
            status = connection.recv(16)
        except TimeoutError:
            raise subprocess.TimeoutExpired(list(arguments), seconds) from None
        finally:
            connection.close()  # ends it, if it has not ended
            for thread in threads:
                thread.join()
    assert status, "the process that is forked has ended"
    return int(status), read[our_out], read[our_error]


def _serve(listener: socket.socket) -> list[str]:
    """Fork a child for whoever connects; returns in each child, with the arguments of its Python."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, socket.socket] = {}
    waited: list[int | socket.socket]
    while True:
        waited = [0, listener, ours, *children.values()]
        readable, _, _ = select.select(waited, [], [])
        if 0 in readable:  # the tests have ended
            _end_all(children)
        for child, connection in children.items():
            if connection in readable:
                _signal(child, connection)
        if ours in readable:
            ours.recv(4096)
        while children and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            with children.pop(ended[0]) as connection, suppress(OSError):
                connection.sendall(b"%d" % os.waitstatus_to_exitcode(ended[1]))
        if listener in readable:
            connection, _ = listener.accept()
            streams, text = _request(connection)
            if not text:
                connection.close()
                continue
            asked = ast.literal_eval(text)
            child = os.fork()
            if not child:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for one in (listener, ours, theirs, connection, *children.values()):
                    one.close()
                return _become(asked, streams)
            for stream in streams:
                os.close(stream)
            children[child] = connection


def _end_all(children: Iterable[int]) -> NoReturn:
    for child in children:
        os.kill(child, signal.SIGKILL)
    os._exit(0)


def _signal(child: int, connection: socket.socket) -> None:
    """Hand signals on; where nobody waits for it any more, it is killed."""
    numbers = b""
    with suppress(ConnectionError):
        numbers = connection.recv(64)
    for number in numbers or [signal.SIGKILL]:
        os.kill(child, number)


def _request(connection: socket.socket) -> tuple[list[int], str]:
    """The streams and what is asked for, which is nothing where whoever asks has ended meanwhile."""
    size, read = b"", b""
    streams: list[int] = []
    with suppress(ConnectionError):
        size, streams, _, _ = socket.recv_fds(connection, 4, 3)
        left = int.from_bytes(size, "big")
        while left and (piece := connection.recv(left)):
            read += piece
            left -= len(piece)
        if not left:
            return streams, read.decode()
    for stream in streams:
        os.close(stream)
    return [], ""


def _become(asked: Any, streams: list[int]) -> list[str]:
    """Take the streams, the environment and the folder of the process that was asked for."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    arguments, environment, folder = asked
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    return [str(argument) for argument in arguments]


def _warm_up() -> None:
    """Have the command line import what it imports late, and make its commands of their annotations once for all."""
    from shardpack.cli.app import run as command

    with suppress(ModuleNotFoundError):  # botocore: an extra
        import_module("botocore_files").read_once()
        session = import_module("botocore.session").Session()  # a client of another session has nothing but the files
        for service in ("dynamodb", "kinesis"):
            session.create_client(service, "us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    typer = vars(import_module("typer.main"))
    typer["get_command"] = functools.cache(typer["get_command"])
    with Path(os.devnull).open("w") as nowhere:
        sys.stdout, sys.stderr = nowhere, nowhere
        for arguments in (["--help"], ["unpack", os.devnull], ["leases", "show", "sqlite:nowhere"]):
            sys.argv = ["shardpack", *arguments]
            command()
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__


def main() -> None:
    """Import, serve, and be what was asked for."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    for name in (*WARM, *OTHERS):
        try:
            import_module(name)
        except ModuleNotFoundError:  # an extra is not installed
            continue
    _warm_up()
    gc.collect()
    gc.freeze()
    arguments = _serve(listener)
    sys.path.pop(0)  # the folder of this file
    try:
        _run(arguments)
    except SystemExit as ending:
        _end(ending.code)
    _end(None)


def _run(arguments: list[str]) -> None:
    """What Python does with its arguments."""
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        exec(compile(arguments[1], "<string>", "exec"), vars(sys.modules["__main__"]))
    elif arguments[0] == "-m":
        sys.path.insert(0, str(Path.cwd()))
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(arguments[0]).absolute().parent))
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def _end(code: object) -> None:
    """End as Python does, but for taking everything apart, which costs more than most of what is run here.

    What is not well when it ends, or was not, ends as Python does.
    """
    if not (code is None or isinstance(code, int)):
        sys.exit(str(code))
    try:
        vars(threading)["_shutdown"]()  # which Python calls, and which waits for threads
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        sys.exit(code)
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    main()
