"""The consumer for threads, on boto3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

from ...aws.client import kinesis_client
from ...aws.streams import stream_argument
from ...leases.lease import Leases
from ...limits import check_callable, check_optional, check_timeout
from ...records import ReceivedRecord
from ..batch import Batch
from ..config import ConsumerConfig
from ..core.handling import OnFailure, Policy
from ..loss import DataLoss
from ..reading.fan_out import LOOKING_SECONDS, FanOut
from ..reading.streams import NAME as MANY
from ..reading.streams import ManyStreams
from ..spans import Spans
from .beginning import Streams, check_arguments, check_hook, directory_of, engine_for
from .driving.seat import Seat
from .observing import Observed
from .running import Run
from .threads import Shell


class Consumer(Observed):
    """Reads a Kinesis stream's user records: shards shared with other workers by leases, resumed where they were left.

    Iterate over it from one thread, or let `run` call a handler from several. It starts when it is first asked for a
    batch; until then it may be carried over a fork.

    Args:
        stream_name: the stream's name or ARN.
        leases: where it is kept who reads which shard and how far they are: `SQLiteLeases` for the processes of one
            machine, `DynamoDBLeases` for a fleet, `MemoryLeases` for one process that begins anew each time.
        streams: several streams in the place of one: their names or ARNs, or a function that finds them, which is asked
            every ``shard_sync_interval`` seconds. A stream of an application of the KCL may be named as that one names
            it, ``account:stream:epoch``, to go on from its leases. `Batch.stream_name` tells which stream records are
            of. A stream that is not given any more rests, and goes on where it was when it is given again. Leases have
            the KCL's keys of multi-stream applications (``account:stream:epoch:shard``), and so does `start_at`.
        start: where to read from when nothing is done yet: ``"TRIM_HORIZON"`` (all that the stream holds),
            ``"LATEST"`` (what comes from now on) or a moment, a `datetime` with a time zone (``AT_TIMESTAMP``).
        start_at: for single shards, {shard id: (``"AT_SEQUENCE_NUMBER"`` or ``"AFTER_SEQUENCE_NUMBER"``, number)}.
        worker_id: this worker's name in the leases; no two may share one. None: host, process and a random number, anew
            in each process that is forked before the start.
        config: the settings; `ConsumerConfig()` has the KCL's defaults.
        client: a boto3 Kinesis client to use. None: one is made from the following, with timeouts and connections by
            the config and without retries of its own.
        region_name: as boto3 takes it; None: as boto3 finds it.
        endpoint_url: the same.
        profile_name: the same.
        meter_provider: an OpenTelemetry ``MeterProvider`` for the metrics; None: the global one. Used where
            OpenTelemetry is installed.
        tracer_provider: an OpenTelemetry ``TracerProvider`` for the spans, one a batch; None: the global one. In the
            iteration a batch's span lasts until the next one is asked for.
        fan_out: read by enhanced fan-out, as the stream consumer of this name: registered if it is not, and left
            registered. Kinesis then pushes records within some 70 ms, and each shard's 2 MB/s are the application's
            own. Where that is not allowed, it is said once, and `GetRecords` is used. None: `GetRecords`.
        on_data_loss: called with a `DataLoss` when records of a shard have expired before they were read, before the
            shard's next batch is given. When it raises, the shard stops with that error, as a shard stops whose handler
            fails; to end the whole consumer, it may call `stop` first. None: losses are logged and counted only.

    Raises:
        ValueError: `start` or `start_at` is no starting position.
        ModuleNotFoundError: boto3 is not installed and no client is given.
    """

    def __init__(
        self,
        stream_name: str | None = None,
        *,
        leases: Leases,
        streams: Streams | None = None,
        start: str | datetime = "TRIM_HORIZON",
        start_at: Mapping[str, tuple[str, str]] | None = None,
        worker_id: str | None = None,
        config: ConsumerConfig | None = None,
        client: Any = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        profile_name: str | None = None,
        meter_provider: Any = None,
        tracer_provider: Any = None,
        fan_out: str | None = None,
        on_data_loss: Callable[[DataLoss], object] | None = None,
    ) -> None:
        check_optional("fan_out", fan_out, str)
        check_hook(on_data_loss)
        directory = self._directory = directory_of(stream_name, streams, fan_out)
        stream_name = stream_name or MANY
        check_arguments(stream_name, leases, worker_id, config)
        config = config or ConsumerConfig()
        client = client or kinesis_client(config, region_name, endpoint_url, profile_name)
        self._fan_out = FanOut(client, stream_argument(stream_name), fan_out) if fan_out is not None else None
        if self._fan_out is not None:
            client, config = self._fan_out, replace(config, idle_time_between_reads=LOOKING_SECONDS)
        if directory is not None:
            client = ManyStreams(client, directory)
        make = partial(engine_for, stream_name, worker_id, config, start, start_at, meter_provider, leases)
        self._failover_time = config.failover_time
        self._shell: Shell = Shell(make, config, client, stream_argument(stream_name), leases, self._end, on_data_loss)
        self._spans = Spans(stream_name, tracer_provider)
        self._seat = Seat()

    # Batch by batch.

    def next_batch(self, timeout: float | None = None) -> Batch | None:
        """The next user records of a shard; asking for them says that the batch before is no longer worked on.

        Args:
            timeout: most seconds to wait; None: as long as it takes.

        Returns:
            The batch; None if there was none in time, or after `stop`.

        Raises:
            DecodeError: a Kinesis record is corrupt and the config says ``on_corrupt="raise"``, or the like for
                ``out_of_range``; its shard stops there, and the others go on.
            LeaseStoreError: the leases cannot be used.
            ClientError: botocore's: Kinesis refuses what no retry mends, such as the permission.
            RuntimeError: the consumer is closed, or was started in another process.
        """
        check_timeout(timeout)
        seat = self._seat
        before = seat.taken
        self._spans.ended()
        try:
            delivered = self._shell.take(seat, timeout)
            if delivered is None:
                return None
            batch = self._shell.batch(delivered, delivered.records)
            error = delivered.error or self._shell.told_of_losses(delivered)
            if error is None:
                self._spans.began(delivered.hold.lease.key, delivered.records)
            seat.taken = delivered
            if error is None:
                return batch
        except BaseException:  # what the application has not got is given again
            seat.taken = before
            raise
        if delivered.error is None:
            self._shell.done(seat, stop=True)
        raise error

    def __iter__(self) -> Iterator[Batch]:
        """Batch after batch, until `stop`."""
        return iter(self.next_batch, None)  # without a step of ours in which a batch could be lost to an interrupt

    # By a handler.

    def run(
        self,
        handler: Callable[[Batch], object],
        *,
        workers: int = 1,
        on_failure: OnFailure = "stop",
        divert: Callable[[ReceivedRecord, Exception], object] | None = None,
        max_attempts: int = 1,
    ) -> None:
        """Call a handler with batch after batch, shards side by side, until `stop`.

        When the handler returns, its batch is checkpointed, if it has not done so itself; one checkpoint is written
        while the next batch is handled. When it raises `LeaseLostError`, the batch is another worker's.

        Args:
            handler: called with each `Batch`, from threads, but for one shard with one at a time. It has failed when
                it raises. Which of its records are done only the handler knows, so those that it has not checkpointed
                itself are handed to it again; see `run_each` for handlers that take one record.
            workers: batches handled at a time, in as many threads.
            on_failure: what follows when the handler has failed ``max_attempts`` times in a row. ``"stop"``: nothing
                more of the shard is handled, and its lease is kept, so that no other worker stumbles on the same; the
                other shards go on. ``"divert"``: the batch is handed over record by record, each so many times, and
                one that fails goes to ``divert``.
            divert: called with a user record and the error of the last attempt at it. When it raises itself, the shard
                stops there.
            max_attempts: calls in a row before it has failed, with exponential waits and full jitter between them.

        Raises:
            ExceptionGroup: the errors that stopped shards, each with a note that says where. Raised after `stop`, or
                once every shard that this worker holds has stopped.
            KeyboardInterrupt: Ctrl-C; the batches in hand have been finished.
            ValueError: a setting is out of its range, or does not go together with another.
            LeaseStoreError, ClientError, RuntimeError: see `next_batch`.
        """
        check_callable("handler", handler, "a function that takes a batch")
        policy = Policy(False, workers, on_failure, max_attempts, divert is not None)
        Run(self._shell, policy, handler, divert, self._spans).until_stopped()

    def run_each(
        self,
        handler: Callable[[ReceivedRecord], object],
        *,
        workers: int = 1,
        on_failure: OnFailure = "stop",
        divert: Callable[[ReceivedRecord, Exception], object] | None = None,
        max_attempts: int = 1,
    ) -> None:
        """Call a handler with user record after user record, shards side by side, until `stop`.

        As `run`, but exact to the record: a record is done when the handler returns, a failure stops the shard at the
        record, and only that one is tried again.
        """
        check_callable("handler", handler, "a function that takes a user record")
        policy = Policy(True, workers, on_failure, max_attempts, divert is not None)
        Run(self._shell, policy, handler, divert, self._spans).until_stopped()

    def stop(self) -> None:
        """Have the iteration, or `run`, end after the batches in hand; from any thread, or from a signal handler."""
        self._shell.stop()

    def close(self, timeout: float | None = None) -> None:
        """Write what was checkpointed, and give the leases up, so that other workers can have them at once.

        Args:
            timeout: most seconds to wait; after the failover time the leases are free in any case. None: that long.
        """
        check_timeout(timeout)
        self._spans.ended()
        self._shell.close(self._failover_time if timeout is None else timeout)

    def _end(self) -> None:
        if self._fan_out is not None:
            self._fan_out.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._spans.ended(exc)
        self.close()
