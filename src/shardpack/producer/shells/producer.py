"""The producer for threads, on boto3."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from ...aws.client import kinesis_client
from ...aws.errors import error_of
from ...aws.streams import OPEN_SHARDS, describe_stream, list_shards, stream_argument
from ...records import BytesLike, UserRecord, UserRecordLike, check_user_record
from ..config import ProducerConfig
from ..core.actions import Action, ListShards, PutRecords
from ..core.engine import Engine
from ..core.metrics import Metrics, ProducerStats
from ..delivery import Delivery
from .future import DeliveryFuture
from .otel import instruments
from .unfinished import Put, PutMany, Unfinished, finish

_log = logging.getLogger("shardpack.producer")


class Producer:
    """Puts user records into a Kinesis stream: aggregated, batched, within each shard's budget, until they are stored.

    Every user record's fate comes out of the future that `put` returns. Thread-safe. Its threads start with the first
    `put`; until then it may be carried over a fork.

    Args:
        stream_name: the stream's name or ARN.
        config: the settings; `ProducerConfig()` has the KPL's defaults.
        client: a boto3 Kinesis client to use. None: one is made from the following, with timeouts and connections by
            the config and without retries of its own.
        region_name: as boto3 takes it; None: as boto3 finds it.
        endpoint_url: the same.
        profile_name: the same.
        meter_provider: an OpenTelemetry ``MeterProvider`` for the metrics; None: the global one. Used where
            OpenTelemetry is installed (extra ``otel``).

    Raises:
        ModuleNotFoundError: boto3 is not installed and no client is given.
    """

    def __init__(
        self,
        stream_name: str,
        config: ProducerConfig | None = None,
        *,
        client: Any = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        meter_provider: Any = None,
    ) -> None:
        self._stream = stream_argument(stream_name)
        self._config = config or ProducerConfig()
        self._client = client or kinesis_client(self._config, region_name, endpoint_url, profile_name)
        metrics = Metrics(instruments(stream_name, self._config, meter_provider))
        self._engine = Engine(stream_name, self._config, metrics=metrics)
        self._changed = threading.Condition()
        self._unfinished = Unfinished()
        self._settling: dict[int, Put | PutMany] = {}
        self._sleeps_until: float | None = None
        self._closing = False
        self._closed = False
        self._process_id: int | None = None
        self._thread: threading.Thread | None = None
        self._calls = ThreadPoolExecutor(self._config.max_connections + 2, "shardpack-call")  # starts none yet

    def put(
        self,
        partition_key: str,
        data: BytesLike,
        explicit_hash_key: str | int | None = None,
        *,
        block: bool = True,
        timeout: float | None = None,
    ) -> Future[Delivery]:
        """Take a user record to deliver.

        Args:
            partition_key: 1 to 256 Unicode characters.
            data: the payload; a bytearray or memoryview is copied.
            explicit_hash_key: a number from 0 to 2^128-1 that overrides the partition key's hash.
            block: wait while ``max_outstanding_records`` or ``max_outstanding_bytes`` are on their way.
            timeout: most seconds to wait for that; None: as long as it takes.

        Returns:
            A future of its `Delivery`. It raises `DeliveryError`, with the user record and all attempts, when the
            record cannot be stored. Cancelling it does not take the record back.

        Raises:
            InvalidRecordError: a field breaks a rule of the service.
            RecordTooLargeError: the stream takes none so large.
            BufferFullError: there is no room, and it may not wait, or has waited long enough.
            RuntimeError: the producer is closed, or was started in another process.
        """
        record = check_user_record((partition_key, data, explicit_hash_key))
        future = DeliveryFuture()
        self._put(Put((record,), future), timeout if block else 0.0)
        return future

    def put_many(
        self, user_records: Iterable[UserRecordLike], *, block: bool = True, timeout: float | None = None
    ) -> Future[list[Delivery]]:
        """Take user records to deliver, with one future for all.

        They are taken together or not at all, and go out as by `put`, at a fraction of its processor time. Batches of
        some hundreds or thousands do best, because the producer does nothing else while it takes one.

        Args:
            user_records: `UserRecord` objects, or tuples of partition key, data, and perhaps explicit hash key.
            block: wait for room, as `put`; for more than ``max_outstanding_records`` or ``max_outstanding_bytes`` in
                one batch, until nothing else is on its way.
            timeout: most seconds to wait for that; None: as long as it takes.

        Returns:
            A future of the deliveries, in the order given, when all are there. It raises `BatchDeliveryError` when some
            cannot be stored: with those records, and the outcome of each.

        Raises:
            InvalidRecordError, RecordTooLargeError, BufferFullError, RuntimeError: as `put`, and nothing was taken.
        """
        records = [check_user_record(record) for record in user_records]
        future: Future[list[Delivery]] = Future()
        if records:
            self._put(PutMany(records, future), timeout if block else 0.0)
        else:
            future.set_result([])
        return future

    def _put(self, put: Put | PutMany, timeout: float | None) -> None:
        with self._changed:
            self._start()
            if not self._engine.has_room(put.records):
                self._wait_for_room(put.records, timeout)
            number = self._unfinished.next_number()
            is_news = self._engine.put(put.records, number, time.monotonic())
            self._unfinished.add(number, put)
            if is_news:
                self._wake()

    def flush(self, timeout: float | None = None) -> None:
        """Send what is there, and return when everything put before is delivered or has failed.

        Args:
            timeout: most seconds to wait; None: as long as it takes, which ``record_ttl`` bounds.

        Raises:
            TimeoutError: something is still on its way.
            RuntimeError: called from a future's callback, which runs on the thread that it would wait for.
        """
        self._check_thread()
        with self._changed:
            if self._thread is None:
                return
            last = self._unfinished.next_number()
            self._engine.flush(time.monotonic())
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._is_settled(last), timeout):
                left = self._engine.outstanding_records
                raise TimeoutError(f"{left:,} user records are still on their way after {timeout} s")

    def close(self, timeout: float | None = None) -> None:
        """Deliver what is there, then refuse `put`. Closing twice is harmless.

        Args:
            timeout: most seconds to wait; what is not delivered by then fails with `DeliveryError`. None: as long as
                it takes, which ``record_ttl`` bounds.

        Raises:
            RuntimeError: called from a future's callback, which runs on the thread that it would wait for.
        """
        self._check_thread()
        if self._process_id not in (None, os.getpid()):
            return  # a copy made by a fork, without a thread; the original still delivers
        with self._changed:
            self._closing = True
        try:
            self.flush(timeout)
        except TimeoutError:
            _log.warning("closed with %d user records still on their way", self._engine.outstanding_records)
        finally:
            self._stop()

    def stats(self) -> ProducerStats:
        """What it has done so far: counts, times and errors, under the names of the KPL's metrics."""
        with self._changed:
            return self._engine.stats()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a future's callback runs on the producer's own thread and cannot wait for it here")

    # From here to `_is_settled`, the lock is held.

    def _start(self) -> None:
        if self._closing:
            raise RuntimeError("the producer is closed; make a new one to put more")
        if self._thread is None:
            self._process_id = os.getpid()
            self._thread = threading.Thread(target=self._run, name="shardpack-producer", daemon=True)
            self._thread.start()
            atexit.register(_warn_if_open, weakref.ref(self))
        elif self._process_id != os.getpid():
            raise RuntimeError(
                f"this producer runs in process {self._process_id}; after a fork, make one in process {os.getpid()}"
            )

    def _wait_for_room(self, records: Sequence[UserRecord], timeout: float | None) -> None:
        if not self._changed.wait_for(lambda: self._closing or self._engine.has_room(records), timeout):
            raise self._engine.buffer_full_error(records)
        self._start()  # it may have been closed meanwhile

    def _wake(self) -> None:
        """Have the thread look again, if there is something for it before it would wake by itself."""
        deadline = self._engine.deadline()
        if deadline is not None and (self._sleeps_until is None or deadline < self._sleeps_until):
            self._sleeps_until = deadline
            self._changed.notify_all()

    def _is_settled(self, last: int) -> bool:
        return not self._unfinished.has_any_before(last) and next(iter(self._settling), last) >= last

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except BaseException as error:  # a bug of ours: nobody must wait for this thread for ever
            _log.exception("the producer's thread has failed")
            with self._changed:
                self._closing = True
            self._abandon(f"the producer has failed: {error!r}")
            raise

    def _step(self) -> bool:
        """One look at the engine; False at the end."""
        with self._changed:
            if self._closed:
                return False
            now = time.monotonic()
            actions = self._engine.poll(now)
            self._settling = self._unfinished.settle(self._engine.take_finished())
            if not actions and not self._settling:
                self._sleeps_until = self._engine.deadline()
                self._changed.wait(None if self._sleeps_until is None else max(0.0, self._sleeps_until - now))
                return True
        for action in actions:
            self._calls.submit(self._do, action)
        if self._settling:
            # Without the lock, because a future's callbacks are the application's.
            for put in self._settling.values():
                _settle(put)
            with self._changed:
                self._settling = {}
                self._changed.notify_all()
        return True

    def _do(self, action: Action) -> None:
        try:
            answer = self._call(action)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong in a call is an answer to it
            code, message = error_of(error)
            with self._changed:
                if not self._closed:
                    self._engine.failed(action, code, message, time.monotonic())
                    self._changed.notify_all()
        else:
            with self._changed:
                if not self._closed:
                    self._engine.answered(action, answer, time.monotonic())
                    self._changed.notify_all()

    def _call(self, action: Action) -> Any:
        if isinstance(action, PutRecords):
            return self._client.put_records(**self._stream, Records=action.request.entries)
        if isinstance(action, ListShards):
            return list_shards(self._client, self._stream, OPEN_SHARDS)
        return describe_stream(self._client, self._stream)

    def _stop(self) -> None:
        was_settled = self._abandon("the producer was closed before the record was delivered; it may be stored or not")
        if self._thread is not None:
            self._thread.join()
            self._calls.shutdown(wait=was_settled)

    def _abandon(self, message: str) -> bool:
        """Fail what is left; whether nothing was."""
        with self._changed:
            self._closed = True
            left = self._unfinished.abandon(message)
            self._engine.abandon()
            self._changed.notify_all()
        for put in left:
            _settle(put)
        return not left


def _settle(put: Put | PutMany) -> None:
    if put.future.set_running_or_notify_cancel():
        finish(put)


def _warn_if_open(reference: weakref.ref[Producer]) -> None:
    producer = reference()
    if producer is not None and producer._engine.outstanding_records and producer._process_id == os.getpid():  # noqa: SLF001
        _log.warning(
            "the interpreter exits with %d user records not delivered; close the producer, or use it in a with block",
            producer._engine.outstanding_records,  # noqa: SLF001
        )
