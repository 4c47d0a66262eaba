"""`shardpack tail`: user records as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from random import random
from typing import Any

from ....aws.client import kinesis_client
from ....aws.errors import PERMANENT, backoff, error_of
from ....aws.streams import stream_argument
from ....consumer import Batch, Consumer, MemoryLeases
from ....consumer.config import ConsumerConfig
from ....records import ReceivedRecord
from ...interrupts import Interruption, leave
from ...long_keys import without_long_keys
from ...messages import report
from ...reading import InputError
from ...writing import base64_line, data_of, json_line, standard_output
from ..line_format import Show
from .hot import Hot
from .until import Until

_LOOK_SECONDS = 0.2
_CLOSE_SECONDS = 1.0  # nothing of it is kept, so nothing is worth waiting for
_TRIES = 5


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
        with Interruption(at_once=2) as interruption:
            try:
                with interruption.raising(1):
                    client = _reached(stream, **where)
                    consumer = Consumer(stream, leases=self._leases, start=start, start_at=start_at, client=client)
                try:
                    self._write_all(consumer, interruption)
                finally:
                    consumer.close(_CLOSE_SECONDS)
            except KeyboardInterrupt:
                self._show_hot()
                leave(interruption.status or 130)
            except ModuleNotFoundError as error:
                raise InputError(error) from None
            except Exception as error:
                if not type(error).__module__.startswith("botocore."):
                    raise
                raise InputError(f"{stream}: {': '.join(error_of(error))}") from None
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


def _reached(
    stream: str, region_name: str | None = None, endpoint_url: str | None = None, profile_name: str | None = None
) -> Any:
    """A client whose first call has been answered.

    Once the stream was there, it may be away for as long as it likes. Before, it is more likely that the user has named
    another, and waiting for ever would hide that.

    Raises:
        InputError: it has not answered after some tries, or refuses what no retry mends.
    """
    client = kinesis_client(ConsumerConfig(), region_name, endpoint_url, profile_name)
    for failures in range(1, _TRIES + 1):
        try:
            client.list_shards(**stream_argument(stream), MaxResults=1)
        except Exception as error:
            code, message = error_of(error)
            if code in PERMANENT:
                raise
            if failures == _TRIES:
                raise InputError(
                    f"{stream}: not reached in {_TRIES} tries ({code}: {message}); check the endpoint, the region and"
                    " the network"
                ) from None
            if failures == 1:
                report(f"{stream}: not reached ({code}: {message}), trying again")
            time.sleep(backoff(failures, random))
        else:
            return client
    raise AssertionError("unreachable")
