"""A batch that is being handled: what is done of it, where it stopped, and what to tell Lambda."""

from __future__ import annotations

from _thread import allocate_lock  # `threading` is slow to import, and has the same

from ..errors import DecodeError, StateTooLargeError
from ..values import TYPE_CHECKING
from ._record import BatchRecord, bit_of, opened, set_done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol, Self, TypeAlias

    from ..records import ReceivedRecord
    from ..unpacking.unpacker import OnCorrupt
    from .progress import Progress

    class State(Protocol):
        """The state of a tumbling window, of which copies can be taken and put back."""

        def copy(self) -> str: ...
        def checked_copy(self) -> str: ...
        def restore(self, copy: str) -> None: ...


Job: TypeAlias = "tuple[int, ReceivedRecord, DecodeError | None]"
"""The index of a Kinesis record in its batch, a user record in it, and the error if it could not be decoded."""


class AsyncHandlerError(TypeError):
    """A handler returned an awaitable, which nobody would await: the user record would pass for handled."""


class Batch:
    """The Kinesis records of a batch while they are being handled.

    Attributes:
        records: they, in the event's order.
        error: the error that the batch stopped with, at the earliest record of all that failed; None: all is done.
    """

    def __init__(
        self,
        raw_records: list[Any],
        handle: Callable[[ReceivedRecord], object],
        divert: Callable[[ReceivedRecord, Exception], object] | None,
        progress: Progress | None,
        *,
        max_attempts: int,
        save_every: int,
        on_corrupt: OnCorrupt,
    ) -> None:
        self.records = [BatchRecord(raw) for raw in raw_records]
        self.error: Exception | None = None
        self._handle = handle
        self._divert = divert
        self._progress = progress
        self._max_attempts = max_attempts
        self._save_every = save_every
        self._on_corrupt = on_corrupt
        self._stopped_at = len(self.records)
        self._state: State | None = None
        self._unsaved: set[BatchRecord] = set()
        self._unsaved_count = 0
        self._lock = allocate_lock()
        self._save_lock = allocate_lock()

    def run(self, workers: int, state: State | None = None) -> Self:
        """Handle what is not done yet, up to the first failure; gives itself.

        The state of a tumbling window is afterwards what it was before the Kinesis record that failed.

        What passes out of here, such as KeyboardInterrupt, has Lambda send the whole batch again.
        """
        self._load()
        self._state = state
        try:
            if workers > 1:
                self._run_by_key(workers)
            elif state is None and self._progress is None and self._divert is None and self._max_attempts == 1:
                self._run_simply()
            else:
                self._run_in_order()
        finally:
            try:
                self._save()
            except Exception as error:  # noqa: BLE001  # whatever the store raises: what is not saved runs again
                log("progress was not saved, so user records that are done may run again", error)
        return self

    def look(self) -> int:
        """Open all records and handle none; how many user records are to do. `error` is the first unreadable one's."""
        self._load()
        count = 0
        for record, found in opened(self.records, self._on_corrupt):
            for _, error in record.pending(found):
                self.error = self.error or error
                count += error is None
        return count

    @property
    def handled(self) -> int:
        """How many user records were handled or diverted."""
        return sum(record.to_do - (record.left or 0) for record in self.records)

    @property
    def skipped(self) -> int:
        """How many were done before, as far as the batch has come."""
        return sum(record.total - record.to_do for record in self.records)

    def failures(self) -> list[dict[str, str]]:
        """What is to be sent again, as ``batchItemFailures`` takes it.

        For an event source mapping that is the lowest sequence number that is not done: Lambda goes on from there. A
        pipe is told of each record that is not done, by its ``eventID``: its documentation calls the list the events
        that need to be retried, and does not say that those after the first come again too.

        Raises:
            Exception: what the batch stopped with, when there is nothing right to report.
        """
        left = [record for record in self.records if record.left != 0]
        if self.error is None or not left:
            return []
        of_pipe = any(record.of_pipe for record in left)
        identifiers = [record.identifier for record in left if record.identifier is not None]
        if len(identifiers) < len(left):
            what = "an eventID" if of_pipe else "a sequence number"
            self.error.add_note(f"the whole batch failed: not all records of the event have {what} to report")
            raise self.error
        if len({record.shard for record in self.records if record.shard}) > 1:
            self.error.add_note("the whole batch failed: its records are from several shards, so none comes first")
            raise self.error
        if not of_pipe:
            identifiers = [min(identifiers, key=int)]
        return [{"itemIdentifier": identifier} for identifier in dict.fromkeys(identifiers)]

    def _run_simply(self) -> None:
        """`_run_in_order` where nothing of what is done is kept, and no user record has a second chance."""
        handle = self._handle
        for index, (batch_record, found) in enumerate(opened(self.records, self._on_corrupt)):
            if isinstance(found, DecodeError):
                batch_record.total = batch_record.to_do = batch_record.left = 1
                self._stop(index, batch_record.undecoded(), found)
                return
            done = 0
            record = None
            try:
                for record in found:
                    result = handle(record)
                    if result is not None:
                        _refuse_awaitable("handle", result)
                    done += 1
            except AsyncHandlerError:
                raise
            except Exception as raised:  # see _do
                if record is None:  # not even the first could be made
                    raise
                batch_record.total = batch_record.to_do = done + 1  # what comes after it was not looked at
                batch_record.left = 1
                self._stop(index, record, raised)
                return
            batch_record.total = batch_record.to_do = done
            batch_record.left = 0

    def _run_in_order(self) -> None:
        before = None if self._state is None else self._state.copy()
        for index, (batch_record, found) in enumerate(opened(self.records, self._on_corrupt)):
            pending = batch_record.pending(found)
            for record, error in pending:
                self._do(index, record, error)
                if self.error is not None:
                    break
            if self._state is None or before is None:
                if self.error is not None:
                    return
                continue
            if self.error is None and not pending:
                continue
            if self.error is None:
                try:
                    before = self._state.checked_copy()
                    continue
                except (StateTooLargeError, TypeError) as raised:
                    batch_record.left = len(pending)  # all of it comes again
                    self._stop(index, pending[-1][0], raised)
            self._state.restore(before)
            return

    def _run_by_key(self, workers: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        queues: dict[str | None, list[Job]] = {}
        for index, (batch_record, found) in enumerate(opened(self.records, self._on_corrupt)):
            for record, error in batch_record.pending(found):
                queues.setdefault(record.partition_key, []).append((index, record, error))
        with ThreadPoolExecutor(workers, thread_name_prefix="shardpack") as pool:
            try:
                for future in [pool.submit(self._run_queue, jobs) for jobs in queues.values()]:
                    future.result()
            except BaseException:
                self._stopped_at = -1  # the other threads finish their user record and begin none
                raise

    def _run_queue(self, jobs: list[Job]) -> None:
        """One partition key's user records, in order, up to its first failure or where another key has failed."""
        for index, record, error in jobs:
            # What comes before the earliest failure so far is still worth doing: the batch then goes on further along.
            if index >= self._stopped_at:
                return
            try:
                self._do(index, record, error)
            except BaseException:
                self._stopped_at = -1
                raise

    def _do(self, index: int, record: ReceivedRecord, error: DecodeError | None) -> None:
        """Handle or divert one user record, and remember that it is done, or why it is not."""
        try:
            self._attempt(record, error)
        except AsyncHandlerError:
            raise
        except Exception as raised:  # noqa: BLE001  # whatever the handler raises is a failure of its record
            self._stop(index, record, raised)
            return
        self._mark(index, record)
        if self._unsaved_count >= self._save_every:
            try:
                self._save()
            except Exception as raised:  # noqa: BLE001  # going on would let more and more run again after a crash
                self._stop(index, record, raised)

    def _attempt(self, record: ReceivedRecord, error: Exception | None) -> None:
        attempts = 0 if error else self._max_attempts
        # What a failed attempt has left in a window's state would be counted twice.
        state = self._state if self._max_attempts > 1 or self._divert is not None else None
        before = None if state is None else state.copy()
        for _ in range(attempts):
            try:
                _refuse_awaitable("handle", self._handle(record))
            except AsyncHandlerError:
                raise
            except Exception as raised:  # noqa: BLE001  # see _do
                error = raised
                if state is not None and before is not None:
                    state.restore(before)
            else:
                return
        assert error is not None  # noqa: S101  # there is at least one attempt
        if self._divert is None:
            raise error
        try:
            _refuse_awaitable("divert", self._divert(record, error))
        except Exception as raised:
            if raised is error:  # nothing is the cause of itself
                raise
            raise raised from error
        log(f"diverted {_where(record)}", error)

    def _stop(self, index: int, record: ReceivedRecord, error: Exception) -> None:
        with self._lock:
            if index < self._stopped_at:
                self._stopped_at, self.error = index, error
            self.error = self.error or error
        log(f"the batch stops at {_where(record)}", error)

    def _mark(self, index: int, record: ReceivedRecord) -> None:
        batch_record = self.records[index]
        with self._lock:
            batch_record.left = (batch_record.left or 0) - 1
            if batch_record.key is not None:
                set_done(batch_record.done, bit_of(record))
                self._unsaved.add(batch_record)
                self._unsaved_count += 1

    def _load(self) -> None:
        """Learn what is done already, and from which records of the batch no one can tell."""
        if self._progress is None:
            return
        for record in self.records:
            record.name()
        unnamed: list[BatchRecord] = []
        named: dict[tuple[str | None, str | None], BatchRecord] = {}
        for record in self.records:
            first = named.setdefault((record.shard, record.key), record)
            if first is not record:  # no one could tell them apart
                unnamed += first, record
        for record in unnamed:
            record.key = None
        for shard, records in _by_shard(self.records).items():
            loaded = self._progress.load(shard, min(records), max(records))
            for key, record in records.items():
                record.done = bytearray(loaded.get(key, b""))

    def _save(self) -> None:
        if self._progress is None:
            return
        with self._save_lock:  # one at a time, so that no older bitmap replaces a newer one
            with self._lock:
                records, count = self._unsaved, self._unsaved_count
                self._unsaved, self._unsaved_count = set(), 0
                bitmaps = [
                    (shard, {key: bytes(record.done) for key, record in by_key.items()})
                    for shard, by_key in _by_shard(records).items()
                ]
            try:
                for shard, done in bitmaps:
                    self._progress.save(shard, done)
            except BaseException:
                with self._lock:
                    self._unsaved |= records
                    self._unsaved_count += count
                raise


def _by_shard(records: Iterable[BatchRecord]) -> dict[str, dict[str, BatchRecord]]:
    shards: dict[str, dict[str, BatchRecord]] = {}
    for record in records:
        if record.shard is not None and record.key is not None:
            shards.setdefault(record.shard, {})[record.key] = record
    return shards


def _refuse_awaitable(name: str, result: object) -> None:
    if hasattr(result, "__await__"):
        if hasattr(result, "close"):
            result.close()  # else Python warns that it was never awaited
        raise AsyncHandlerError(
            f"{name} returned an awaitable, {type(result).__name__}: process calls plain functions; wrap it, for"
            f" instance in lambda record: asyncio.run({name}(record)), and use workers for concurrency"
        )


def _where(record: ReceivedRecord) -> str:
    return (
        f"sub-sequence number {record.sub_sequence_number} of sequence number {record.sequence_number}"
        f" in {record.shard_id or 'an unnamed shard'}"
    )


def log(message: str, error: BaseException) -> None:
    from logging import getLogger  # not before something goes wrong: it is half of the import's time

    getLogger("shardpack.aws_lambda").warning(message, exc_info=error)
