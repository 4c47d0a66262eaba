"""The coroutines of a FakeKinesis: aiobotocore's client interface."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from .kinesis import FakeKinesis


class AsyncFakeKinesis:
    """A `FakeKinesis` with the interface of aiobotocore's client: the same operations as coroutines.

    Streams, scripts, clock and calls are the fake's own, so a test may use both sides at once. Each call lets other
    tasks run before it takes effect; one that is cancelled then has taken no effect, one that is cancelled in the
    ``latency_after`` of a script has. `FakeKinesis` describes the operations.

    Args:
        fake: the Kinesis; ``fake.aio`` is this for it.

    Attributes:
        fake: the Kinesis.
        meta: see `FakeKinesis`.
        exceptions: see `FakeKinesis`.
    """

    def __init__(self, fake: FakeKinesis) -> None:
        self.fake = fake
        self.meta = fake.meta
        self.exceptions = fake.exceptions

    async def __aenter__(self) -> Self:
        """This client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes it, which does nothing."""
        await self.close()

    async def close(self) -> None:
        """Does nothing, as there is nothing to close."""

    async def create_stream(self, **parameters: Any) -> dict[str, Any]:
        """`CreateStream`."""
        return await self._call("create_stream", parameters)

    async def delete_stream(self, **parameters: Any) -> dict[str, Any]:
        """`DeleteStream`."""
        return await self._call("delete_stream", parameters)

    async def describe_stream_summary(self, **parameters: Any) -> dict[str, Any]:
        """`DescribeStreamSummary`."""
        return await self._call("describe_stream_summary", parameters)

    async def list_shards(self, **parameters: Any) -> dict[str, Any]:
        """`ListShards`."""
        return await self._call("list_shards", parameters)

    async def put_record(self, **parameters: Any) -> dict[str, Any]:
        """`PutRecord`."""
        return await self._call("put_record", parameters)

    async def put_records(self, **parameters: Any) -> dict[str, Any]:
        """`PutRecords`."""
        return await self._call("put_records", parameters)

    async def get_shard_iterator(self, **parameters: Any) -> dict[str, Any]:
        """`GetShardIterator`."""
        return await self._call("get_shard_iterator", parameters)

    async def get_records(self, **parameters: Any) -> dict[str, Any]:
        """`GetRecords`."""
        return await self._call("get_records", parameters)

    async def split_shard(self, **parameters: Any) -> dict[str, Any]:
        """`SplitShard`."""
        return await self._call("split_shard", parameters)

    async def merge_shards(self, **parameters: Any) -> dict[str, Any]:
        """`MergeShards`."""
        return await self._call("merge_shards", parameters)

    async def update_max_record_size(self, **parameters: Any) -> dict[str, Any]:
        """`UpdateMaxRecordSize`."""
        return await self._call("update_max_record_size", parameters)

    async def update_stream_record_distribution_strategy(self, **parameters: Any) -> dict[str, Any]:
        """`UpdateStreamRecordDistributionStrategy`."""
        return await self._call("update_stream_record_distribution_strategy", parameters)

    async def _call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        fake = self.fake
        call, fault = fake._begin(operation, parameters)  # noqa: SLF001  # two halves of one thing
        await fake.clock.wait_async(fault.latency)
        fake._perform(call, fault)  # noqa: SLF001
        if fault.latency_after:
            await fake.clock.wait_async(fault.latency_after)
        return call.outcome()
