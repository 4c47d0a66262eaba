"""Where the producers' calls go, by botocore's own settings: regions, partitions, FIPS, dual-stack, VPC endpoints."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import shardpack as sp

# AWS_ENDPOINT_URL and its like are known from here on.
pytest.importorskip("botocore", minversion="1.31", reason="the version of boto3")

VPC = "https://vpce-0a1b2c.kinesis.us-east-1.vpce.amazonaws.com"
OTHER = "http://127.0.0.1:4567"
ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/clicks"
FIPS, DUAL_STACK = {"AWS_USE_FIPS_ENDPOINT": "true"}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}
CREDENTIALS = "aws_access_key_id = test\naws_secret_access_key = test"
PROFILES = f"""
[default]
{CREDENTIALS}
region = eu-west-1

[profile fips]
{CREDENTIALS}
region = us-west-2
use_fips_endpoint = true

[profile vpc]
{CREDENTIALS}
region = us-east-1
services = vpc

[services vpc]
kinesis =
    endpoint_url = {VPC}

[profile anywhere]
{CREDENTIALS}
region = us-east-1
endpoint_url = {OTHER}
"""

# The stream, the environment, what the producer is given, and the host that is called.
CASES: dict[str, tuple[str, dict[str, str], dict[str, str], str]] = {
    "the region of the profile": ("s", {}, {}, "kinesis.eu-west-1.amazonaws.com"),
    "a region in the environment": (
        *("s", {"AWS_DEFAULT_REGION": "us-east-2"}, {}),
        "kinesis.us-east-2.amazonaws.com",
    ),
    "a region that is given": (
        *("s", {"AWS_DEFAULT_REGION": "us-east-2"}, {"region_name": "us-west-1"}),
        "kinesis.us-west-1.amazonaws.com",
    ),
    "FIPS": ("s", FIPS, {"region_name": "us-east-1"}, "kinesis-fips.us-east-1.amazonaws.com"),
    "dual-stack": ("s", DUAL_STACK, {"region_name": "us-east-1"}, "kinesis.us-east-1.api.aws"),
    "FIPS and dual-stack": (
        *("s", FIPS | DUAL_STACK, {"region_name": "us-east-1"}),
        "kinesis-fips.us-east-1.api.aws",
    ),
    "FIPS by a profile": ("s", {}, {"profile_name": "fips"}, "kinesis-fips.us-west-2.amazonaws.com"),
    "a profile in the environment": ("s", {"AWS_PROFILE": "fips"}, {}, "kinesis-fips.us-west-2.amazonaws.com"),
    "an endpoint that is given over FIPS": (
        *("s", FIPS, {"region_name": "us-east-1", "endpoint_url": OTHER}),
        "127.0.0.1:4567",
    ),
    "China": ("s", {}, {"region_name": "cn-north-1"}, "kinesis.cn-north-1.amazonaws.com.cn"),
    "China, dual-stack": (
        *("s", DUAL_STACK, {"region_name": "cn-northwest-1"}),
        "kinesis.cn-northwest-1.api.amazonwebservices.com.cn",
    ),
    "GovCloud": ("s", {}, {"region_name": "us-gov-west-1"}, "kinesis.us-gov-west-1.amazonaws.com"),
    # There the endpoint without -fips in its name is the one with FIPS.
    "GovCloud, FIPS": ("s", FIPS, {"region_name": "us-gov-east-1"}, "kinesis.us-gov-east-1.amazonaws.com"),
    "an endpoint that is given": ("s", {}, {"endpoint_url": VPC}, urlsplit(VPC).netloc),
    "a VPC endpoint in the environment": ("s", {"AWS_ENDPOINT_URL_KINESIS": VPC}, {}, urlsplit(VPC).netloc),
    "an endpoint for all services": ("s", {"AWS_ENDPOINT_URL": OTHER}, {}, "127.0.0.1:4567"),
    "Kinesis' own over that for all": (
        *("s", {"AWS_ENDPOINT_URL": OTHER, "AWS_ENDPOINT_URL_KINESIS": VPC}, {}),
        urlsplit(VPC).netloc,
    ),
    "an endpoint that is given over the environment": (
        *("s", {"AWS_ENDPOINT_URL_KINESIS": VPC}, {"endpoint_url": OTHER}),
        "127.0.0.1:4567",
    ),
    "a profile's services": ("s", {}, {"profile_name": "vpc"}, urlsplit(VPC).netloc),
    "a profile's endpoint": ("s", {}, {"profile_name": "anywhere"}, "127.0.0.1:4567"),
    "the environment over a profile": (
        *("s", {"AWS_ENDPOINT_URL_KINESIS": VPC}, {"profile_name": "anywhere"}),
        urlsplit(VPC).netloc,
    ),
    "no configured endpoints": (
        *("s", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_ENDPOINT_URL": OTHER}, {"profile_name": "vpc"}),
        "kinesis.us-east-1.amazonaws.com",
    ),
    # A stream's ARN leads to its account's own endpoint, unless there is another.
    "an ARN": (ARN, {}, {"region_name": "us-east-1"}, "123456789012.data-kinesis.us-east-1.amazonaws.com"),
    "an ARN, FIPS": (
        *(ARN, FIPS, {"region_name": "us-east-1"}),
        "123456789012.data-kinesis-fips.us-east-1.amazonaws.com",
    ),
    "an ARN, an endpoint": (ARN, {}, {"region_name": "us-east-1", "endpoint_url": VPC}, urlsplit(VPC).netloc),
}


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[str, dict[str, str], str]:
    stream, environment, arguments, host = request.param
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(PROFILES, encoding="utf-8")
    settings = {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }
    for name, value in (settings | environment).items():
        monkeypatch.setenv(name, value)
    return stream, arguments, host


class StoppedError(Exception):
    pass


def stop(hosts: set[str], client: Any) -> None:
    """Have every call noted, and none sent."""

    def before_send(request: Any, **_more: Any) -> None:
        hosts.add(urlsplit(request.url).netloc)
        raise StoppedError

    client.meta.events.register("before-send.kinesis", before_send)


CONFIG = sp.ProducerConfig(record_ttl=0.1, record_max_buffered_time=0)
MOST_PUTS = 50  # on a busy machine, the first ones may expire before the producer has begun


def test_a_producer_calls_where_botocore_s_settings_say(case: tuple[str, dict[str, str], str]) -> None:
    stream, arguments, host = case
    hosts: set[str] = set()
    with sp.Producer(stream, CONFIG, **arguments) as producer:
        stop(hosts, producer._client)
        codes = (first_error(producer.put("k", b"data").exception(30)) for _ in range(MOST_PUTS))
        assert "StoppedError" in codes

    assert control_plane_aside(hosts) == {host}


def first_error(error: BaseException | None) -> str:
    assert isinstance(error, sp.DeliveryError)
    return str(error.attempts[0].error_code)


def test_an_asyncio_producer_calls_there_too(case: tuple[str, dict[str, str], str]) -> None:
    pytest.importorskip("aiobotocore")
    stream, arguments, host = case
    hosts: set[str] = set()

    async def main() -> None:
        async with sp.AsyncProducer(stream, CONFIG, **arguments) as producer:
            await producer._start()
            stop(hosts, producer._client)
            for _ in range(MOST_PUTS):
                with pytest.raises(sp.DeliveryError) as caught:
                    await (await producer.put("k", b"data"))
                if first_error(caught.value) == "StoppedError":
                    return
            pytest.fail("no call was made")

    asyncio.run(main())

    assert control_plane_aside(hosts) == {host}


def control_plane_aside(hosts: set[str]) -> set[str]:
    """Without the accounts' endpoints for `ListShards` and `DescribeStreamSummary`."""
    return {host for host in hosts if ".control-kinesis" not in host}
