"""What the engine asks a shell to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..requests import PutRequest


@dataclass(frozen=True, slots=True)
class PutRecords:
    """Call `PutRecords`, then `Engine.put_answered` or `Engine.put_failed` with the same call id."""

    call_id: int
    request: PutRequest


@dataclass(frozen=True, slots=True)
class ListShards:
    """List all open shards (``AT_LATEST``, every page), then `Engine.shards_listed` or `Engine.list_shards_failed`."""


@dataclass(frozen=True, slots=True)
class DescribeStream:
    """Call `DescribeStreamSummary`, then `Engine.stream_described` or `Engine.describe_stream_failed`."""


Action: TypeAlias = PutRecords | ListShards | DescribeStream
