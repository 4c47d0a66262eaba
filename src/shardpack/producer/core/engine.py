"""The producer's decisions, without I/O and without a clock.

A shell (threads or asyncio) tells the engine what happened and when, does what `Engine.poll` asks for, and comes back
at `Engine.deadline`. Times are seconds on the shell's clock, which must not run backwards. Nothing blocks or locks.

    put -> aggregate per predicted shard -> wait for the shard's budget -> collect -> PutRecords -> delivered, or again
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from ...aws.errors import PERMANENT, THROTTLED, backoff
from ...errors import RecordTooLargeError
from ...limits import KIB, MAX_RECORD_BYTES, MIB
from ...records import UserRecord
from ..config import ProducerConfig
from ..delivery import Attempt
from .actions import Action, ListShards, PutRecords
from .aggregator import Aggregator
from .bulk import measured, size_of
from .metrics import Metrics, ProducerStats
from .ordering.keys import Identity, Keys
from .ordering.lanes import Lanes
from .outbox import Outbox
from .pending import Landed, Parcel, Pending, hash_key_of
from .places import Places
from .settling import Finished, Settling
from .stream import StreamWatch

_ONE = range(1)
_NO_ORDER = (
    "has RecordDistributionStrategy AUTO, under which Kinesis places records without regard to their keys, so that no"
    ' order can be kept. Choose ordering="none", or a stream without AUTO'
)


class Engine:
    """What a producer decides.

    Args:
        stream_name: for messages.
        config: the settings.
        random: numbers from 0 to 1, for jitter.
        metrics: counts what happens.
        keys: what an engine before it has remembered of partition keys, with ``ordering="key"``.
    """

    def __init__(
        self,
        stream_name: str,
        config: ProducerConfig,
        random: Callable[[], float] | None = None,
        metrics: Metrics | None = None,
        keys: Keys | None = None,
    ) -> None:
        self._stream_name = stream_name
        self._config = config
        self._random = random or Random().random  # jitter, not secrets
        self._metrics = metrics or Metrics()
        is_ordered = config.ordering == "key"
        self._watch = StreamWatch(stream_name, with_closed=is_ordered)
        self._settling = Settling(config, self._metrics)
        self._outbox = Outbox(stream_name, config, self._watch, self._settling, self._metrics)
        self._places = Places(self._outbox.budget, self._random)
        self._aggregator = Aggregator(config, self._places)
        self._lanes = Lanes(config, self._watch, self._settling, keys or Keys()) if is_ordered else None
        self._unjudged: list[Landed] = []  # in shards whose hash ranges are not known yet
        self._early: list[Landed] = []  # aggregates that were stored before it is known whether keys count

    @property
    def outstanding_records(self) -> int:
        """User records that were put and have no outcome yet."""
        return self._settling.outstanding_records

    @property
    def outstanding_bytes(self) -> int:
        """Their bytes, partition keys counted."""
        return self._settling.outstanding_bytes

    # What the application does.

    def measure(self, records: Sequence[UserRecord]) -> int:
        """The bytes of user records, partition keys counted.

        Raises:
            RecordTooLargeError: the stream takes none so large.
        """
        size, largest, _ = measured(records)
        limit = self._watch.max_record_bytes or MAX_RECORD_BYTES
        if largest > limit:
            self._watch.doubt_limit()
            raise self._too_large(largest, limit)
        return size

    def measure_one(self, record: tuple[str, bytes] | UserRecord) -> int:
        """The bytes of one, by its fields; raises as `measure` does."""
        size = size_of(record)
        limit = self._watch.max_record_bytes or MAX_RECORD_BYTES
        if size > limit:
            self._watch.doubt_limit()
            raise self._too_large(size, limit)
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
        self._settling.expect(len(records), size, now)
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
        self._look_for_places(now)
        if self._lanes is not None:
            self._lanes.flush(now)
        self._outbox.enqueue(self._aggregator.close_all(), now)
        self._outbox.hurry()

    def resume(self, identity: Identity) -> None:
        """Send records of a key again that was halted because one of them had failed."""
        if self._lanes is not None:
            self._lanes.resume(identity)

    def stats(self) -> ProducerStats:
        """What has happened so far."""
        snapshot = self._metrics.snapshot(self.outstanding_records, self.outstanding_bytes)
        return snapshot if self._lanes is None else replace(snapshot, keys_astray=self._lanes.keys_astray)

    def is_stuck(self, now: float, within: float) -> bool:
        """Whether something waits, and for so many seconds nothing was delivered."""
        since = self._settling.waiting_since
        return since is not None and now - since > within

    def abandon(self) -> None:
        """Nothing more is done for what is outstanding; the shell has failed it."""
        self._settling.forget()

    # What the shell asks.

    def poll(self, now: float) -> list[Action]:
        """What to do now."""
        actions = self._watch.actions(now)
        self._aggregator.enabled = self._config.aggregation_enabled and not self._watch.ignores_keys
        self._look_for_places(now)
        if self._lanes is not None:
            self._outbox.enqueue(self._lanes.due(now), now)
        self._outbox.enqueue(self._aggregator.close_due(now), now)
        actions += self._outbox.calls(now)
        for waiting in (self._unjudged, self._early):
            for landed in [landed for landed in waiting if landed.parcel.expires <= now]:
                waiting.remove(landed)
                self._put_elsewhere(landed, now)
        self._metrics.pending(self.outstanding_records, self._lanes.keys_astray if self._lanes is not None else 0)
        return actions

    def deadline(self) -> float | None:
        """When to poll again if nothing happens before, or None."""
        deadlines = [self._watch.deadline, self._aggregator.deadline, self._outbox.deadline()]
        deadlines += [landed.parcel.expires for landed in (*self._unjudged, *self._early)]
        if self._lanes is not None:
            deadlines.append(self._lanes.deadline)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    @property
    def has_finished(self) -> bool:
        """Whether `take_finished` has something to tell, as when a put was refused at once."""
        return self._settling.has_finished

    def take_finished(self) -> list[Finished]:
        """What was settled since the last call."""
        return self._settling.take_finished()

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
            is_sound = self._watch.shards_listed(answer, now)
            if self._watch.shard_map is not None:
                self._outbox.budget.keep_only([shard.shard_id for shard in self._watch.shard_map.shards])
            if self._lanes is not None:
                self._lanes.shards_listed(now) if is_sound else self._lanes.listing_failed(now)
            unjudged, self._unjudged = self._unjudged, []
            for landed in unjudged:
                self._judge(landed, now)
        else:
            self._watch.described(answer, now)
            self._aggregator.limit_to(self._watch.max_record_bytes or MIB)
            self._described(now, ignores_keys=self._watch.ignores_keys)

    def failed(self, action: Action, code: str, message: str, now: float) -> None:
        """What was asked for has failed as a whole; whether `PutRecords` stored anything is unknown.

        Args:
            action: as it came from `poll`.
            code: the error's name, by Kinesis or by the AWS SDK.
            message: the error for people.
            now: seconds on the shell's clock.
        """
        if isinstance(action, PutRecords):
            parcels, started = self._outbox.ended(action.call_id, now)
            for parcel in parcels:
                self._refused(parcel, started, now, code, message)
        elif isinstance(action, ListShards):
            self._watch.list_shards_failed(code, message, now)
            if self._lanes is not None:
                self._lanes.listing_failed(now)
        else:
            self._watch.describe_failed(code, message, now)
            self._described(now, ignores_keys=False)  # an unseen reshard may look as if it did

    def _described(self, now: float, *, ignores_keys: bool) -> None:
        self._outbox.now_sure(now)
        self._aggregator.enabled = self._config.aggregation_enabled and not self._watch.ignores_keys
        early, self._early = self._early, []
        for landed in early:
            self._settle(landed, now)
        if self._lanes is None:
            return
        if ignores_keys:
            self._lanes.refuse(f"{self._stream_name} {_NO_ORDER}", now)
        else:
            self._lanes.described(now)

    def _put_answered(self, action: PutRecords, response: Mapping[str, Any], now: float) -> None:
        parcels, started = self._outbox.ended(action.call_id, now)
        results = response.get("Records", ())
        if len(results) != len(parcels):
            message = f"PutRecords answered {len(results)} results for {len(parcels)} records"
            for parcel in parcels:
                self._settling.note(parcel, Attempt(started, now - started, "Record Count Mismatch", message))
                self._settling.fail(parcel, message, retriable=True)
            return
        for parcel, result in zip(parcels, results, strict=True):
            if result.get("ErrorCode") is None:
                self._stored(parcel, result, started, now)
            else:
                self._refused(parcel, started, now, result["ErrorCode"], result.get("ErrorMessage", ""))

    # From a user record to an aggregate.

    def _aggregate(self, pending: Pending, now: float) -> bool:
        if self._lanes is not None:
            self._lanes.add(pending, now)
            return True
        # A map known to be stale mixes keys of two shards, which only pinned aggregates survive.
        shard_map = self._watch.shard_map
        if self._config.hash_keys == "kpl" and self._watch.is_stale:
            shard_map = None
        self._look_for_places(now)
        open_before = len(self._aggregator)
        full = self._aggregator.add(pending, shard_map, now)
        if full:
            self._outbox.enqueue(full, now)
        return bool(full) or len(self._aggregator) != open_before

    def _look_for_places(self, now: float) -> None:
        self._places.look(self._watch.shard_map, now, keys_count=not self._watch.ignores_keys)

    # From an answer to a delivery.

    def _stored(self, parcel: Parcel, result: Mapping[str, Any], started: float, now: float) -> None:
        shard_id, predicted = result["ShardId"], parcel.packed.shard_id
        landed = Landed(parcel, shard_id, result["SequenceNumber"], started, now - started, self._watch.listings)
        self._watch.landed(predicted, shard_id, started, now)
        if self._lanes is not None:
            self._lanes.landed(landed, now)
        if parcel.packed.user_record_count > 1 and predicted != shard_id and not self._watch.is_described:
            self._early.append(landed)  # where Kinesis ignores keys the KCL drops it
        else:
            self._settle(landed, now)

    def _settle(self, landed: Landed, now: float) -> None:
        """Deliver what readers get to see, and put the rest again."""
        packed = landed.parcel.packed
        is_home = packed.user_record_count == 1 or packed.shard_id == landed.shard_id
        is_safe = self._config.hash_keys == "pinned" or self._config.route == "key"  # wherever its keys bring it
        if is_home or (not self._watch.ignores_keys and (is_safe or packed.shard_id is None)):
            self._settling.deliver(landed)
        elif self._watch.ignores_keys:
            self._put_elsewhere(landed, now)
        else:
            self._judge(landed, now)

    def _judge(self, landed: Landed, now: float) -> None:
        """Whether the KCL keeps an aggregate that landed elsewhere than predicted: all of it, or nothing."""
        shard = self._watch.shard(landed.shard_id)
        if shard is not None and all(
            hash_key_of(record) in shard for pending in landed.parcel.pending for record in pending.records
        ):
            self._settling.deliver(landed)
        elif shard is None and landed.listings == self._watch.listings:
            # It may be at home there, as after every merge; putting it again unseen would store it twice.
            self._unjudged.append(landed)
            self._watch.list_again(now)
        else:
            self._put_elsewhere(landed, now)

    def _put_elsewhere(self, landed: Landed, now: float) -> None:
        parcel = landed.parcel
        is_told = self._watch.shard(landed.shard_id) is not None or self._watch.ignores_keys
        why = "where the KCL would drop it" if is_told else "which is not listed, so that the KCL may drop it"
        message = f"predicted {parcel.packed.shard_id}, stored in {landed.shard_id}, {why}"
        self._settling.note(parcel, Attempt(landed.started, landed.duration, "Wrong Shard", message))
        self._aggregate_again(parcel, now)

    def _aggregate_again(self, parcel: Parcel, now: float) -> None:
        if parcel.expires <= now:
            self._settling.expire(parcel, now)
            return
        for pending in parcel.pending:
            pending.earlier += tuple(parcel.attempts)
            self._aggregate(pending, now)

    def _refused(self, parcel: Parcel, started: float, now: float, code: str, message: str) -> None:
        self._settling.note(parcel, Attempt(started, now - started, code, message))
        if code in PERMANENT:
            self._settling.fail(parcel, f"{code}: {message}", retriable=False)
        elif code in THROTTLED and self._config.fail_if_throttled:
            self._settling.fail(parcel, f"{code}: {message}", retriable=True)
        elif parcel.expires <= now:
            self._settling.expire(parcel, now)
        else:
            parcel.failures += 1
            self._outbox.wait(parcel, now, backoff(parcel.failures, self._random))
