"""A batch that is being handled: what is done of it, where it stopped, and what to tell Lambda."""

from __future__ import annotations

import copy
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import islice
from typing import Any

from ..errors import DecodeError
from ..limits import shown
from ..records import ReceivedRecord
from ..unpacking.unpacker import OnCorrupt, unpack
from .progress import Progress, is_done, set_done

Job = tuple[int, ReceivedRecord, DecodeError | None]
"""The index of a Kinesis record in its batch, a user record in it, and the error if it could not be decoded."""


class AsyncHandlerError(TypeError):
    """A handler returned an awaitable, which nobody would await: the user record would pass for handled."""


class BatchRecord:
    """A Kinesis record of a batch, and what is done of it.

    Attributes:
        sequence_number: as the event has it; None when it has none that Lambda could take back.
        shard: the stream's ARN and the shard; None when the event does not say.
        key: what names it in a `Progress`; None when nothing names it for certain.
        done: the bitmap of its user records that are done.
        left: user records that are still to be done; None before it was opened.
    """

    __slots__ = ("done", "key", "left", "raw", "sequence_number", "shard")

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.done = bytearray()
        self.left: int | None = None
        record = raw if isinstance(raw, Mapping) else {}
        kinesis = record.get("kinesis")
        fields = kinesis if isinstance(kinesis, Mapping) else {}
        number = fields.get("sequenceNumber")
        valid = isinstance(number, str) and number.isascii() and number.isdigit() and len(number) <= 129
        self.sequence_number: str | None = number if valid else None
        event_id = record.get("eventID")
        shard_id, separator, _ = (event_id if isinstance(event_id, str) else "").partition(":")
        self.shard = f"{record.get('eventSourceARN', '')}/{shard_id}" if separator else None
        self.key: str | None = None

    def name(self) -> None:
        """Give the record its key, if it can have one."""
        if self.shard and self.sequence_number is not None:
            # The checksum is for events that someone de-aggregated before: theirs repeat a sequence number, and a batch
            # may end between two of them.
            fields = self.raw["kinesis"]
            checksum = zlib.crc32(_written(fields.get("data")))
            self.key = f"{self.sequence_number}.{fields.get('subSequenceNumber', 0)}.{checksum:08x}"

    def open(self, on_corrupt: OnCorrupt) -> list[tuple[ReceivedRecord, DecodeError | None]]:
        """The user records that are still to be done, each with the error if it could not be decoded."""
        records: list[tuple[ReceivedRecord, DecodeError | None]]
        try:
            records = [(record, None) for record in unpack(check_record(self.raw), on_corrupt=on_corrupt)]
        except DecodeError as error:
            records = [(self._undecoded(), error)]
        pending = [one for one in records if not is_done(self.done, _bit(one[0]))]
        self.left = len(pending)
        return pending

    def _undecoded(self) -> ReceivedRecord:
        with suppress(DecodeError):
            (record,) = unpack(check_record(self.raw), on_corrupt="raw")  # a corrupt aggregate, whole
            return record
        kinesis = self.raw.get("kinesis") if isinstance(self.raw, Mapping) else self.raw
        fields = kinesis if isinstance(kinesis, Mapping) else {"data": kinesis}
        data, partition_key = fields.get("data"), fields.get("partitionKey")
        text = data if isinstance(data, str) else shown(data)
        return ReceivedRecord(
            partition_key if isinstance(partition_key, str) else None,
            data if isinstance(data, bytes) else text.encode(errors="replace"),
            None,
            self.sequence_number,
            0,
            False,
            None,
            None,
        )


