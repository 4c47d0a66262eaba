"""A measurement as charts: one page without scripts or network, or one picture (extra ``report``)."""

from __future__ import annotations

import io
from html import escape
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from .rows import Measurement, Row

_OURS, _BEST, _PARTS = "#8fb3d9", "#1b7837", ("#4477aa", "#66ccee", "#ccbb44", "#ee6677", "#bbbbbb")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
svg { width: 100%; height: auto } p.best { font-weight: 600; font-size: 1.1rem }
div.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem; white-space: nowrap }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd } th:first-child, td:first-child
{ text-align: left } tr.best { font-weight: 600; background: #e8f3ea }
@media print { body { max-width: none } h2 { break-after: avoid } svg, table { break-inside: avoid } }
"""


def page(measured: Measurement, name: str) -> str:
    """An HTML page that stands alone: for a phone, a screen and a printer.

    Args:
        measured: what to show.
        name: of the input, for the title.
    """
    sections = [("User records in each Kinesis record", _svg(_per_record(measured)))]
    if measured.rate is not None:
        sections.append(("What it costs a month", _svg(_costs(measured))))
    if _points(measured):
        sections.append(("Density against latency", _svg(_curve(measured))))
    sections.append(("Where the bytes of a user record go", _svg(_bytes(measured))))
    sections.append(("All numbers", _table(measured)))
    body = "".join(f"<h2>{escape(title)}</h2>{content}" for title, content in sections)
    rate = "" if measured.rate is None else f" at {measured.rate:,.0f} user records a second"
    title = escape(f"Packing density: {name}")
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1>"
        f"<p>{measured.rows[0].user_records:,} user records{rate}. Prices: {escape(measured.prices)}.</p>"
        f'<p class="best">{escape(measured.reason)}</p><p>{escape(" ".join(measured.notes))}</p>{body}</body></html>'
    )


def picture(measured: Measurement) -> bytes:
    """The main chart, as a PNG."""
    out = io.BytesIO()
    figure = _per_record(measured) if measured.rate is None else _main(measured)
    figure.savefig(out, format="png", dpi=150)
    return out.getvalue()


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _figure(height: float, columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(9 if columns > 1 else 6.5, height), layout="constrained")  # narrow: readable on a phone
    return figure, figure.subplots(1, columns, sharey=columns > 1)


def _bars(axes: Any, measured: Measurement, values: list[float], texts: list[str]) -> None:
    names = [row.strategy.name for row in measured.rows]
    colors = [_BEST if row is measured.recommended else _OURS for row in measured.rows]
    bars = axes.barh(range(len(names)), values, color=colors)
    axes.bar_label(bars, texts, padding=3, fontsize=9)
    axes.set_yticks(range(len(names)), names)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.15)


def _height(measured: Measurement) -> float:
    return 1 + 0.35 * len(measured.rows)


def _draw_per_record(axes: Any, measured: Measurement) -> None:
    values = [row.per_kinesis_record.mean for row in measured.rows]
    _bars(axes, measured, values, [f"{value:,.0f}" for value in values])
    if any(values):  # an empty input has none that a logarithm could show
        axes.set_xscale("log")
    axes.set_xlim(0.8, max(2.0, *values) * 4)
    axes.set_xlabel("user records in a Kinesis record, mean (each step is ten times)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _draw_costs(axes: Any, measured: Measurement) -> None:
    values = [row.provisioned or 0.0 for row in measured.rows]
    _bars(
        axes,
        measured,
        values,
        [f"${value:,.0f}, {row.shards:,} sh." for value, row in zip(values, measured.rows, strict=True)],
    )
    axes.margins(x=0.4)
    axes.set_xlabel("US dollars a month, provisioned")


def _per_record(measured: Measurement) -> Figure:
    figure, axes = _figure(_height(measured))
    _draw_per_record(axes, measured)
    return figure


def _costs(measured: Measurement) -> Figure:
    figure, axes = _figure(_height(measured))
    _draw_costs(axes, measured)
    return figure


def _main(measured: Measurement) -> Figure:
    figure, (left, right) = _figure(_height(measured), columns=2)
    _draw_per_record(left, measured)
    left.set_xlabel("user records in a Kinesis record")
    _draw_costs(right, measured)
    return figure


def _points(measured: Measurement) -> list[tuple[float, float, float]]:
    """Seconds, milliseconds and records of the curve; no logarithm has a place for what did not wait at all."""
    return [(seconds, p99 * 1000, each) for seconds, each, _, p99 in measured.curve if p99]


def _curve(measured: Measurement) -> Figure:
    figure, axes = _figure(3.5)
    points = _points(measured)
    axes.plot([x for _, x, _ in points], [y for _, _, y in points], marker="o", color=_BEST)
    for seconds, x, y in points:
        axes.annotate(f"{seconds:g} s", (x, y), textcoords="offset points", xytext=(5, -12), fontsize=9)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("milliseconds that a user record waits, p99; by record_max_buffered_time; 1 MiB")
    axes.set_ylabel("user records in a Kinesis record")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _bytes(measured: Measurement) -> Figure:
    figure, axes = _figure(_height(measured) + 0.5)
    kinds = {
        "data": [row.user_bytes / (row.user_records or 1) for row in measured.rows],
        "partition keys": [row.overhead.keys for row in measured.rows],
        "explicit hash keys": [row.overhead.explicit_hash_keys for row in measured.rows],
        "framing": [row.overhead.framing for row in measured.rows],
        "magic and MD5": [row.overhead.checksum for row in measured.rows],
    }
    left = [0.0] * len(measured.rows)
    for color, (kind, values) in zip(_PARTS, kinds.items(), strict=True):
        axes.barh(range(len(values)), values, left=left, label=kind, color=color)
        left = [before + value for before, value in zip(left, values, strict=True)]
    axes.set_yticks(range(len(measured.rows)), [row.strategy.name for row in measured.rows])
    axes.invert_yaxis()
    axes.set_xlabel("bytes for each user record")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    return figure


def _table(measured: Measurement) -> str:
    heads = ["strategy", "user records each", "median", "p99", "Kinesis records", "above bound", "fill", "payload"]
    heads += [
        "bytes over",
        "PUT units",
        "calls",
        "shards",
        "bound by",
        "$ provisioned",
        "$ on demand",
        "wait p50",
        "p99",
    ]
    rows = "".join(_line(row, is_best=row is measured.recommended) for row in measured.rows)
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    return f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _line(row: Row, *, is_best: bool) -> str:
    spread, wait = row.per_kinesis_record, row.wait
    cells = [row.strategy.name, f"{spread.mean:,.1f}", f"{spread.median:,.0f}", f"{spread.p99:,.0f}"]
    cells += [f"{row.kinesis_records:,}", "-" if row.above_bound is None else f"{row.above_bound:.1%}"]
    cells += [f"{row.fill:.1%}", f"{row.payload_share:.1%}", f"{row.overhead.total:.1f}", f"{row.put_units:,}"]
    cells += [f"{row.requests:,}"]
    cells += [_or_dash(row.shards, ",d"), row.bound_by or "-", _or_dash(row.provisioned, ",.2f")]
    cells += [_or_dash(row.on_demand, ",.2f")]
    cells += ["-", "-"] if wait is None else [f"{wait.median:,.3f} s", f"{wait.p99:,.3f} s"]
    marked = ' class="best"' if is_best else ""
    return f"<tr{marked}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
