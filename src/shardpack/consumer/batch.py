"""What the application gets: the next user records of one shard, and the means to say how far it has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, overload

from ..errors import CheckpointError
from ..leases.keys import shard_id_of, stream_name_of
from ..records import Position, ReceivedRecord
from .core.holding.delivered import Delivered


class BatchBase(Sequence[ReceivedRecord]):
    """What `Batch` and `AsyncBatch` have in common: everything but how a checkpoint is waited for."""

    def __init__(
        self,
        shard_id: str,
        records: Sequence[ReceivedRecord],
        millis_behind_latest: int | None,
        checkpoint: Callable[[Position | None], Any],
        *,
        shard_ended: bool,
        shutdown_requested: bool = False,
        stream_name: str = "",
    ) -> None:
        self.stream_name = stream_name
        self.shard_id = shard_id
        self.millis_behind_latest = millis_behind_latest
        self.shard_ended = shard_ended
        self.shutdown_requested = shutdown_requested
        self._records = records
        self._checkpoint = checkpoint
        self._given: int | None = None

    @classmethod
    def of(
        cls,
        delivered: Delivered,
        records: list[ReceivedRecord],
        checkpoint: Callable[[Position | None], Any],
        stream_name: str,
    ) -> Self:
        """All or some of the records that were delivered, with the means to checkpoint them.

        The stream's name is that of the only one; among several, the lease tells which.
        """
        key = delivered.hold.lease.key
        return cls(
            shard_id_of(key),
            records,
            delivered.millis_behind_latest,
            checkpoint,
            shard_ended=delivered.ends_with(records),
            shutdown_requested=delivered.shutdown_requested,
            stream_name=stream_name_of(key) or stream_name,
        )

    @overload
    def __getitem__(self, index: int) -> ReceivedRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ReceivedRecord]: ...
    def __getitem__(self, index: int | slice) -> ReceivedRecord | Sequence[ReceivedRecord]:
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[ReceivedRecord]:
        for given, record in enumerate(self._records, 1):
            self._given = given
            yield record

    def __repr__(self) -> str:
        return f"<{len(self):,} user records of {self.shard_id}{', its last' * self.shard_ended}>"

    @property
    def given(self) -> int | None:
        """How many records the last iteration has given so far; None: there was none."""
        return self._given

    def _position(self, record: ReceivedRecord | None) -> Position | None:
        """What a checkpoint at a record means; without one: at the last record that iteration has given."""
        if record is not None:
            if record.position is None:
                raise CheckpointError(
                    f"{self.shard_id}: {record!r:.100} has no sequence number; give checkpoint a record of this batch",
                    shard_id=self.shard_id,
                )
            return record.position
        if self._given is None or self._given == len(self):
            return self._records[-1].position if self._records else None
        return self._records[self._given - 1].position


class Batch(BatchBase):
    """User records of one shard, in order, as a `Consumer` hands them out.

    A batch is a sequence of `ReceivedRecord`: it may be iterated again, indexed and measured.

    Attributes:
        stream_name: the stream's name.
        shard_id: the shard.
        millis_behind_latest: milliseconds between these records and the stream's newest, as Kinesis said with them.
            None if Kinesis did not say.
        shard_ended: whether this is the last batch of the shard, because the shard was split or merged. Its children
            are read once everything of it is checkpointed. If there was nothing else to say, the batch has no records.
        shutdown_requested: whether another worker waits for the shard, as the KCL's ``shutdownRequested`` says it.
            Such a batch has no records, and comes only where something was given that is not checkpointed: checkpoint
            it now, or the other worker repeats it.
    """

    def checkpoint(self, record: ReceivedRecord | None = None) -> None:
        """Have it recorded that everything up to and including a record is done; returns when it is.

        Whoever reads the shard next, after a restart or another worker, goes on after it, in the middle of an
        aggregate too, as with the KCL's ``ShardRecordProcessorCheckpointer``.

        Args:
            record: one of this batch. None: the last one that iteration has given, which after the loop is the last of
                the batch; without iteration, the last of the batch.

        Raises:
            LeaseLostError: another worker has the shard's lease, and reads it on from the last checkpoint. Nothing is
                recorded; go on with the next batch, and expect that what was done since is done again.
            CheckpointError: the record lies before what is recorded, or was not delivered.
            LeaseStoreError: the leases cannot be written.
        """
        self._checkpoint(self._position(record))


class AsyncBatch(BatchBase):
    """User records of one shard, in order, as an `AsyncConsumer` hands them out.

    It is like a `Batch`, with the same attributes; only `checkpoint` is awaited.
    """

    async def checkpoint(self, record: ReceivedRecord | None = None) -> None:
        """Have it recorded that everything up to and including a record is done; returns when it is.

        Args:
            record: see `Batch.checkpoint`.

        Raises:
            LeaseLostError, CheckpointError, LeaseStoreError: as `Batch.checkpoint`.
        """
        await self._checkpoint(self._position(record))
