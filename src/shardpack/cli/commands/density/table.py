"""What `shardpack density` prints: the headline, a table of strategies, and what more time or traffic does."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from ....density import Measurement, Row
from ...terminal import Column, print_table, printable

_MONEY = ("$ a\nmonth", "$ on\ndemand", "$ advan-\ntage")


def show(measured: Measurement, name: str, console: Console) -> None:
    """One input, the answer first."""
    console.print(f"Packing density: {printable(name)}", style="bold", markup=False)
    console.print()
    for sentence in measured.headline:
        console.print(sentence, style="bold", markup=False, highlight=False)
    for note in (measured.routing, *measured.notes):
        if note:
            console.print(note, markup=False, highlight=False)
    console.print()
    _strategies(measured, console)
    if measured.curve:
        console.print()
        _times(measured, console)
        console.print()
        _growth(measured, console)
    console.print()
    rate = (
        "" if measured.rate is None else f"At {measured.rate:,.0f} user records a second. Prices: {measured.prices}. "
    )
    console.print(
        f"{rate}Bytes over: beyond the data, for each user record. Fill: of the strategy's own limit. KPL size: 51,200"
        " bytes; a PUT unit: 25 KiB. Shards are needed for records (rec) or bytes (B). Advantage: on-demand advantage"
        " mode, in an account that uses the 25 MiB/s which it pays for at least.",
        style="dim",
        markup=False,
        highlight=False,
    )


def compare(logs: Sequence[tuple[str, Measurement]], console: Console) -> None:
    """Several inputs beside each other."""
    rows = []
    for name, measured in logs:
        best, plain = measured.recommended, measured.rows[0]
        rate = "-" if measured.rate is None else f"{measured.rate:,.0f}"
        money = (best.provisioned, plain.provisioned, best.on_demand, plain.on_demand)
        shards = "-" if best.shards is None else f"{best.shards:,}"
        rows.append([printable(name), rate, shards, *map(_dollars, money), best.strategy.name])
    heads = ["user rec.\na second", "shards", "$ a\nmonth", "instead\nof", "$ on\ndemand", "instead\nof"]
    title = "The inputs, with what is recommended for each"
    print_table(console, [*_columns("input", heads), Column("strategy")], rows, title=title)


def _columns(first: str, numbers: Sequence[str]) -> list[Column]:
    return [Column(first), *(Column(name, is_number=True) for name in numbers)]


def _strategies(measured: Measurement, console: Console) -> None:
    timed = measured.rate is not None
    heads = ["shards", *_MONEY, "wait\np50", "wait\np99"] if timed else []
    heads += ["user rec.\nin each", "Kinesis\nrecords", "fill", *([] if timed else ["payload"]), "bytes\nover"]
    rows = [_cells(row, timed=timed) for row in measured.rows]
    styles = ["bold green" if row is measured.recommended else None for row in measured.rows]
    print_table(console, _columns("strategy", heads), rows, styles=styles)


def _times(measured: Measurement, console: Console) -> None:
    heads = ["wait\np50", "wait\np99", "user rec.\nin each", "shards", *_MONEY]
    rows = []
    for one in measured.curve:
        money = map(_dollars, (one.provisioned, one.on_demand, one.advantage))
        waits = (f"{one.seconds:g} s", _seconds(one.median), _seconds(one.p99))
        rows.append([*waits, f"{one.user_records:,.0f}", f"{one.shards:,}", *money])
    title = "If records may wait longer or shorter (the Producer's aggregates of 51,200 bytes, by shard)"
    print_table(console, _columns("record_max_\nbuffered_time", heads), rows, title=title)


def _growth(measured: Measurement, console: Console) -> None:
    heads = ["shards", *_MONEY, "without:\nshards", "without:\n$ a month"]
    rows = []
    for one in measured.growth:
        money = map(_dollars, (one.provisioned, one.on_demand, one.advantage))
        without = (f"{one.plain_shards:,}", _dollars(one.plain_provisioned))
        traffic = "as now" if one.factor == 1 else f"{one.factor} x"
        rows.append([traffic, f"{one.shards:,}", *money, *without])
    title = f"If the traffic grows (records wait for {measured.latency:g} s)"
    print_table(console, _columns("traffic", heads), rows, title=title)


def _cells(row: Row, *, timed: bool) -> list[str]:
    cells = [row.strategy.name]
    if timed:
        waits = (row.wait.median, row.wait.p99) if row.wait else (None, None)
        cells.append("-" if row.shards is None else f"{row.shards:,} {'rec' if row.bound_by == 'records' else 'B'}")
        cells += [*map(_dollars, (row.provisioned, row.on_demand, row.advantage)), *map(_seconds, waits)]
    return [
        *cells,
        f"{row.per_kinesis_record.mean:,.0f}",
        f"{row.kinesis_records:,}",
        f"{row.fill:.1%}",
        *([] if timed else [f"{row.payload_share:.1%}"]),
        f"{row.overhead.total:.1f}",
    ]


def _dollars(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:,.0f} ms" if value < 1 else f"{value:,.1f} s"
