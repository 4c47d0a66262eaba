"""The lines of an input, with a bar on a terminal that tells how much of it has been read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from . import reading


@contextmanager
def input_lines(file: str, *, bar: bool) -> Iterator[reading.Lines]:
    """Open an input.

    Args:
        file: its name, or "-".
        bar: show one where standard error is a terminal, and the input's size is known.
    """
    with reading.open_input(file) as stream:
        reading.check_is_not_output(stream, file)
        if file == "-" or not bar or not sys.stderr.isatty():
            yield reading.Lines(stream, file)
            return
        # The file is no part of the format, because its name may hold brackets and braces.
        name = TextColumn("{task.description}", markup=False)
        columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
        with Progress(name, *columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(file, total=Path(file).stat().st_size)
            yield reading.Lines(stream, file, lambda size: progress.advance(task, size))
