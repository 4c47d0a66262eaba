"""What `put` and `put_many` cost: CPU time a user record, against a client that answers at once.

The client is boto3's (asyncio: one with the same answers), and all of botocore runs but the socket. Each contender runs
in a process of its own, in turn, several times; its best time counts. Every user record's delivery is looked at, and as
many user records must have reached the client as were put.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse

import shardpack as sp
from bench_consumer import user_records
from shardpack.limits import MAX_HASH_KEY

SIZE, SHARDS, BATCH = 100, 8, 500


class Answers:
    """What Kinesis answers, at once, and what it was asked."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.shards = [
            {
                "ShardId": f"shardId-{n:012}",
                "HashKeyRange": {
                    "StartingHashKey": str((MAX_HASH_KEY + 1) * n // SHARDS),
                    "EndingHashKey": str((MAX_HASH_KEY + 1) * (n + 1) // SHARDS - 1),
                },
                "SequenceNumberRange": {"StartingSequenceNumber": "1"},
            }
            for n in range(SHARDS)
        ]
        self.map = sp.ShardMap(self.shards)
        self.number = 0

    def stored(self, entry: dict[str, Any]) -> dict[str, str]:
        """One entry of a `PutRecords` call."""
        self.number += 1
        self.entries.append(entry["Data"])
        hash_key = int(entry.get("ExplicitHashKey") or sp.hash_key(entry["PartitionKey"]))
        return {"ShardId": self.map.shard_for(hash_key).shard_id, "SequenceNumber": str(self.number)}

    def count(self) -> int:
        """User records that have come."""
        raw = [base64.b64decode(data) if isinstance(data, str) else data for data in self.entries]
        return sum(len(sp.decode(data)) if sp.is_aggregated(data) else 1 for data in raw)

    def before_send(self, request: Any, **_rest: Any) -> AWSResponse:
        """botocore's last event before the socket; what it gives is the response."""
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        answer: dict[str, Any]
        if operation == "PutRecords":
            results = [self.stored(entry) for entry in json.loads(request.body)["Records"]]
            answer = {"FailedRecordCount": 0, "Records": results}
        elif operation == "ListShards":
            answer = {"Shards": self.shards}
        else:
            answer = {"StreamDescriptionSummary": {"MaxRecordSizeInKiB": 1024}}
        return AWSResponse(request.url, 200, {"Content-Type": "application/x-amz-json-1.1"}, Raw(json.dumps(answer)))


class Raw:
    """A body, as urllib3 gives it."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()

    def stream(self, **_rest: Any) -> list[bytes]:
        return [self._text]


class AsyncClient:
    """The same answers for asyncio, without botocore."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def list_shards(self, **_arguments: Any) -> dict[str, Any]:
        return {"Shards": self._answers.shards}

    async def describe_stream_summary(self, **_arguments: Any) -> dict[str, Any]:
        return {"StreamDescriptionSummary": {"MaxRecordSizeInKiB": 1024}}

    async def put_records(self, **arguments: Any) -> dict[str, Any]:
        return {"Records": [self._answers.stored(entry) for entry in arguments["Records"]]}


def client(answers: Answers) -> Any:
    """boto3's, with those answers."""
    made = boto3.client("kinesis", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    made.meta.events.register("before-send.kinesis", answers.before_send)
    return made


def put(answers: Answers, records: list[tuple[str, bytes]]) -> None:
    with sp.Producer("s", client=client(answers)) as producer:
        futures = [producer.put(key, data) for key, data in records]
    assert all(future.result().sequence_number for future in futures)


def put_many(answers: Answers, records: list[tuple[str, bytes]]) -> None:
    rest = iter(records)
    with sp.Producer("s", client=client(answers)) as producer:
        futures = [producer.put_many(batch) for batch in iter(lambda: list(islice(rest, BATCH)), [])]
    assert all(delivery.sequence_number for future in futures for delivery in future.result())


def put_in_a_loop(answers: Answers, records: list[tuple[str, bytes]]) -> None:
    async def main() -> None:
        async with sp.AsyncProducer("s", client=AsyncClient(answers)) as producer:
            futures = [await producer.put(key, data) for key, data in records]
        assert all(future.result().sequence_number for future in futures)

    asyncio.run(main())


def by_hand(answers: Answers, records: list[tuple[str, bytes]]) -> None:
    boto, rest = client(answers), iter(records)
    while batch := list(islice(rest, BATCH)):
        entries = [{"PartitionKey": key, "Data": data} for key, data in batch]
        assert boto.put_records(StreamName="s", Records=entries)["FailedRecordCount"] == 0


CONTENDERS: dict[str, Callable[[Answers, list[tuple[str, bytes]]], None]] = {
    "Producer.put": put,
    f"Producer.put_many, of {BATCH}": put_many,
    "AsyncProducer.put, no botocore": put_in_a_loop,
    f"boto3, {BATCH} a call": by_hand,
}


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description="CPU time of put, against a client that answers at once.")
    parser.add_argument("--quick", action="store_true", help="fewer records and rounds")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    count, rounds = (20_000, 1) if arguments.quick else (100_000, 3)
    if arguments.contender:
        answers, records = Answers(), list(user_records(count, SIZE))
        started = time.process_time()
        CONTENDERS[arguments.contender](answers, records)
        spent = time.process_time() - started
        assert answers.count() == count, "not what was put"
        print(spent)
        return
    best = dict.fromkeys(CONTENDERS, float("inf"))
    for _ in range(rounds):
        for name in CONTENDERS:
            command = [sys.executable, "-W", "ignore", __file__, "--contender", name]
            command += ["--quick"] * arguments.quick
            best[name] = min(best[name], float(subprocess.run(command, check=True, capture_output=True).stdout))
    loop = best[f"boto3, {BATCH} a call"]
    print(f"{count:,} user records of {SIZE} bytes, {SHARDS} shards: CPU us a record, and of boto3's")
    for name, spent in best.items():
        print(f"  {name:32} {spent / count * 1e6:6.2f} {spent / loop:6.2f}")


if __name__ == "__main__":
    main()
