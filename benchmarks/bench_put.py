"""What `put` and `put_many` cost: CPU time a user record, against a client that answers at once.

All of botocore (asyncio: aiobotocore) runs but the socket. Each contender runs in a process of its own, in turn,
several times; its best time counts. What is timed begins when the client and the shards are known, and ends when every
user record's delivery was looked at. As many user records must have reached the client as were put.

"botocore alone" puts aggregates that were packed before: what nobody who puts them saves.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from importlib.metadata import version
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
        answer = json.dumps(self.answer(request))
        return AWSResponse(request.url, 200, {"Content-Type": "application/x-amz-json-1.1"}, Raw(answer))

    def answer(self, request: Any) -> dict[str, Any]:
        """To any call."""
        target = request.headers["X-Amz-Target"]
        operation = (target if isinstance(target, str) else target.decode()).rpartition(".")[2]
        if operation == "PutRecords":
            results = [self.stored(entry) for entry in json.loads(request.body)["Records"]]
            return {"FailedRecordCount": 0, "Records": results}
        if operation == "ListShards":
            return {"Shards": self.shards}
        if operation == "DescribeStream":
            return {"StreamDescription": {"StreamStatus": "ACTIVE", "Shards": self.shards, "HasMoreShards": False}}
        return {"StreamDescriptionSummary": {"MaxRecordSizeInKiB": 1024, "StreamStatus": "ACTIVE"}}


class Raw:
    """A body, as urllib3 gives it."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()

    def stream(self, **_rest: Any) -> list[bytes]:
        return [self._text]


