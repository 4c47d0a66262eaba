"""Where a user record goes: hash keys, shards and their hash ranges, lanes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import pairwise

from .limits import MAX_HASH_KEY, brief, check_integer, check_iterable, shown
from .records import check_partition_key
from .values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any

_CACHED_PARTITION_KEYS = 65_536


def hash_key(partition_key: str) -> int:
    """The number by which Kinesis chooses the shard of a partition key.

    It is the MD5 of the key in UTF-8, read as a big-endian unsigned integer (`PutRecord` API reference).

    Raises:
        InvalidRecordError: The partition key does not have 1 to 256 Unicode characters.
    """
    return md5_hash_key(check_partition_key(partition_key))


def md5_hash_key(partition_key: bytes) -> int:
    """`hash_key` of a key that is already in UTF-8, and may be of any length: what a reader meets."""
    import hashlib  # here, because it loads OpenSSL, and reading a stream needs no hash key

    return int.from_bytes(hashlib.md5(partition_key, usedforsecurity=False).digest(), "big")


def lane_of(partition_key: str, lanes: int) -> int:
    """The lane of a partition key: ``xxh3_64(UTF-8, seed 0) % lanes``.

    Part of the format: two producers with the same number of lanes agree on it, in every version of shardpack.
    """
    from xxhash import xxh3_64_intdigest  # here, so that reading a stream loads no xxhash

    return xxh3_64_intdigest(partition_key.encode(), 0) % lanes


def lane_partition_key(lane: int) -> str:
    """The outer partition key that names a lane: one byte for the first 62, its decimal number from there on."""
    return _LANE_NAMES[lane] if lane < len(_LANE_NAMES) else str(lane)


_LANE_NAMES = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Shard(Value):
    """A shard and the range of hash keys that it owns. ``hash_key in shard`` asks whether a key lies in the range.

    Attributes:
        shard_id: The shard's id, such as ``"shardId-000000000000"``.
        starting_hash_key: The lowest hash key of the range.
        ending_hash_key: The highest hash key of the range, which belongs to it.
    """

    shard_id: str
    starting_hash_key: int = 0
    ending_hash_key: int = MAX_HASH_KEY

    def __contains__(self, hash_key: int) -> bool:
        return self.starting_hash_key <= hash_key <= self.ending_hash_key


class ShardMap:
    """The open shards of a stream. It finds the one that a hash key goes to.

    Args:
        shards: The ``Shards`` of all pages of ``ListShards`` or ``DescribeStream``, or `Shard` objects. Closed shards
            (those with an ``EndingSequenceNumber``) are left out, because nothing is written to them any more.

    Raises:
        ValueError: No shard is open, or the hash ranges of the open shards overlap or leave a gap. The message names
            the shards.
        TypeError: ``shards`` is no iterable of shards.
    """

    def __init__(self, shards: Iterable[Mapping[str, Any] | Shard]) -> None:
        remedy = 'client.list_shards(...)["Shards"], or Shard objects'
        check_iterable("shards", shards, remedy)
        if isinstance(shards, Mapping):
            raise TypeError(f"shards is a mapping; give {remedy}")
        given = list(shards)
        parsed = [shard if isinstance(shard, Shard) else _parse_shard(shard) for shard in given]
        self._shards = sorted(filter(None, parsed), key=lambda s: s.starting_hash_key)
        for shard in self._shards:
            _check_hash_range(shard)
        self._check_cover(len(given))
        self._ends = [shard.ending_hash_key for shard in self._shards]
        self._by_partition_key: dict[str, Shard] = {}

    @classmethod
    def single(cls, shard_id: str = "shardId-000000000000") -> ShardMap:
        """A map of one shard that owns every hash key. It is meant for tests."""
        return cls([Shard(shard_id)])

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The open shards in the order of their hash ranges."""
        return tuple(self._shards)

    def __len__(self) -> int:
        return len(self._shards)

    def shard_for(self, hash_key: int) -> Shard:
        """The open shard that owns a hash key.

        Raises:
            ValueError: The hash key is not a number from 0 to 2^128-1.
            TypeError: It is not an int.
        """
        check_integer("hash_key", hash_key)
        if not 0 <= hash_key <= MAX_HASH_KEY:
            raise ValueError(f"hash key {shown(hash_key)} is outside 0 to 2^128-1")
        return self._shards[bisect_left(self._ends, hash_key)]

    def shard_for_partition_key(self, partition_key: str) -> Shard:
        """The open shard that a partition key goes to. The answers for the latest keys are remembered.

        Raises:
            InvalidRecordError: The partition key does not have 1 to 256 Unicode characters.
        """
        shard = self._by_partition_key.get(partition_key) if isinstance(partition_key, str) else None
        if shard is None:
            shard = self.shard_for(hash_key(partition_key))
            if len(self._by_partition_key) >= _CACHED_PARTITION_KEYS:
                self._by_partition_key.clear()
            self._by_partition_key[partition_key] = shard
        return shard

    def _check_cover(self, given: int) -> None:
        if not self._shards:
            raise ValueError(
                f"none of the {given} shards given is open; pass the Shards of ListShards with ShardFilter AT_LATEST"
            )
        if (first := self._shards[0]).starting_hash_key != 0:
            raise ValueError(
                f"gap in the hash ranges: no open shard owns 0 to {first.starting_hash_key - 1}, before"
                f" {brief(first.shard_id)}; pass every page of ListShards"
            )
        for left, right in pairwise(self._shards):
            if right.starting_hash_key <= left.ending_hash_key:
                raise ValueError(
                    f"the hash ranges of {brief(left.shard_id)} (to {left.ending_hash_key}) and"
                    f" {brief(right.shard_id)} (from {right.starting_hash_key}) overlap;"
                    " list the shards AT_LATEST, not parents with their children"
                )
            if right.starting_hash_key != left.ending_hash_key + 1:
                raise ValueError(
                    f"gap in the hash ranges: no open shard owns {left.ending_hash_key + 1} to"
                    f" {right.starting_hash_key - 1}, between {brief(left.shard_id)} and {brief(right.shard_id)};"
                    " pass every page of ListShards"
                )
        if (last := self._shards[-1]).ending_hash_key != MAX_HASH_KEY:
            raise ValueError(
                f"gap in the hash ranges: no open shard owns {last.ending_hash_key + 1} to 2^128-1, after"
                f" {brief(last.shard_id)}; pass every page of ListShards"
            )


