"""How each of the engine's actions is asked of Kinesis: by boto3 and by aiobotocore."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...aws.streams import (
    ALL_SHARDS,
    OPEN_SHARDS,
    describe_stream,
    describe_stream_async,
    list_shards,
    list_shards_async,
)
from ..core.actions import Action, ListShards, PutRecords


def call(client: Any, stream: dict[str, str], action: Action) -> Any:
    """Do what is asked for, and return what `Engine.answered` takes."""
    if isinstance(action, PutRecords):
        return client.put_records(**stream, Records=action.request.entries)
    if isinstance(action, ListShards):
        return list_shards(client, stream, _which(action))
    return describe_stream(client, stream)


async def call_async(client: Any, stream: dict[str, str], action: Action) -> Any:
    """The same by a client of aiobotocore."""
    if isinstance(action, PutRecords):
        return await client.put_records(**stream, Records=action.request.entries)
    if isinstance(action, ListShards):
        return await list_shards_async(client, stream, _which(action))
    return await describe_stream_async(client, stream)


def _which(action: ListShards) -> Mapping[str, Any]:
    return ALL_SHARDS if action.with_closed else OPEN_SHARDS
