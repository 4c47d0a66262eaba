"""Enhanced fan-out for an event loop: threads read what is pushed, and the loop takes what has come."""

from __future__ import annotations

import asyncio
from typing import Any

from .fan_out import FanOut, is_pushed


class AsyncFanOut:
    """A Kinesis client of aiobotocore whose records are pushed.

    The subscriptions are those of `FanOut`, each read by a thread: their rules are in one place, and a loop that is
    busy does not keep Kinesis waiting until it ends them. To take what has come, the loop waits for nothing.

    Args:
        client: aiobotocore's, for all other calls.
        fan_out: on a client of boto3's.
    """

    def __init__(self, client: Any, fan_out: FanOut) -> None:
        self._client = client
        self._fan_out = fan_out

    def __getattr__(self, call: str) -> Any:
        return getattr(self._client, call)

    async def get_shard_iterator(self, **arguments: Any) -> dict[str, Any]:
        """See `FanOut.get_shard_iterator`; in a thread, because it may register the stream consumer."""
        return await asyncio.to_thread(self._fan_out.get_shard_iterator, **arguments)

    async def get_records(self, **arguments: Any) -> dict[str, Any]:
        """What has been pushed since; or what is asked for, where fan-out is not allowed."""
        if is_pushed(arguments["ShardIterator"]):
            return self._fan_out.get_records(**arguments)
        answer: dict[str, Any] = await self._client.get_records(**arguments)
        return answer
