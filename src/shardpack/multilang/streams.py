"""The conversation over standard input and output, which nothing else may touch meanwhile."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .conversation import Conversation
from .messages import ConversationError
from .processor import RecordProcessor


def run_processor(processor: RecordProcessor) -> None:
    """Give a processor the shard that the daemon gives to this process, until the daemon ends it.

    Meanwhile standard input and output belong to the daemon, as with `run`.

    Args:
        processor: see `RecordProcessor`. What it has not checkpointed is handed to whoever reads the shard next.

    Raises:
        DecodeError: what came on standard input is not the daemon's protocol, or the daemon is gone.
        Exception: the processor's. Let it end the process.
    """
    with _standard_streams() as (lines, say), _no_interrupt():
        Conversation(processor, lines, say).until_the_end()


@contextmanager
def _standard_streams() -> Iterator[tuple[BinaryIO, Callable[[bytes], object]]]:
    """The daemon's lines, both ways; what else is printed meanwhile, by C or by child processes too, it is not told."""
    sys.stdout.flush()
    with (
        os.fdopen(os.dup(0), "rb") as lines,
        os.fdopen(os.dup(1), "wb", buffering=0) as out,
        Path(os.devnull).open() as nothing,
        _line_by_line(),
    ):

        def say(line: bytes) -> None:
            try:
                out.write(line)
            except BrokenPipeError as error:
                raise ConversationError("the daemon is gone: nobody reads standard output any more") from error

        os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        try:
            yield lines, say
        finally:
            sys.stdout.flush()
            os.dup2(out.fileno(), 1)
            os.dup2(lines.fileno(), 0)


@contextmanager
def _line_by_line() -> Iterator[None]:
    """What is printed comes when it is printed, as on a terminal: it goes into the log beside standard error."""
    stdout = sys.stdout
    if not isinstance(stdout, io.TextIOWrapper) or stdout.line_buffering:
        yield
        return
    stdout.reconfigure(line_buffering=True)
    try:
        yield
    finally:
        stdout.reconfigure(line_buffering=False)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ctrl-C reaches the daemon and its processes alike; the daemon has them finish what they have in hand."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
