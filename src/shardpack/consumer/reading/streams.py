"""Several streams behind the calls of one: their shards stand side by side, under the keys of the KCL's leases.

So leases, balance, positions and reshards are those of one stream with more shards. Each shard id that goes in or comes
out has its stream before it, ``account:stream:epoch:shard id``, and so has each iterator.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...aws.errors import error_of
from ...aws.streams import (
    ALL_SHARDS,
    describe_stream,
    describe_stream_async,
    list_shards,
    list_shards_async,
    stream_argument,
)
from ...leases.keys import lease_key, shard_id_of, stream_identifier_of, stream_named_by
from ...limits import shown

_log = logging.getLogger("shardpack.consumer")

_BETWEEN = "|"  # the stream and its iterator; no stream has it in its name

NAME = "multi-stream"
"""What a consumer of several streams is called in the log, and in its leases, whichever streams those are."""


def argument_of(name: str) -> dict[str, str]:
    """How calls name a stream that an application has named, be it by ``account:stream:epoch``.

    Raises:
        ValueError, TypeError: it is no stream's name.
    """
    return stream_argument(stream_named_by(name) or name if isinstance(name, str) else name)


class GoneError(Exception):
    """As Kinesis says that an iterator is too old: to be asked for a new one."""

    response: Mapping[str, Any] = {"Error": {"Code": "ExpiredIteratorException", "Message": "the stream is back"}}


@dataclass(slots=True)
class _Stream:
    """One of the streams, as it was last listed."""

    identifier: str
    first_sequence_number: str
    shards: list[dict[str, Any]]


class Directory:
    """Which streams there are, and what is known of each. It makes no calls.

    Args:
        find: gives the streams' names, ARNs or ``account:stream:epoch``, each time anew.
    """

    def __init__(self, find: Callable[[], Iterable[str]]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._known: dict[str, _Stream] = {}
        self._identifiers: frozenset[str] = frozenset()
        self._refused: dict[str, str] = {}  # the error of each stream that could not be listed, said once

    def names(self) -> list[str]:
        """The streams now.

        Raises:
            ValueError, TypeError: one is no stream's name.
        """
        return checked_names(self._find())

    def must_describe(self, name: str, shards: list[dict[str, Any]]) -> bool:
        """Whether the stream's time of creation is to be asked for: it is new, or may have been made again.

        Where the application says an epoch, as applications of the KCL do, that one holds.
        """
        if stream_named_by(name) is not None:
            return False
        known = self._known.get(name)
        return known is None or known.first_sequence_number != _first_sequence_number(shards)

    def listed(self, name: str, shards: list[dict[str, Any]], summary: Mapping[str, Any] | None) -> None:
        """A stream's shards, and what `DescribeStreamSummary` says of it, if that was asked."""
        before = self._known.get(name)
        identifier = _identifier(summary) if summary is not None else before.identifier if before else name
        with self._lock:
            self._known[name] = _Stream(identifier, _first_sequence_number(shards), shards)
            self._refused.pop(name, None)

    def failed(self, name: str, error: Exception) -> None:
        """A stream could not be listed: what is known of it stays, unless it is not there."""
        code, message = error_of(error)
        with self._lock:
            if code == "ResourceNotFoundException":
                self._known.pop(name, None)
            is_new = self._refused.get(name) != code
            self._refused[name] = code
        if is_new:
            _log.warning("%s cannot be listed, the other streams are read on: %s: %s", name, code, message)

    def shards(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """The shards of the streams that are there now, as if they were one stream's."""
        with self._lock:
            streams = [stream for name in names if (stream := self._known.get(name)) is not None]
            self._identifiers = frozenset(stream.identifier for stream in streams)
        return [_tagged(shard, stream.identifier) for stream in streams for shard in stream.shards]

    def stream_argument_of(self, identifier: str) -> dict[str, str] | None:
        """How calls name a stream; None: it is not among the streams now."""
        with self._lock:
            for name, stream in self._known.items():
                if stream.identifier == identifier and identifier in self._identifiers:
                    return argument_of(name)
        return None


def checked_names(given: object) -> list[str]:
    """The names of streams that an application gives, each once.

    Raises:
        ValueError, TypeError: one is no stream's name, or two are the same stream's.
    """
    if isinstance(given, str | bytes):
        raise TypeError(f"streams is {shown(given)}, one name; give a list of names, or a function that returns it")
    if not isinstance(given, Iterable):
        raise TypeError(
            f"streams is {shown(given)}, of type {type(given).__name__}; give a list of names, or a function that"
            " returns it"
        )
    named: dict[str, str] = {}
    for name in given:
        for way in _ways(name):
            if (other := named.setdefault(way, name)) != name:
                raise ValueError(
                    f"streams names the stream {way!r} in two ways, {other!r} and {name!r}; its leases would be kept"
                    " twice: leave one of them out"
                )
    return list(dict.fromkeys(named.values()))


def _ways(name: str) -> Iterator[str]:
    """What calls name a stream by, and its account and name, where the application says them."""
    (call,) = argument_of(name).values()
    yield call
    if name.startswith("arn:"):
        yield ":".join([*name.split(":")[4:5], name.rpartition("/")[2]])
    elif stream_named_by(name) is not None:
        yield name.rpartition(":")[0]


class _Listing:
    """One look at all streams, of which some may fail.

    Attributes:
        streams: the name of each, and how calls name it.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._errors: list[Exception] = []
        self.streams = [(name, argument_of(name)) for name in directory.names()]

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
        shards = self._directory.shards(name for name, _ in self.streams)
        if self._errors and not shards:
            raise self._errors[0]
        return {"Shards": shards}


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
        for name, stream in listing.streams:
            with listing.noting_failure(name):
                shards = list_shards(self._client, stream, ALL_SHARDS)
                must = self._directory.must_describe(name, shards)
                self._directory.listed(name, shards, describe_stream(self._client, stream) if must else None)
        return listing.answer()

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
        for name, stream in listing.streams:
            with listing.noting_failure(name):
                shards = await list_shards_async(self._client, stream, ALL_SHARDS)
                must = self._directory.must_describe(name, shards)
                summary = await describe_stream_async(self._client, stream) if must else None
                self._directory.listed(name, shards, summary)
        return listing.answer()

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


def _identifier(summary: Mapping[str, Any]) -> str:
    """As the KCL names a stream among several (``StreamIdentifier.serialize``)."""
    *_, account, resource = summary["StreamARN"].split(":")
    return f"{account}:{resource.rpartition('/')[2]}:{int(summary['StreamCreationTimestamp'].timestamp())}"


def _first_sequence_number(shards: list[dict[str, Any]]) -> str:
    """Of the stream's first shard: a stream that was made again has another."""
    first = min(shards, key=lambda shard: str(shard["ShardId"]), default={})
    return str(first.get("SequenceNumberRange", {}).get("StartingSequenceNumber"))


def _tagged(shard: Mapping[str, Any], identifier: str) -> dict[str, Any]:
    """A listed shard, or a child in the answer of `GetRecords`, with lease keys for shard ids."""
    tagged = dict(shard)
    for name in ("ShardId", "ParentShardId", "AdjacentParentShardId"):
        if tagged.get(name):
            tagged[name] = lease_key(identifier, tagged[name])
    if "ParentShards" in tagged:
        tagged["ParentShards"] = [lease_key(identifier, parent) for parent in tagged["ParentShards"]]
    return tagged


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
        told["ChildShards"] = [_tagged(child, identifier) for child in told["ChildShards"]]
    return told
