"""Which of the waiting user records fill a Kinesis record best: `Packer(lookahead=n)`.

Records that are large against the limit leave much of it empty when each must go where it comes: 100 to 400 KiB in
1 MiB waste 15 %. Here a few limits' worth of records wait, and the aggregate that goes out holds the oldest and, of the
others, those that leave least room: a subset sum. A record never overtakes an earlier one of its partition key,
so what is chosen of each key are always its oldest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from ..wire.format import entry_size, varint_size
from .route import Closed

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ..records import UserRecord
    from ..wire.core import Builder
    from .route import Route

_CANDIDATES = 64  # more of them fill no better, and take longer
_STEPS = 1 << 16  # sizes are told apart to this part of the room: bit sets of 8 KiB
_INDEX_BYTES = 4  # a tag, and an index below 2^21


class _Waiting(NamedTuple):
    record: UserRecord
    key_size: int  # its entry in the table, if it is the first with its key
    size: int  # everything else that it adds, at most


class Lookahead:
    """The records that wait, by route.

    Args:
        per_route: bytes that may wait on one route.
        in_all: bytes that may wait on all of them.
        start: makes the builder of a route's next aggregate, which holds its first record; where that goes alone, the
            builder's capacity is 0.
        capacity: of a route's builders.
        closed: gives the list to which aggregates that have to go out are added.
        max_user_records: most in one aggregate; 0: no such limit.
    """

    def __init__(
        self,
        per_route: int,
        in_all: int,
        start: Callable[[Route, UserRecord], Builder],
        capacity: Callable[[Route], int],
        closed: Callable[[], list[Closed]],
        max_user_records: int,
    ) -> None:
        self._per_route = per_route
        self._in_all = in_all
        self._start = start
        self._capacity = capacity
        self._closed = closed
        self._max_user_records = max_user_records
        self._routes: dict[Hashable, _Queue] = {}
        self._size = 0

    def add(self, route: Route, record: UserRecord) -> None:
        """Let a record wait, and close the aggregates that have to go out now.

        Raises:
            RecordTooLargeError: it does not fit, even alone; nothing has changed.
        """
        waiting = _measured(record)
        if waiting.key_size + waiting.size > self._capacity(route) // 2:
            self._start(route, record)
        key = route.key
        queue = self._routes.get(key)
        if queue is None:
            queue = self._routes[key] = _Queue(route)
        queue.append(waiting)
        self._size += waiting.size
        while queue.size > self._per_route:
            self._next(key)
        while self._size > self._in_all:
            self._next(next(iter(self._routes)))

    def flush(self) -> None:
        """Close all that wait."""
        while self._routes:
            self._next(next(iter(self._routes)))

    def mend(self) -> None:
        """Add up again what waits, after an interrupt."""
        self._routes = {key: queue for key, queue in self._routes.items() if queue}
        for queue in self._routes.values():
            queue.size = sum(waiting.size for waiting in queue)
        self._size = sum(queue.size for queue in self._routes.values())

    def _next(self, key: Hashable) -> None:
        queue = self._routes[key]
        waiting, size, closed = list(queue), queue.size, self._closed()
        already = len(closed)
        try:
            closed.append(self._filled(queue))
        except BaseException:
            if len(closed) == already:  # an interrupt: all of them wait again
                queue.clear()
                queue.extend(waiting)
            raise
        self._size -= size - queue.size
        if not queue:
            del self._routes[key]

    def _filled(self, queue: _Queue) -> Closed:
        first = queue.popleft().record
        builder = self._start(queue.route, first)
        if builder.capacity:
            builder.capacity = self._capacity(queue.route)
            _Filling(builder, queue, first.partition_key, self._max_user_records).fill()
        return Closed(queue.route, builder, first)


class _Queue(deque[_Waiting]):
    """The records that wait on a route, the oldest first, and their size."""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.route = route
        self.size = 0

    def append(self, waiting: _Waiting) -> None:
        super().append(waiting)
        self.size += waiting.size

    def popleft(self) -> _Waiting:
        waiting = super().popleft()
        self.size -= waiting.size
        return waiting

    def put_back(self, waiting: list[_Waiting]) -> None:
        self.extendleft(reversed(waiting))
        self.size += sum(one.size for one in waiting)


class _Filling:
    """One aggregate that holds the oldest record, being filled from those behind it."""

    def __init__(self, builder: Builder, queue: _Queue, partition_key: str, max_user_records: int) -> None:
        self._builder = builder
        self._queue = queue
        self._keys = {partition_key}
        self._max_user_records = max_user_records

    def fill(self) -> None:
        while self._fill_from_the_next() and self._queue:
            pass

    def _fill_from_the_next(self) -> bool:
        """Take what is best of the next candidates; whether that was all of them."""
        builder, queue = self._builder, self._queue
        # As long as there is room for many more, whatever comes next will do.
        while queue and self._cost(queue[0]) * _CANDIDATES < builder.capacity - builder.size:
            if not self._add(queue[0]):
                return False
            queue.popleft()
        candidates = [queue.popleft() for _ in range(min(_CANDIDATES, len(queue)))]
        best = best_prefixes(self._costs(candidates), builder.capacity - builder.size)
        left: list[_Waiting] = []
        for waiting in candidates:
            key = waiting.record.partition_key
            if best.get(key, 0) > 0 and self._add(waiting):
                best[key] -= 1
            else:
                best[key] = 0
                left.append(waiting)
        left = self._topped_up(left)
        queue.put_back(left)
        return not left

    def _topped_up(self, waiting: list[_Waiting]) -> list[_Waiting]:
        """Use the room that estimates have left; what does not fit either."""
        left = []
        passed = set()
        for one in waiting:
            if one.record.partition_key in passed or not self._add(one):
                passed.add(one.record.partition_key)
                left.append(one)
        return left

    def _costs(self, candidates: list[_Waiting]) -> dict[str, list[int]]:
        """What each key's records cost, in their order."""
        costs: dict[str, list[int]] = {}
        for waiting in candidates:
            key = waiting.record.partition_key
            of_key = costs.setdefault(key, [])
            of_key.append(waiting.size if of_key else self._cost(waiting))
        return costs

    def _cost(self, waiting: _Waiting) -> int:
        return waiting.size + (0 if waiting.record.partition_key in self._keys else waiting.key_size)

    def _add(self, waiting: _Waiting) -> bool:
        if self._builder.count == self._max_user_records or not self._builder.add_any(*waiting.record):
            return False
        self._keys.add(waiting.record.partition_key)
        return True


