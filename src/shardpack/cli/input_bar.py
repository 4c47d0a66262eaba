"""A command's input: a file or standard input, and on a terminal a bar that tells how much of it has been read."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ..files._opening import Opened, opened
from .messages import report
from .reading import InputError
from .terminal import console, printable


@contextmanager
def opened_input(file: str, *, bar: bool, more: tuple[ProgressColumn, ...] = ()) -> Iterator[Opened]:
    """Open an input, decompressed by what its first bytes say.

    Args:
        file: its name, or "-" for standard input.
        bar: show one where standard error is a terminal.
        more: columns of the bar.

    Raises:
        InputError: there is none, or it is where standard output goes.
        OSError: it cannot be opened.
        FileError: it is compressed in a way that cannot be read here.
    """
    if file == "-" and sys.stdin is None:
        raise InputError("-: standard input is closed; name a file")
    if file == "-" and sys.stdin.isatty():
        report("reading from the terminal; Ctrl-D ends the input, and --help tells how to name a file")
    shown: list[int] = []
    with ExitStack() as stack:
        progress = Progress(*_columns(file, more), console=console(stderr=True), transient=True)

        def advance(count: int) -> None:
            for task in shown:
                progress.update(progress.task_ids[task], completed=count)

        given = typer.get_binary_stream("stdin") if file == "-" else file
        source = stack.enter_context(opened(given, file, advance))
        size = _check(file)
        if bar and sys.stderr.isatty():
            stack.enter_context(progress)
            progress.add_task(printable(Path(file).name), total=size)
            shown.append(0)
        yield source


def _columns(file: str, more: tuple[ProgressColumn, ...]) -> tuple[ProgressColumn, ...]:
    # The file is no part of the format, because its name may hold brackets and braces.
    name = TextColumn("{task.description}", markup=False)
    left = () if file == "-" else (TimeRemainingColumn(),)
    return (name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), *(more or left))


def _check(file: str) -> int | None:
    """The size of an input on the disk, if it has one; to read what is being written would never end."""
    status = os.fstat(sys.stdin.fileno()) if file == "-" else os.stat(file)  # noqa: PTH116  # either a number or a name
    out = os.fstat(sys.stdout.fileno())
    if stat.S_ISREG(out.st_mode) and os.path.samestat(out, status):
        raise InputError(f"{file}: the input is the output too; write to another file")
    return status.st_size if stat.S_ISREG(status.st_mode) else None
