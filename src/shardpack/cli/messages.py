"""What the command says on standard error: one line for each thing, prefixed, printable, bounded, and not repeated."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

from .terminal import printable

LONGEST_MESSAGE = 2000  # characters; what is wrong stands at the beginning
_FIRST_COUNT = 10


def report(message: object) -> None:
    """Write one message; nothing happens where nobody can read it."""
    line = f"shardpack: {printable(message, most=LONGEST_MESSAGE)}\n"
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            sys.stderr.write(line)
            sys.stderr.flush()


def text_of(error: BaseException) -> str:
    """What an error says, shortly where it is the operating system's."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


class LogLines(logging.Handler):
    """What the library logs, for a person who watches.

    The same line again is only counted: it is said again, with the count, after 10, 100, 1,000 and so on.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last: str | None = None
        self._repeats = self._said = 0
        self._next = _FIRST_COUNT

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`; the handler's lock is held."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]!r}"
        if text != self._last:
            self._say_repeats()
            self._last, self._repeats, self._said, self._next = text, 0, 0, _FIRST_COUNT
            report(text)
            return
        self._repeats += 1
        if self._repeats == self._next:
            self._next *= _FIRST_COUNT
            self._say_repeats()

    def close(self) -> None:
        """Say what was counted and not said yet."""
        self.acquire()
        try:
            self._say_repeats()
            self._last = None
        finally:
            self.release()
        super().close()

    def _say_repeats(self) -> None:
        if self._last is not None and self._repeats > self._said:
            self._said = self._repeats
            report(f"the same {self._repeats:,} more times: {self._last}")
