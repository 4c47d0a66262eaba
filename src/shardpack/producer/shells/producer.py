"""The producer for threads, on boto3."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Self

from ...aws.client import kinesis_client
from ...aws.streams import stream_argument
from ...errors import RecordTooLargeError
from ...limits import check_optional, check_timeout
from ...records import BytesLike, UserRecord, UserRecordLike, check_user_record
from ..config import ProducerConfig
from ..core.bulk import checked, user_record_of
from ..core.engine import Engine
from ..core.metrics import Metrics, ProducerStats
from ..core.ordering.keys import Keys, identity_of
from ..core.room import Room
from ..delivery import Delivery
from .calls import call
from .future import BatchFuture, DeliveryFuture
from .inbox import Close, Flush, Look, Resume
from .otel import instruments
from .process import check_process, forget, forks, watch
from .unfinished import PutMany
from .work import Work
from .worker import PATIENCE, Worker, receive

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
        check_optional("config", config, ProducerConfig)
        self._config = config or ProducerConfig()
        self._client = client or kinesis_client(self._config, region_name, endpoint_url, profile_name)
        metrics = Metrics(instruments(stream_name, self._config, meter_provider))
        work = Work(partial(Engine, stream_name, self._config, metrics=metrics, keys=Keys()))
        self._engine = work.engine
        self._worker = Worker(work, Room(self._config), partial(call, self._client, self._stream))
        self._forks: int | None = None  # of its process, once it has started

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
            BufferFullError: there is no room, and it may not wait, or has waited long enough; or it was called from a
                future's callback, which runs on the thread that makes the room.
            RuntimeError: the producer is closed, or was started in another process.
        """
        if timeout is not None:
            check_timeout(timeout)
        fields = user_record_of(partition_key, data, explicit_hash_key)
        try:
            size = self._engine.measure_one(fields)
        except RecordTooLargeError:
            self._wake()
            raise
        if self._forks != forks() or self._worker.closing:
            self._start()
        future = DeliveryFuture(fields, size, time.monotonic())
        self._worker.put(future, 1, timeout if block else 0.0)
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
        check_timeout(timeout)
        records = checked(user_records)
        self._start()
        future = BatchFuture()
        if records:
            try:
                size = self._engine.measure(records)
            except RecordTooLargeError:
                self._wake()
                raise
            put = PutMany(records, future, size, time.monotonic())
            self._worker.put(put, len(records), timeout if block else 0.0)
        else:
            future.set_result([])
        return future

    def flush(self, timeout: float | None = None) -> None:
        """Send what is there, and return when everything put before is delivered or has failed.

        Args:
            timeout: most seconds to wait; None: as long as it takes, which ``record_ttl`` bounds.

        Raises:
            TimeoutError: something is still on its way.
            RuntimeError: called from a future's callback, which runs on the thread that it would wait for; or the
                producer was started in another process.
        """
        check_timeout(timeout)
        self._check_thread()
        check_process(self._forks)
        if self._forks is None:
            return
        flush = Flush()
        self._worker.send(flush)
        # When all is settled already, the answer takes a moment all the same.
        if not receive(flush.reply, timeout) and not (self._worker.is_settled() and receive(flush.reply, PATIENCE)):
            raise TimeoutError(f"{self.outstanding_records():,} user records are still on their way after {timeout} s")

    def close(self, timeout: float | None = None) -> list[UserRecord]:
        """Deliver what is there, then refuse `put`. Closing twice is harmless, and answers the same.

        In a process made by a fork it does nothing: the original still delivers.

        Args:
            timeout: most seconds to wait; what is not delivered by then fails with `DeliveryError`. None: as long as
                it takes, which ``record_ttl`` bounds.

        Returns:
            The user records that were on their way when it ended, in put order: they may be stored or not, and their
            futures say the same. Empty when everything was delivered, or had failed before.

        Raises:
            RuntimeError: called from a future's callback, which runs on the thread that it would wait for.
        """
        check_timeout(timeout)
        self._check_thread()
        if self._forks not in (None, forks()):
            return []
        self._worker.closing = True
        until = None if timeout is None else time.monotonic() + timeout
        try:
            self.flush(timeout)
            # Again, for a put that had looked before it was closing, and came after the flush.
            self.flush(None if until is None else until - time.monotonic())
        except TimeoutError:
            _log.warning("closed with %d user records still on their way", self.outstanding_records())
        finally:
            self._stop()
        return self._worker.undelivered()

    def resume(self, partition_key: str, explicit_hash_key: str | int | None = None) -> None:
        """Send records of a key again that was halted, because one of them had failed (``on_failure="halt_key"``).

        Records of the key that were put before still fail. For a key that is not halted it does nothing.

        Args:
            partition_key: the key.
            explicit_hash_key: of records that have one of their own, it takes the partition key's place.

        Raises:
            InvalidRecordError: a field breaks a rule of the service.
            RuntimeError: the producer is closed, or was started in another process.
        """
        identity = identity_of(check_user_record((partition_key, b"", explicit_hash_key)))
        self._start()
        self._worker.send(Resume(identity))

    def stats(self) -> ProducerStats:
        """What it has done so far: counts, times and errors, under the names of the KPL's metrics.

        Raises:
            RuntimeError: the producer was started in another process.
        """
        check_process(self._forks)
        return self._worker.stats()

    def is_healthy(self, within: float = 30.0) -> bool:
        """Whether it works, for a liveness probe: what is put is delivered.

        True before the first `put`, and while nothing is on its way. False when user records wait and none was
        delivered for a while, when all of them have expired since the last delivery, after `close`, and after what
        nothing mends.

        Args:
            within: the while, in seconds; as long as the KPL waits for its own process by default
                (``daemonHealthCheckTimeoutMs``).

        Raises:
            RuntimeError: the producer was started in another process.
        """
        check_timeout(within, "within")
        check_process(self._forks)
        return self._worker.is_healthy(within)

    def outstanding_records(self) -> int:
        """How many user records it has taken that are not delivered and have not failed.

        Returns:
            The number; 0 in a process made by a fork, where none is its own.
        """
        return self._worker.outstanding() if self._forks == forks() else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_thread(self) -> None:
        if self._worker.is_current():
            raise RuntimeError("a future's callback runs on the producer's own thread and cannot wait for it here")

    def _start(self) -> None:
        if self._forks is None:
            watch(self)
            self._forks = forks()
        check_process(self._forks)
        if self._worker.closing:
            raise RuntimeError("the producer is closed; make a new one to put more")

    def _wake(self) -> None:
        """Have its thread see that the stream's limit is in doubt, where nothing else would wake it."""
        if self._forks == forks() and not self._worker.closing:
            self._worker.send(Look())

    def _stop(self) -> None:
        if self._forks is not None:
            close = Close()
            self._worker.send(close)
            for thread in close.reply.get():
                thread.join()
        forget(self)
