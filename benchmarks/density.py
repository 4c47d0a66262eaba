"""What packing strategies make of the same user records: `make density`, which writes density.md and density.png.

make density                        login events of 50 to 100 bytes, and tables of what keys, pins and lanes cost
make density FILE=access.log        the lines of your own file instead of the login events
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import shardpack as sp
from shardpack.density import Measurement, Row, Strategy, measure, usual_strategies
from shardpack.density.charts import picture
from shardpack.density.synthetic import synthetic
from shardpack.limits import KIB, MIB

HERE = Path(__file__).parent
RATE = 5000
_BATCH = 100_000


def main() -> int:
    """Measure, check, write."""
    parser = argparse.ArgumentParser(description="What packing strategies make of the same user records.")
    parser.add_argument("file", nargs="?", help="lines to pack instead of login events")
    parser.add_argument("--records", type=int, default=500_000)
    arguments = parser.parse_args()
    if arguments.file:
        with Path(arguments.file).open("rb") as stream:
            measured = measure(_lines(stream), usual_strategies(), rate=RATE, progress=_tell)
        print(_table(measured))
        return 0
    logins = measure(
        synthetic("login:50-100", arguments.records),
        usual_strategies(),
        rate=RATE,
        record_max_buffered_time=1.0,
        progress=_tell,
    )
    (HERE / "density.png").write_bytes(picture(logins))
    sections = [
        "# Packing density\n\nBy `make density`; the numbers do not depend on the machine. `shardpack density`"
        " makes such tables\nof your own data.",
        f"## {arguments.records:,} login events of 50 to 100 bytes, 5,000 keys, {RATE:,} a second\n\n"
        f"![user records in a Kinesis record, and dollars a month, by strategy](density.png)\n\n{_table(logins)}\n\n"
        f"A record waits for 1 s at most. {' '.join(logins.headline)}\n\nPrices: {logins.prices}.",
        "## Density and dollars a month against latency\n\nThe Producer's aggregates of 51,200 bytes, four shards.\n\n"
        + _curve(logins),
        "## What keys, pins and lanes cost\n\nBytes beyond the data for each user record of 100 bytes, 1 MiB, four"
        f" shards.\n\n{_overheads()}",
        f"## Records that are large against the limit\n\n100 to 400 KiB in 1 MiB, distinct keys.\n\n{_lookahead()}",
    ]
    (HERE / "density.md").write_text("\n\n".join(sections) + "\n")
    return 0


def _lines(stream: Iterable[bytes]) -> Iterable[tuple[str, bytes]]:
    for nth, line in enumerate(stream):
        yield str(nth // 1000), line.rstrip(b"\n")


def _tell(count: int) -> None:
    if not count % _BATCH:
        print(f"{count:,} user records", file=sys.stderr)


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _table(measured: Measurement) -> str:
    heads = ["strategy", "user records in each", "Kinesis records", "above the bound", "fill", "payload", "bytes over"]
    heads += ["shards", "$ a month", "$ on demand", "wait p50", "wait p99"]
    return _markdown(heads, [_cells(row) for row in measured.rows])


def _cells(row: Row) -> list[str]:
    above = "" if row.above_bound is None or row.strategy.limits is None else f"{row.above_bound:.1%}"
    waits = [f"{one:.3f} s" for one in (row.wait.median, row.wait.p99)] if row.wait else ["", ""]
    return [
        row.strategy.name,
        f"{row.per_kinesis_record.mean:,.0f}",
        f"{row.kinesis_records:,}",
        above,
        f"{row.fill:.1%}",
        f"{row.payload_share:.1%}",
        f"{row.overhead.total:.1f}",
        f"{row.shards}, by {row.bound_by}",
        f"{row.provisioned:,.0f}",
        f"{row.on_demand:,.0f}",
        *waits,
    ]


def _curve(measured: Measurement) -> str:
    rows = [
        [
            f"{one.seconds:g} s",
            f"{one.user_records:,.0f}",
            f"{one.median:.3f} s",
            f"{one.p99:.3f} s",
            *(f"${dollars:,.2f}" for dollars in (one.provisioned, one.on_demand, one.advantage)),
        ]
        for one in measured.curve
    ]
    heads = ["record_max_buffered_time", "user records in each", "wait p50", "wait p99", "provisioned", "on demand"]
    return _markdown([*heads, "advantage"], rows)


def _overheads() -> str:
    strategies = [
        Strategy("pinned", by="shard", shards=4),
        Strategy("kpl", by="shard", shards=4, hash_keys="kpl"),
        Strategy("pinned, 10 lanes", by="shard", shards=4, lanes=10),
    ]
    rows = []
    for name, keys in (("one key", 1), ("500 keys", 500), ("distinct keys", None)):
        records = [(f"user-{n % (keys or 100_000):08}", bytes(100)) for n in range(100_000)]
        for row in measure(records, strategies).rows:
            over = row.overhead
            parts = (over.keys, over.explicit_hash_keys, over.framing, over.checksum, over.total)
            rows.append([f"{name}, {row.strategy.name}", *(f"{part:.2f}" for part in parts), f"{row.kinesis_records}"])
    heads = ["", "keys", "explicit hash keys", "framing", "magic and MD5", "together", "Kinesis records"]
    return _markdown(heads, rows)


def _lookahead() -> str:
    source = random.Random(0)
    payload = bytes(400 * KIB)
    records = [(f"user-{n}", payload[: source.randrange(100 * KIB, 400 * KIB)]) for n in range(2000)]
    strategies = [Strategy(f"lookahead {n}", sp.Limits(MIB), lookahead=n) for n in (0, 1, 2, 4, 8)]
    rows = measure(islice(records, None), strategies).rows
    cells = [
        [row.strategy.name, f"{row.kinesis_records}", f"{row.above_bound or 0:.1%}", f"{row.fill:.1%}"] for row in rows
    ]
    return _markdown(["", "Kinesis records", "above the bound", "fill"], cells)


if __name__ == "__main__":
    sys.exit(main())
