"""Which settings a `Packer` takes, and what it says of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from ..hashing import ShardMap
from ..limits import MIB, Limits, check_integer, check_iterable, shown
from ..records import no_user_record

By: TypeAlias = Literal["shard", "key", "any"]
HashKeys: TypeAlias = Literal["pinned", "kpl"]

MOST_LOOKAHEAD = 100


def check_types(shard_map: object, limits: object, **integers: object) -> None:
    """Raise TypeError for a setting of the wrong type."""
    if not isinstance(shard_map, ShardMap | None):
        raise TypeError(
            f"shard_map is of type {type(shard_map).__name__}; give a ShardMap: ShardMap(client.list_shards(...)"
            '["Shards"])'
        )
    if not isinstance(limits, Limits | None):
        raise TypeError(
            f"limits is {shown(limits)}, of type {type(limits).__name__}; give a Limits, such as Limits(51_200)"
        )
    for name, value in integers.items():
        check_integer(name, value)


def check_settings(
    by: str, shard_map: ShardMap | None, hash_keys: str, lanes: int, max_buffered_bytes: int, lookahead: int
) -> None:
    """Raise ValueError for a setting that is out of its range, or that another excludes."""
    if by not in ("shard", "key", "any"):
        raise ValueError(f'by is {shown(by)}; choose "shard", "key" or "any"')
    if hash_keys not in ("pinned", "kpl"):
        raise ValueError(f'hash_keys is {shown(hash_keys)}; choose "pinned" or "kpl"')
    if by == "shard" and shard_map is None:
        raise ValueError('by="shard" needs a shard_map: ShardMap(client.list_shards(...)["Shards"])')
    if by == "any" and hash_keys == "kpl":
        raise ValueError(
            'hash_keys="kpl" with by="any" loses records: the KCL drops a whole aggregate when one sub-record\'s hash'
            ' key is outside the shard that holds it. Use hash_keys="pinned", or by="shard" or by="key"'
        )
    if lanes < 1:
        raise ValueError(f"lanes is {shown(lanes)}; give 1 for none, or how many to make of each shard")
    if lanes > 1 and by != "shard":
        raise ValueError(f'lanes subdivide a shard, so they need by="shard" and a shard_map, not by={shown(by)}')
    if max_buffered_bytes < MIB:
        raise ValueError(f"max_buffered_bytes is {shown(max_buffered_bytes, ',')}; give at least {MIB:,}")
    if not 0 <= lookahead <= MOST_LOOKAHEAD:
        raise ValueError(
            f"lookahead is {shown(lookahead)}; give 0 for none, or how many limits' worth of user records may wait on"
            f" each route, up to {MOST_LOOKAHEAD}"
        )


def check_user_records(user_records: object) -> None:
    """Raise TypeError for what is no iterable of user records."""
    check_iterable("user_records", user_records, "UserRecord objects or tuples of partition key and data")


def fields_of(record: Any) -> Sequence[Any]:
    """What `add` takes.

    Raises:
        InvalidRecordError: it is no user record.
    """
    if not isinstance(record, tuple | list) or not 2 <= len(record) <= 4:
        raise no_user_record(record)
    return record
