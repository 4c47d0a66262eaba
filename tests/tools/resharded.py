"""A stream on a real local server that was split and merged between aggregates, and all that it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest
import servers

import shardpack as sp

NAME = "clicks"
HALF = str(2**126)
REGION = "us-east-1"


@dataclass
class Resharded:
    """The stream.

    Attributes:
        url: of its server.
        rows: its user records in the order of shards and positions, as `unpack` reads them, as dicts by the names of
            `shardpack.arrow.SCHEMA`.
    """

    url: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def where(self) -> dict[str, Any]:
        """What says where it is, for functions that make a client; its credentials are in the environment."""
        return {"stream": NAME, "region_name": REGION, "endpoint_url": self.url}

    @cached_property
    def client(self) -> Any:
        """A client."""
        return servers.client("kinesis", self.url)

    def counted(self) -> tuple[Any, Counter[str]]:
        """A client, and how often each of its operations was called."""
        client, calls = servers.client("kinesis", self.url), Counter[str]()

        def count(model: Any, **_: Any) -> None:
            calls[model.name] += 1

        client.meta.events.register("before-call.kinesis", count)
        return client, calls

    def shard(self, shard_id: str) -> list[dict[str, Any]]:
        """The rows of one shard."""
        return [row for row in self.rows if row["shard_id"] == shard_id]


@contextmanager
def resharded() -> Iterator[Resharded]:
    """A stream of five shards, three of them closed, with aggregates of ten and a few plain records in each."""
    with servers.kinesalite() as url, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        kinesis = servers.client("kinesis", url)
        servers.create_stream(kinesis, NAME, 2)
        _put(kinesis, 0)
        kinesis.split_shard(StreamName=NAME, ShardToSplit="shardId-000000000000", NewStartingHashKey=HALF)
        servers.wait_until_active(kinesis, NAME)
        _put(kinesis, 120)
        kinesis.merge_shards(
            StreamName=NAME, ShardToMerge="shardId-000000000003", AdjacentShardToMerge="shardId-000000000001"
        )
        servers.wait_until_active(kinesis, NAME)
        _put(kinesis, 240)
        yield Resharded(url, list(_rows(kinesis)))


def _put(kinesis: Any, first: int) -> None:
    shards = kinesis.list_shards(StreamName=NAME)["Shards"]
    shards = [one for one in shards if "EndingSequenceNumber" not in one["SequenceNumberRange"]]
    users = [sp.UserRecord(f"key-{nth % 23}", b"%d" % nth) for nth in range(first, first + 110)]
    packed = sp.pack(users, by="shard", shard_map=sp.ShardMap(shards), limits=sp.Limits(max_user_records=10))
    for request in sp.put_requests(packed):
        kinesis.put_records(StreamName=NAME, Records=request.entries)
    for nth in range(first + 110, first + 120):
        kinesis.put_record(StreamName=NAME, PartitionKey=f"key-{nth % 23}", Data=b"%d" % nth)


def _rows(kinesis: Any) -> Iterator[dict[str, Any]]:
    for shard in sorted(one["ShardId"] for one in kinesis.list_shards(StreamName=NAME)["Shards"]):
        where = {"StreamName": NAME, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
        answer = kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**where)["ShardIterator"])
        for one in sp.unpack(answer):
            yield {
                "shard_id": shard,
                "sequence_number": one.sequence_number,
                "sub_sequence_number": one.sub_sequence_number,
                "partition_key": one.partition_key,
                "explicit_hash_key": one.explicit_hash_key,
                "data": one.data,
                "approximate_arrival_timestamp": one.approximate_arrival_timestamp,
                "aggregated": one.aggregated,
                "fault": None,
            }