class Batch:
    """The Kinesis records of a batch while they are being handled.

    Attributes:
        records: they, in the event's order.
        error: the error that the batch stopped with, at the earliest record of all that failed; None: all is done.
        state_before: the tumbling window's state before the Kinesis record at which the batch stopped.
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
        self.state_before: Any = None
        self._handle = handle
        self._divert = divert
        self._progress = progress
        self._max_attempts = max_attempts
        self._save_every = save_every
        self._on_corrupt = on_corrupt
        self._stopped_at = len(self.records)
        self._unsaved: set[BatchRecord] = set()
        self._unsaved_count = 0
        self._lock: AbstractContextManager[object] = nullcontext()
        self._save_lock: AbstractContextManager[object] = nullcontext()

    def run(self, workers: int, state: Callable[[], Any] | None = None) -> None:
        """Handle what is not done yet, up to the first failure.

        What passes out of here, such as KeyboardInterrupt, has Lambda send the whole batch again.
        """
        self._load()
        try:
            if workers > 1:
                self._run_by_key(workers)
            else:
                self._run_in_order(state)
        finally:
            try:
                self._save()
            except Exception as error:  # noqa: BLE001  # whatever the store raises: what is not saved runs again
                _log("progress was not saved, so user records that are done may run again", error)

    def failures(self) -> list[dict[str, str]]:
        """The lowest sequence number that is not done, as ``batchItemFailures`` takes it.

        Raises:
            Exception: what the batch stopped with, when there is no such number.
        """
        left = [record for record in self.records if record.left != 0]
        if self.error is None or not left:
            return []
        numbers = [record.sequence_number for record in left if record.sequence_number is not None]
        if len(numbers) < len(left):
            self.error.add_note("the whole batch failed: not all records of the event have a sequence number to report")
            raise self.error
        if len({record.shard for record in self.records if record.shard}) > 1:
            self.error.add_note("the whole batch failed: its records are from several shards, so none comes first")
            raise self.error
        return [{"itemIdentifier": min(numbers, key=int)}]

    def _run_in_order(self, state: Callable[[], Any] | None) -> None:
        for index, batch_record in enumerate(self.records):
            if state is not None:
                # Copied, because the failure that this is for may come after the handler has changed it.
                self.state_before = copy.deepcopy(state())
            for record, error in batch_record.open(self._on_corrupt):
                self._do(index, record, error)
                if self.error is not None:
                    return

    def _run_by_key(self, workers: int) -> None:
        import threading
        from concurrent.futures import ThreadPoolExecutor

        self._lock, self._save_lock = threading.Lock(), threading.Lock()
        queues: dict[str | None, list[Job]] = {}
        for index, batch_record in enumerate(self.records):
            for record, error in batch_record.open(self._on_corrupt):
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
        for _ in range(attempts):
            try:
                _refuse_awaitable("handle", self._handle(record))
            except AsyncHandlerError:
                raise
            except Exception as raised:  # noqa: BLE001  # see _do
                error = raised
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
        _log(f"diverted {_where(record)}", error)

    def _stop(self, index: int, record: ReceivedRecord, error: Exception) -> None:
        with self._lock:
            if index < self._stopped_at:
                self._stopped_at, self.error = index, error
            self.error = self.error or error
        _log(f"the batch stops at {_where(record)}", error)

    def _mark(self, index: int, record: ReceivedRecord) -> None:
        batch_record = self.records[index]
        with self._lock:
            batch_record.left = (batch_record.left or 0) - 1
            if batch_record.key is not None:
                set_done(batch_record.done, _bit(record))
                self._unsaved.add(batch_record)
                self._unsaved_count += 1

    def _load(self) -> None:
        """Learn what is done already, and from which records of the batch no one can tell."""
        if self._progress is None:
            return
        for record in self.records:
            record.name()
        named = Counter((record.shard, record.key) for record in self.records)
        for record in self.records:
            if named[record.shard, record.key] > 1:
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


def records_of(event: Mapping[str, Any]) -> list[Any]:
    """The Kinesis records of a Lambda event.

    Raises:
        DecodeError: there is no list of them.
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    if isinstance(records, list | tuple):
        return list(records)
    given = event if isinstance(event, Mapping) else {}
    keys = ", ".join(map(shown, islice(given, 10)))
    hint = "; Firehose events go to shardpack.firehose.transform" if "records" in given else ""
    raise DecodeError(
        f"an event of type {type(event).__name__} with the keys {keys or 'none'} has no list of 'Records', as Lambda's"
        f" events from Kinesis have{hint}"
    )


def check_record(record: Any) -> Mapping[str, Any]:
    """A record of a Lambda event.

    Raises:
        DecodeError: it is none; `unpack` would look for records in it.
    """
    if not isinstance(record, Mapping) or "kinesis" not in record:
        raise DecodeError(f"a record of the event is {shown(record)}; Lambda's have a field 'kinesis'")
    return record


def _written(data: object) -> bytes:
    return (repr(data) if isinstance(data, str | bytes) else shown(data)).encode(errors="replace")


def _bit(record: ReceivedRecord) -> int:
    """Which bit of its Kinesis record's bitmap a user record has."""
    return record.sub_sequence_number if record.aggregated else 0


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


def _log(message: str, error: BaseException) -> None:
    from logging import getLogger  # not before something goes wrong: it is half of the import's time

    getLogger("shardpack.aws_lambda").warning(message, exc_info=error)
