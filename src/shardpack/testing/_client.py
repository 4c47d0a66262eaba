"""The client interfaces of boto3 and of aiobotocore: a method for each operation."""

from __future__ import annotations

from typing import Any

from ._service import paginator


class Client:
    """The operations; who derives from it says how a call goes."""

    def _call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def create_stream(self, **parameters: Any) -> dict[str, Any]:
        """`CreateStream`: instantly ACTIVE, unless ``transition_seconds`` says otherwise."""
        return self._call("create_stream", parameters)

    def delete_stream(self, **parameters: Any) -> dict[str, Any]:
        """`DeleteStream`: the stream and its records are gone."""
        return self._call("delete_stream", parameters)

    def describe_stream_summary(self, **parameters: Any) -> dict[str, Any]:
        """`DescribeStreamSummary`, with ``MaxRecordSizeInKiB`` and ``RecordDistributionStrategy``."""
        return self._call("describe_stream_summary", parameters)

    def list_shards(self, **parameters: Any) -> dict[str, Any]:
        """`ListShards`, with every ``ShardFilter``; a page shows the shards as they are when it is asked for."""
        return self._call("list_shards", parameters)

    def put_record(self, **parameters: Any) -> dict[str, Any]:
        """`PutRecord`; ``SequenceNumberForOrdering`` is accepted, and numbers rise in any case."""
        return self._call("put_record", parameters)

    def put_records(self, **parameters: Any) -> dict[str, Any]:
        """`PutRecords`: all is refused when one record breaks a rule; throttling fails record by record."""
        return self._call("put_records", parameters)

    def get_shard_iterator(self, **parameters: Any) -> dict[str, Any]:
        """`GetShardIterator` of all five types; an iterator lives five minutes."""
        return self._call("get_shard_iterator", parameters)

    def get_records(self, **parameters: Any) -> dict[str, Any]:
        """`GetRecords`: at most 10,000 records and 10 MiB; records expire after 24 hours."""
        return self._call("get_records", parameters)

    def split_shard(self, **parameters: Any) -> dict[str, Any]:
        """`SplitShard`, in provisioned mode only."""
        return self._call("split_shard", parameters)

    def merge_shards(self, **parameters: Any) -> dict[str, Any]:
        """`MergeShards`, in provisioned mode only."""
        return self._call("merge_shards", parameters)

    def update_max_record_size(self, **parameters: Any) -> dict[str, Any]:
        """`UpdateMaxRecordSize`, which names the stream by ``StreamARN``."""
        return self._call("update_max_record_size", parameters)

    def update_stream_record_distribution_strategy(self, **parameters: Any) -> dict[str, Any]:
        """`UpdateStreamRecordDistributionStrategy`, in on-demand mode only; it names the stream by ``StreamARN``."""
        return self._call("update_stream_record_distribution_strategy", parameters)

    def close(self) -> None:
        """Does nothing, as there is nothing to close."""

    def get_paginator(self, operation_name: str) -> Any:
        """boto3's paginator of ``list_shards``, the only operation here that has one.

        As with the real service, its second page is refused: it sends ``StreamName`` along with ``NextToken``
        (botocore issue 2009). Without a page size that takes more than 1,000 shards.

        Raises:
            OperationNotPageableError: botocore's, for any other operation.
        """
        return paginator(operation_name, getattr(self, operation_name, None))


class AsyncClient:
    """The same operations as coroutines; `Client` describes them."""

    async def _call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

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
