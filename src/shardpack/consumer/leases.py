"""What a lease is, and what a store of leases does: who reads which shard, and how far they have come.

The rules are the KCL's (kpl-kcl-semantics.md, B6 to B8), so that a table may be shared with a Java fleet. A worker that
holds a lease proves that it is alive by raising the lease's counter; others compare no clocks, they watch whether the
counter moves. Every write is conditional on the counter that the writer last saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

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
        owner_switches: how often it was taken since the last checkpoint (``ownerSwitchesSinceCheckpoint``).
        parents: ids of the shards that this one was split or merged from (``parentShardId``).
        children: ids of the shards that it was split or merged into, once they are known (``childShardIds``).
        hash_range: the shard's first and last hash key (``startingHashKey``, ``endingHashKey``); None: not known.
        checkpoint_owner: in a hand-over as the KCL 3.x does it, the worker that may still checkpoint
            (``checkpointOwner``).
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


class Leases(Protocol):
    """A store of leases. Implementations are thread-safe, and wait out throttling and short outages by themselves.

    A write that finds that the lease is not as the writer last saw it changes nothing. If it turns out that this very
    write did happen and only its answer was lost, it counts as done.
    """

    def prepare(self) -> None:
        """Make the store ready for use, creating what is missing (a file, a table); again and again does no harm."""

    def list(self) -> list[Lease]:
        """Every lease there is."""

    def create(self, lease: Lease) -> bool:
        """Add a lease; False if there is one with its key, which is then left as it is."""

    def take(self, lease: Lease, owner: str) -> Lease | None:
        """Make `owner` the lease's owner, whoever held it; None if the lease has changed meanwhile, or is gone."""

    def renew(self, lease: Lease) -> Lease:
        """Show that the owner is alive.

        Raises:
            LeaseLostError: the lease has changed meanwhile, or is gone.
        """

    def checkpoint(self, lease: Lease, position: Position, *, children: tuple[str, ...] = ()) -> Lease:
        """Record that everything up to and including `position` is done; renews the lease too.

        Args:
            lease: as it was last written.
            position: the position.
            children: the shard's children, told when `position` is `Position.SHARD_END`.

        Raises:
            LeaseLostError: the lease has changed meanwhile, or is gone; nothing is recorded.
        """

    def release(self, lease: Lease) -> bool:
        """Give the lease up, so that another worker can take it at once; False if it was lost before."""

    def delete(self, lease: Lease) -> bool:
        """Remove a lease that is no longer needed; False if it has changed meanwhile."""
