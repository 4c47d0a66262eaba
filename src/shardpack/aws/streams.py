"""How calls name a stream, and the calls about it that producer and consumer make alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..limits import check_type, shown

_MOST_OF_NAME, _MOST_OF_ARN = 128, 2048  # characters, by the API reference of DescribeStreamSummary


def stream_argument(stream_name: str) -> dict[str, str]:
    """How calls name the stream, by name or by ARN.

    Raises:
        TypeError: it is no text.
        ValueError: it is shorter or longer than any name or ARN.
    """
    check_type("stream_name", stream_name, str, "the stream's name or ARN")
    most = _MOST_OF_ARN if stream_name.startswith("arn:") else _MOST_OF_NAME
    if not 1 <= len(stream_name) <= most:
        raise ValueError(
            f"stream_name is {shown(stream_name)}, of {len(stream_name):,} characters; a stream's name has 1 to"
            f" {_MOST_OF_NAME}, and an ARN {_MOST_OF_ARN:,} at most"
        )
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


async def describe_stream_async(client: Any, stream: Mapping[str, str]) -> dict[str, Any]:
    """The same with an aiobotocore client."""
    summary: dict[str, Any] = (await client.describe_stream_summary(**stream))["StreamDescriptionSummary"]
    return summary