def best_prefixes(costs: dict[str, list[int]], room: int) -> dict[str, int]:
    """How many of each key's records to take, from its first on, so that least room is left.

    A subset sum on bit sets: bit n says that n steps of the room can be filled.

    Args:
        costs: of each key's records, in their order.
        room: what there is for all of them.
    """
    step = room // _STEPS + 1
    most = room // step
    within = (1 << (most + 1)) - 1
    reachable = 1
    before: list[tuple[str, list[int], int]] = []
    for key, of_key in costs.items():
        sums = [total for total in accumulate(-(-cost // step) for cost in of_key) if total <= most]
        before.append((key, sums, reachable))
        grown = reachable
        for total in sums:
            grown |= reachable << total
        reachable = grown & within
    filled = reachable.bit_length() - 1
    chosen = {}
    for key, sums, earlier in reversed(before):  # the youngest stay behind where there is a choice
        if earlier >> filled & 1:
            continue
        count = next(nth for nth, total in enumerate(sums, 1) if total <= filled and earlier >> (filled - total) & 1)
        chosen[key] = count
        filled -= sums[count - 1]
    return chosen


def _measured(record: UserRecord) -> _Waiting:
    """At most what a record adds to an aggregate."""
    inside = 2 * _INDEX_BYTES + entry_size(len(record.data))
    key_size = entry_size(len(record.partition_key.encode()))
    if record.explicit_hash_key is not None:
        inside += entry_size(len(record.explicit_hash_key))
    if record.tags:
        from ..wire.builder import tag_bytes

        inside += len(tag_bytes(record.tags))
    return _Waiting(record, key_size, 1 + varint_size(inside) + inside)
