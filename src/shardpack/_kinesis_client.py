"""Kinesis clients of the AWS SDK, and the calls that producer and consumer make alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class ClientSettings(Protocol):
    """What a configuration says about its client."""

    @property
    def connect_timeout(self) -> float: ...
    @property
    def request_timeout(self) -> float: ...
    @property
    def max_connections(self) -> int: ...


def kinesis_client(
    config: ClientSettings, region_name: str | None, endpoint_url: str | None, profile_name: str | None
) -> Any:
    """A client that leaves retries to whoever uses it.

    FIPS and dual-stack endpoints are chosen by the AWS SDK's own settings (``AWS_USE_FIPS_ENDPOINT``, a profile), VPC
    endpoints by `endpoint_url` or ``AWS_ENDPOINT_URL_KINESIS``.
    """
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"a Kinesis client needs {error.name}: pip install 'shardpack[aws]'") from None
    session = boto3.session.Session(profile_name=profile_name, region_name=region_name)
    return session.client("kinesis", endpoint_url=endpoint_url, config=Config(**client_settings(config)))


def async_kinesis_client(
    config: ClientSettings, region_name: str | None, endpoint_url: str | None, profile_name: str | None
) -> Any:
    """The same for asyncio: a context manager, whose value is an aiobotocore client."""
    try:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import AioSession
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"an asyncio client needs {error.name}: pip install 'shardpack[async]'") from None
    return AioSession(profile=profile_name).create_client(
        "kinesis",
        region_name=region_name,
        endpoint_url=endpoint_url,
        config=AioConfig(**client_settings(config)),
    )


def client_settings(config: ClientSettings) -> dict[str, Any]:
    """What botocore's ``Config`` takes."""
    return {
        "connect_timeout": config.connect_timeout,
        "read_timeout": config.request_timeout,
        "max_pool_connections": config.max_connections + 2,
        "retries": {"total_max_attempts": 1, "mode": "standard"},
    }


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


def error_of(error: Exception) -> tuple[str, str]:
    """Code and message of what a call raised: the service's own code, else the name of the exception's class."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping) and isinstance(response.get("Error"), Mapping):
        return str(response["Error"].get("Code", type(error).__name__)), str(response["Error"].get("Message", error))
    return type(error).__name__, str(error)
