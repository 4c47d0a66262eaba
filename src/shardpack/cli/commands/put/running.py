"""`shardpack put`: lines into a stream, in constant memory, with an account of every one of them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import ProgressColumn, Task
from rich.text import Text

from ....errors import EncodeError, FileError
from ....files._lines import Lines
from ....records import UserRecord
from ... import reading
from ...failed_file import FailedFile, Tally
from ...input_bar import opened_input
from ...interrupts import Interruption
from ...messages import LONGEST_MESSAGE, report, text_of
from ...reading import InputError
from ...terminal import json_text, printable
from ...writing import output_may_end
from ..reaching import check_stream

if TYPE_CHECKING:
    from ....producer import Producer, ProducerStats

Convert = Callable[[bytes], UserRecord]


@dataclass(frozen=True)
class Input:
    """Where the user records come from.

    Attributes:
        lines: each is one.
        convert: makes a user record of a line.
        skip_errors: go on after a line that is none, or none that Kinesis takes.
    """

    lines: Lines
    convert: Convert
    skip_errors: bool


@dataclass(frozen=True)
class Choices:
    """What was asked for.

    Attributes:
        stream: its name or ARN.
        file: the input, "-" is standard input.
        settings: of `ProducerConfig`.
        where: region, endpoint and profile, as `Producer` takes them.
        key: field of JSON lines that holds their partition key, or None.
        delimiter: what stands between key and data, or None.
        user_records: lines are as `shardpack unpack` writes them.
        failed_file: keeps what fails, or None.
        skip_errors: go on after a line that is no user record.
        as_json: how the summary is printed.
    """

    stream: str
    file: str
    settings: dict[str, Any]
    where: dict[str, str | None]
    key: str | None = None
    delimiter: str | None = None
    user_records: bool = False
    failed_file: str | None = None
    skip_errors: bool = False
    as_json: bool = False

    def conversion(self, lines: Lines) -> Convert:
        """What makes user records of the lines."""
        if self.user_records:
            return reading.written_user_record(lines)
        if self.delimiter:
            return reading.delimited_record(lines, self.delimiter)
        return reading.user_record(lines, self.key, one_key=self.settings["ordering"] == "key")


def run(producer: Producer, source: Input, failed: FailedFile, tally: Tally) -> None:
    """Put all user records, and wait until each is delivered or has failed.

    Whatever ends the reading, a bug included: what was taken before is delivered or reported.

    Args:
        producer: where to; it is closed then.
        source: what.
        failed: told of each record's fate.
        tally: filled in, `error` and `signal` too.
    """
    with Interruption(at_once=3) as interruption:
        try:
            _put_all(producer, interruption.until_caught(source.lines), source, failed, tally)
        except KeyboardInterrupt:
            pass
        except BaseException as error:  # noqa: BLE001  # it is reported below
            tally.error = error
        try:
            with interruption.raising(2):
                producer.flush()
        except KeyboardInterrupt:
            pass  # what is left fails, and is kept
        producer.close(timeout=0)
    tally.error = tally.error or failed.error
    tally.signal = interruption.signals[0] if interruption.signals else None


def _put_all(producer: Producer, lines: Iterable[bytes], source: Input, failed: FailedFile, tally: Tally) -> None:
    for line in lines:
        if failed.error is not None:
            return
        if failed.hopeless is not None:
            raise InputError(
                f"nothing was delivered, and nothing will be ({failed.hopeless}); what comes after the first"
                f" {tally.put:,} user records is not put"
            )
        record = None
        try:
            record = source.convert(line)
            future = producer.put(record.partition_key, record.data, record.explicit_hash_key)
        except (FileError, EncodeError) as error:
            told = source.lines.error(error) if isinstance(error, EncodeError) else error
            if not source.skip_errors:
                raise told from error
            failed.skip(line, record, told)
            continue
        tally.put += 1
        future.add_done_callback(failed.settled)


def summary(choices: Choices, tally: Tally, stats: ProducerStats, seconds: float) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "stream": choices.stream,
        "put": tally.put,
        "delivered": tally.delivered,
        "failed": tally.failed,
        "reasons": {reason: count for reason, (count, _) in tally.reasons.items()},
        "skipped": tally.skipped,
        "failed_file": choices.failed_file,
        "failed_not_saved": tally.unsaved,
        "errors_by_code": dict(stats.errors_by_code),
        "data_bytes": stats.user_records_data_put,
        "kinesis_records": stats.kinesis_records_put,
        "kinesis_data_bytes": stats.kinesis_records_data_put,
        "put_records_requests": stats.request_time.count,
        "seconds": round(seconds, 3),
        "error": None if tally.error is None else printable(told_error(tally.error), most=LONGEST_MESSAGE),
        "signal": None if tally.signal is None else signal.Signals(tally.signal).name,
    }


def told_error(error: BaseException) -> str:
    """What ended the reading; of what no user is to blame for, the kind too."""
    if isinstance(error, InputError | OSError | EncodeError | FileError):
        return text_of(error)
    return f"{type(error).__name__}: {error}; what was read before it is accounted for"


def print_summary(told: dict[str, Any], tally: Tally) -> None:
    """The same for people."""
    rate = told["delivered"] / told["seconds"] if told["seconds"] else 0.0
    for line in _summary_lines(told, tally, rate):
        typer.echo(printable(line, most=LONGEST_MESSAGE))


def _summary_lines(told: dict[str, Any], tally: Tally, rate: float) -> Iterator[str]:
    yield (
        f"{told['stream']}: {told['delivered']:,} of {told['put']:,} user records delivered in {told['seconds']:.1f} s"
        f" ({rate:,.0f}/s), {told['failed']:,} failed"
    )
    yield (
        f"{told['data_bytes']:,} bytes of data in {told['kinesis_records']:,} Kinesis records and"
        f" {told['put_records_requests']:,} PutRecords calls"
    )
    for code, count in told["errors_by_code"].items():
        yield f"attempts that failed: {count:,} x {code}"
    for reason, (count, message) in tally.reasons.items():
        yield f"failed: {count:,} x {reason}, first with: {message}"
    if tally.skipped:
        yield f"skipped: {tally.skipped:,} lines, first with: {tally.first_skipped}"
    if tally.failed and told["failed_file"]:
        yield f"to put them again: shardpack put {told['stream']} {told['failed_file']} --user-records"
    if tally.unsaved:
        yield f"{tally.unsaved:,} of them could not be written to {told['failed_file']}, and are lost"
    if tally.signal is not None:
        yield f"stopped by {told['signal']}: what comes after the first {told['put']:,} user records is not put"


def put(choices: Choices) -> int:
    """Read, put, tell; the exit status.

    Raises:
        InputError: nothing was put, because the stream, a file or a setting is not as it must be.
    """
    from ....producer import Producer, ProducerConfig

    tally = Tally()
    started = time.monotonic()
    with ExitStack() as stack:
        source = stack.enter_context(opened_input(choices.file, bar=True, more=(_Counts(tally),)))
        config = ProducerConfig(**choices.settings)
        check_stream(choices.stream, choices.where)
        failed = stack.enter_context(FailedFile(choices.failed_file, tally, choices.file))
        producer = Producer(choices.stream, config, **choices.where)
        lines = Lines(source.stream, source.name, failed.skip_long if choices.skip_errors else None)
        run(producer, Input(lines, choices.conversion(lines), choices.skip_errors), failed, tally)
    _tell(choices, tally, summary(choices, tally, producer.stats(), time.monotonic() - started))
    return tally.status


def _tell(choices: Choices, tally: Tally, told: dict[str, Any]) -> None:
    # Nobody reads it after SIGHUP, or where the reader of a pipe has ended: what was put is put all the same.
    with suppress(OSError) if tally.signal else output_may_end():
        if choices.as_json:
            typer.echo(json_text(told))
        else:
            print_summary(told, tally)
    if tally.error is not None:
        report(told_error(tally.error))


class _Counts(ProgressColumn):
    """What has become of the lines so far."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def render(self, task: Task) -> Text:  # noqa: ARG002  # the bytes that were read are another column's
        """See rich."""
        return Text(f"{self._tally.delivered:,} delivered, {self._tally.failed + self._tally.skipped:,} failed")
