"""The producer's decisions, without I/O and without a clock.

A shell (threads or asyncio) tells the engine what happened and when, does what `Engine.poll` asks for, and comes back
at `Engine.deadline`. Times are seconds on the shell's clock, which must not run backwards. Nothing blocks or locks.

    put -> aggregate per predicted shard -> wait for the shard's budget -> collect -> PutRecords -> delivered, or again
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, TypeAlias

from ...aws.errors import PERMANENT, THROTTLED, backoff
from ...errors import DeliveryError, RecordTooLargeError
from ...limits import KIB, MAX_RECORD_BYTES, MIB
from ...packing.requests import PutRequest, ShardBudget, put_requests
from ...records import UserRecord
from ..config import ProducerConfig
from ..delivery import Attempt, Deliveries, Delivery
from .actions import Action, ListShards, PutRecords
from .aggregator import Aggregator
from .metrics import Metrics, ProducerStats
from .pending import Landed, Parcel, Pending, hash_key_of, since_arrival, size_of
from .stream import StreamWatch

Finished: TypeAlias = tuple[Any, Sequence[int], Iterable[Delivery | DeliveryError]]
"""User records whose fate is settled: the put's token, which of its records, and the outcome of each."""

_ONE = range(1)


class Engine:
    """What a producer decides.

    Args:
        stream_name: for messages.
        config: the settings.
        random: numbers from 0 to 1, for jitter.
        metrics: counts what happens.
    """

    def __init__(
        self,
        stream_name: str,
        config: ProducerConfig,
        random: Callable[[], float] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._stream_name = stream_name
        self._config = config
        self._random = random or Random().random  # jitter, not secrets
        self._watch = StreamWatch(stream_name)
        self._aggregator = Aggregator(config)
        self._budget = ShardBudget(rate_limit=config.rate_limit / 100, burst_bytes=MAX_RECORD_BYTES)
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, Parcel]] = []  # a heap, by when each may go, or has expired
        self._unsure: list[Parcel] = []  # larger than 1 MiB, until the stream's limit is known
        self._unjudged: list[Landed] = []  # in shards whose hash ranges are not known yet
        self._collected: deque[Parcel] = deque()
        self._calls: dict[int, tuple[list[Parcel], float]] = {}
        self._finished: list[Finished] = []
        self._hurry = False
        self._metrics = metrics or Metrics()
        self.outstanding_records = 0
        self.outstanding_bytes = 0

    # What the application does.

    def measure(self, records: Sequence[UserRecord]) -> int:
        """The bytes of user records, partition keys counted.

        Raises:
            RecordTooLargeError: the stream takes none so large.
        """
        if len(records) == 1:  # as most are
            size = largest = size_of(records[0])
        else:
            sizes = [*map(size_of, records)]
            size, largest = sum(sizes), max(sizes)
        limit = self._watch.max_record_bytes or MAX_RECORD_BYTES
        if largest > limit:
            raise self._too_large(largest, limit)
        return size

    def put(
        self,
        records: Sequence[UserRecord],
        token: object,
        now: float,
        *,
        size: int | None = None,
        indices: Sequence[int] | None = None,
    ) -> bool:
        """Take user records that were checked, one or more; whether `deadline` may be earlier now.

        Args:
            records: the user records.
            token: comes back with their outcomes.
            now: seconds on the shell's clock.
            size: what `measure` says of them; None: it is asked, and what it raises is raised before anything changes.
            indices: which of the put's records they are; None: all.
        """
        if size is None:
            size = self.measure(records)
        if indices is None:
            indices = _ONE if len(records) == 1 else range(len(records))
        self.outstanding_records += len(records)
        self.outstanding_bytes += size
        return self._aggregate(Pending(token, records, indices, size, now), now)

    def _too_large(self, size: int, limit: int) -> RecordTooLargeError:
        return RecordTooLargeError(
            f"a user record takes {size:,} bytes, partition key counted; {self._stream_name} takes {limit:,}."
            " Send it in pieces, or raise the stream's MaxRecordSizeInKiB"
            f" (UpdateMaxRecordSize, up to {MAX_RECORD_BYTES // KIB:,})",
            size=size,
            limit=limit,
        )

    def flush(self, now: float) -> None:
        """Send what is there without waiting for more."""
        self._enqueue(self._aggregator.close_all(), now)
        self._hurry = True

    def stats(self) -> ProducerStats:
        """What has happened so far."""
        return self._metrics.snapshot(self.outstanding_records, self.outstanding_bytes)

    def abandon(self) -> None:
        """Nothing more is done for what is outstanding; the shell has failed it."""
        self._metrics.abandoned(self.outstanding_records)
        self.outstanding_records = self.outstanding_bytes = 0

    # What the shell asks.

    def poll(self, now: float) -> list[Action]:
        """What to do now."""
        actions = self._watch.actions(now)
        self._aggregator.enabled = self._config.aggregation_enabled and not self._watch.ignores_keys
        self._enqueue(self._aggregator.close_due(now), now)
        self._collect(now)
        while self._collected and len(self._calls) < self._config.max_connections:
            request = self._next_request()
            if not self._is_ready(request, now):
                break
            actions.append(self._call(request, now))
        if not self._collected:
            self._hurry = False
        self._metrics.pending(self.outstanding_records)
        return actions

    def deadline(self) -> float | None:
        """When to poll again if nothing happens before, or None."""
        deadlines = [self._watch.deadline, self._aggregator.deadline]
        if self._waiting:
            deadlines.append(self._waiting[0][0])
        deadlines += [parcel.expires for parcel in self._unsure]
        deadlines += [landed.parcel.expires for landed in self._unjudged]
        if self._collected and len(self._calls) < self._config.max_connections:
            deadlines.append(self._collected[0].ready + self._collect_time)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def take_finished(self) -> list[Finished]:
        """What was settled since the last call."""
        finished, self._finished = self._finished, []
        return finished

    # What the shell reports.

    def answered(self, action: Action, answer: Any, now: float) -> None:
        """What was asked for has been done.

        Args:
            action: as it came from `poll`.
            answer: the response to `PutRecords`, the list of shards, or the ``StreamDescriptionSummary``.
            now: seconds on the shell's clock.
        """
        if isinstance(action, PutRecords):
            self._put_answered(action, answer, now)
        elif isinstance(action, ListShards):
            self._watch.shards_listed(answer, now)
            unjudged, self._unjudged = self._unjudged, []
            for landed in unjudged:
                self._judge(landed, now)
        else:
            self._watch.described(answer)
            self._now_sure(now)

    def failed(self, action: Action, code: str, message: str, now: float) -> None:
        """What was asked for has failed as a whole; whether `PutRecords` stored anything is unknown.

        Args:
            action: as it came from `poll`.
            code: the error's name, by Kinesis or by the AWS SDK.
            message: the error for people.
            now: seconds on the shell's clock.
        """
        if isinstance(action, PutRecords):
            parcels, started = self._calls.pop(action.call_id)
            self._metrics.answered(now - started)
            for parcel in parcels:
                self._refused(parcel, started, now, code, message)
        elif isinstance(action, ListShards):
            self._watch.list_shards_failed(code, message, now)
        else:
            self._watch.describe_failed(code, message, now)
            self._now_sure(now)

    def _put_answered(self, action: PutRecords, response: Mapping[str, Any], now: float) -> None:
        parcels, started = self._calls.pop(action.call_id)
        self._metrics.answered(now - started)
        results = response.get("Records", ())
        if len(results) != len(parcels):
            message = f"PutRecords answered {len(results)} results for {len(parcels)} records"
            for parcel in parcels:
                self._note(parcel, Attempt(started, now - started, "Record Count Mismatch", message))
                self._fail(parcel, message, retriable=True)
            return
        for parcel, result in zip(parcels, results, strict=True):
            if result.get("ErrorCode") is None:
                self._stored(parcel, result, started, now)
            else:
                self._refused(parcel, started, now, result["ErrorCode"], result.get("ErrorMessage", ""))

    # From a user record to a call.

    def _aggregate(self, pending: Pending, now: float) -> bool:
        # A map known to be stale mixes keys of two shards, which only pinned aggregates survive.
        shard_map = self._watch.shard_map
        if self._config.hash_keys == "kpl" and self._watch.is_stale:
            shard_map = None
        open_before = len(self._aggregator)
        full = self._aggregator.add(pending, shard_map, now)
        if full:
            self._enqueue(full, now)
        return bool(full) or len(self._aggregator) != open_before

    def _enqueue(self, parcels: Iterable[Parcel], now: float) -> None:
        limit = self._watch.max_record_bytes
        for parcel in parcels:
            if limit is None and parcel.packed.size > MIB:
                self._unsure.append(parcel)
            elif limit is not None and parcel.packed.size > limit:
                self._fail(
                    parcel,
                    f"the Kinesis record takes {parcel.packed.size:,} bytes; {self._stream_name} takes {limit:,}",
                    retriable=False,
                )
            else:
                self._wait(parcel, now, 0.0)

    def _wait(self, parcel: Parcel, now: float, least: float) -> None:
        """Let it go when its shard's budget allows it, or fail when it has expired by then."""
        if parcel.packed.shard_id is not None:  # else it may go to any shard, and Kinesis must say which is full
            least = max(least, self._budget.wait_for(parcel.packed, now))
        parcel.ready = now + least
        heapq.heappush(self._waiting, (min(parcel.ready, parcel.expires), next(self._numbers), parcel))

    def _now_sure(self, now: float) -> None:
        if self._watch.max_record_bytes is not None:
            unsure, self._unsure = self._unsure, []
            self._enqueue(unsure, now)

    def _collect(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            parcel = heapq.heappop(self._waiting)[2]
            if parcel.expires <= now:
                self._expired(parcel, now)
                continue
            self._collected.append(parcel)
        while self._collected and self._collected[0].expires <= now:
            self._expired(self._collected.popleft(), now)
        for parcel in [parcel for parcel in self._unsure if parcel.expires <= now]:
            self._unsure.remove(parcel)
            self._expired(parcel, now)
        for landed in [landed for landed in self._unjudged if landed.parcel.expires <= now]:
            self._unjudged.remove(landed)
            self._put_elsewhere(landed, now)

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

    # From an answer to a delivery.

    def _stored(self, parcel: Parcel, result: Mapping[str, Any], started: float, now: float) -> None:
        shard_id, predicted = result["ShardId"], parcel.packed.shard_id
        landed = Landed(parcel, shard_id, result["SequenceNumber"], started, now - started, self._watch.listings)
        self._watch.landed(predicted, shard_id, started, now)
        if predicted in (None, shard_id) or self._config.hash_keys == "pinned" or parcel.packed.user_record_count == 1:
            self._delivered(landed)
        else:
            self._judge(landed, now)

    def _judge(self, landed: Landed, now: float) -> None:
        """Whether the KCL keeps an aggregate that landed elsewhere than predicted: all of it, or nothing."""
        shard = self._watch.shard(landed.shard_id)
        if shard is not None and all(
            hash_key_of(record) in shard for pending in landed.parcel.pending for record in pending.records
        ):
            self._delivered(landed)
        elif shard is None and landed.listings == self._watch.listings:
            # It may be at home there, as after every merge; putting it again unseen would store it twice.
            self._unjudged.append(landed)
            self._watch.list_again(now)
        else:
            self._put_elsewhere(landed, now)

    def _delivered(self, landed: Landed) -> None:
        parcel = landed.parcel
        parcel.attempts.append(Attempt(landed.started, landed.duration))
        self._metrics.stored(parcel, landed.shard_id)
        aggregated = parcel.packed.data is not parcel.pending[0].records[0].data
        sub_sequence_number = 0
        for pending in parcel.pending:
            count = len(pending.records)
            attempts = since_arrival(pending, parcel)
            first = Delivery(landed.shard_id, landed.sequence_number, sub_sequence_number, aggregated, attempts)
            self._finish(pending, (first,) if count == 1 else Deliveries(first, count))
            sub_sequence_number += count

    def _put_elsewhere(self, landed: Landed, now: float) -> None:
        parcel = landed.parcel
        known = self._watch.shard(landed.shard_id) is not None
        why = "where the KCL would drop it" if known else "which is not listed, so that the KCL may drop it"
        message = f"predicted {parcel.packed.shard_id}, stored in {landed.shard_id}, {why}"
        self._note(parcel, Attempt(landed.started, landed.duration, "Wrong Shard", message))
        self._aggregate_again(parcel, now)

    def _aggregate_again(self, parcel: Parcel, now: float) -> None:
        if parcel.expires <= now:
            self._expired(parcel, now)
            return
        for pending in parcel.pending:
            pending.earlier += tuple(parcel.attempts)
            self._aggregate(pending, now)

    def _refused(self, parcel: Parcel, started: float, now: float, code: str, message: str) -> None:
        self._note(parcel, Attempt(started, now - started, code, message))
        if code in PERMANENT:
            self._fail(parcel, f"{code}: {message}", retriable=False)
        elif code in THROTTLED and self._config.fail_if_throttled:
            self._fail(parcel, f"{code}: {message}", retriable=True)
        elif parcel.expires <= now:
            self._expired(parcel, now)
        else:
            parcel.failures += 1
            self._wait(parcel, now, backoff(parcel.failures, self._random))

    def _expired(self, parcel: Parcel, now: float) -> None:
        message = f"not stored within the record_ttl of {self._config.record_ttl:g} s"
        self._note(parcel, Attempt(now, 0.0, "Expired", message))
        self._fail(parcel, f"Expired: {message}", retriable=True)

    def _note(self, parcel: Parcel, failure: Attempt) -> None:
        parcel.attempts.append(failure)
        self._metrics.refused(parcel, failure.error_code or "")

    def _fail(self, parcel: Parcel, message: str, *, retriable: bool) -> None:
        self._metrics.failed(parcel)
        for pending in parcel.pending:
            attempts = since_arrival(pending, parcel)
            errors = [
                DeliveryError(message, records=(record,), attempts=attempts, retriable=retriable)
                for record in pending.records
            ]
            self._finish(pending, errors)

    def _finish(self, pending: Pending, outcomes: Iterable[Delivery | DeliveryError]) -> None:
        self.outstanding_records -= len(pending.records)
        self.outstanding_bytes -= pending.size
        self._finished.append((pending.token, pending.indices, outcomes))
