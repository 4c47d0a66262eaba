"""Fingerprints of user records, and digests of many that do not depend on their order (xxHash)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from xxhash import xxh3_128_intdigest

_MODULUS = 2**128


class HasKeyAndData(Protocol):
    """A user record as it was sent (`UserRecord`) or received (`ReceivedRecord`)."""

    @property
    def partition_key(self) -> str | None: ...
    @property
    def data(self) -> bytes: ...


class RecordDigest:
    """What a set of user records adds up to, in whatever order they come.

    Two digests are equal when the same records went in, each as many times: for checking that everything that was sent
    has arrived, across shards, processes and machines. The explicit hash key does not count, because a pinned
    aggregate gives a record one on its way.

    The digest is the sum, modulo 2^128, of each record's xxh3-128 (seed 0) over its partition key's length in eight
    bytes, its partition key in UTF-8, and its data. It finds accidents, not forgeries.

    Attributes:
        count: records that went in.
        data_bytes: bytes of their data.
    """

    def __init__(self) -> None:
        self.count = 0
        self.data_bytes = 0
        self._sum = 0

    def add(self, record: HasKeyAndData) -> None:
        """Take one record in."""
        key = (record.partition_key or "").encode()
        self._sum = (self._sum + xxh3_128_intdigest(len(key).to_bytes(8, "little") + key + record.data)) % _MODULUS
        self.count += 1
        self.data_bytes += len(record.data)

    def update(self, records: Iterable[HasKeyAndData]) -> None:
        """Take many records in."""
        for record in records:
            self.add(record)

    def merge(self, other: RecordDigest) -> None:
        """Take in all that went into another digest, for instance another worker's."""
        self._sum = (self._sum + other._sum) % _MODULUS
        self.count += other.count
        self.data_bytes += other.data_bytes

    def hexdigest(self) -> str:
        """The sum as 32 hexadecimal digits."""
        return f"{self._sum:032x}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RecordDigest):
            return NotImplemented
        return (self.count, self.data_bytes, self._sum) == (other.count, other.data_bytes, other._sum)

    __hash__ = None  # type: ignore[assignment]  # it changes as records go in

    def __repr__(self) -> str:
        return f"<RecordDigest {self.hexdigest()} of {self.count:,} records, {self.data_bytes:,} bytes>"
