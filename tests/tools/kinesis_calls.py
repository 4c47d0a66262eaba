"""Short forms of calls to a Kinesis client, be it boto3's or a fake, for the tests of the fake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from shardpack.limits import MAX_HASH_KEY

LOW, HIGH = "0", str(MAX_HASH_KEY)
SHARD_0, SHARD_1, SHARD_2, SHARD_3, SHARD_4 = (f"shardId-{index:012}" for index in range(5))


def put(client: Any, stream: str, *data: bytes, ehk: str = LOW) -> list[dict[str, Any]]:
    """One ``put_records`` to one hash key; its results."""
    records = [{"Data": each, "PartitionKey": "k", "ExplicitHashKey": ehk} for each in data]
    results: list[dict[str, Any]] = client.put_records(StreamName=stream, Records=records)["Records"]
    return results


def iterator(client: Any, stream: str, kind: str = "TRIM_HORIZON", shard_id: str = SHARD_0, **more: Any) -> str:
    token: str = client.get_shard_iterator(StreamName=stream, ShardId=shard_id, ShardIteratorType=kind, **more)[
        "ShardIterator"
    ]
    return token


def read(client: Any, token: str, **more: Any) -> list[bytes]:
    """The data of one page."""
    return [record["Data"] for record in client.get_records(ShardIterator=token, **more)["Records"]]


def walk(client: Any, stream: str, **more: Any) -> dict[str, list[dict[str, Any]]]:
    """Every record of a stream as a consumer without memory meets it: by shard, parents before their children."""
    found: dict[str, list[dict[str, Any]]] = {}
    left = {shard["ShardId"]: shard for shard in shards(client, stream)}
    while left:
        parents = ("ParentShardId", "AdjacentParentShardId")
        shard_id = next(s for s in left if not any(left[s].get(parent) in left for parent in parents))
        is_closed = "EndingSequenceNumber" in left.pop(shard_id)["SequenceNumberRange"]
        found[shard_id] = []
        token: str | None = iterator(client, stream, shard_id=shard_id)
        while token is not None:
            page = client.get_records(ShardIterator=token, **more)
            found[shard_id] += page["Records"]
            token = page.get("NextShardIterator") if page["Records"] or is_closed else None
    return found


def shards(client: Any, stream: str, **filters: Any) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = client.list_shards(StreamName=stream, **filters)["Shards"]
    return listed


def shard_ids(client: Any, stream: str, **filters: Any) -> list[str]:
    return [shard["ShardId"] for shard in shards(client, stream, **filters)]


def code_of(call: Callable[[], object]) -> str:
    """The error code that a call is answered with."""
    with pytest.raises(ClientError) as caught:
        call()
    code: str = caught.value.response["Error"]["Code"]
    return code


def hash_range(shard: dict[str, Any]) -> tuple[int, int]:
    described = shard["HashKeyRange"]
    return int(described["StartingHashKey"]), int(described["EndingHashKey"])


def data_of(records: dict[str, list[dict[str, Any]]]) -> Iterator[bytes]:
    for found in records.values():
        for record in found:
            yield record["Data"]
