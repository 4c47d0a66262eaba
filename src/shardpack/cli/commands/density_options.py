"""The options of `shardpack density`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ...density import Prices
from ..options import KeyField
from ..reading import InputError

_PRICES = Prices()


def density_command(
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="The input; - is standard input.")] = None,
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
    buffered: Annotated[
        float | None,
        typer.Option(
            "--record-max-buffered-time",
            metavar="SECONDS",
            help="Send an aggregate that is not full after so long, as the producer does.",
            show_default="when full",
        ),
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Pack with aws_kinesis_agg, too, if it is installed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON document.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a page with charts.")] = None,
    png: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write the main chart.")] = None,
    shard_hour: Annotated[float, typer.Option(help="US dollars for a shard and hour.")] = _PRICES.shard_hour,
    put_units: Annotated[
        float, typer.Option("--million-put-units", help="US dollars for a million PUT payload units.")
    ] = _PRICES.million_put_units,
    stream_hour: Annotated[
        float, typer.Option(help="US dollars for an on-demand stream and hour.")
    ] = _PRICES.stream_hour,
    gigabyte: Annotated[
        float, typer.Option("--on-demand-gigabyte", help="US dollars for 10^9 bytes written on demand.")
    ] = _PRICES.on_demand_gigabyte,
) -> None:
    """Measure what aggregation would save: records, bytes, shards, dollars and latency, strategy by strategy.

    Each strategy really packs the user records: the lines of a file, as `shardpack pack` reads them, or made-up ones.
    """
    from .density import Source, run

    if (file is None) == (synthetic is None):
        raise typer.BadParameter("give a FILE, or --synthetic and what to make up")
    if synthetic is not None and (key or timestamp):
        raise typer.BadParameter("--key and --timestamp are for a FILE")
    _check_outputs(file, {"--report": report, "--png": png})
    prices = replace(
        _PRICES,
        shard_hour=shard_hour,
        million_put_units=put_units,
        stream_hour=stream_hour,
        on_demand_gigabyte=gigabyte,
    )
    if prices != _PRICES:
        prices = replace(prices, source="as given")
    source = Source(file, key, timestamp, synthetic, records, keys)
    run(source, shards, rate, buffered, prices, peers=peers, as_json=as_json, report=report, png=png)


def _check_outputs(file: str | None, outputs: Mapping[str, Path | None]) -> None:
    """Refuse to write over the input, or two outputs over each other, by whatever names and links."""
    taken = {"the input": Path("/dev/stdin") if file == "-" else Path(file)} if file is not None else {}
    for option, path in outputs.items():
        if path is None:
            continue
        for what, other in taken.items():
            if path.resolve() == other.resolve() or (path.exists() and other.exists() and path.samefile(other)):
                raise InputError(f"{path}: {option} would overwrite {what}; name another file")
        taken[f"the file of {option}"] = path
