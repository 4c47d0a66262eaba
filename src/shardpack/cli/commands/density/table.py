"""What `shardpack density` prints: the headline, a table of strategies, and what more time or traffic does."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ....density import Measurement, Row
from ...terminal import printable


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
    console.print(_strategies(measured))
    if measured.curve:
        console.print()
        console.print(_times(measured))
        console.print()
        console.print(_growth(measured))
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
    table = _table("The inputs, with what is recommended for each", ["\ninput"])
    for column in ("user rec.\na second", "\nshards", "$ a\nmonth", "instead\nof", "on de-\nmand", "instead\nof"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("\nstrategy", no_wrap=True)
    for name, measured in logs:
        best, plain = measured.recommended, measured.rows[0]
        rate = "-" if measured.rate is None else f"{measured.rate:,.0f}"
        money = (best.provisioned, plain.provisioned, best.on_demand, plain.on_demand)
        shards = "-" if best.shards is None else f"{best.shards:,}"
        table.add_row(printable(name), rate, shards, *map(_dollars, money), best.strategy.name)
    console.print(table)


def _table(title: str, first: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=None, padding=(0, 1, 0, 0))
    for column in first:
        table.add_column(column, no_wrap=True)
    return table


def _strategies(measured: Measurement) -> Table:
    table = _table("", ["\nstrategy"])
    timed = measured.rate is not None
    columns = ["\nshards", "$ a\nmonth", "on de-\nmand", "advan-\ntage", "wait\np50", "wait\np99"] if timed else []
    columns += ["user rec.\nin each", "Kinesis\nrecords", "\nfill", *([] if timed else ["pay-\nload"]), "bytes\nover"]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in measured.rows:
        style = "bold green" if row is measured.recommended else None
        table.add_row(*_cells(row, timed=timed), style=style)
    return table


def _times(measured: Measurement) -> Table:
    table = _table("If records may wait longer or shorter (the Producer's aggregates of 51,200 bytes, by shard)", [])
    columns = ["record_max_\nbuffered_time", "wait\np50", "wait\np99", "user rec.\nin each", "\nshards", "$ a\nmonth"]
    for column in (*columns, "on de-\nmand", "advan-\ntage"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in measured.curve:
        money = map(_dollars, (one.provisioned, one.on_demand, one.advantage))
        waits = (f"{one.seconds:g} s", _seconds(one.median), _seconds(one.p99))
        table.add_row(*waits, f"{one.user_records:,.0f}", f"{one.shards:,}", *money)
    return table


def _growth(measured: Measurement) -> Table:
    table = _table(f"If the traffic grows (records wait for {measured.latency:g} s)", ["\ntraffic"])
    columns = ["\nshards", "$ a\nmonth", "on de-\nmand", "advan-\ntage", "without:\nshards", "without:\n$ a month"]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for one in measured.growth:
        money = map(_dollars, (one.provisioned, one.on_demand, one.advantage))
        without = (f"{one.plain_shards:,}", _dollars(one.plain_provisioned))
        table.add_row("as now" if one.factor == 1 else f"{one.factor} x", f"{one.shards:,}", *money, *without)
    return table


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
