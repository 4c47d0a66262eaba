"""The producer for threads, on boto3."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
import time
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from .._kinesis_client import OPEN_SHARDS, describe_stream, error_of, kinesis_client, list_shards, stream_argument
from ..errors import DeliveryError
from ..records import BytesLike, UserRecord, check_user_record
from ._future import DeliveryFuture
from ._metrics import Metrics, ProducerStats
from ._otel import instruments
from .actions import Action, ListShards, PutRecords
from .config import ProducerConfig
from .delivery import Delivery
from .engine import Engine

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
        self._numbers = itertools.count()
        # Both in the order in which the records were put.
        self._unfinished: dict[int, tuple[UserRecord, Future[Delivery]]] = {}
        self._settling: dict[int, tuple[Future[Delivery], Delivery | DeliveryError]] = {}
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
        with self._changed:
            self._start()
            if not self._engine.has_room(record):
                self._wait_for_room(record, timeout if block else 0.0)
            number = next(self._numbers)
            is_news = self._engine.put(record, number, time.monotonic())
            self._unfinished[number] = record, future
            if is_news:
                self._wake()
        return future

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
            last = next(self._numbers)
            self._engine.flush(time.monotonic())
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._is_settled(last), timeout):
                raise TimeoutError(f"{len(self._unfinished):,} user records are still on their way after {timeout} s")

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
            _log.warning("closed with %d user records still on their way", len(self._unfinished))
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

    def _wait_for_room(self, record: UserRecord, timeout: float | None) -> None:
        if not self._changed.wait_for(lambda: self._closing or self._engine.has_room(record), timeout):
            raise self._engine.buffer_full_error(record)
        self._start()  # it may have been closed meanwhile

    def _wake(self) -> None:
        """Have the thread look again, if there is something for it before it would wake by itself."""
        deadline = self._engine.deadline()
        if deadline is not None and (self._sleeps_until is None or deadline < self._sleeps_until):
            self._sleeps_until = deadline
            self._changed.notify_all()

    def _is_settled(self, last: int) -> bool:
        return all(next(iter(numbers), last + 1) > last for numbers in (self._unfinished, self._settling))

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
            self._settling = {
                number: (self._unfinished.pop(number)[1], outcome)
                for number, outcome in self._engine.take_finished()
                if number in self._unfinished  # not if Ctrl-C fell into its `put`: then nobody has its future
            }
            if not actions and not self._settling:
                self._sleeps_until = self._engine.deadline()
                self._changed.wait(None if self._sleeps_until is None else max(0.0, self._sleeps_until - now))
                return True
        for action in actions:
            self._calls.submit(self._do, action)
        if self._settling:
            # Without the lock, because a future's callbacks are the application's.
            for future, outcome in self._settling.values():
                _settle(future, outcome)
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
            left, self._unfinished = self._unfinished, {}
            self._engine.abandon()
            self._changed.notify_all()
        for record, future in left.values():
            _settle(future, DeliveryError(message, records=(record,), retriable=True))
        return not left


def _settle(future: Future[Delivery], outcome: Delivery | DeliveryError) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Delivery):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)


def _warn_if_open(reference: weakref.ref[Producer]) -> None:
    producer = reference()
    if producer is not None and producer._unfinished and producer._process_id == os.getpid():  # noqa: SLF001
        _log.warning(
            "the interpreter exits with %d user records not delivered; close the producer, or use it in a with block",
            len(producer._unfinished),  # noqa: SLF001
        )
