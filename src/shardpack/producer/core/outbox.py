"""The way of Kinesis records from a closed aggregate to a `PutRecords` call.

A Kinesis record that is enqueued waits for its shard's budget, or for a back-off to end. Then it is collected with
others until they make a call.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable

from ...limits import MAX_RECORD_BYTES, MIB
from ...packing.requests import PutRequest, ShardBudget, put_requests
from ..config import ProducerConfig
from .actions import PutRecords
from .metrics import Metrics
from .pending import Parcel
from .settling import Settling
from .stream import StreamWatch


class Outbox:
    """Kinesis records that are to be put, and the calls in which they are.

    Args:
        stream_name: for messages.
        config: the settings.
        watch: knows how large a Kinesis record the stream takes.
        settling: is told of those that are too large, and of those whose time is over.
        metrics: counts the calls.

    Attributes:
        budget: of each shard.
    """

    def __init__(
        self,
        stream_name: str,
        config: ProducerConfig,
        watch: StreamWatch,
        settling: Settling,
        metrics: Metrics,
    ) -> None:
        self._stream_name = stream_name
        self._config = config
        self._watch = watch
        self._settling = settling
        self._metrics = metrics
        rate, burst = config.rate_limit / 100, MAX_RECORD_BYTES
        self._is_ordered = config.ordering == "key"
        if self._is_ordered:  # what Kinesis throttles holds up all that is behind it, so half a second is left to it
            rate, burst = min(rate, 1.0), MIB // 2
        self.budget = ShardBudget(rate_limit=rate, burst_bytes=burst)
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, Parcel]] = []  # a heap, by when each may go, or has expired
        self._unsure: list[Parcel] = []  # larger than 1 MiB, until the stream's limit is known
        self._collected: deque[Parcel] = deque()
        self._calls: dict[int, tuple[list[Parcel], float]] = {}
        self._hurry = False

    def enqueue(self, parcels: Iterable[Parcel], now: float) -> None:
        """Take Kinesis records to put."""
        limit = self._watch.max_record_bytes
        for parcel in parcels:
            if limit is None and parcel.packed.size > MIB:
                self._unsure.append(parcel)
            elif limit is not None and parcel.packed.size > limit:
                self._settling.fail(
                    parcel,
                    f"the Kinesis record takes {parcel.packed.size:,} bytes; {self._stream_name} takes {limit:,}",
                    retriable=False,
                )
            else:
                self.wait(parcel, now, 0.0)

    def wait(self, parcel: Parcel, now: float, least: float) -> None:
        """Let it go after `least` seconds, when its shard's budget allows it; or fail when it has expired by then."""
        # Without a shard it may go to any, and Kinesis must say which is full. In order, what must go again keeps its
        # place in the budget.
        is_again = self._is_ordered and bool(parcel.attempts)
        if parcel.packed.shard_id is not None and not is_again:
            least = max(least, self.budget.wait_for(parcel.packed, now))
        parcel.ready = now + least
        heapq.heappush(self._waiting, (min(parcel.ready, parcel.expires), next(self._numbers), parcel))

    def now_sure(self, now: float) -> None:
        """The stream's limit may be known by now."""
        if self._watch.max_record_bytes is not None:
            unsure, self._unsure = self._unsure, []
            self.enqueue(unsure, now)

    def hurry(self) -> None:
        """Make calls of what is there without waiting for more, until nothing is left."""
        self._hurry = True

    def calls(self, now: float) -> list[PutRecords]:
        """The calls to make now."""
        self._collect(now)
        calls = []
        while self._collected and len(self._calls) < self._config.max_connections:
            request = self._next_request()
            if not self._is_ready(request, now):
                break
            calls.append(self._call(request, now))
        if not self._collected:
            self._hurry = False
        return calls

    def ended(self, call_id: int, now: float) -> tuple[list[Parcel], float]:
        """A call has ended, well or not: the Kinesis records that were in it, and when it had begun."""
        parcels, started = self._calls.pop(call_id)
        self._metrics.answered(now - started)
        return parcels, started

    def deadline(self) -> float | None:
        """When there is something to do, or None."""
        deadlines = [parcel.expires for parcel in self._unsure]
        if self._waiting:
            deadlines.append(self._waiting[0][0])
        if self._collected and len(self._calls) < self._config.max_connections:
            deadlines.append(self._collected[0].ready + self._collect_time)
        return min(deadlines, default=None)

    def _collect(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            parcel = heapq.heappop(self._waiting)[2]
            if parcel.expires <= now:
                self._settling.expire(parcel, now)
                continue
            self._collected.append(parcel)
        while self._collected and self._collected[0].expires <= now:
            self._settling.expire(self._collected.popleft(), now)
        for parcel in [parcel for parcel in self._unsure if parcel.expires <= now]:
            self._unsure.remove(parcel)
            self._settling.expire(parcel, now)

    @property
    def _collect_time(self) -> float:
        """How long a Kinesis record waits for others to share its call, as in the KPL's ``Pipeline``."""
        return 0.0 if self._hurry else min(0.05, 0.2 * self._config.record_max_buffered_time)

    def _next_request(self) -> PutRequest:
        packed = (parcel.packed for parcel in self._collected)
        return next(
            put_requests(
                packed, max_records=self._config.collection_max_count, max_bytes=self._config.collection_max_size
            )
        )

    def _is_ready(self, request: PutRequest, now: float) -> bool:
        count = len(request.records)
        is_full = count < len(self._collected) or count == self._config.collection_max_count
        return is_full or now >= self._collected[0].ready + self._collect_time

    def _call(self, request: PutRequest, now: float) -> PutRecords:
        parcels = [self._collected.popleft() for _ in request.records]
        call_id = next(self._numbers)
        self._calls[call_id] = parcels, now
        self._metrics.called(parcels, now)
        return PutRecords(call_id, request)
