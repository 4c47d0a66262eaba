"""The stream's shards, and which of them need a lease."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from ...errors import LeaseStoreError
from ...leases.keys import lease_key, shard_id_of, stream_identifier_of
from ...leases.lease import Lease, is_started, origin_of
from ...limits import listed
from ...records import Position
from .. import origin
from ..start import Start

_T = TypeVar("_T")


class ListedShard(NamedTuple):
    """A shard as `ListShards` gives it."""

    shard_id: str
    parents: tuple[str, ...]
    hash_range: tuple[int, int]
    is_open: bool
    origin: str | None = None

    def lease(self, checkpoint: Position) -> Lease:
        """A new lease of the shard."""
        return Lease(
            self.shard_id,
            checkpoint=checkpoint,
            parents=self.parents,
            hash_range=self.hash_range,
            origin=self.origin,
        )

    def disowns(self, lease: Lease) -> bool:
        """Whether a lease with the shard's id is another shard's: of another stream, or of one that is no more."""
        return origin.is_of_another(lease, self.origin, is_open=self.is_open)


def listed_shards(shards: Iterable[Mapping[str, Any]], stream_name: str) -> dict[str, ListedShard]:
    """`ListShards` entries of a stream by shard id."""
    return {
        shard["ShardId"]: ListedShard(
            shard["ShardId"],
            tuple(parent for key in ("ParentShardId", "AdjacentParentShardId") if (parent := shard.get(key))),
            _hash_range(shard),
            shard.get("SequenceNumberRange", {}).get("EndingSequenceNumber") is None,
            _origin(shard, stream_name),
        )
        for shard in shards
    }


def is_of_another(shards: Mapping[str, ListedShard] | None, lease: Lease) -> bool:
    """Whether a lease is not of the shard that was last listed under its key; None: no shards were listed yet."""
    shard = (shards or {}).get(lease.key)
    return shard is not None and shard.disowns(lease)


def child_shards(response: Mapping[str, Any]) -> list[ListedShard]:
    """The children that the last `GetRecords` response of a shard names; not every server does."""
    return [
        ListedShard(child["ShardId"], tuple(child["ParentShards"]), _hash_range(child), is_open=True)
        for child in response.get("ChildShards") or ()
    ]


def children_of(shard_id: str, shards: Mapping[str, ListedShard]) -> list[ListedShard]:
    """The shards that a shard was split or merged into."""
    return [shard for shard in shards.values() if shard_id in shard.parents]


def leases_to_create(shards: Mapping[str, ListedShard], leases: Mapping[str, Lease], start: Start) -> list[Lease]:
    """The leases that are missing, parents before children.

    Until something is done, reading starts where the application wants it to. Later, a shard without a lease is either
    new, and nothing of it may be missed, or its lease was deleted after its children were begun. Of several streams,
    that holds for each.

    Raises:
        ValueError: `start` names a shard that is not there.
    """
    if not leases and (unknown := start.shards.keys() - shards.keys()):
        raise ValueError(f"start_at names {listed(sorted(unknown))}; the stream has {listed(shards) or 'no shards'}")
    leases_by_stream, missing = _by_stream(leases), list[Lease]()
    for stream, of_stream in _by_stream(shards).items():
        missing += _leases_of_stream(of_stream, leases_by_stream.get(stream, {}), start)
    # One that is begun without a parent's would make it look as if the parent's were over.
    keys = {lease.key for lease in missing}
    return [lease for lease in missing if keys.isdisjoint(lease.parents)]


def check_epochs(shards: Mapping[str, ListedShard], leases: Mapping[str, Lease]) -> None:
    """See that a table has no leases of the same streams under other epochs, which nobody would go on from.

    The KCL takes whichever epoch an application names. A stream that was deleted and made again has leases with another
    epoch too, but their positions lie before its first.

    Raises:
        LeaseStoreError: it has; the message says how to go on from them.
    """
    known = {stream_identifier_of(key) for key in leases}
    for key, shard in shards.items():
        mine = stream_identifier_of(key)
        if mine is None or mine in known or shard.origin is None:
            continue
        first = shard.origin.rpartition("/")[2]
        for other in known:
            if other is None or other.split(":")[:2] != mine.split(":")[:2]:
                continue
            lease = leases.get(lease_key(other, shard_id_of(key)))
            if lease is not None and _is_within(lease.checkpoint, first):
                raise LeaseStoreError(
                    f"the store of leases has those of the stream {mine.split(':')[1]!r} under {other!r}, as an"
                    f" application of the KCL has named it, and this consumer would begin anew under {mine!r}; give"
                    f" streams=[{other!r}] to go on from them, or delete them with shardpack leases delete",
                    retriable=False,
                )


def _is_within(checkpoint: Position, first: str) -> bool:
    """Whether something is done of a shard that has this first sequence number, and it is that shard's."""
    return checkpoint.sequence_number.isdigit() and first.isdigit() and int(checkpoint.sequence_number) >= int(first)


def _by_stream(by_key: Mapping[str, _T]) -> dict[str | None, dict[str, _T]]:
    streams: dict[str | None, dict[str, _T]] = {}
    for key, value in by_key.items():
        streams.setdefault(stream_identifier_of(key), {})[key] = value
    return streams


def _leases_of_stream(shards: Mapping[str, ListedShard], leases: Mapping[str, Lease], start: Start) -> list[Lease]:
    parents = {key: lease.parents for key, lease in leases.items()} | {s.shard_id: s.parents for s in shards.values()}
    if any(is_started(lease.checkpoint) for lease in leases.values()):
        over = ancestors(leases, parents)
        return [s.lease(Position.TRIM_HORIZON) for key, s in shards.items() if key not in leases and key not in over]
    return [lease for lease in _first_leases(shards, leases, parents, start) if lease.key not in leases]


def _first_leases(
    shards: Mapping[str, ListedShard],
    leases: Mapping[str, Lease],
    parents: Mapping[str, tuple[str, ...]],
    start: Start,
) -> list[Lease]:
    before_named = ancestors(start.shards, parents)
    first: list[Lease] = []
    for key, shard in shards.items():
        before = ancestors([key], parents)
        if key in start.shards or not before.isdisjoint(start.shards) or not before.isdisjoint(leases):
            first.append(shard.lease(Position.TRIM_HORIZON))
        elif key not in before_named and (shard.is_open or start.position != Position.LATEST):
            first.append(shard.lease(start.position))
    return first


def ancestors(keys: Iterable[str], parents: Mapping[str, tuple[str, ...]]) -> set[str]:
    """What the shards were split or merged from, over all generations that are known."""
    found: set[str] = set()
    left = [parent for key in keys for parent in parents.get(key, ())]
    while left:
        key = left.pop()
        if key not in found:
            found.add(key)
            left += parents.get(key, ())
    return found


def _origin(shard: Mapping[str, Any], stream_name: str) -> str | None:
    first = shard.get("SequenceNumberRange", {}).get("StartingSequenceNumber")
    return None if first is None else origin_of(stream_name, first)


def _hash_range(shard: Mapping[str, Any]) -> tuple[int, int]:
    hash_range = shard["HashKeyRange"]
    return int(hash_range["StartingHashKey"]), int(hash_range["EndingHashKey"])
