"""Several streams behind the calls of one: their shards stand side by side, under the keys of the KCL's leases.

So leases, balance, positions and reshards are those of one stream with more shards. Each shard id that goes in or comes
out has its stream before it, ``account:stream:epoch:shard id``, and so has each iterator.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...aws.errors import error_of
from ...aws.streams import (
    ALL_SHARDS,
    describe_stream,
    describe_stream_async,
    list_shards,
    list_shards_async,
)
from ...leases.keys import shard_id_of, stream_identifier_of
from .directory import Directory, argument_of, tagged

_log = logging.getLogger("shardpack.consumer")

_BETWEEN = "|"  # the stream and its iterator; no stream has it in its name

NAME = "multi-stream"
"""What a consumer of several streams is called in the log, and in its leases, whichever streams those are."""


class GoneError(Exception):
    """As Kinesis says that an iterator is too old: to be asked for a new one."""

    response: Mapping[str, Any] = {"Error": {"Code": "ExpiredIteratorException", "Message": "the stream is back"}}


class _Listing:
    """One look at all streams, of which some may fail.

    Attributes:
        names: of the streams.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._errors: list[Exception] = []
        self.names = directory.names()

    @contextmanager
    def noting_failure(self, name: str) -> Iterator[None]:
        """One of them is listed; if that fails, the others go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # told by the directory
            self._directory.failed(name, error)
            self._errors.append(error)

    def answer(self) -> dict[str, Any]:
        """The shards of all streams, or the first error if there are none."""
        shards = self._directory.shards(self.names)
        if self._errors and not shards:
            raise self._errors[0]
        return {"Shards": shards}


@contextmanager
def allowing_for_others() -> Iterator[None]:
    """A call whose failure may mean that the caller's account has no such stream."""
    try:
        yield
    except Exception as error:
        if error_of(error)[0] not in ("ResourceNotFoundException", "AccessDeniedException"):
            raise


class ManyStreams:
    """A Kinesis client of boto3's that reads several streams as one.

    A stream that is not given any more rests: nothing is read of it, and its leases stay as they are. One that cannot
    be listed does not hold up the others.
    """

    def __init__(self, client: Any, directory: Directory) -> None:
        self._client = client
        self._directory = directory

    def list_shards(self, **_one_stream: Any) -> dict[str, Any]:
        """The shards of all streams."""
        listing = _Listing(self._directory)
        for name in listing.names:
            with listing.noting_failure(name):
                stream = self._directory.call_of(name) or self._locate(name)
                shards = list_shards(self._client, stream, ALL_SHARDS)
                must = self._directory.must_describe(name, shards)
                self._directory.listed(name, shards, describe_stream(self._client, stream) if must else None)
        return listing.answer()

    def _locate(self, name: str) -> dict[str, str]:
        summary = None
        if not self._directory.knows_account:
            with allowing_for_others():
                summary = describe_stream(self._client, argument_of(name))
        return self._directory.located(name, summary, self._client)

    def describe_stream_summary(self, **arguments: Any) -> dict[str, Any]:
        """The summary of one of them, which is named as in its leases."""
        answer: dict[str, Any] = self._client.describe_stream_summary(**_summary_call(self._directory, arguments))
        return answer

    def get_shard_iterator(self, **arguments: Any) -> dict[str, Any]:
        """An iterator with its stream before it."""
        identifier, call = _iterator_call(self._directory, arguments)
        return _iterator(identifier, self._client.get_shard_iterator(**call) if call else {})

    def get_records(self, **arguments: Any) -> dict[str, Any]:
        """What a stream's shard has; nothing, while its stream rests."""
        identifier, call = _records_call(self._directory, arguments)
        return _records(identifier, arguments, self._client.get_records(**call) if call else None)


class AsyncManyStreams:
    """`ManyStreams` on aiobotocore's client."""

    def __init__(self, client: Any, directory: Directory) -> None:
        self._client = client
        self._directory = directory

    async def list_shards(self, **_one_stream: Any) -> dict[str, Any]:
        """See `ManyStreams`, for this and what follows."""
        listing = _Listing(self._directory)
        for name in listing.names:
            with listing.noting_failure(name):
                stream = self._directory.call_of(name) or await self._locate(name)
                shards = await list_shards_async(self._client, stream, ALL_SHARDS)
                must = self._directory.must_describe(name, shards)
                summary = await describe_stream_async(self._client, stream) if must else None
                self._directory.listed(name, shards, summary)
        return listing.answer()

    async def _locate(self, name: str) -> dict[str, str]:
        summary = None
        if not self._directory.knows_account:
            with allowing_for_others():
                summary = await describe_stream_async(self._client, argument_of(name))
        return self._directory.located(name, summary, self._client)

    async def describe_stream_summary(self, **arguments: Any) -> dict[str, Any]:
        """See `ManyStreams`."""
        call = _summary_call(self._directory, arguments)
        answer: dict[str, Any] = await self._client.describe_stream_summary(**call)
        return answer

    async def get_shard_iterator(self, **arguments: Any) -> dict[str, Any]:
        """See `ManyStreams`."""
        identifier, call = _iterator_call(self._directory, arguments)
        return _iterator(identifier, await self._client.get_shard_iterator(**call) if call else {})

    async def get_records(self, **arguments: Any) -> dict[str, Any]:
        """See `ManyStreams`."""
        identifier, call = _records_call(self._directory, arguments)
        return _records(identifier, arguments, await self._client.get_records(**call) if call else None)


def _summary_call(directory: Directory, arguments: Mapping[str, Any]) -> dict[str, str]:
    call = directory.stream_argument_of(arguments["StreamName"])
    if call is None:  # it rests, and what was read of it says nothing
        raise GoneError
    return call


def _iterator_call(directory: Directory, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
    key = arguments["ShardId"]
    identifier = stream_identifier_of(key) or ""
    stream = directory.stream_argument_of(identifier)
    if stream is None:
        return identifier, None
    where = {name: value for name, value in arguments.items() if name not in ("StreamName", "StreamARN", "ShardId")}
    return identifier, {**stream, **where, "ShardId": shard_id_of(key)}


def _iterator(identifier: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"ShardIterator": f"{identifier}{_BETWEEN}{answer.get('ShardIterator', '')}"}


def _records_call(directory: Directory, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
    identifier, _, iterator = arguments["ShardIterator"].partition(_BETWEEN)
    if directory.stream_argument_of(identifier) is None:
        return identifier, None
    if not iterator:
        raise GoneError
    return identifier, {**arguments, "ShardIterator": iterator}


def _records(identifier: str, arguments: Mapping[str, Any], answer: Mapping[str, Any] | None) -> dict[str, Any]:
    if answer is None:
        return {"Records": [], "NextShardIterator": arguments["ShardIterator"], "MillisBehindLatest": 0, "Rests": True}
    told = dict(answer)
    if told.get("NextShardIterator"):
        told["NextShardIterator"] = f"{identifier}{_BETWEEN}{told['NextShardIterator']}"
    if told.get("ChildShards"):
        told["ChildShards"] = [tagged(child, identifier) for child in told["ChildShards"]]
    return told
