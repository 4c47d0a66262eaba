"""What a Lambda function pays: at its cold start, and for each user record of an event.

    make bench-lambda                   everything
    make bench-lambda ARGS=--quick      fewer rounds
    make bench-lambda ARGS=--cold       cold starts alone

Cold: each command handles one small event in an interpreter of its own, with bytecode that was written before, as a
function's package should have it. The contenders take turns. What counts is CPU time, the median of all rounds, less
the bare interpreter's: at 128 MB a function has a fourteenth of a core, and the median minds other work on the machine
less than the best does.

Warm: one event of aggregates as the KPL makes them, in one process. What each contender hands to its handler is checked
before it is timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

import shardpack as sp

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


if __name__ == "__main__":
    main()
