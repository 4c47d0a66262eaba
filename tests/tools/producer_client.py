"""A Kinesis client that stores what it is given, and the way to read a stream back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import shardpack as sp
from shardpack.limits import MAX_HASH_KEY


class Client:
    """One shard that stores what it is given, unless the test has something else in mind for a call."""

    def __init__(self, answer: Callable[[int, list[dict[str, Any]]], dict[str, Any] | None] | None = None) -> None:
        self.stored: list[dict[str, Any]] = []
        self.calls = 0
        self._answer = answer
        self._lock = threading.Lock()

    def list_shards(self, **_arguments: Any) -> dict[str, Any]:
        hash_range = {"StartingHashKey": "0", "EndingHashKey": str(MAX_HASH_KEY)}
        return {"Shards": [{"ShardId": "s", "HashKeyRange": hash_range, "SequenceNumberRange": {}}]}

    def describe_stream_summary(self, **_arguments: Any) -> dict[str, Any]:
        return {"StreamDescriptionSummary": {"MaxRecordSizeInKiB": 1024}}

    def put_records(self, *, Records: list[dict[str, Any]], **_stream: str) -> dict[str, Any]:  # boto3's
        with self._lock:
            self.calls += 1
            call = self.calls
        answer = self._answer(call, Records) if self._answer else None
        if answer is not None:
            return answer
        with self._lock:
            self.stored += Records
            first = len(self.stored)
        return {"Records": [{"ShardId": "s", "SequenceNumber": str(first + n)} for n in range(len(Records))]}

    def received(self) -> list[bytes]:
        return [record.data for record in sp.unpack(self.stored)]


def read_all(client: Any, name: str) -> Iterator[tuple[str, sp.ReceivedRecord]]:
    for shard in sp.ShardMap(client.list_shards(StreamName=name)["Shards"]).shards:
        iterator = client.get_shard_iterator(StreamName=name, ShardId=shard.shard_id, ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        while (page := client.get_records(ShardIterator=iterator))["Records"]:
            for record in sp.unpack(page, on_corrupt="kcl", hash_range=shard, out_of_range="drop_aggregate"):
                yield shard.shard_id, record
            iterator = page["NextShardIterator"]
