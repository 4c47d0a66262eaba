"""The lines of an input, counted."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from ..errors import FileError
from ..limits import MAX_RECORD_BYTES

LONGEST_LINE = 2 * MAX_RECORD_BYTES  # a 10 MiB record as base64 in JSON, and some
_PIECE = 64 * 1024


class Lines:
    """The lines of an input, counted, and without their ends.

    Where the first line ends with CR LF, that is how lines end; else a CR belongs to its line.

    Args:
        stream: the bytes.
        name: of the file, for messages.
        on_long: called with the beginning of a line that is longer than any record, and the error to that effect; the
            line is then left out. None: the error is raised.

    Attributes:
        number: of the line that was last given, from 1.
        ends_with_newline: whether that line had one.
        head: bytes that were read of the stream already, before the lines are read; no newline but at their end.
    """

    def __init__(
        self, stream: io.BufferedIOBase, name: str, on_long: Callable[[bytes, FileError], None] | None = None
    ) -> None:
        self._stream = stream
        self._on_long = on_long
        self._ending: bytes | None = None
        self.name = name
        self.head = b""
        self.number = 0
        self.ends_with_newline = True

    def __iter__(self) -> Iterator[bytes]:
        while line := self._line():
            self.number += 1
            self.ends_with_newline = line.endswith(b"\n")
            if len(line) > LONGEST_LINE:
                self._leave_out(line)
                continue
            if self._ending is None:
                self._ending = b"\r\n" if line.endswith(b"\r\n") else b"\n"
            if line.endswith(self._ending):
                yield line[: -len(self._ending)]
            else:
                yield line[:-1] if self.ends_with_newline else line

    def _line(self) -> bytes:
        head, self.head = self.head, b""
        return head if head.endswith(b"\n") else head + self._stream.readline(LONGEST_LINE + 1)

    def _leave_out(self, line: bytes) -> None:
        error = self.error(f"the line is longer than {LONGEST_LINE:,} bytes, more than any Kinesis record holds")
        if self._on_long is None:
            raise error
        self._on_long(line, error)
        while not self.ends_with_newline and (piece := self._stream.readline(_PIECE)):
            self.ends_with_newline = piece.endswith(b"\n")

    def error(self, message: object) -> FileError:
        """An error at the line that was last given."""
        return FileError(f"{self.name}:{self.number}: {message}")
