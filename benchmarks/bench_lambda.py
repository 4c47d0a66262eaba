"""What a Lambda function pays: at its cold start, and for each user record of an event.

    make bench-lambda                   everything
    make bench-lambda ARGS=--quick      fewer rounds
    make bench-lambda ARGS=--cold       cold starts alone

Cold: each command handles one small event in an interpreter of its own, with bytecode that was written before, as a
function's package should have it. The contenders take turns. What counts is CPU time, the median of all rounds, less
the bare interpreter's: at 128 MB a function has a fourteenth of a core, and the median minds other work on the machine
less than the best does.

Warm: one event of 4.3 MB of user records in aggregates as the KPL makes them, in one process. Each contender hands each
user record to the same handler, which does nothing. What it is handed is checked before anything is timed. What counts
is the best CPU time of many rounds, in which the contenders take turns.
"""

from __future__ import annotations

import argparse
import base64
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table

import shardpack as sp
from shardpack.aws_lambda import process

# aws_kinesis_agg puts its own folder first on sys.path, where its modules shadow others.
_path = list(sys.path)
from aws_kinesis_agg.deaggregator import deaggregate_records, iter_deaggregate_records  # noqa: E402

sys.path[:] = _path

_EVENT = (
    "event = {'Records': [{'eventID': 'shardId-0:1', 'eventSource': 'aws:kinesis', 'eventName': 'aws:kinesis:record',"
    " 'eventVersion': '1.0', 'awsRegion': 'us-east-1', 'eventSourceARN': 'arn:aws:kinesis:us-east-1:1:stream/s',"
    " 'invokeIdentityArn': 'arn:aws:iam::1:role/r', 'kinesis': {'kinesisSchemaVersion': '1.0', 'partitionKey': 'k',"
    " 'sequenceNumber': '1', 'data': '84mawgoBaxoHCAAaA2FiY7FkUeEwEiBNy5lUQbXWix0=',"
    " 'approximateArrivalTimestamp': 1.5}}]}\n"
)
_COMMANDS = {
    "bare interpreter": "pass",
    "shardpack.unpack": (
        _EVENT + "from shardpack import unpack\nassert [record.data for record in unpack(event)] == [b'abc']"
    ),
    "shardpack.aws_lambda.process": (
        _EVENT + "from shardpack.aws_lambda import process\nseen = []\n"
        "assert process(event, seen.append) == {'batchItemFailures': []} and seen[0].data == b'abc'"
    ),
    "shardpack.firehose.transform": (
        "event = {'records': [{'recordId': '1', 'data': '84mawgoBaxoHCAAaA2FiY7FkUeEwEiBNy5lUQbXWix0='}]}\n"
        "from shardpack.firehose import transform\n"
        "assert transform(event, lambda r: r.data)['records'][0]['data'] == 'YWJj'"
    ),
    "aws_kinesis_agg": (
        _EVENT + "from aws_kinesis_agg.deaggregator import deaggregate_records\n"
        "assert [one['kinesis']['data'] for one in deaggregate_records(event['Records'])] == [b'YWJj']"
    ),
    "Powertools, without aggregates": (
        _EVENT
        + "from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response\n"
        "processor = BatchProcessor(event_type=EventType.KinesisDataStreams)\n"
        "answer = process_partial_response(\n"
        "    event, record_handler=lambda record: record, processor=processor, context=None)\n"
        "assert answer == {'batchItemFailures': []}"
    ),
}


def cold(rounds: int, cache: str) -> dict[str, list[float]]:
    """The CPU seconds of each command, in all rounds."""
    around = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    around["PYTHONPYCACHEPREFIX"] = cache
    seconds: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    for number in range(rounds + 1):
        for name, command in _COMMANDS.items():
            child = os.posix_spawn(sys.executable, [sys.executable, "-W", "ignore", "-c", command], around)
            _, status, used = os.wait4(child, 0)
            if status:
                raise RuntimeError(f"{name} failed")
            if number:  # the first one writes bytecode
                seconds[name].append(used.ru_utime + used.ru_stime)
    return seconds


def show_cold(seconds: dict[str, list[float]]) -> None:
    """Print them."""
    bare = statistics.median(seconds.pop("bare interpreter"))
    ours = statistics.median(seconds["shardpack.aws_lambda.process"]) - bare
    title = f"Cold start with one small event: CPU over a bare interpreter's {bare * 1e3:.1f} ms"
    table = Table("command", title=title, title_justify="left")
    for column in ("ms", "quartiles", "of process"):
        table.add_column(column, justify="right")
    for name, all_of_them in seconds.items():
        low, middle, high = (1e3 * (one - bare) for one in statistics.quantiles(all_of_them, n=4))
        table.add_row(name, f"{middle:.1f}", f"{low:.1f} to {high:.1f}", f"{middle / ours / 1e3:.1f}")
    Console(width=100).print(table)


