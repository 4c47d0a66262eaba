"""`shardpack replay`: the batches that Lambda gave up, once more, with an account of every message."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import typer
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from ....aws.errors import is_of_sdk
from ....aws_lambda import DynamoDBProgress, InvokeFunction, Progress, PutAgain, SQLiteProgress, replay
from ....aws_lambda._settings import check_synchronous
from ....limits import check_callable
from ....records import ReceivedRecord
from ....replay.core.report import ReplayReport
from ....replay.shells.clients import Clients
from ....replay.shells.destinations import Pending
from ...interrupts import Interruption
from ...messages import LONGEST_MESSAGE, report
from ...reading import InputError
from ...terminal import console, json_text, printable
from ...writing import json_line

if TYPE_CHECKING:
    from ....replay.shells.destinations import Destination

_EXPIRED = 3
_MOST_SHOWN = 20  # of the messages that failed; --json has all


@dataclass(frozen=True)
class Choices:
    """What the options say; see `replay_command`."""

    source: str
    handler: str | None
    invoke: str | None
    to: str | None
    put: str | None
    dry_run: bool
    progress_table: str | None
    progress_file: str | None
    consumer: str | None
    delete: bool | None
    max_attempts: int
    workers: int
    as_json: bool
    where: dict[str, Any]


def run(choices: Choices) -> int:
    """Replay, tell; the exit status.

    Raises:
        InputError: a file, a queue, a function or a setting is not as it must be.
    """
    found: list[ReplayReport] = [ReplayReport()]
    with Interruption(at_once=2) as interruption, ExitStack() as stack:
        try:
            with interruption.raising(1):
                _replay(choices, found, stack)
        except KeyboardInterrupt:
            report("stopped: messages that are not done stay for the next time")
        except ModuleNotFoundError as error:
            raise InputError(error) from None
        except Exception as error:
            if not is_of_sdk(error):
                raise
            raise InputError(f"{choices.source}: {error}") from None
    done = found[-1]
    if choices.as_json:
        typer.echo(json_text(_summary(done, dry_run=choices.dry_run)))
    else:
        for line in _lines(done, dry_run=choices.dry_run):
            typer.echo(printable(line, most=LONGEST_MESSAGE))
    if interruption.status is not None:
        return interruption.status
    return 1 if done.failed else _EXPIRED if done.expired else 0


def _replay(choices: Choices, found: list[ReplayReport], stack: ExitStack) -> None:
    show = stack.enter_context(_shown())

    def tell(so_far: ReplayReport) -> None:
        found[-1] = so_far
        show(so_far)

    settings: dict[str, Any] = {}
    if choices.handler is not None:
        settings = {"workers": choices.workers, "max_attempts": choices.max_attempts}
    found[-1] = replay(
        typer.get_binary_stream("stdin") if choices.source == "-" else choices.source,
        None if choices.dry_run else _destination(choices, stack),
        progress=_progress(choices, stack),
        dry_run=choices.dry_run,
        delete=choices.delete,
        tell=tell,
        **settings,
        **choices.where,
    )


def _destination(choices: Choices, stack: ExitStack) -> Callable[[ReceivedRecord], object] | Destination:
    if choices.handler is not None:
        return _handler(choices.handler)
    if choices.invoke is not None:
        client = Clients(**choices.where).of("lambda", choices.invoke)
        return InvokeFunction(choices.invoke, client, max_attempts=choices.max_attempts)
    if choices.put is not None:
        from ....producer import Producer

        return PutAgain(stack.enter_context(Producer(choices.put, **choices.where)))
    assert choices.to is not None  # noqa: S101  # the options see to it
    out = Path(choices.to)
    if Path(choices.source).exists() and out.exists() and out.samefile(choices.source):
        raise InputError(f"--to {choices.to} is the source itself; name another file")
    return _Lines(stack.enter_context(out.open("ab")))


def _handler(name: str) -> Callable[[ReceivedRecord], object]:
    module, separator, function = name.partition(":")
    if not separator or not module or not function:
        raise InputError(f"--handler is {name}; give MODULE:FUNCTION, such as orders.handlers:handle")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  # as `python -m` does
    try:
        handler: Callable[[ReceivedRecord], object] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0] and error.name != module:
            raise InputError(f"--handler {name}: it imports {error.name}, which is not here") from None
        raise InputError(f"--handler {name}: there is no module {error.name} here") from None
    except AttributeError:
        raise InputError(f"--handler {name}: the module has no {function}") from None
    try:
        check_callable("--handler", handler, "a function that takes a user record")
        check_synchronous("--handler", handler)
    except TypeError as error:
        raise InputError(error) from None
    return handler


def _progress(choices: Choices, stack: ExitStack) -> Progress | None:
    if choices.progress_table is not None:
        client = Clients(**choices.where).of("dynamodb", choices.progress_table)
        return DynamoDBProgress(choices.progress_table, client, consumer=choices.consumer)
    if choices.progress_file is not None:
        return stack.enter_context(SQLiteProgress(choices.progress_file, consumer=choices.consumer))
    return None


class _Lines:
    """A destination: a file of JSON lines."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def take(self, pending: Sequence[Pending]) -> list[Exception | None]:
        """See `Destination`; what this returns for is on the disk, or at least with the operating system."""
        records = [record for one in pending for record in one.records]
        self._out.writelines(json_line(record) + b"\n" for record in records)
        self._out.flush()
        return [None] * len(records)


@contextmanager
def _shown() -> Iterator[Callable[[ReplayReport], None]]:
    """Shows on a terminal how far the replay has come."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Bar(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading messages", total=None)

        def show(so_far: ReplayReport) -> None:
            text = (
                f"{so_far.messages:,} messages, {so_far.user_records:,} user records, {so_far.skipped:,} done before,"
                f" {len(so_far.expired):,} expired, {len(so_far.failed):,} failed"
            )
            bar.update(task, description=text)

        yield show


def _summary(done: ReplayReport, *, dry_run: bool) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "dry_run": dry_run,
        "messages": done.messages,
        "done": done.done,
        "kinesis_records": done.kinesis_records,
        "user_records": done.user_records,
        "skipped": done.skipped,
        "expired": [
            {
                "message": one.message,
                "stream_arn": one.stretch.stream_arn,
                "shard_id": one.stretch.shard_id,
                "first": one.stretch.first,
                "last": one.stretch.last,
                "arrived": one.stretch.arrived,
                "left": one.left,
            }
            for one in done.expired
        ],
        "failed": [{"message": one.message, "error": _text(one.error)} for one in done.failed],
    }


def _lines(done: ReplayReport, *, dry_run: bool) -> Iterator[str]:
    """The same for people."""
    would = "would be " if dry_run else ""
    yield (
        f"{done.messages:,} messages, {done.done:,} of them {'can be ' if dry_run else ''}done:"
        f" {done.user_records:,} user records {would}handed over, {done.skipped:,} done before,"
        f" out of {done.kinesis_records:,} Kinesis records"
    )
    for expired in done.expired:
        yield f"expired: {expired.stretch}: {expired.left} ({expired.message})"
    for failed in done.failed[:_MOST_SHOWN]:
        yield f"failed: {failed.message}: {_text(failed.error)}"
    if len(done.failed) > _MOST_SHOWN:
        yield f"failed: {len(done.failed) - _MOST_SHOWN:,} more; --json lists all"


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
