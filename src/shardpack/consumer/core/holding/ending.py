"""How a shard ends: its children have leases before its own end is recorded. Decisions only."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ...log_fields import about
from ...loss import Losses
from ...origin import wrong_shard
from ..shards import ListedShard, children_of, is_of_another
from ..sharing.coordinator import Coordinator
from .hold import Hold

_log = logging.getLogger("shardpack.consumer")

_CHILDREN_PATIENCE = 30.0  # seconds to look for the children of a shard that has ended
_RETRY_SECONDS = 1.0


class Ending:
    """Records the ends of shards.

    Args:
        stream_name: for messages.
        coordinator: knows the shards, and creates the leases.
    """

    def __init__(self, stream_name: str, coordinator: Coordinator) -> None:
        self._stream_name = stream_name
        self._coordinator = coordinator

    def end(self, hold: Hold, now: float) -> None:
        """Everything of a shard is done: make sure that its children have leases, then record its end.

        The KCL's ``ShutdownTask`` does the same.
        """
        children = self._children(hold, now)
        if children is None:
            return
        if self._coordinator.ensure(children, now):
            hold.finish(tuple(child.shard_id for child in children))

    def look_for_gone(self, holds: Iterable[Hold], losses: Losses) -> None:
        """The shards have been listed: end those that are no more, and that others have taken the place of."""
        listed = self._coordinator.shards or {}
        for hold in holds:
            if hold.is_missing and hold.lease.key not in listed:
                losses.gone(hold.reader.expiry)
                hold.reader.end()
            elif is_of_another(self._coordinator.shards, hold.lease):
                hold.reader.error = wrong_shard(hold.lease, self._stream_name)
            hold.is_missing = False

    def _children(self, hold: Hold, now: float) -> list[ListedShard] | None:
        """What the shard was split or merged into; None while that is being looked for."""
        # They must be listed, because then the other parents of one that was merged are listed too.
        listed = self._coordinator.shards or {}
        children, named = children_of(hold.lease.key, listed), hold.reader.children
        if children and all(child.shard_id in listed for child in named):
            return children
        if hold.searching_since is None:
            hold.searching_since = now
            self._coordinator.look_at_shards(now)
            return None
        if now - hold.searching_since < _CHILDREN_PATIENCE:
            self._coordinator.look_at_shards(now + _RETRY_SECONDS)
            return None
        if not named:
            key = hold.lease.key
            _log.warning("%s: %s has ended, and has no children", self._stream_name, key, extra=about(key))
        return children or named
