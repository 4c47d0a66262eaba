"""What the engine asks a shell to do; the shell tells `Engine.answered` or `Engine.failed` how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ...packing.requests import PutRequest


@dataclass(frozen=True, slots=True)
class PutRecords:
    """Call `PutRecords` with the request's entries; the answer is its response."""

    call_id: int
    request: PutRequest


@dataclass(frozen=True, slots=True)
class ListShards:
    """List the shards that are open now (``AT_LATEST``, every page); the answer is the list of them.

    Attributes:
        with_closed: whether to list those that are closed too, with no filter.
    """

    with_closed: bool = False


@dataclass(frozen=True, slots=True)
class DescribeStream:
    """Call `DescribeStreamSummary`; the answer is its ``StreamDescriptionSummary``."""


Action: TypeAlias = PutRecords | ListShards | DescribeStream
