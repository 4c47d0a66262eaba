"""The clients of a replay, each made at its first use."""

from __future__ import annotations

from typing import Any

_INVOKE_SECONDS = 905  # a function runs for 15 minutes at most, and the answer takes its way


class Clients:
    """Makes a boto3 client for each service and region, once.

    Args:
        region_name: the region of what has no ARN; None: the AWS SDK's own settings say.
        profile_name: a profile of the AWS SDK's configuration; None: its default.
        endpoint_url: a VPC endpoint or a local server, for all services; None: the AWS SDK's own settings say.
        **given: clients to use in the place of new ones, by service, such as ``kinesis=client``; None is none.
    """

    def __init__(
        self,
        region_name: str | None = None,
        profile_name: str | None = None,
        endpoint_url: str | None = None,
        **given: Any,
    ) -> None:
        self._region = region_name
        self._profile = profile_name
        self._endpoint = endpoint_url
        self._given = {service: client for service, client in given.items() if client is not None}
        self._made: dict[tuple[str, str | None], Any] = {}

    def of(self, service: str, arn: str | None = None) -> Any:
        """The client of a service, in the region of an ARN if it has one.

        Raises:
            ModuleNotFoundError: boto3 is not installed.
        """
        if service in self._given:
            return self._given[service]
        region = _region_of(arn) or self._region
        key = service, region
        if key not in self._made:
            self._made[key] = self._make(service, region)
        return self._made[key]

    def _make(self, service: str, region: str | None) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"reading the records of an on-failure message needs {error.name}: pip install 'shardpack[aws]'"
            ) from None
        session = boto3.session.Session(profile_name=self._profile, region_name=region)
        settings: dict[str, Any] = {}
        if service == "lambda":  # a second try of the client would run the function twice
            settings = {"read_timeout": _INVOKE_SECONDS, "retries": {"total_max_attempts": 1, "mode": "standard"}}
        return session.client(service, endpoint_url=self._endpoint, config=Config(**settings))


def _region_of(arn: str | None) -> str | None:
    parts = (arn or "").split(":")
    return (parts[3] or None) if parts[0] == "arn" and len(parts) > 5 else None
