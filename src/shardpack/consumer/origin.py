"""Whether a lease is of the shard that is read, because shard ids alone are the same in every stream.

A stream that was deleted and made again has shards with the same ids as before, but with other sequence numbers.
Decisions only.
"""

from __future__ import annotations

from ..errors import LeaseStoreError
from ..leases.lease import Lease, is_started
from ..records import Position


def is_of_another(lease: Lease, origin: str | None, *, is_open: bool) -> bool:
    """Whether a lease is not of the shard that the stream has under the lease's key.

    Args:
        lease: the lease.
        origin: of the shard; None: not known.
        is_open: whether the shard is open.
    """
    if origin is None:
        return False
    if lease.origin is not None:
        return lease.origin != origin
    # A worker that writes no origin made it. Positions from before the shard began cannot be the shard's.
    if lease.checkpoint == Position.SHARD_END:
        return is_open
    first = origin.rpartition("/")[2]
    return first.isdigit() and is_started(lease.checkpoint) and int(lease.checkpoint.sequence_number) < int(first)


def check_stream(lease: Lease, stream_name: str) -> None:
    """See that a lease is not another stream's.

    Raises:
        LeaseStoreError: it is; the message names both streams.
    """
    if lease.origin is None:
        return
    name, of_lease = stream_name.rpartition("/")[2], lease.origin.rpartition("/")[0]
    if name != of_lease:
        raise LeaseStoreError(
            f"the store of leases holds the leases of the stream {of_lease!r}, and this consumer reads {name!r}, whose"
            " shards have the same ids; give each stream and application a store of its own",
            retriable=False,
        )


def wrong_shard(lease: Lease, stream_name: str, why: str = "") -> LeaseStoreError:
    """Why a shard cannot be read on from its lease."""
    name = stream_name.rpartition("/")[2]
    position = lease.checkpoint.sequence_number
    return LeaseStoreError(
        f"{lease.key}: the lease, with the checkpoint {position}, is not of this shard of the stream {name!r} as it is"
        f" now{why and f' ({why})'}; the stream was probably deleted and made again. To begin the shard anew, stop the"
        f" workers, run shardpack leases reset STORE --stream {name} --yes, and start them again",
        retriable=False,
    )
