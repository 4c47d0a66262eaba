"""`shardpack put`: lines into a stream, in constant memory, with an account of every one of them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext, suppress
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


def summary(stream: str, failed_file: str | None, tally: Tally, stats: ProducerStats, seconds: float) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "stream": stream,
        "put": tally.put,
        "delivered": tally.delivered,
        "failed": tally.failed,
        "reasons": {reason: count for reason, (count, _) in tally.reasons.items()},
        "skipped": tally.skipped,
        "failed_file": failed_file,
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


def put(
    stream: str,
    file: str,
    settings: dict[str, Any],
    where: dict[str, str | None],
    *,
    key: str | None,
    delimiter: str | None = None,
    user_records: bool,
    failed_file: str | None,
    skip_errors: bool,
    as_json: bool,
) -> int:
    """Read, put, tell; the exit status.

    Raises:
        InputError: nothing was put, because a file or a setting is not as it must be.
    """
    tally = Tally()
    started = time.monotonic()
    with ExitStack() as stack:
        source = stack.enter_context(opened_input(file, bar=True, more=(_Counts(tally),)))
        failed = stack.enter_context(FailedFile(failed_file, tally, file))
        producer = _producer(stream, settings, where)
        lines = Lines(source.stream, source.name, failed.skip_long if skip_errors else None)
        one_key = settings["ordering"] == "key"
        convert = (
            reading.written_user_record(lines)
            if user_records
            else reading.delimited_record(lines, delimiter)
            if delimiter
            else reading.user_record(lines, key, one_key=one_key)
        )
        run(producer, Input(lines, convert, skip_errors), failed, tally)
    told = summary(stream, failed_file, tally, producer.stats(), time.monotonic() - started)
    with suppress(OSError) if tally.signal else nullcontext():  # nobody reads it after SIGHUP
        if as_json:
            typer.echo(json_text(told))
        else:
            print_summary(told, tally)
    if tally.error is not None:
        report(told_error(tally.error))
    return tally.status


class _Counts(ProgressColumn):
    """What has become of the lines so far."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def render(self, task: Task) -> Text:  # noqa: ARG002  # the bytes that were read are another column's
        """See rich."""
        return Text(f"{self._tally.delivered:,} delivered, {self._tally.failed + self._tally.skipped:,} failed")


def _producer(stream: str, settings: dict[str, Any], where: dict[str, str | None]) -> Producer:
    from ....aws.errors import error_of
    from ....producer import Producer, ProducerConfig

    config = ProducerConfig(**settings)
    try:
        return Producer(stream, config, **where)
    except ModuleNotFoundError as error:
        raise InputError(error) from None
    except Exception as error:
        if not type(error).__module__.startswith("botocore."):
            raise
        raise InputError(error_of(error)[1]) from None  # no region, no such profile
