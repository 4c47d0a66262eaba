"""The rules of the KCL's conditional writes (``DynamoDBLeaseRefresher``), for stores that can lock all their leases."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

from ..errors import LeaseLostError, LeaseStoreError
from ..limits import check_type
from ..records import Position
from .lease import Lease


class Rows(Protocol):
    """The leases of a store while nobody else can write them."""

    def get(self, key: str) -> Lease | None:
        """The lease with a key."""

    def all(self) -> list[Lease]:
        """Every lease."""

    def keys_of(self, owner: str) -> list[str]:
        """The keys of the leases that have an owner."""

    def put(self, lease: Lease) -> None:
        """Write a lease, whether there is one with its key or not."""

    def remove(self, key: str) -> None:
        """Remove the lease with a key."""

    def stream(self) -> str | None:
        """The name of the stream whose leases these are; None: nobody has said yet."""

    def set_stream(self, stream: str) -> None:
        """Remember the stream's name."""

    def forget_stream(self) -> None:
        """Remember it no more."""


class LocalLeases:
    """A store that reads and writes under a lock of its own; only `_rows` is left to say."""

    def _rows(self) -> AbstractContextManager[Rows]:
        """Lock the store, and make what was written last when the context ends without an error."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make the store ready for use; again and again does no harm.

        Raises:
            LeaseStoreError: the store cannot be used.
        """
        self.list()  # what cannot be read shows at once

    def claim(self, stream: str) -> None:
        """Keep the leases of this stream, and of no other.

        Raises:
            LeaseStoreError: the store holds another stream's leases.
        """
        check_type("stream", stream, str, "the stream's name or ARN")
        name = stream.rpartition("/")[2]  # of an ARN too: the same stream may be named either way
        with self._rows() as rows:
            known = rows.stream()
            if known is None:
                rows.set_stream(name)
            elif known != name:
                raise LeaseStoreError(
                    f"{self!r} holds the leases of the stream {known!r}, and is asked to hold those of {name!r}, whose"
                    " shards have the same ids; give each stream and application a store of its own",
                    retriable=False,
                )

    def forget_stream(self) -> None:
        """Let the next stream that asks have the store.

        Raises:
            LeaseStoreError: it holds leases still, or cannot be used.
        """
        with self._rows() as rows:
            if rows.all():
                raise LeaseStoreError(f"{self!r} holds leases of {rows.stream()!r}; delete them first", retriable=False)
            rows.forget_stream()

    def list(self) -> list[Lease]:
        """Every lease there is.

        Raises:
            LeaseStoreError: the store cannot be used.
        """
        with self._rows() as rows:
            return rows.all()

    def create(self, lease: Lease) -> bool:
        """Add a lease.

        Returns:
            False if there is one with its key, which is then left as it is.

        Raises:
            LeaseStoreError: the store cannot be used.
        """
        with self._rows() as rows:
            if rows.get(lease.key) is not None:
                return False
            rows.put(replace(lease, parents=in_order(lease.parents), children=in_order(lease.children)))
            return True

    def take(self, lease: Lease, owner: str) -> Lease | None:
        """Make `owner` the lease's owner, whoever held it.

        Args:
            lease: as it was last read or written; its origin is written too, if it has one.
            owner: the worker that takes it.

        Returns:
            The lease as it is now; None if it has changed since it was read, or is gone.

        Raises:
            LeaseStoreError: the store cannot be used.
        """
        with self._rows() as rows:
            row = rows.get(lease.key)
            if row is None or not is_unchanged(row, lease):
                return None
            switches = row.owner_switches + is_switch(row, owner)
            taken = replace(row, owner=owner, counter=row.counter + 1, owner_switches=switches, checkpoint_owner=None)
            taken = replace(taken, origin=lease.origin or row.origin)
            rows.put(taken)
            return taken

    def renew(self, lease: Lease) -> Lease:
        """Show that the holder is alive: raise the lease's counter by one.

        Args:
            lease: as it was last written.

        Returns:
            The lease as it is now.

        Raises:
            LeaseLostError: the lease has changed since, is gone, or is nobody's.
            LeaseStoreError: the store cannot be used.
        """
        with self._rows() as rows:
            row = rows.get(lease.key)
            if row is None or row.owner is None or not is_unchanged(row, lease):
                raise lost(lease)
            renewed = replace(row, counter=row.counter + 1, done_until=_later(row, lease))
            rows.put(renewed)
            return renewed

    def checkpoint(self, lease: Lease, position: Position, *, children: tuple[str, ...] = ()) -> Lease:
        """Record that everything up to and including `position` is done; renews the lease too.

        Args:
            lease: as it was last written.
            position: the position.
            children: ids of the shard's children, at `Position.SHARD_END`; none: those known stay.

        Returns:
            The lease as it is now; in a hand-over it has another owner, see `Leases.checkpoint`.

        Raises:
            LeaseLostError: the lease has changed since, is gone, or is nobody's; nothing is recorded.
            LeaseStoreError: the store cannot be used.
        """
        with self._rows() as rows:
            row = rows.get(lease.key)
            if row is None or not may_checkpoint(row, lease):
                raise lost(lease)
            written = replace(
                row,
                counter=row.counter + 1,
                checkpoint=position,
                owner_switches=0,
                children=in_order(children) or row.children,
                done_until=_later(row, lease) if position == row.checkpoint else lease.done_until,
            )
            rows.put(written)
            return written

    def release(self, lease: Lease) -> bool:
        """Give the lease up, so that another worker can take it at once; ends a hand-over that has begun.

        Returns:
            False if it was lost before.

        Raises:
            LeaseStoreError: the store cannot be used.
        """
        with self._rows() as rows:
            row = rows.get(lease.key)
            if row is None or not may_checkpoint(row, lease):
                return False
            # In a hand-over the next owner is known already, and waits for the checkpoint owner to go.
            owner = None if row.checkpoint_owner is None else row.owner
            rows.put(replace(row, owner=owner, counter=row.counter + 1, checkpoint_owner=None))
            return True

    def get(self, key: str) -> Lease | None:
        """The lease with a key; None: there is none.

        Raises:
            LeaseStoreError: the store cannot be used.
        """
        with self._rows() as rows:
            return rows.get(key)

    def assigned(self, owner: str) -> builtins.list[str] | None:
        """The keys of the leases that have an owner.

        Raises:
            LeaseStoreError: the store cannot be used.
        """
        with self._rows() as rows:
            return rows.keys_of(owner)

    def ask_for(self, lease: Lease, owner: str) -> Lease | None:
        """Begin the lease's hand-over from the worker that holds it; see `HandsOver.ask_for`.

        Raises:
            LeaseStoreError: the store cannot be used.
        """
        with self._rows() as rows:
            row = rows.get(lease.key)
            if row is None or row.owner is None or row.owner != lease.owner or row.checkpoint_owner is not None:
                return None
            asked = replace(row, owner=owner, checkpoint_owner=row.owner)
            rows.put(asked)
            return asked

    def give(self, lease: Lease, owner: str) -> Lease | None:
        """Give the lease that one holds to another worker; see `HandsOver.give`.

        Raises:
            LeaseStoreError: the store cannot be used.
        """
        with self._rows() as rows:
            row = rows.get(lease.key)
            if row is None or not may_checkpoint(row, lease):
                return None
            given = replace(row, counter=row.counter + 1, checkpoint_owner=None)
            if row.checkpoint_owner is None:
                given = replace(given, owner=owner, owner_switches=row.owner_switches + 1)
            rows.put(given)
            return given

    def delete(self, lease: Lease) -> bool:
        """Remove a lease that is no longer needed.

        Returns:
            False if it has changed since it was read, or is gone.

        Raises:
            LeaseStoreError: the store cannot be used.
        """
        with self._rows() as rows:
            row = rows.get(lease.key)
            if row is None or not is_unchanged(row, lease):
                return False
            rows.remove(lease.key)
            return True