class Run:
    """One contender's work.

    Attributes:
        records: what it is to put.
    """

    def __init__(self, records: list[tuple[str, bytes]]) -> None:
        self.answers = Answers()
        self.records = records
        self._before = 0
        self._started = float("nan")

    def start(self) -> None:
        """All is ready: the time is taken from here on."""
        self._before = self.answers.count()
        self._started = time.process_time()

    def spent(self) -> float:
        """Seconds of CPU time since, if all that was to be put has come."""
        spent = time.process_time() - self._started
        assert self.answers.count() - self._before == len(self.records), "not what was put"
        return spent

    def client(self) -> Any:
        """boto3's, that has been used."""
        made = boto3.client("kinesis", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        made.meta.events.register("before-send.kinesis", self.answers.before_send)
        made.put_records(StreamName="s", Records=[{"PartitionKey": "a", "Data": b"first"}])
        return made

    def for_aiobotocore(self) -> None:
        """Have every client of aiobotocore answered."""
        from aiobotocore.awsrequest import AioAWSResponse
        from aiobotocore.httpsession import AIOHTTPSession

        async def send(_session: Any, request: Any) -> Any:
            body = json.dumps(self.answers.answer(request)).encode()
            response = AioAWSResponse(request.url, 200, {"Content-Type": "application/x-amz-json-1.1"}, None)
            response._content = body  # noqa: SLF001  # as if it had been read
            return response

        AIOHTTPSession.send = send


def put(run: Run) -> None:
    with sp.Producer("s", client=run.client()) as producer:
        producer.put("k", b"first").result()
        run.start()
        futures = [producer.put(key, data) for key, data in run.records]
        assert all(future.result().sequence_number for future in futures)


def put_awaited_late(run: Run) -> None:
    """As a service does that looks at each future some thousand later."""
    waiting: deque[Any] = deque()
    with sp.Producer("s", client=run.client()) as producer:
        producer.put("k", b"first").result()
        run.start()
        for key, data in run.records:
            waiting.append(producer.put(key, data))
            if len(waiting) > 5_000:
                assert waiting.popleft().result().sequence_number
        assert all(future.result().sequence_number for future in waiting)


def put_many(run: Run) -> None:
    rest = iter(run.records)
    with sp.Producer("s", client=run.client()) as producer:
        producer.put("k", b"first").result()
        run.start()
        futures = [producer.put_many(batch) for batch in iter(lambda: list(islice(rest, BATCH)), [])]
        assert all(delivery.sequence_number for future in futures for delivery in future.result())


def put_in_a_loop(run: Run) -> None:
    async def main() -> None:
        async with sp.AsyncProducer("s", region_name="us-east-1") as producer:
            await (await producer.put("k", b"first"))
            run.start()
            futures = [await producer.put(key, data) for key, data in run.records]
            assert all([(await future).sequence_number for future in futures])

    run.for_aiobotocore()
    asyncio.run(main())


def put_many_in_a_loop(run: Run) -> None:
    rest = iter(run.records)

    async def main() -> None:
        async with sp.AsyncProducer("s", region_name="us-east-1") as producer:
            await (await producer.put("k", b"first"))
            run.start()
            futures = [await producer.put_many(batch) for batch in iter(lambda: list(islice(rest, BATCH)), [])]
            done = [await future for future in futures]
            assert all(delivery.sequence_number for deliveries in done for delivery in deliveries)

    run.for_aiobotocore()
    asyncio.run(main())


def by_hand(run: Run) -> None:
    boto, rest = run.client(), iter(run.records)
    run.start()
    while batch := list(islice(rest, BATCH)):
        entries = [{"PartitionKey": key, "Data": data} for key, data in batch]
        assert boto.put_records(StreamName="s", Records=entries)["FailedRecordCount"] == 0


def packed_before(run: Run) -> None:
    packed = sp.pack(run.records, shard_map=run.answers.map, limits=sp.Limits.kpl())
    boto, requests = run.client(), [*sp.put_requests(packed, max_records=SHARDS)]
    run.start()
    for request in requests:
        assert boto.put_records(StreamName="s", Records=request.entries)["FailedRecordCount"] == 0


def with_aiokpl(run: Run) -> None:
    import aiokpl

    async def main() -> None:
        async with aiokpl.Producer(aiokpl.Config(region="us-east-1")) as producer:
            await (await producer.put_record(stream="s", partition_key="k", data=b"first")).wait()
            run.start()
            outcomes = [
                await producer.put_record(stream="s", partition_key=key, data=data) for key, data in run.records
            ]
            await producer.flush()
            assert all([(await outcome.wait()).success for outcome in outcomes])

    run.for_aiobotocore()
    asyncio.run(main())


def with_async_kinesis(run: Run) -> None:
    """Its processor for the KPL's format takes no partition keys, and it has no outcomes."""
    from kinesis import Producer
    from kinesis.processors import KPLStringProcessor

    async def main() -> None:
        async with Producer(
            stream_name="s", region_name="us-east-1", processor=KPLStringProcessor(), use_list_shards=True
        ) as producer:
            run.start()
            for _, data in run.records:
                await producer.put(data.decode())

    run.for_aiobotocore()
    asyncio.run(main())


BOTO3, ALONE = f"boto3, {BATCH} a call", "botocore alone, aggregates"
CONTENDERS: dict[str, Callable[[Run], None]] = {
    "Producer.put": put,
    "Producer.put, 5,000 on their way": put_awaited_late,
    f"Producer.put_many, of {BATCH}": put_many,
    "AsyncProducer.put": put_in_a_loop,
    f"AsyncProducer.put_many, of {BATCH}": put_many_in_a_loop,
    ALONE: packed_before,
    BOTO3: by_hand,
}
PEERS: dict[str, Callable[[Run], None]] = {"aiokpl": with_aiokpl, "async-kinesis": with_async_kinesis}


def measure(names: list[str], rounds: int, *, quick: bool) -> dict[str, float]:
    """The best CPU seconds of each contender, in a process of its own each time."""
    best = dict.fromkeys(names, float("inf"))
    for _ in range(rounds):
        for name in names:
            command = [sys.executable, "-W", "ignore", __file__, "--contender", name, *["--quick"] * quick]
            done = subprocess.run(command, check=True, capture_output=True)
            best[name] = min(best[name], float(done.stdout.splitlines()[-1]))
    return best


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description="CPU time of put, against a client that answers at once.")
    parser.add_argument("--quick", action="store_true", help="fewer records and rounds")
    parser.add_argument("--peers", action="store_true", help="aiokpl and async-kinesis too (make bench installs them)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    count = 20_000 if arguments.quick else 100_000
    if arguments.contender:
        run = Run(list(user_records(count, SIZE)))
        (CONTENDERS | PEERS)[arguments.contender](run)
        print(run.spent())
        return
    names = [*CONTENDERS, *(PEERS if arguments.peers else ())]
    best = measure(names, 1 if arguments.quick else arguments.rounds, quick=arguments.quick)
    if arguments.peers:
        print(", ".join(f"{name} {version(name)}" for name in PEERS))
    print(f"{count:,} user records of {SIZE} bytes, {SHARDS} shards: CPU us a record, beyond botocore, and of boto3's")
    for name, spent in best.items():
        each, beyond = spent / count * 1e6, (spent - best[ALONE]) / count * 1e6
        print(f"  {name:34} {each:7.2f} {beyond:7.2f} {spent / best[BOTO3]:6.2f}")


if __name__ == "__main__":
    main()
