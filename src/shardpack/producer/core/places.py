"""Where aggregates go that may go anywhere: to the shard with the most budget left."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from ...hashing import Shard, ShardMap
from ...limits import MAX_HASH_KEY
from ...packing.placing import Place
from ...packing.requests import ShardBudget


class Places:
    """Chooses shards.

    Args:
        budget: says how much of their budget shards have left.
        random: numbers from 0 to 1. The hash key is drawn from all that the shard owns, so that aggregates spread over
            its children when it is split, even before the producer knows of the split.
    """

    def __init__(self, budget: ShardBudget, random: Callable[[], float]) -> None:
        self._budget = budget
        self._random = random
        self._shard_map: ShardMap | None = None
        # Until when each shard is busy at the least, with what was placed there and may not have asked the budget yet.
        # That only grows, so the first of the heap whose number is still right is the least of all.
        self._heap: list[tuple[float, int, Shard]] = []
        self._now = 0.0
        self._keys_count = True

    def look(self, shard_map: ShardMap | None, now: float, *, keys_count: bool) -> None:
        """Choose among these shards, at this time, from now on.

        Args:
            shard_map: the shards; None: not known yet.
            now: seconds on the shell's clock.
            keys_count: whether Kinesis goes by hash keys; where it does not, there is nothing to choose.
        """
        self._now = now
        self._keys_count = keys_count
        if shard_map is not self._shard_map:
            self._shard_map = shard_map
            shards = () if shard_map is None else shard_map.shards
            self._heap = [(float("-inf"), nth, shard) for nth, shard in enumerate(shards)]

    def __call__(self, size: int) -> Place | None:
        """The place of a Kinesis record of so many bytes; while no shards are known, any; None: nothing to choose."""
        if not self._keys_count:
            return None
        if not self._heap:
            return Place(str(self._drawn(0, MAX_HASH_KEY)), None)
        while True:
            busy, nth, shard = self._heap[0]
            really = max(busy, self._budget.busy_until(shard.shard_id))
            if really == busy:
                break
            heapq.heapreplace(self._heap, (really, nth, shard))
        heapq.heapreplace(self._heap, (max(busy, self._now) + self._budget.seconds(size), nth, shard))
        return Place(str(self._drawn(shard.starting_hash_key, shard.ending_hash_key)), shard.shard_id)

    def _drawn(self, least: int, most: int) -> int:
        return min(most, least + int(self._random() * (most - least + 1)))