def _parse_shard(shard: Mapping[str, Any]) -> Shard | None:
    given = shard if isinstance(shard, Mapping) else {}
    numbers = given.get("SequenceNumberRange", {})
    hash_range, shard_id = given.get("HashKeyRange"), given.get("ShardId")
    bounds: list[Any] = [_number(hash_range.get(name)) for name in _BOUNDS] if isinstance(hash_range, Mapping) else []
    if not isinstance(numbers, Mapping) or not isinstance(shard_id, str) or not bounds or None in bounds:
        raise ValueError(
            f"{shown(shard)} is not a shard as ListShards gives it: ShardId, and HashKeyRange with StartingHashKey and"
            " EndingHashKey, decimal numbers from 0 to 2^128-1"
        )
    return None if numbers.get("EndingSequenceNumber") is not None else Shard(shard_id, *bounds)


_MOST_DIGITS = 99
_BOUNDS = ("StartingHashKey", "EndingHashKey")


def _number(value: object) -> int | None:
    if isinstance(value, str):
        digits = value.removeprefix("-")
        return int(value) if digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _check_hash_range(shard: Shard) -> None:
    if not isinstance(shard.shard_id, str):
        raise TypeError(f"shard_id is {shown(shard.shard_id)}, of type {type(shard.shard_id).__name__}; give a str")
    check_integer(f"starting_hash_key of {shard.shard_id!r:.80}", shard.starting_hash_key)
    check_integer(f"ending_hash_key of {shard.shard_id!r:.80}", shard.ending_hash_key)
    if not 0 <= shard.starting_hash_key <= shard.ending_hash_key <= MAX_HASH_KEY:
        raise ValueError(
            f"{brief(shard.shard_id)} has the hash range {shown(shard.starting_hash_key)} to"
            f" {shown(shard.ending_hash_key)}; it must run upwards within 0 to 2^128-1"
        )
