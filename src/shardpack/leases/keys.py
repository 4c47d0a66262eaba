"""Lease keys: a shard's id, or in a table of several streams ``account:stream:epoch:shard id`` (KCL: MultiStreamLease).

The KCL keeps the parents and the children of such a lease by their shard ids alone; here they are lease keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_IDENTIFIER = r"[0-9]+:([^:]+):[0-9]+"  # KCL: StreamIdentifier.STREAM_IDENTIFIER_PATTERN
_STREAM = re.compile(_IDENTIFIER)
_MULTI_STREAM = re.compile(rf"({_IDENTIFIER}):(.+)")


def lease_key(stream_identifier: str, shard_id: str) -> str:
    """The key of a shard's lease among those of several streams."""
    return f"{stream_identifier}:{shard_id}"


def stream_identifier_of(key: str) -> str | None:
    """``account:stream:epoch`` of a lease among those of several streams; None: it is a single stream's."""
    match = _MULTI_STREAM.fullmatch(key)
    return match[1] if match else None


def stream_name_of(key: str) -> str | None:
    """The stream's name, by a lease among those of several streams; None: it is a single stream's."""
    match = _MULTI_STREAM.fullmatch(key)
    return match[2] if match else None


def stream_named_by(identifier: str) -> str | None:
    """The stream's name, by ``account:stream:epoch``; None: it is none."""
    match = _STREAM.fullmatch(identifier)
    return match[1] if match else None


def shard_id_of(key: str) -> str:
    """The shard's id, by its lease's key."""
    match = _MULTI_STREAM.fullmatch(key)
    return match[3] if match else key


def shard_ids_of(keys: Iterable[str]) -> tuple[str, ...]:
    """The ids of shards, by the keys of their leases."""
    return tuple(map(shard_id_of, keys))


def lease_keys_beside(key: str, shard_ids: Iterable[str]) -> tuple[str, ...]:
    """The keys of other shards of the stream that a lease is of."""
    stream = stream_identifier_of(key)
    return tuple(shard_ids if stream is None else (lease_key(stream, shard_id) for shard_id in shard_ids))