def _later(row: Lease, lease: Lease) -> int | None:
    """What the holder says of `Lease.done_until`, if it says something."""
    return row.done_until if lease.done_until is None else lease.done_until


def is_unchanged(row: Lease, lease: Lease) -> bool:
    """Whether nobody has written the lease since it was read."""
    return (row.counter, row.owner, row.checkpoint_owner) == (lease.counter, lease.owner, lease.checkpoint_owner)


def may_checkpoint(row: Lease, lease: Lease) -> bool:
    """Whether the holder has the lease still, or a hand-over has begun, which leaves the counter alone."""
    handed_over = lease.checkpoint_owner is None and row.checkpoint_owner == lease.owner
    return lease.owner is not None and (is_unchanged(row, lease) or (row.counter == lease.counter and handed_over))


def is_switch(lease: Lease, owner: str) -> bool:
    """Whether `owner` takes the lease from somebody, as the KCL counts it (DynamoDBLeaseSerializer)."""
    return lease.owner not in (None, owner) or lease.checkpoint_owner == owner


def in_order(keys: Iterable[str]) -> tuple[str, ...]:
    """Each once, sorted: DynamoDB keeps sets, which have no order."""
    return tuple(sorted(set(keys)))


def lost(lease: Lease) -> LeaseLostError:
    """The error for a lease that is not as its holder left it."""
    return LeaseLostError(
        f"the lease {lease.key!r} is not {lease.checkpoint_owner or lease.owner!r}'s with counter {lease.counter} any"
        " more; another worker reads the shard on from the last checkpoint, so stop work on it",
        shard_id=lease.key,
    )
