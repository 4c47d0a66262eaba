"""A measurement as one HTML page: no network, readable at any width, by keyboard and by a screen reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from math import log10

from .rows import Measurement, Point, Row

_STYLE = """
:root { color-scheme: light dark; --line: #d0d7de; --bar: #4a7ebb; --best: #1b7837; --soft: #f3f6fa }
@media (prefers-color-scheme: dark) { :root { --line: #3d444d; --bar: #79a7e0; --best: #5bc27a; --soft: #1c2129 } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem } h3 { font-size: 1rem }
.answer { font-weight: 600; font-size: 1.1rem; border-left: .3rem solid var(--best); padding-left: .8rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; width: 100% }
caption { text-align: left; padding: .3rem 0 }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top }
th { font-weight: 600 } th[scope=row], thead th:first-child { text-align: left; min-width: 11rem }
tr.best { background: var(--soft) } tr.best th[scope=row]::after { content: " (recommended)"; color: var(--best) }
.bar { display: block; height: .35rem; min-width: 1px; background: var(--bar); margin: .2rem 0 0 auto }
.dots { position: relative; display: block; height: .6rem; min-width: 6rem; border-bottom: 1px solid var(--line) }
.dots i { position: absolute; width: .6rem; height: .6rem; margin-left: -.3rem; border-radius: 50% }
.dots i { background: var(--bar) }
tr.best .bar, tr.best .dots i { background: var(--best) }
button { font: inherit; padding: .1rem .6rem; cursor: pointer }
code { font-size: .85rem; overflow-wrap: anywhere }
svg { width: 100%; max-width: 44rem; height: auto } svg text { font: 13px system-ui, sans-serif; fill: currentColor }
.provisioned { --mark: #1b7837 } .on-demand { --mark: #b35900 } .advantage { --mark: #4a5fc1 }
@media (prefers-color-scheme: dark) {
  .provisioned { --mark: #5bc27a } .on-demand { --mark: #f0a050 } .advantage { --mark: #9daef5 } }
@media print { body { max-width: none } button { display: none } table { break-inside: avoid } }
"""

# Copies the text of the cell beside the button, and says so to everybody.
_SCRIPT = """
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = button.dataset.copy, told = document.getElementById("told");
    try { await navigator.clipboard.writeText(text) } catch {
      const area = document.createElement("textarea");
      area.value = text; document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
      button.focus();
    }
    told.textContent = "Copied: " + text;
  });
}
"""
_MODES: tuple[tuple[str, str, str], ...] = (
    ("provisioned", "provisioned", "circle"),
    ("on_demand", "on demand", "square"),
    ("advantage", "on-demand advantage", "triangle"),
)


def page(logs: Sequence[tuple[str, Measurement]]) -> str:
    """One page of one or several inputs.

    Args:
        logs: the name of each input, and what was measured.
    """
    names = ", ".join(name for name, _ in logs)
    title = escape(f"Packing density: {names}")
    body = _compared(logs) if len(logs) > 1 else ""
    body += "".join(_input(number, name, one, len(logs) > 1) for number, (name, one) in enumerate(logs))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main><h1>{title}</h1>{body}<h2>What the words mean</h2>{_WORDS}"
        f'</main><p id="told" role="status"></p><script>{_SCRIPT}</script></body></html>'
    )


_WORDS = """<dl><dt>strategy</dt><dd>One way to pack: the largest aggregate (KPL size: 51,200 bytes; a PUT unit: 25
KiB), and which user records may share one. By <b>shard</b>, a key stays on its shard. By <b>any</b>, its records lie on
all shards. By <b>key</b>, each key has aggregates of its own. <b>Lanes</b> divide a shard for Lambda's
ParallelizationFactor, a <b>lookahead</b> fills aggregates with what fits, and <b>kpl</b> is the format without
pins.</dd><dt>wait</dt><dd>From a user record to the moment when its aggregate goes out: the half, and 99 of 100, wait
no longer.</dd><dt>on-demand advantage</dt><dd>The mode of an account that pays for 25 MiB a second at least, over all
its streams. The figure holds where they use it.</dd><dt>fill, bytes over</dt><dd>How much of the strategy's own limit
is used, and what each user record costs beyond its data.</dd><dt>green</dt><dd>What is recommended.</dd></dl>"""


def _input(number: int, name: str, measured: Measurement, one_of_several: bool) -> str:
    rate = "" if measured.rate is None else f" at {measured.rate:,.0f} a second"
    answers = "".join(f'<p class="answer">{escape(one)}</p>' for one in measured.headline)
    notes = "".join(f"<p>{escape(one)}</p>" for one in (measured.routing, *measured.notes) if one)
    heading = f"<h2>{escape(name)}</h2>" if one_of_several else ""
    counts = f"<p>{measured.rows[0].user_records:,} user records{rate}. Prices: {escape(measured.prices)}.</p>"
    parts = [heading, counts, answers, notes, _strategies(measured)]
    if measured.curve:
        parts += [_latency(number, measured), _growth(measured)]
    return "".join([*parts, _density(measured)])


def _table(caption: str, heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _line(name: str, cells: Iterable[str], *, is_best: bool = False) -> str:
    marked = ' class="best"' if is_best else ""
    return f'<tr{marked}><th scope="row">{escape(name)}</th>' + "".join(f"<td>{one}</td>" for one in cells) + "</tr>"


def _bar(value: float | None, most: float) -> str:
    if value is None:
        return "-"
    width = 100 * value / most if most else 0
    return f'${value:,.0f}<span class="bar" style="width:{width:.1f}%"></span>'


def _strategies(measured: Measurement) -> str:
    """What to choose between: money and waits first, and the settings to take along."""
    if measured.rate is None:
        return ""
    rows = measured.rows
    most = {mode: max((getattr(row, mode) or 0.0 for row in rows), default=0.0) for mode, *_ in _MODES}
    lines = []
    for row in rows:
        waits = ["-", "-"] if row.wait is None else [_seconds(row.wait.median), _seconds(row.wait.p99)]
        cells = [f"{row.shards or 0:,}", *(_bar(getattr(row, mode), most[mode]) for mode, *_ in _MODES)]
        config = row.strategy.producer_config(measured.record_max_buffered_time)
        cells += [*waits, f"{row.per_kinesis_record.mean:,.0f}", _copy(row, config)]
        lines.append(_line(row.strategy.name, cells, is_best=row is measured.recommended))
    heads = ["strategy", "shards", *(f"$ a month {label}" for _, label, _ in _MODES), "wait p50", "wait p99"]
    heads += ["user records each", "settings"]
    return "<h2>What it costs</h2>" + _table("Dollars a month by strategy; the bars begin at 0", heads, lines)


def _copy(row: Row, config: str | None) -> str:
    if config is None:
        return "no producer packs so"
    label = escape(f"Copy the ProducerConfig of {row.strategy.name}")
    return f'<button type="button" data-copy="{escape(config)}" aria-label="{label}">Copy</button>'


def _latency(number: int, measured: Measurement) -> str:
    """Money against time, as a picture and as its numbers."""
    cells: list[Callable[[Point], str]] = [
        lambda one: _seconds(one.median),
        lambda one: _seconds(one.p99),
        lambda one: f"{one.user_records:,.0f}",
        lambda one: f"{one.shards:,}",
        lambda one: f"${one.provisioned:,.0f}",
        lambda one: f"${one.on_demand:,.0f}",
        lambda one: f"${one.advantage:,.0f}",
    ]
    lines = [_line(f"{one.seconds:g} s", [cell(one) for cell in cells]) for one in measured.curve]
    heads = ["record_max_buffered_time", "wait p50", "wait p99", "user records each", "shards"]
    heads += [f"$ {label}" for _, label, _ in _MODES]
    caption = "The Producer's aggregates of 51,200 bytes by shard, with more or less time"
    return f"<h2>What waiting saves</h2>{_chart(number, measured.curve)}" + _table(caption, heads, lines)


def _chart(number: int, curve: Sequence[Point]) -> str:
    width, height, left, bottom = 640, 300, 70, 40
    times = [log10(one.seconds) for one in curve]
    first, last = min(times), max(times)
    most = max(one.on_demand for one in curve) or 1.0
    most = max(most, *(one.provisioned for one in curve), *(one.advantage for one in curve))

    def x(one: Point) -> float:
        return left + (width - left - 20) * (log10(one.seconds) - first) / ((last - first) or 1.0)

    def y(dollars: float) -> float:
        return height - bottom - (height - bottom - 20) * dollars / most

    drawn = []
    for step in range(5):
        value = most * step / 4
        drawn.append(
            f'<line x1="{left}" x2="{width - 20}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="currentColor"'
            f' opacity=".2"/><text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">${value:,.0f}</text>'
        )
    drawn += [
        f'<text x="{x(one):.1f}" y="{height - 18}" text-anchor="middle">{one.seconds:g} s</text>'
        for one in (curve[0], curve[len(curve) // 2], curve[-1])
    ]
    for mode, label, shape in _MODES:
        points = [(x(one), y(getattr(one, mode))) for one in curve]
        path = " ".join(f"{'L' if at else 'M'}{a:.1f} {b:.1f}" for at, (a, b) in enumerate(points))
        marks = "".join(_mark(shape, a, b) for a, b in points)
        drawn.append(
            f'<g class="{mode.replace("_", "-")}"><title>{label}</title>'
            f'<path d="{path}" fill="none" stroke="var(--mark)" stroke-width="2"/>{marks}</g>'
        )
    known = "".join(
        f'<span class="{mode.replace("_", "-")}" style="margin-right:1rem"><svg viewBox="0 0 12 12" aria-hidden="true"'
        f' style="width:.8rem">{_mark(shape, 6, 6)}</svg> {label}</span>'
        for mode, label, shape in _MODES
    )
    told = (
        f"Dollars a month by record_max_buffered_time. Provisioned falls from ${curve[0].provisioned:,.0f} at"
        f" {curve[0].seconds:g} s to ${curve[-1].provisioned:,.0f} at {curve[-1].seconds:g} s, on demand from"
        f" ${curve[0].on_demand:,.0f} to ${curve[-1].on_demand:,.0f}. The table below has the numbers."
    )
    return (
        f'<p>{known}</p><svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="t{number} d{number}">'
        f'<title id="t{number}">Dollars a month against time</title><desc id="d{number}">{told}</desc>{"".join(drawn)}'
        "</svg>"
    )


def _mark(shape: str, x: float, y: float) -> str:
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="var(--mark)"/>'
    if shape == "square":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="var(--mark)"/>'
    return f'<path d="M{x:.1f} {y - 5:.1f}l5 9h-10z" fill="var(--mark)"/>'


def _growth(measured: Measurement) -> str:
    lines = [
        _line(
            "as now" if one.factor == 1 else f"{one.factor} times as much",
            [
                f"{one.shards:,}",
                *(f"${value:,.0f}" for value in (one.provisioned, one.on_demand, one.advantage)),
                f"{one.plain_shards:,}",
                f"${one.plain_provisioned:,.0f}",
            ],
        )
        for one in measured.growth
    ]
    heads = ["traffic", "shards", *(f"$ {label}" for _, label, _ in _MODES), "shards without", "$ without, provisioned"]
    caption = f"With aggregates of 51,200 bytes by shard, whose records wait for {measured.latency:g} s at most"
    return "<h2>If the traffic grows</h2>" + _table(caption, heads, lines)


def _density(measured: Measurement) -> str:
    most = max((row.per_kinesis_record.mean for row in measured.rows), default=1.0)
    steps = log10(most) if most > 1 else 1.0
    lines = []
    for row in measured.rows:
        each, over = row.per_kinesis_record, row.overhead
        at = 100 * (log10(each.mean) / steps if each.mean > 1 else 0.0)
        cells = [
            f'{each.mean:,.1f}<span class="dots" aria-hidden="true"><i style="left:{at:.1f}%"></i></span>',
            f"{each.median:,.0f}",
            f"{row.kinesis_records:,}",
            f"{row.fill:.1%}",
            f"{row.payload_share:.1%}",
            *(f"{part:.1f}" for part in (over.keys, over.explicit_hash_keys, over.framing, over.checksum, over.total)),
            f"{row.put_units:,}",
            f"{row.requests:,}",
        ]
        lines.append(_line(row.strategy.name, cells, is_best=row is measured.recommended))
    heads = ["strategy", "user records each", "median", "Kinesis records", "fill", "payload", "keys", "hash keys"]
    heads += ["framing", "magic and MD5", "bytes over", "PUT units", "calls"]
    caption = "How dense, and where the bytes of a user record go; each step to the right is as many times more"
    return "<h2>How dense</h2>" + _table(caption, heads, lines)


def _compared(logs: Sequence[tuple[str, Measurement]]) -> str:
    lines = []
    for name, one in logs:
        best, plain = one.recommended, one.rows[0]
        money = (best.provisioned, plain.provisioned, best.on_demand, plain.on_demand)
        rate = "-" if one.rate is None else f"{one.rate:,.0f}"
        cells = [rate, *("-" if value is None else f"${value:,.0f}" for value in money), escape(best.strategy.name)]
        lines.append(_line(name, cells))
    heads = ["input", "user records a second", "$ provisioned", "in place of", "$ on demand", "in place of", "strategy"]
    return "<h2>The inputs compared</h2>" + _table("What is recommended for each", heads, lines)


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:,.0f} ms" if value < 1 else f"{value:,.1f} s"