_EVENT_BYTES = 4_300_000  # of user records: an event of up to 6 MB, base64 included
Handler = Callable[[Any], object]


def event_of(size: int, keys: int) -> tuple[dict[str, Any], list[bytes]]:
    """An event, and the data of its user records."""
    users = [(f"user-{nth % keys}", (b"%d:" % nth).ljust(size, b"x")) for nth in range(_EVENT_BYTES // size)]
    kinesis = (
        {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": packed.partition_key,
            "sequenceNumber": f"495903382714902566085596925383615710959215759891365888{nth:02}",
            "data": base64.b64encode(packed.data).decode(),
            "approximateArrivalTimestamp": 1545084650.987,
        }
        for nth, packed in enumerate(sp.pack(users, limits=sp.Limits.kpl()))
        if packed.user_record_count > 1
    )
    around = dict.fromkeys(("eventName", "invokeIdentityArn", "awsRegion", "eventSourceARN", "eventVersion"), "x")
    records = [{"kinesis": one, "eventSource": "aws:kinesis", "eventID": "shardId-0:1", **around} for one in kinesis]
    event = {"Records": records}
    return event, [record.data for record in sp.unpack(event)]


def with_process(event: dict[str, Any], handle: Handler) -> None:
    """shardpack, with an answer for Lambda."""
    assert process(event, handle) == {"batchItemFailures": []}


def with_unpack(event: dict[str, Any], handle: Handler) -> None:
    """shardpack, in a loop."""
    for record in sp.unpack(event):
        handle(record)


def with_deaggregate_records(event: dict[str, Any], handle: Handler) -> None:
    """The peer's function that Lambda examples use."""
    for record in deaggregate_records(event["Records"]):
        handle(record)


def with_iter_deaggregate_records(event: dict[str, Any], handle: Handler) -> None:
    """Its generator."""
    for record in iter_deaggregate_records(event["Records"]):
        handle(record)


_WARM: dict[str, Callable[[dict[str, Any], Handler], None]] = {
    "shardpack.aws_lambda.process": with_process,
    "shardpack.unpack, in a loop": with_unpack,
    "aws_kinesis_agg.deaggregate_records": with_deaggregate_records,
    "aws_kinesis_agg.iter_deaggregate_records": with_iter_deaggregate_records,
}


def warm(size: int, keys: int, rounds: int) -> dict[str, float]:
    """The nanoseconds that each contender takes for a user record."""
    event, expected = event_of(size, keys)
    for name, contender in _WARM.items():
        seen: list[Any] = []
        contender(event, seen.append)
        data = [base64.b64decode(one["kinesis"]["data"]) if isinstance(one, dict) else one.data for one in seen]
        assert data == expected, f"{name} handed over something else"
    best = dict.fromkeys(_WARM, float("inf"))
    for _ in range(rounds):
        for name, contender in _WARM.items():
            gc.collect()
            start = time.process_time()
            contender(event, _do_nothing)
            best[name] = min(best[name], time.process_time() - start)
    return {name: seconds / len(expected) * 1e9 for name, seconds in best.items()}


def _do_nothing(_record: object) -> None:
    pass


def show_warm(rounds: int) -> None:
    """Time and print."""
    table = Table("handing over each user record of an event", title="Warm, CPU ns a user record", title_justify="left")
    rows: dict[str, list[str]] = {name: [] for name in _WARM}
    for size, keys in ((100, 1), (100, 500), (1000, 500)):
        table.add_column(f"{size:,} B, {keys} keys" if keys > 1 else f"{size:,} B, 1 key", justify="right")
        took = warm(size, keys, rounds)
        for name, ns in took.items():
            rows[name].append(f"{ns:,.0f} ({ns / took['shardpack.aws_lambda.process']:.1f}x)")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    Console(width=120).print(table)


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description="What a Lambda function pays.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--cold", action="store_true", help="cold starts alone")
    arguments = parser.parse_args()
    peers = ", ".join(f"{name} {version(name)}" for name in ("aws-kinesis-agg", "aws-lambda-powertools", "protobuf"))
    print(f"Python {sys.version.split()[0]}, shardpack {sp.__version__} ({sp.native} core), {peers}")
    with tempfile.TemporaryDirectory() as cache:
        show_cold(cold(5 if arguments.quick else 40, cache))
    if not arguments.cold:
        show_warm(2 if arguments.quick else 9)


if __name__ == "__main__":
    main()
