"""A measurement as a picture (extra ``report``)."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .rows import Measurement

_OURS, _BEST = "#8fb3d9", "#1b7837"


def picture(measured: Measurement) -> bytes:
    """The main chart, as a PNG."""
    out = io.BytesIO()
    figure = _per_record(measured) if measured.rate is None else _main(measured)
    figure.savefig(out, format="png", dpi=150)
    return out.getvalue()


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


def _main(measured: Measurement) -> Figure:
    figure, (left, right) = _figure(_height(measured), columns=2)
    _draw_per_record(left, measured)
    left.set_xlabel("user records in a Kinesis record")
    _draw_costs(right, measured)
    return figure
