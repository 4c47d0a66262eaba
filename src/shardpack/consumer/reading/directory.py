"""Which streams a consumer of several reads, how calls name each, and what was last seen of it. It makes no calls."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...aws.errors import error_of
from ...aws.streams import stream_argument
from ...leases.keys import lease_key, stream_named_by
from ...limits import shown

_log = logging.getLogger("shardpack.consumer")

_FAILURES = 3  # of the function that finds the streams, in a row


def argument_of(name: str) -> dict[str, str]:
    """How calls name a stream that an application has named, be it by ``account:stream:epoch``.

    Raises:
        ValueError, TypeError: it is no stream's name.
    """
    return stream_argument(stream_named_by(name) or name if isinstance(name, str) else name)


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
        self._names: list[str] | None = None
        self._failures = 0  # of `find`, in a row
        self._calls: dict[str, dict[str, str]] = {}
        self._account: str | None = None  # the caller's
        self._lock = threading.Lock()
        self._known: dict[str, _Stream] = {}
        self._identifiers: frozenset[str] = frozenset()
        self._refused: dict[str, str] = {}  # the error of each stream that could not be listed, said once

    def names(self) -> list[str]:
        """The streams now; those of before, if they cannot be found.

        Raises:
            Exception: they cannot be found, and there are none of before.
        """
        try:
            names = checked_names(self._find())
        except Exception as error:
            self._failures += 1
            _log.warning(
                "streams, the function that finds the streams, has failed %d times in a row (%s: %s); %s",
                self._failures,
                *error_of(error),
                "nothing is read yet" if self._names is None else "the streams stay as they were",
            )
            if self._names is None:
                raise
            return self._names
        self._names, self._failures = names, 0
        return names

    @property
    def is_well(self) -> bool:
        """Whether the streams can be found; a failure or two may pass."""
        return self._failures < _FAILURES

    def call_of(self, name: str) -> dict[str, str] | None:
        """How calls name a stream; None: it is to be `located`."""
        if stream_named_by(name) is None:
            return argument_of(name)
        return self._calls.get(name)

    @property
    def knows_account(self) -> bool:
        """Whether it is known whose streams are meant by their bare names."""
        return self._account is not None

    def located(self, name: str, summary: Mapping[str, Any] | None, client: Any) -> dict[str, str]:
        """How calls name a stream that the application has named by ``account:stream:epoch``.

        A name alone means a stream of the caller's account. Others are named by their ARNs, as the KCL names them.

        Args:
            name: as the application has named it.
            summary: of the stream that the bare name means to the caller, until one has told the caller's account.
                None: there is none, or it may not be asked.
            client: that asks, which knows its region.
        """
        account, stream, _ = name.split(":")
        if summary is not None:
            self._account = summary["StreamARN"].split(":")[4]
        if account == self._account:
            self._calls[name] = {"StreamName": stream}
        else:
            meta = client.meta
            arn = f"arn:{meta.partition}:kinesis:{meta.region_name}:{account}:stream/{stream}"
            self._calls[name] = {"StreamARN": arn}
            _log.info("%s is asked for as %s", name, arn)
        return self._calls[name]

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
        return [tagged(shard, stream.identifier) for stream in streams for shard in stream.shards]

    def stream_argument_of(self, identifier: str) -> dict[str, str] | None:
        """How calls name a stream; None: it is not among the streams now."""
        with self._lock:
            for name, stream in self._known.items():
                if stream.identifier == identifier and identifier in self._identifiers:
                    return self.call_of(name)
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
                raise _named_twice(way, other, name)
    for name in named.values():
        alone = stream_named_by(name)
        if alone in named:  # it means a stream of the caller's account, which may be this one
            raise _named_twice(alone, named[alone], name)
    return list(dict.fromkeys(named.values()))


def _ways(name: str) -> Iterator[str]:
    """What calls name a stream by, or its account and name, where the application says them."""
    (call,) = argument_of(name).values()
    if stream_named_by(name) is not None:
        yield name.rpartition(":")[0]
    else:
        yield call
    if name.startswith("arn:"):
        yield ":".join([*name.split(":")[4:5], name.rpartition("/")[2]])


def _named_twice(way: str, one: str, other: str) -> ValueError:
    return ValueError(
        f"streams names the stream {way!r} in two ways, {one!r} and {other!r}; its leases would be kept twice: leave"
        " one of them out"
    )


def _identifier(summary: Mapping[str, Any]) -> str:
    """As the KCL names a stream among several (``StreamIdentifier.serialize``)."""
    *_, account, resource = summary["StreamARN"].split(":")
    return f"{account}:{resource.rpartition('/')[2]}:{int(summary['StreamCreationTimestamp'].timestamp())}"


def _first_sequence_number(shards: list[dict[str, Any]]) -> str:
    """Of the stream's first shard: a stream that was made again has another."""
    first = min(shards, key=lambda shard: str(shard["ShardId"]), default={})
    return str(first.get("SequenceNumberRange", {}).get("StartingSequenceNumber"))


def tagged(shard: Mapping[str, Any], identifier: str) -> dict[str, Any]:
    """A listed shard, or a child in the answer of `GetRecords`, with lease keys for shard ids."""
    told = dict(shard)
    for name in ("ShardId", "ParentShardId", "AdjacentParentShardId"):
        if told.get(name):
            told[name] = lease_key(identifier, told[name])
    if "ParentShards" in told:
        told["ParentShards"] = [lease_key(identifier, parent) for parent in told["ParentShards"]]
    return told
