"""Which route a user record takes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from ..hashing import ShardMap, lane_of, lane_partition_key
from ..records import UserRecord
from .route import AGGREGATE_PARTITION_KEY, Route

_CACHED_ROUTES = 65_536


class Router:
    """The routes of a packer.

    Args:
        by: "shard", "key" or "any": see `Packer`.
        shard_map: see `Packer`.
        lanes: see `Packer`.
        pinned: whether a user's own explicit hash key is the pin, so that only its equals may share an aggregate.
        open_routes: the routes that have an open aggregate, which are never forgotten; the packer goes on changing it.
    """

    def __init__(
        self, by: str, shard_map: ShardMap | None, lanes: int, *, pinned: bool, open_routes: Mapping[Hashable, Route]
    ) -> None:
        self._by = by
        self._shard_map = shard_map
        self._lanes = lanes
        self._pinned = pinned
        self._open = open_routes
        # How the route of a record without an explicit hash key is found: one for all, or by its partition key.
        self.of_all = Route(None) if by == "any" else None
        self.of_key: dict[str, Route] = {}
        # What is kept of them whatever is forgotten, because the core refers to it.
        shards = shard_map.shards if shard_map and by == "shard" and lanes == 1 else ()
        self.fixed: dict[Hashable, Route] = {
            (shard.shard_id, None): Route((shard.shard_id, None), shard.shard_id) for shard in shards
        }
        # A route has one object as long as anything refers to it: two would each have an aggregate open.
        self._routes: dict[Hashable, Route] = dict(self.fixed)

    def route_for(self, record: UserRecord) -> Route:
        """The route that a record takes, open or not."""
        route = self.of_all or self.of_key.get(record.partition_key)
        if route is not None and record.explicit_hash_key is None:
            return route
        key, shard_id, partition_key = self._place(record)
        route = self._routes.get(key) or Route(key, shard_id, partition_key)
        # Twice what is open: clearing keeps that much, and must not come again with the next key.
        if max(len(self._routes), len(self.of_key)) >= max(_CACHED_ROUTES, 2 * len(self._open)):
            self.of_key.clear()
            self._routes = {**self.fixed, **self._open}
        self._routes[key] = route
        if record.explicit_hash_key is None:
            self.of_key[record.partition_key] = route
        return route

    def _place(self, record: UserRecord) -> tuple[Hashable, str | None, str]:
        """The route's key, its shard, and the outer partition key of its aggregates."""
        if self._by == "key":
            return (record.partition_key, record.explicit_hash_key), None, record.partition_key
        own = record.explicit_hash_key if self._pinned else None
        if self._shard_map is None or self._by == "any":
            return own, None, AGGREGATE_PARTITION_KEY
        if record.explicit_hash_key is None:
            shard_id = self._shard_map.shard_for_partition_key(record.partition_key).shard_id
        else:
            shard_id = self._shard_map.shard_for(int(record.explicit_hash_key)).shard_id
        if self._lanes == 1:
            return (shard_id, own), shard_id, AGGREGATE_PARTITION_KEY
        lane = lane_of(record.partition_key, self._lanes)
        return (shard_id, own, lane), shard_id, lane_partition_key(lane)
