"""What a lease is, and what a store of leases does: who reads which shard, and how far they have come.

The rules are the KCL's (``Lease`` and ``DynamoDBLeaseRefresher``), so that a table may be shared with a Java fleet. A
worker that holds a lease proves that it is alive by raising the lease's counter; others compare no clocks, they watch
whether the counter moves. Every write is conditional: counter, owner and checkpoint owner must be what the writer last
saw. (The KCL looks at the counter alone, which a lease that was deleted and created again may reach a second time.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..limits import shown
from ..records import Position


@dataclass(frozen=True, slots=True)
class Lease:
    """One shard's row, as it was when it was last read or written.

    Attributes:
        key: the shard's id (``leaseKey``).
        owner: the worker that holds it (``leaseOwner``); None: nobody.
        counter: raised by every write (``leaseCounter``).
        checkpoint: everything up to and including this position is done (``checkpoint``,
            ``checkpointSubSequenceNumber``). A start such as `Position.TRIM_HORIZON`: nothing is done yet.
            `Position.SHARD_END`: everything is.
        owner_switches: how often it was taken from one worker by another since the last checkpoint
            (``ownerSwitchesSinceCheckpoint``); taking a lease that nobody holds, or one's own, does not count.
        parents: ids of the shards that this one was split or merged from (``parentShardId``), sorted.
        children: ids of the shards that it was split or merged into, once they are known (``childShardIds``), sorted.
        hash_range: the shard's first and last hash key (``startingHashKey``, ``endingHashKey``); None: not known.
        checkpoint_owner: in a hand-over, the worker that finishes what it has and may still checkpoint, while `owner`
            waits (``checkpointOwner``).
        origin: which shard it is a lease of, beyond its id, which every stream has: the stream's name, a slash and the
            shard's first sequence number (see `origin_of`). A stream that was deleted and made again gives others.
            None: the lease was made by a worker that does not write it, such as the KCL's.
        done_until: everything that had arrived by this moment is done, in whole seconds since the epoch; None: not
            known. It tells whether something can have expired unread, which the checkpoint alone does not.
        throughput: how many KiB a second its holder reads, as it says when it renews (``throughputKBps``); None: not
            known. A leader evens it out.
    """

    key: str
    owner: str | None = None
    counter: int = 0
    checkpoint: Position = Position.TRIM_HORIZON
    owner_switches: int = 0
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    hash_range: tuple[int, int] | None = None
    checkpoint_owner: str | None = None
    origin: str | None = None
    done_until: int | None = None
    throughput: float | None = None


class Leases(Protocol):
    """A store of leases. Implementations are thread-safe, and wait out throttling and short outages by themselves.

    A write that finds that the lease is not as the writer last saw it changes nothing. If it turns out that this very
    write did happen and only its answer was lost, it counts as done. Every method raises `LeaseStoreError` if the store
    cannot be used; whether a write then happened is not known, and it may be called again with the same lease.
    """

    def prepare(self) -> None:
        """Make the store ready for use, creating what is missing (a file, a table); again and again does no harm."""

    def list(self) -> list[Lease]:
        """Every lease there is."""

    def create(self, lease: Lease) -> bool:
        """Add a lease; False if there is one with its key, which is then left as it is."""

    def take(self, lease: Lease, owner: str) -> Lease | None:
        """Make `owner` the lease's owner, whoever held it; None if the lease has changed meanwhile, or is gone.

        If `Lease.origin` is given, it is written too.
        """

    def renew(self, lease: Lease) -> Lease:
        """Show that the holder is alive, and write `Lease.done_until` and `Lease.throughput`, if they are given.

        A store may leave the throughput out.

        Raises:
            LeaseLostError: the lease has changed meanwhile, is gone, or is nobody's; or another worker has asked for it
                (`Lease.checkpoint_owner`).
        """

    def checkpoint(self, lease: Lease, position: Position, *, children: tuple[str, ...] = ()) -> Lease:
        """Record that everything up to and including `position` is done; renews the lease too, as `renew` does.

        If `Lease.done_until` is not given, it is not known any more, unless the position is what was recorded before.

        Where another worker has asked for the lease since `lease` was read, its holder may still checkpoint: the
        answer then has another owner, and the holder as `Lease.checkpoint_owner`.

        Args:
            lease: as it was last written.
            position: the position.
            children: the shard's children, told when `position` is `Position.SHARD_END`; none: those known stay.

        Raises:
            LeaseLostError: the lease has changed meanwhile, is gone, or is nobody's; nothing is recorded.
        """

    def release(self, lease: Lease) -> bool:
        """Give the lease up, so that another worker can take it at once; False if it was lost before.

        Where another worker has asked for the lease, this ends the hand-over; so it is worth calling, and does no
        harm, after a `LeaseLostError` too.
        """

    def delete(self, lease: Lease) -> bool:
        """Remove a lease that is no longer needed; False if it has changed meanwhile, or is gone."""


@runtime_checkable
class HandsOver(Protocol):
    """A store whose leases move between workers that are alive without a repeat, as the KCL 3.x moves them.

    A worker asks for a lease: it becomes its owner, and who had it the checkpoint owner, who finishes what it has,
    checkpoints, and lets go. Or the holder gives it to another by itself. Errors are those of `Leases`. From a store
    that cannot do this, leases are taken.
    """

    def get(self, key: str) -> Lease | None:
        """The lease with a key; None: there is none."""

    def assigned(self, owner: str) -> list[str] | None:
        """The keys of the leases that have an owner, found without reading all, and perhaps some moments old.

        None: this store cannot tell, and need not be asked again.
        """

    def ask_for(self, lease: Lease, owner: str) -> Lease | None:
        """Make `owner` the lease's owner, and who holds it the checkpoint owner; the counter stays as it is.

        None if it is not held any more by who held it when it was read, or is being handed over already.
        """

    def give(self, lease: Lease, owner: str) -> Lease | None:
        """Make `owner` the owner of a lease that one holds; in a hand-over that has begun, who has asked gets it.

        None if it was lost before.
        """


@runtime_checkable
class OfOneStream(Protocol):
    """A store that remembers which stream its leases are of; shard ids alone are the same in every stream."""

    def claim(self, stream: str) -> None:
        """Keep the leases of this stream, which the store remembers.

        Args:
            stream: its name or ARN.

        Raises:
            LeaseStoreError: the store holds another stream's, which is named; it may not be tried again.
        """


def origin_of(stream: str, first_sequence_number: str) -> str:
    """What `Lease.origin` says of a shard; the stream may be given by its ARN."""
    return f"{stream.rpartition('/')[2]}/{first_sequence_number}"


def is_started(checkpoint: Position) -> bool:
    """Whether something of the shard is done."""
    return checkpoint > Position.LATEST


def moment_of(seconds: int) -> int:
    """What a store holds as `Lease.done_until`.

    Raises:
        ValueError: no clock has ever shown it.
    """
    if not 0 <= seconds <= _LAST_MOMENT:
        raise ValueError(f"done_until is {shown(seconds)}; expected whole seconds since the epoch")
    return seconds


_LAST_MOMENT = 253_402_300_799  # the end of the year 9999
