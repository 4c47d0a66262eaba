"""Reading one shard: iterators, the shard's read budget, what was read ahead. Decisions only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from ....aws.errors import backoff
from ....leases.keys import shard_id_of
from ....leases.lease import Lease, is_started
from ....limits import MIB
from ....records import Position, ReceivedRecord
from ....unpacking.unpacker import unpack
from ...config import ConsumerConfig
from ...loss import Expiry
from ...start import IteratorArguments, from_moment
from ..shards import ListedShard, child_shards

_CALLS_PER_SECOND = 5  # GetRecords, of all consumers of a shard together
_BYTES_PER_SECOND = 2 * MIB
# Other applications may read the shard too, and nobody tells how many: each throttled call doubles the time between
# calls, and each answer takes a little of it back, so that a few calls in a hundred are throttled.
_LONGEST_PACE = 2.0
_FASTER = 0.95


class Reader:
    """One shard's reader, from where its lease was taken to its end.

    Attributes:
        bytes_read: of Kinesis records, so far.
        is_ended: everything has been read; nothing more will ever come.
        children: what the shard was split or merged into, when its last response said so.
        millis_behind_latest: of the last response; None before the first.
        is_at_end: whether the last response brought nothing and said that there is no more.
        taken_millis_behind_latest: of the response that brought what was taken last.
        error: what made unpacking fail, under ``on_corrupt="raise"`` or ``out_of_range="raise"``. All records before it
            have been given.
        expiry: until when everything is read, and what has expired before.
    """

    def __init__(
        self,
        lease: Lease,
        listed: ListedShard | None,
        iterator_arguments: IteratorArguments,
        config: ConsumerConfig,
        random: Callable[[], float],
    ) -> None:
        self._shard_id = lease.key
        self._hash_range = lease.hash_range if listed is None else listed.hash_range
        self._iterator_arguments = iterator_arguments
        self._config = config
        self._random = random
        self._skip_to: Position | None = lease.checkpoint if is_started(lease.checkpoint) else None
        self._iterator: str | None = None
        self._buffered_to: str | None = None  # sequence number of the last Kinesis record that was read
        self._pages: deque[tuple[list[dict[str, Any]], int, int | None]] = deque()
        self._unpacking: Iterator[ReceivedRecord] | None = None
        self._buffered_bytes = 0
        self._due = float("-inf")
        self._pace = 1 / _CALLS_PER_SECOND
        self._failures = 0
        self.bytes_read = 0
        self.is_ended = False
        self.is_at_end = False
        self.children: list[ListedShard] = []
        self.millis_behind_latest: int | None = None
        self.taken_millis_behind_latest: int | None = None
        self.error: Exception | None = None
        self.expiry = Expiry(lease)

    # What to ask Kinesis, and when.

    @property
    def due(self) -> float | None:
        """When to ask next; None: not before something has been taken, or never."""
        if self.is_ended or self.error or self._buffered_bytes >= self._config.prefetch_max_bytes:
            return None
        return self._due

    def request(self) -> str | IteratorArguments:
        """The iterator for the next `GetRecords`, or the arguments for `GetShardIterator`."""
        if self._iterator is not None:
            return self._iterator
        if self._buffered_to is None:
            return dict(self._iterator_arguments)
        # Kinesis records are read whole, sub-records and all, so the next one is what is missing.
        return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self._buffered_to}

    def iterator_answered(self, iterator: str, wall_time: float) -> None:
        """`GetShardIterator` answered at a time by the wall clock, in seconds since the epoch."""
        self._iterator = iterator
        self._failures = 0
        if self._iterator_arguments["ShardIteratorType"] == "LATEST":
            # Should this iterator expire unused, "latest" must not come to mean a later moment.
            self._iterator_arguments = from_moment(wall_time)

    def records_answered(self, response: Mapping[str, Any], started: float, wall_time: float) -> None:
        """`GetRecords` answered a call that was made then, which is this time by the wall clock."""
        records = response["Records"]
        # Where Kinesis distributes records by itself, they may have no partition key.
        size = sum(len(record["Data"]) + len((record.get("PartitionKey") or "").encode()) for record in records)
        self._failures = 0
        self.bytes_read += size
        self._iterator = response.get("NextShardIterator") or None
        self.millis_behind_latest = response.get("MillisBehindLatest")
        self.is_at_end = not records and self.millis_behind_latest == 0
        if not response.get("Rests"):  # of a stream that is not read for now nothing is known
            self.expiry.answered(records, wall_time, is_at_end=self.is_at_end)
        if records:
            self._buffered_to = records[-1]["SequenceNumber"]
            self._pages.append((records, size, self.millis_behind_latest))
            self._buffered_bytes += size
        if self._iterator is None:
            self.is_ended = True
            self.children = child_shards(response)
        self._pace = max(1 / _CALLS_PER_SECOND, self._pace * _FASTER)
        pause = max(self._pace, size / _BYTES_PER_SECOND)
        if self.is_at_end:
            pause = max(pause, self._config.idle_time_between_reads)
        self._due = started + pause

    def failed(self, now: float, *, expired: bool, throttled: bool = False) -> None:
        """A call failed in a way that may pass; because the iterator was too old, or the shard is read too often."""
        if expired:
            self._iterator = None
            self._due = now + 1 / _CALLS_PER_SECOND
            return
        self._failures += 1
        if throttled:
            self._pace = min(_LONGEST_PACE, 2 * self._pace)
        self._due = now + 1 / _CALLS_PER_SECOND + backoff(self._failures, self._random)

    def end(self) -> None:
        """The shard is gone: nothing can be read from it any more."""
        self.is_ended = True

    # What the application gets.

    @property
    def has_records(self) -> bool:
        """Whether Kinesis records wait that have not been given; they may all turn out to be skipped."""
        return self._unpacking is not None or bool(self._pages)

    @property
    def has_read(self) -> bool:
        """Whether a Kinesis record has come."""
        return self._buffered_to is not None

    def take(self) -> list[ReceivedRecord]:
        """The next user records; none if everything that waited was done before."""
        taken: list[ReceivedRecord] = []
        while not taken and self.error is None and self.has_records:
            if self._unpacking is None:
                self._unpacking = self._unpacked(self._pages[0][0])
            self.taken_millis_behind_latest = self._pages[0][2]
            try:
                taken.extend(islice(self._unpacking, self._config.batch_max_records))
            except Exception as error:  # noqa: BLE001  # DecodeError, or what a hostile record does; told after `taken`
                self.error = error
            if len(taken) < self._config.batch_max_records:
                self._unpacking = None
                self._buffered_bytes -= self._pages.popleft()[1]
        return taken

    def _unpacked(self, records: list[dict[str, Any]]) -> Iterator[ReceivedRecord]:
        shard_id = shard_id_of(self._shard_id)
        for record in records:
            record["ShardId"] = shard_id
        after = self._skip_to
        if after is not None and int(records[-1]["SequenceNumber"]) > int(after.sequence_number):
            self._skip_to = None
        return unpack(
            records,
            on_corrupt=self._config.on_corrupt,
            hash_range=self._hash_range,
            out_of_range=self._config.out_of_range,
            after=after,
        )
