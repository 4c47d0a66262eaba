"""`shardpack tail`: user records as they come."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from types import FrameType
from typing import Any, Never

from ...consumer import Batch, Consumer, MemoryLeases
from ...records import ReceivedRecord
from ..reading import InputError
from ..writing import base64_line, data_of, json_line

_LOOK_SECONDS = 0.2


class Tail:
    """Writes user records to standard output.

    Args:
        as_json: everything about each.
        base64_lines: their data in base64.
        most: how many, or None.
        follow: go on at the end of the stream.
    """

    def __init__(self, *, as_json: bool, base64_lines: bool, most: int | None, follow: bool) -> None:
        self._line: Callable[[ReceivedRecord], bytes] = data_of
        if as_json:
            self._line = json_line
        elif base64_lines:
            self._line = base64_line
        self._left = most
        self._follow = follow

    def run(
        self,
        stream: str,
        start: str | datetime,
        start_at: Mapping[str, tuple[str, str]],
        where: Mapping[str, Any],
    ) -> int:
        """Write until the end, or Ctrl-C, or SIGTERM; the exit status.

        Raises:
            InputError: the stream cannot be read.
        """
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            with Consumer(stream, leases=MemoryLeases(), start=start, start_at=start_at, **where) as consumer:
                self._write_all(consumer)
        except KeyboardInterrupt as interrupt:
            sys.stdout.flush()
            return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
        except ModuleNotFoundError as error:
            raise InputError(error) from None
        except Exception as error:
            if not type(error).__module__.startswith("botocore."):
                raise
            raise InputError(f"{stream}: {error}") from None
        finally:
            signal.signal(signal.SIGTERM, before)
        return 0

    def _write_all(self, consumer: Consumer) -> None:
        while self._left != 0:
            batch = consumer.next_batch(_LOOK_SECONDS)
            if batch is not None:
                self._write(batch)
            elif not self._follow and consumer.is_caught_up:
                return

    def _write(self, batch: Batch) -> None:
        records = batch[: self._left]
        sys.stdout.buffer.writelines(self._line(record) + b"\n" for record in records)
        sys.stdout.buffer.flush()
        if self._left is not None:
            self._left -= len(records)
        batch.checkpoint()


def _interrupt(number: int, _frame: FrameType | None) -> Never:
    raise KeyboardInterrupt(number)
