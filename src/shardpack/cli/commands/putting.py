"""`shardpack put`: lines into a stream, in constant memory, with an account of every one of them."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ...errors import DeliveryError, EncodeError
from ...records import UserRecord
from .. import reading
from ..reading import InputError

if TYPE_CHECKING:
    from ...producer import Delivery, Producer, ProducerStats

_T = TypeVar("_T")
_REFRESH_SECONDS = 0.1


@dataclass
class Tally:
    """What has become of the lines.

    Attributes:
        put: user records that the producer has taken.
        delivered: those that are stored.
        failed: those that are not.
        reasons: {error codes: (how many failed so, the first one's message)}.
        unsaved: failed ones that could not be written to the file for them.
        error: why reading has stopped before the end, or None.
        signal: what has stopped it, or None.
    """

    put: int = 0
    delivered: int = 0
    failed: int = 0
    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)
    unsaved: int = 0
    error: Exception | None = None
    signal: int | None = None

    @property
    def status(self) -> int:
        """The exit status: 128 and the signal's number, as shells have it, or whether all is well."""
        if self.signal is not None:
            return 128 + self.signal
        return 1 if self.failed or self.error else 0


class FailedFile:
    """Keeps the failed user records, each at once, in lines that ``--user-records`` reads; called on any thread."""

    def __init__(self, name: str | None, tally: Tally) -> None:
        self._tally = tally
        self._lock = threading.Lock()
        self._name = name
        self._out: IO[bytes] | None = None
        self.error: InputError | None = None

    def __enter__(self) -> Self:
        if self._name is not None:
            try:
                self._out = Path(self._name).open(
                    "ab", buffering=0
                )  # to what is there already, which may be all there is
            except OSError as error:
                raise InputError(f"{self._name}: {error.strerror}") from None
        return self

    def __exit__(self, *_error: object) -> None:
        if self._out is not None:
            self._out.close()

    def settled(self, future: Future[Delivery]) -> None:
        """A user record is delivered, or has failed."""
        error = future.exception()
        with self._lock:
            if error is None:
                self._tally.delivered += 1
            elif isinstance(error, DeliveryError):
                self._failed(error)

    def _failed(self, error: DeliveryError) -> None:
        tally = self._tally
        tally.failed += 1
        reason = _reason(error)
        count, message = tally.reasons.get(reason, (0, str(error)))
        tally.reasons[reason] = count + 1, message
        if self._out is None:
            return
        lines = b"".join(
            reading.user_record_line(record, error=str(error), retriable=error.retriable) for record in error.records
        )
        try:
            while lines:  # without a buffer, a disk that is nearly full takes a part
                lines = lines[self._out.write(lines) or 0 :]
        except OSError as problem:
            tally.unsaved += 1
            self.error = InputError(f"{self._name}: {problem.strerror}")


def _reason(error: DeliveryError) -> str:
    """The error codes that ended a record, such as "Expired (ProvisionedThroughputExceededException)"."""
    codes = [attempt.error_code for attempt in error.attempts if attempt.error_code is not None]
    if not codes:
        return "not sent" if not error.retriable else "not finished"
    before = next((code for code in reversed(codes) if code != "Expired"), None)
    return f"Expired ({before})" if codes[-1] == "Expired" and before else codes[-1]


class Interruption:
    """Ctrl-C and SIGTERM: the first stops the reading, the second the waiting too."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self._reading = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def until_caught(self, items: Iterable[_T]) -> Iterator[_T]:
        """The items, until there is a signal.

        Only while the next item is read, a first signal raises KeyboardInterrupt: nothing that was read and put may be
        torn apart.
        """
        iterator = iter(items)
        while not self.signals:
            self._reading = True
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._reading = False
            yield item

    def _caught(self, number: int, _frame: FrameType | None) -> None:
        self.signals.append(number)
        if self._reading or len(self.signals) > 1:
            raise KeyboardInterrupt


def run(
    producer: Producer, records: Iterable[UserRecord], lines: reading.Lines, failed: FailedFile, tally: Tally
) -> None:
    """Put all user records, and wait until each is delivered or has failed.

    Args:
        producer: where to; it is closed then.
        records: what; from `lines`.
        lines: named in errors.
        failed: told of each record's fate.
        tally: filled in, `error` and `signal` too.
    """
    with Interruption() as interruption:
        try:
            for record in interruption.until_caught(records):
                if failed.error is not None:
                    break
                future = producer.put(record.partition_key, record.data, record.explicit_hash_key)
                tally.put += 1
                future.add_done_callback(failed.settled)
        except KeyboardInterrupt:
            pass
        except EncodeError as error:
            tally.error = lines.error(error)
        except (InputError, OSError) as error:
            tally.error = error
        try:
            if len(interruption.signals) < 2:
                producer.flush()
        except KeyboardInterrupt:
            pass  # what is left fails, and is kept
        producer.close(timeout=0)
    tally.error = tally.error or failed.error
    tally.signal = interruption.signals[0] if interruption.signals else None


@contextmanager
def progress(stream: IO[bytes], file: str, tally: Tally) -> Iterator[reading.Lines]:
    """The lines, with a bar on standard error while that is a terminal."""
    if not sys.stderr.isatty():
        yield reading.Lines(stream, file)
        return
    counts = TextColumn("{task.fields[tally].delivered:,} delivered, {task.fields[tally].failed:,} failed")
    name = TextColumn("{task.description}", markup=False)
    columns = name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), counts
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(Path(file).name, total=None if file == "-" else Path(file).stat().st_size, tally=tally)
        size, shown = 0, 0.0

        def advance(more: int) -> None:
            nonlocal size, shown
            size += more
            if (now := time.monotonic()) - shown >= _REFRESH_SECONDS:  # a bar is slower than a line
                bar.update(task, completed=size)
                shown = now

        yield reading.Lines(stream, file, advance)


def summary(stream: str, failed_file: str | None, tally: Tally, stats: ProducerStats, seconds: float) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "stream": stream,
        "put": tally.put,
        "delivered": tally.delivered,
        "failed": tally.failed,
        "reasons": {reason: count for reason, (count, _) in tally.reasons.items()},
        "failed_file": failed_file,
        "failed_not_saved": tally.unsaved,
        "errors_by_code": dict(stats.errors_by_code),
        "data_bytes": stats.user_records_data_put,
        "kinesis_records": stats.kinesis_records_put,
        "kinesis_data_bytes": stats.kinesis_records_data_put,
        "put_records_requests": stats.request_time.count,
        "seconds": round(seconds, 3),
        "error": None if tally.error is None else str(tally.error),
        "signal": None if tally.signal is None else signal.Signals(tally.signal).name,
    }


def print_summary(told: dict[str, Any], tally: Tally) -> None:
    """The same for people."""
    rate = told["delivered"] / told["seconds"] if told["seconds"] else 0.0
    typer.echo(
        f"{told['stream']}: {told['delivered']:,} of {told['put']:,} user records delivered in {told['seconds']:.1f} s"
        f" ({rate:,.0f}/s), {told['failed']:,} failed"
    )
    typer.echo(
        f"{told['data_bytes']:,} bytes of data in {told['kinesis_records']:,} Kinesis records and"
        f" {told['put_records_requests']:,} PutRecords calls"
    )
    for code, count in told["errors_by_code"].items():
        typer.echo(f"attempts that failed: {count:,} x {code}")
    for reason, (count, message) in tally.reasons.items():
        typer.echo(f"failed: {count:,} x {reason}, first with: {message}")
    if tally.failed and told["failed_file"]:
        typer.echo(f"to put them again: shardpack put {told['stream']} {told['failed_file']} --user-records")
    if tally.unsaved:
        typer.echo(f"{tally.unsaved:,} of them could not be written to {told['failed_file']}, and are lost")
    if tally.signal is not None:
        typer.echo(f"stopped by {told['signal']}: what comes after the first {told['put']:,} user records is not put")


def put(
    stream: str,
    file: str,
    settings: dict[str, Any],
    where: dict[str, str | None],
    *,
    key: str | None,
    user_records: bool,
    failed_file: str | None,
    as_json: bool,
) -> int:
    """Read, put, tell; the exit status.

    Raises:
        InputError: nothing was put, because a file or a setting is not as it must be.
    """
    tally = Tally()
    started = time.monotonic()
    with ExitStack() as stack:
        source = stack.enter_context(reading.open_input(file))
        if failed_file is not None and file != "-" and Path(failed_file).exists() and Path(file).samefile(failed_file):
            raise InputError(f"--failed {failed_file} is the input itself; name another file")
        failed = stack.enter_context(FailedFile(failed_file, tally))
        producer = _producer(stream, settings, where)
        lines = stack.enter_context(progress(source, file, tally))
        records = (
            reading.written_user_records(lines) if user_records else reading.user_records(lines, key, one_key=False)
        )
        run(producer, records, lines, failed, tally)
    told = summary(stream, failed_file, tally, producer.stats(), time.monotonic() - started)
    if as_json:
        typer.echo(json.dumps(told))
    else:
        print_summary(told, tally)
    if tally.error is not None:
        typer.echo(f"shardpack: {tally.error}", err=True)
    return tally.status


def _producer(stream: str, settings: dict[str, Any], where: dict[str, str | None]) -> Producer:
    from ...producer import Producer, ProducerConfig

    config = ProducerConfig(**settings)
    try:
        return Producer(stream, config, **where)
    except ModuleNotFoundError as error:
        raise InputError(error) from None
    except Exception as error:
        if not type(error).__module__.startswith("botocore."):
            raise
        raise InputError(error) from None  # no region, no such profile
