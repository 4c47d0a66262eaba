"""The options of `shardpack density`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ....density import Prices
from ...options import KeyField
from ...reading import InputError

_PRICES = Prices()


def density_command(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="The input; several are compared; - is standard input, as is none."),
    ] = None,
    key: KeyField = None,
    timestamp: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD", help="Lines are JSON; this field is their time: seconds, milliseconds or ISO 8601."
        ),
    ] = None,
    synthetic: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Make user records up instead: login:50-100, or click:80,buy:900."),
    ] = None,
    records: Annotated[int, typer.Option(min=1, help="User records to make up.")] = 200_000,
    keys: Annotated[int, typer.Option(min=1, help="Partition keys that they share.")] = 5000,
    rate: Annotated[
        float | None, typer.Option(help="User records a second, for shards, dollars and latency.", show_default=False)
    ] = None,
    shards: Annotated[int, typer.Option(min=1, max=100_000, help="Shards of the stream.")] = 4,
    latency: Annotated[
        float | None,
        typer.Option(
            "--latency",
            "--record-max-buffered-time",
            metavar="SECONDS",
            help="How long a record may wait for others, where there is a rate; then an aggregate goes out as it is.",
            show_default="1.0",
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Pack every line of a large file, not only blocks spread over it.")
    ] = False,
    peers: Annotated[bool, typer.Option("--peers", help="Pack with aws_kinesis_agg, too, if it is installed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON document.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a page with charts.")] = None,
    png: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write the main chart.")] = None,
    prices_file: Annotated[
        Path | None, typer.Option("--prices", metavar="FILE.json", help="Prices of another region or date.")
    ] = None,
    shard_hour: Annotated[
        float | None, typer.Option(help=f"US dollars for a shard and hour; {_PRICES.shard_hour:g}.", show_default=False)
    ] = None,
    put_units: Annotated[
        float | None,
        typer.Option(
            "--million-put-units",
            help=f"US dollars for a million PUT payload units; {_PRICES.million_put_units:g}.",
            show_default=False,
        ),
    ] = None,
    stream_hour: Annotated[
        float | None,
        typer.Option(help=f"US dollars for an on-demand stream and hour; {_PRICES.stream_hour:g}.", show_default=False),
    ] = None,
    gigabyte: Annotated[
        float | None,
        typer.Option(
            "--on-demand-gigabyte",
            help=f"US dollars for 10^9 bytes written on demand; {_PRICES.on_demand_gigabyte:g}.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure what aggregation would save: records, bytes, shards, dollars and latency, strategy by strategy.

    Each strategy really packs the user records: the lines of a file, as `shardpack pack` reads them, or made-up ones.
    """
    from .running import Source, run

    if not files and synthetic is None and not sys.stdin.isatty():
        files = ["-"]
    if (not files) == (synthetic is None):
        raise typer.BadParameter("give a FILE, or --synthetic and what to make up")
    if synthetic is not None and (key or timestamp):
        raise typer.BadParameter("--key and --timestamp are for a FILE")
    _check_outputs(files or (), {"--report": report, "--png": png})
    prices = Prices.from_file(prices_file) if prices_file else _PRICES
    given = {
        "shard_hour": shard_hour,
        "million_put_units": put_units,
        "stream_hour": stream_hour,
        "on_demand_gigabyte": gigabyte,
    }
    if set(given.values()) != {None}:
        prices = replace(prices, source="as given", **{name: one for name, one in given.items() if one is not None})
    inputs: list[str | None] = [*files] if files else [None]
    sources = [Source(one, key, timestamp, synthetic, records, keys, exact) for one in inputs]
    run(sources, shards, rate, latency, prices, peers=peers, as_json=as_json, report=report, png=png)


def _check_outputs(files: Sequence[str], outputs: Mapping[str, Path | None]) -> None:
    """Refuse to write over an input, or two outputs over each other, by whatever names and links."""
    if files.count("-") > 1:
        raise InputError("-: standard input can be read once; name it once")
    taken = [("the input", Path("/dev/stdin") if file == "-" else Path(file)) for file in files]
    for option, path in outputs.items():
        if path is None:
            continue
        for what, other in taken:
            if path.resolve() == other.resolve() or (path.exists() and other.exists() and path.samefile(other)):
                raise InputError(f"{path}: {option} would overwrite {what}; name another file")
        taken.append((f"the file of {option}", path))
