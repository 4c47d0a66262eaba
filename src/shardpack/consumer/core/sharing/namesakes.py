"""Whether another process works under this worker's name: a copied setting, or a process that was forked.

Whose a lease is shows in its owner's name alone, so two processes of one name would take each lease from each other for
ever, each as if it had been restarted. A worker that loses a lease to its own name leaves it alone until it expires, so
that the process that began later works on, and tells what is wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from ....leases.lease import Lease

_TELL_AGAIN = 60.0  # seconds

_log = logging.getLogger("shardpack.consumer")


class Namesakes:
    """The leases that this worker has lost to its own name.

    Args:
        stream_name: for messages.
        worker_id: this worker's name.

    Attributes:
        disputed: the keys of those leases.
    """

    def __init__(self, stream_name: str, worker_id: str) -> None:
        self._stream_name = stream_name
        self._worker_id = worker_id
        self._lost: dict[str, int] = {}  # the counters of leases when they were lost, or last seen since
        self._told_at = float("-inf")
        self.disputed: set[str] = set()

    @property
    def lost_keys(self) -> set[str]:
        """The keys of the leases that it has lost to somebody, as far as it is known."""
        return set(self._lost)

    def lost(self, lease: Lease) -> None:
        """This worker has lost a lease, as it was last written."""
        self._lost[lease.key] = lease.counter

    def taken(self, key: str) -> None:
        """It has the lease, or has let it go by itself."""
        self._lost.pop(key, None)
        self.disputed.discard(key)

    def found(self, keys: Collection[str]) -> None:
        """These leases have this worker's name on them; others that it has lost are of no concern any more."""
        for key in self.lost_keys.difference(keys):
            self.taken(key)

    def seen(self, key: str, lease: Lease | None, now: float) -> None:
        """How a lease is that this worker does not hold."""
        before = self._lost.get(key)
        if before is None:
            return
        if lease is None or lease.owner != self._worker_id or lease.checkpoint_owner is not None:
            self.taken(key)
            return
        self._lost[key] = lease.counter
        if lease.counter != before and key in self.disputed and now >= self._told_at + _TELL_AGAIN:
            self._told_at = now
            _log.error(
                "%s: another process works under the worker_id %s too, and has the lease of %s; give each a name of its"
                " own. This one leaves such leases alone until they expire",
                self._stream_name,
                self._worker_id,
                key,
            )
        self.disputed.add(key)
