"""What `--help` shows below the options: examples, and what the exit status means."""

from __future__ import annotations

EXAMPLES = {
    "pack": (
        "shardpack pack access.log > entries.jsonl",
        "shardpack pack events.jsonl --key user.id --by shard --shards 4 > entries.jsonl",
    ),
    "unpack": (
        "shardpack unpack entries.jsonl --text",
        "aws kinesis get-records --shard-iterator $iterator | shardpack unpack --jsonl",
        "shardpack unpack archive.gz --parquet clicks.parquet",
    ),
    "inspect": (
        "shardpack inspect entries.jsonl --shards 4",
        "shardpack inspect blob.bin --records 100",
    ),
    "density": (
        "shardpack density access.log --rate 5000",
        "shardpack density events.jsonl --key user.id --timestamp at --latency 0.5",
        "shardpack density a.log b.log --rate 5000 --report report.html",
    ),
    "put": (
        "shardpack put clicks access.log --failed failed.jsonl",
        "tail -F access.log | shardpack put clicks",
        "shardpack put clicks events.jsonl --key user.id --ordering key",
    ),
    "tail": (
        "shardpack tail clicks --from 15m",
        "shardpack tail clicks --no-follow --json > clicks.jsonl",
        r"shardpack tail clicks --key user-7 --format '%p %o.%u %s\n'",
    ),
    "replay": (
        "shardpack replay https://sqs.eu-west-1.amazonaws.com/123456789012/failed --dry-run",
        "shardpack replay s3://failed-batches/clicks/ --invoke clicks",
    ),
    "demo": ("shardpack demo", "shardpack demo access.log --shards 2"),
    "doctor": ("shardpack doctor clicks", "shardpack doctor clicks --leases clicks-dashboard --put --json"),
}
STATUS = {
    "put": "0: all delivered. 1: something failed, see --failed. 2: wrong usage. 130, 143: Ctrl-C, SIGTERM.",
    "tail": "0: the end was reached. 1: the stream cannot be read. 2: wrong usage. 130, 143: Ctrl-C, SIGTERM.",
    "replay": "0: all done. 1: something failed. 2: wrong usage. 3: some records had expired.",
    "doctor": "0: nothing failed. 1: something did. 2: wrong usage.",
}
_USUAL = "0: done. 1: the input or a service would not do. 2: wrong usage. 130: Ctrl-C."


def epilog(command: str) -> str:
    """The text, a paragraph a line, which is how typer keeps lines apart."""
    lines = [f"[bold]$[/bold] {example}" for example in EXAMPLES[command]]
    return "\n\n".join(["[bold]Examples[/bold]", *lines, f"[bold]Exit status[/bold]  {STATUS.get(command, _USUAL)}"])
