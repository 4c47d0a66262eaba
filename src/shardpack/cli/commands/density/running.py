"""`shardpack density`: where the user records come from, and what is done with what was measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from ....density import Measurement, Prices, Sampling, measure, usual_strategies
from ....density.measuring import Peer
from ....density.synthetic import synthetic
from ....files._documents import parse_json
from ....files._lines import Lines
from ....files._sampling import SampledLines
from ....limits import KPL_AGGREGATION_MAX_SIZE, MIB
from ....records import UserRecord
from ... import reading
from ...input_bar import opened_input
from ...messages import report
from ...reading import InputError
from ...terminal import console, json_text
from .table import compare, show

_WIDTH = 100
_LARGE = 2 * MIB  # of a compressed file that takes a while
_LATENCY = 1.0  # seconds
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
    exact: bool = False

    @property
    def name(self) -> str:
        """For a title."""
        return f"{self.count:,} x {self.spec}" if self.file is None else self.file

    @contextmanager
    def records(self) -> Iterator[tuple[Iterator[Any], SampledLines | None]]:
        """User records, with their times where there is a field of them, and which lines they are of."""
        if self.file is None:
            yield synthetic(self.spec or "", self.count, keys=self.keys), None
            return
        with opened_input(self.file, bar=True) as source:
            lines = Lines(source.stream, source.name)
            sampled = SampledLines(lines, source.stream, self._size(source.compression))
            given = map(reading.user_record(lines, self.key, one_key=False), sampled)
            with reading.errors_at(lines):
                yield given if self.timestamp is None else _with_times(lines, sampled, given, self.timestamp), sampled

    def _size(self, compression: str | None) -> int | None:
        """Of a file that may be sampled: what is compressed or comes through a pipe can only be read whole."""
        path = Path(str(self.file))
        if self.exact or self.file in (None, "-") or not path.is_file():
            return None
        size = path.stat().st_size
        if compression is None:
            return size
        if size > _LARGE:
            report(f"{self.file}: it is compressed, so every line is packed; decompress it to have a part packed")
        return None


def run(
    sources: Sequence[Source],
    shards: int,
    rate: float | None,
    latency: float | None,
    prices: Prices,
    *,
    peers: bool,
    as_json: bool,
    report: Path | None,
    png: Path | None,
) -> None:
    """Measure each input, and show."""
    charts = _charts() if png else None
    logs = []
    for source in sources:
        with source.records() as (records, sampled):
            has_time = rate is not None or source.timestamp is not None
            measured = measure(
                records,
                usual_strategies(shards),
                rate=rate,
                timestamps=source.timestamp is not None,
                record_max_buffered_time=_LATENCY if has_time and latency is None else latency,
                latency=_LATENCY if latency is None else latency,
                prices=prices,
                peers=_peers() if peers else (),
            )
        if sampled is not None and sampled.is_part:
            part = Sampling(sampled.taken, sampled.total, sampled.block + 1, sampled.error)
            measured = replace(measured, sampling=part)
        _check_something(measured, source.name)
        logs.append((source.name, measured))
    _tell(logs, as_json=as_json)
    if report:
        from ....density.page import page

        report.write_text(page(logs), encoding="utf-8")
    if charts and png:
        png.write_bytes(charts.picture(logs[0][1]))


def _tell(logs: Sequence[tuple[str, Measurement]], *, as_json: bool) -> None:
    if as_json:
        told = [measured.as_dict() for _, measured in logs]
        names = [name for name, _ in logs]
        every = {"logs": [{"name": name, **one} for name, one in zip(names, told, strict=True)]}
        typer.echo(json_text(told[0] if len(told) == 1 else every, indent=2))
        return
    out = console(width=None if sys.stdout.isatty() else _WIDTH)
    for name, measured in logs:
        show(measured, name, out)
        out.print()
    if len(logs) > 1:
        compare(logs, out)


def _check_something(measured: Measurement, name: str) -> None:
    first = measured.rows[0]
    if not first.user_records and not first.left_out:
        raise InputError(f"{name}: there is no line in it, so there is nothing to measure")
    if not any(row.user_records for row in measured.rows):
        raise InputError(f"{name}: nothing in it fits into a Kinesis record. {' '.join(measured.notes)}")


def _with_times(
    lines: Lines, sampled: SampledLines, records: Iterator[UserRecord], field: str
) -> Iterator[tuple[UserRecord, float]]:
    """Each with its time; the time that passes between the blocks of a sample is taken out."""
    block, passed, latest = 0, 0.0, 0.0
    for record in records:
        try:
            value = parse_json(record.data)
        except ValueError as error:
            raise lines.error(f"not JSON ({error}); --timestamp takes JSON lines") from None
        for name in field.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        moment = _moment(lines, field, value)
        if sampled.block != block:
            block, passed = sampled.block, passed + max(0.0, moment - latest)
        latest = moment
        yield record, moment - passed


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
        from ....density.peers import AwsKinesisAgg

        return [AwsKinesisAgg(KPL_AGGREGATION_MAX_SIZE), AwsKinesisAgg(MIB)]
    except ModuleNotFoundError as error:
        raise InputError(f"--peers compares with {error.name}: pip install aws-kinesis-agg") from None


def _charts() -> Any:
    try:
        from ....density import charts
    except ModuleNotFoundError as error:
        raise InputError(f"--png needs {error.name}: pip install 'shardpack[report]'") from None
    return charts
