"""`shardpack tail`: user records as they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ....aws.errors import is_of_sdk
from ....consumer import Batch, Consumer, MemoryLeases
from ....records import ReceivedRecord
from ...interrupts import Interruption, leave
from ...long_keys import without_long_keys
from ...reading import InputError
from ...writing import base64_line, data_of, json_line, standard_output
from ..reaching import reached_client, refusal
from .hot import Hot
from .line_format import Show
from .until import Until

_LOOK_SECONDS = 0.2
_CLOSE_SECONDS = 1.0  # nothing of it is kept, so nothing is worth waiting for


class Tail:
    """Writes user records to standard output.

    Args:
        as_json: everything about each.
        base64_lines: their data in base64.
        most: how many, or None.
        follow: go on at the end of the stream.
        most_of_key: characters of a key in an aggregate that are written; 0: any number.
        show: makes what is written of a user record; None: its data and a newline, or as the first two say.
        chosen: says whether a user record is written; None: all are.
        until: where to end; None: nowhere.
        hot: counts the user records, which are not written then; None: nothing is counted.
    """

    def __init__(
        self,
        *,
        as_json: bool,
        base64_lines: bool,
        most: int | None,
        follow: bool,
        most_of_key: int = 0,
        until: Until | None = None,
        hot: Hot | None = None,
        show: Show | None = None,
        chosen: Callable[[ReceivedRecord], bool] | None = None,
    ) -> None:
        self._line: Callable[[ReceivedRecord], bytes] = data_of
        if as_json:
            self._line = json_line
        elif base64_lines:
            self._line = base64_line
        self._show: Show = show or (lambda record: self._line(record) + b"\n")
        self._chosen = chosen
        self._left = most
        self._follow = follow
        self._until = until
        self._hot = hot
        self._leases = MemoryLeases()
        self._most_of_key = most_of_key if as_json or show is not None else 0  # other lines have no keys

    def run(
        self,
        stream: str,
        start: str | datetime,
        start_at: Mapping[str, tuple[str, str]],
        where: Mapping[str, Any],
    ) -> None:
        """Write until the end. A signal ends the process after a whole line, though calls may hang; a second at once.

        Raises:
            InputError: the stream cannot be read.
        """
        client: Any = None
        with Interruption(at_once=2) as interruption:
            try:
                with interruption.raising(1):
                    client = reached_client(stream, where)
                    consumer = Consumer(stream, leases=self._leases, start=start, start_at=start_at, client=client)
                try:
                    self._write_all(consumer, interruption)
                finally:
                    consumer.close(_CLOSE_SECONDS)
            except KeyboardInterrupt:
                self._show_hot()
                leave(interruption.status or 130)
            except Exception as error:
                if not is_of_sdk(error):
                    raise
                raise refusal(stream, error, client) from None
        self._show_hot()

    def _show_hot(self) -> None:
        if self._hot is not None:
            self._hot.show()

    def _write_all(self, consumer: Consumer, interruption: Interruption) -> None:
        while self._left != 0:
            with interruption.raising(1):
                batch = consumer.next_batch(_LOOK_SECONDS)
            if batch is not None:
                self._write(batch)
            elif not self._follow and consumer.is_caught_up:
                return
            if self._until is not None and self._until.is_reached(self._leases.list(), consumer.caught_up_shards):
                return

    def _write(self, batch: Batch) -> None:
        records = batch[:]
        if self._until is not None:
            records = self._until.cut(batch.shard_id, records)
        is_whole = len(records) == len(batch)
        if self._chosen is not None:
            records = [record for record in records if self._chosen(record)]
        if self._left is not None and len(records) > self._left:
            records, is_whole = records[: self._left], False
        if self._hot is not None:
            self._hot.add(records)
        else:
            self._write_lines(records)
        if self._left is not None:
            self._left -= len(records)
        if is_whole:  # else the shard is not read to its end, and its children are of no interest
            batch.checkpoint()

    def _write_lines(self, records: Sequence[ReceivedRecord]) -> None:
        written = without_long_keys(records, self._most_of_key, _refused)
        with standard_output() as out:
            out.writelines(map(self._show, written))


def _refused(record: ReceivedRecord, what: str) -> InputError:
    place = f"{record.shard_id}:{record.sequence_number}"
    return InputError(f"{what}, without --json no keys are written, and --after {place} goes on behind it")
