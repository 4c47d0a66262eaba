"""How calls name a stream, and the calls about it that producer and consumer make alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def stream_argument(stream_name: str) -> dict[str, str]:
    """How calls name the stream, by name or by ARN."""
    return {"StreamARN" if stream_name.startswith("arn:") else "StreamName": stream_name}


OPEN_SHARDS = {"ShardFilter": {"Type": "AT_LATEST"}, "MaxResults": 1000}
ALL_SHARDS = {"MaxResults": 1000}


def list_shards(client: Any, stream: Mapping[str, str], which: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`OPEN_SHARDS` or `ALL_SHARDS` of a stream, every page."""
    page = client.list_shards(**stream, **which)
    shards: list[dict[str, Any]] = list(page["Shards"])
    while page.get("NextToken"):
        page = client.list_shards(NextToken=page["NextToken"])
        shards += page["Shards"]
    return shards


async def list_shards_async(client: Any, stream: Mapping[str, str], which: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same with an aiobotocore client."""
    page = await client.list_shards(**stream, **which)
    shards: list[dict[str, Any]] = list(page["Shards"])
    while page.get("NextToken"):
        page = await client.list_shards(NextToken=page["NextToken"])
        shards += page["Shards"]
    return shards


def describe_stream(client: Any, stream: Mapping[str, str]) -> dict[str, Any]:
    """The stream's summary."""
    summary: dict[str, Any] = client.describe_stream_summary(**stream)["StreamDescriptionSummary"]
    return summary
