"""`shardpack density`: the table, the JSON, and where the user records come from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from ...density import Measurement, Prices, Row, measure, usual_strategies
from ...density.measuring import Peer
from ...density.synthetic import synthetic
from ...files._documents import parse_json
from ...files._lines import Lines
from ...limits import KPL_AGGREGATION_MAX_SIZE, MIB
from ...records import UserRecord
from .. import reading
from ..input_bar import opened_input
from ..reading import InputError
from ..terminal import console, json_text, printable

_WIDTH = 100
_LATEST = 253_402_300_799_999  # milliseconds at the end of the year 9999
_MILLISECONDS = 1e11  # numbers above it cannot be seconds before the year 5138


@dataclass(frozen=True)
class Source:
    """Where the user records come from: a file, or a spec to make them up by."""

    file: str | None
    key: str | None
    timestamp: str | None
    spec: str | None
    count: int
    keys: int

    @property
    def name(self) -> str:
        """For a title."""
        return f"{self.count:,} x {self.spec}" if self.file is None else self.file

    @contextmanager
    def records(self) -> Iterator[Iterator[Any]]:
        """User records, with their times where there is a field of them."""
        if self.file is None:
            yield synthetic(self.spec or "", self.count, keys=self.keys)
            return
        with opened_input(self.file, bar=True) as source:
            lines = Lines(source.stream, source.name)
            given = reading.user_records(lines, self.key, one_key=False)
            with reading.errors_at(lines):
                yield given if self.timestamp is None else _with_times(lines, given, self.timestamp)


def run(
    source: Source,
    shards: int,
    rate: float | None,
    buffered: float | None,
    prices: Prices,
    *,
    peers: bool,
    as_json: bool,
    report: Path | None,
    png: Path | None,
) -> None:
    """Measure, and show."""
    charts = _charts() if report or png else None
    with source.records() as records:
        measured = measure(
            records,
            usual_strategies(shards),
            rate=rate,
            timestamps=source.timestamp is not None,
            record_max_buffered_time=buffered,
            prices=prices,
            peers=_peers() if peers else (),
        )
    _check_something(measured, source.name)
    if as_json:
        typer.echo(json_text(measured.as_dict(), indent=2))
    else:
        show(measured, source.name, console(width=None if sys.stdout.isatty() else _WIDTH))
    if charts and report:
        report.write_text(charts.page(measured, source.name), encoding="utf-8")
    if charts and png:
        png.write_bytes(charts.picture(measured))


def _check_something(measured: Measurement, name: str) -> None:
    first = measured.rows[0]
    if not first.user_records and not first.left_out:
        raise InputError(f"{name}: there is no line in it, so there is nothing to measure")
    if not any(row.user_records for row in measured.rows):
        raise InputError(f"{name}: nothing in it fits into a Kinesis record. {' '.join(measured.notes)}")


def show(measured: Measurement, name: str, console: Console) -> None:
    """The table, what is recommended and why."""
    table = Table(title=f"Packing density: {printable(name)}", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("\nstrategy", no_wrap=True)
    columns = ["user rec.\nin each", "Kinesis\nrecords", "\nfill", "pay-\nload", "bytes\nover"]
    if measured.rate is not None:
        columns += ["\nshards", "$ a\nmonth", "on de-\nmand", "wait\np50", "wait\np99"]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in measured.rows:
        style = "bold green" if row is measured.recommended else None
        table.add_row(*_cells(row, timed=measured.rate is not None), style=style)
    console.print(table)
    console.print()
    console.print(measured.reason, style="bold", markup=False, highlight=False)
    for note in measured.notes:
        console.print(note, markup=False, highlight=False)
    rate = (
        "" if measured.rate is None else f"At {measured.rate:,.0f} user records a second. Prices: {measured.prices}. "
    )
    console.print(
        f"{rate}Bytes over: beyond the data, for each user record. Fill: of the strategy's own limit. KPL size: 51,200"
        " bytes; a PUT unit: 25 KiB. Shards are needed for records (rec) or bytes (B).",
        style="dim",
        markup=False,
        highlight=False,
    )


def _cells(row: Row, *, timed: bool) -> list[str]:
    cells = [
        row.strategy.name,
        f"{row.per_kinesis_record.mean:,.0f}",
        f"{row.kinesis_records:,}",
        f"{row.fill:.1%}",
        f"{row.payload_share:.1%}",
        f"{row.overhead.total:.1f}",
    ]
    if timed:
        waits = (row.wait.median, row.wait.p99) if row.wait else (None, None)
        shards = f"{row.shards:,} {'rec' if row.bound_by == 'records' else 'B'}"
        cells += [shards, f"{row.provisioned:,.0f}", f"{row.on_demand:,.0f}", *map(_seconds, waits)]
    return cells


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:,.0f} ms" if value < 1 else f"{value:,.1f} s"


def _with_times(lines: Lines, records: Iterator[UserRecord], field: str) -> Iterator[tuple[UserRecord, float]]:
    for record in records:
        try:
            value = parse_json(record.data)
        except ValueError as error:
            raise lines.error(f"not JSON ({error}); --timestamp takes JSON lines") from None
        for name in field.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        yield record, _moment(lines, field, value)


def _moment(lines: Lines, field: str, value: object) -> float:
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LATEST:
            return value / 1000 if value > _MILLISECONDS else float(value)
    except (ValueError, OverflowError):
        pass
    raise lines.error(f"the field {field!r} is {json.dumps(value)[:40]}; a time is seconds, milliseconds or ISO 8601")


def _peers() -> list[Peer]:
    try:
        from ...density.peers import AwsKinesisAgg

        return [AwsKinesisAgg(KPL_AGGREGATION_MAX_SIZE), AwsKinesisAgg(MIB)]
    except ModuleNotFoundError as error:
        raise InputError(f"--peers compares with {error.name}: pip install aws-kinesis-agg") from None


def _charts() -> Any:
    try:
        from ...density import charts
    except ModuleNotFoundError as error:
        raise InputError(f"--report and --png need {error.name}: pip install 'shardpack[report]'") from None
    return charts
