"""Kinesis clients of the AWS SDK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from .errors import REMEDIES


class ClientSettings(Protocol):
    """What a configuration says about its client."""

    @property
    def connect_timeout(self) -> float:
        """Seconds to wait for a connection."""

    @property
    def request_timeout(self) -> float:
        """Seconds to wait for a response."""

    @property
    def max_connections(self) -> int:
        """Most calls at once; two connections more are kept for calls about the stream."""


def kinesis_client(
    config: ClientSettings, region_name: str | None, endpoint_url: str | None, profile_name: str | None
) -> Any:
    """A client that leaves retries to whoever uses it.

    FIPS and dual-stack endpoints are chosen by the AWS SDK's own settings (``AWS_USE_FIPS_ENDPOINT``, a profile), VPC
    endpoints by `endpoint_url` or ``AWS_ENDPOINT_URL_KINESIS``.
    """
    try:
        import boto3
        import botocore.session
        from botocore.config import Config
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"a Kinesis client needs {error.name}: pip install 'shardpack[aws]'") from None
    from .responses import read_natively

    underneath = read_natively(botocore.session.get_session())
    session = boto3.session.Session(profile_name=profile_name, region_name=region_name, botocore_session=underneath)
    with _told():
        return session.client("kinesis", endpoint_url=endpoint_url, config=Config(**client_settings(config)))


@contextmanager
def _told() -> Iterator[None]:
    """With what to do, where botocore does not say it."""
    try:
        yield
    except Exception as error:
        if (remedy := REMEDIES.get(type(error).__name__)) is not None:
            error.add_note(remedy)
        raise


def async_kinesis_client(
    config: ClientSettings, region_name: str | None, endpoint_url: str | None, profile_name: str | None
) -> Any:
    """The same for asyncio: a context manager, whose value is an aiobotocore client."""
    try:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import AioSession
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"an asyncio client needs {error.name}: pip install 'shardpack[async]'") from None
    from .responses import read_natively

    return read_natively(AioSession(profile=profile_name)).create_client(
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
