"""What a stream is read with: which one, where, from where to where, and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...aws.streams import stream_argument
from ...limits import check_optional, check_type
from ...unpacking.unpacker import OnCorrupt
from .words import PYTHON, Words

MAX_RECORDS = 10_000  # in a `GetRecords` call (API reference)


@dataclass(frozen=True, slots=True)
class Connection:
    """Which stream, where, and with whose credentials. Its text shows no secret.

    Attributes:
        stream: the stream's name or ARN.
        region: AWS region; None: as the AWS SDK finds it.
        endpoint_url: of Kinesis; None: AWS.
        access_key: the id of an access key; None: the credentials that the AWS SDK finds.
        secret_key: its secret.
        session_token: its token, where it is a temporary one.
        role_arn: a role to assume; None: none.
        role_session_name: the name of the session with that role.
        role_external_id: its external id.
        sts_endpoint: of STS, for that role; None: AWS.
        profile: a profile of the AWS SDK; None: its default.
        words: how messages name these.
    """

    stream: str
    region: str | None = None
    endpoint_url: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    role_arn: str | None = None
    role_session_name: str = "shardpack-spark"
    role_external_id: str | None = field(default=None, repr=False)
    sts_endpoint: str | None = None
    profile: str | None = None
    words: Words = PYTHON

    @classmethod
    def of(
        cls,
        stream: str,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
    ) -> Connection:
        """What an application gives, checked.

        Raises:
            ValueError, TypeError: it makes no sense; the message names the argument and what to give.
        """
        check_type("stream", stream, str, "the stream's name or ARN")
        stream_argument(stream)  # checks it
        for name, value in (
            ("region_name", region_name),
            ("endpoint_url", endpoint_url),
            ("profile_name", profile_name),
        ):
            check_optional(name, value, str)
        return cls(stream, region_name, endpoint_url, profile=profile_name)

    @property
    def argument(self) -> dict[str, str]:
        """How calls name the stream."""
        return stream_argument(self.stream)


@dataclass(frozen=True, slots=True)
class Start:
    """Where reading starts, or ends.

    Attributes:
        kind: ``latest``, ``trim_horizon``, ``at_timestamp``, ``leases`` or ``offset``.
        time: for ``at_timestamp``, in milliseconds since the epoch.
        table: for ``leases``, the DynamoDB table.
        offset: for ``offset``, what Spark's checkpoint holds of this source.
    """

    kind: str
    time: int = 0
    table: str = ""
    offset: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What a stream or a range of it is read with; docs/spark.md has the table of Spark's names."""

    connection: Connection
    initial: Start
    final: Start
    consumer_mode: str = "polling"
    consumer_name: str = ""
    max_records_per_fetch: int = MAX_RECORDS
    max_fetch_rate: float = 2.0
    min_fetch_period: float = 0.2
    shard_fetch_interval: float = 1.0
    fail_on_data_loss: bool = True
    max_rows: int | None = None
    max_bytes: int | None = None
    max_time: int | None = None
    slice_time: int | None = None
    on_corrupt: OnCorrupt = "raw"
    dynamodb_endpoint: str | None = None
