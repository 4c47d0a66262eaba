"""A Kinesis in memory, for tests: boto3's interface, the service's rules, a clock that stands still, faults on order.

::

    fake = FakeKinesis(streams={"events": 2})
    fake.script("put_records", error="ReadTimeoutError", after_storing=True)  # the first answer is lost
    my_application(client=fake, stream="events")
    assert [r.data for r in fake.user_records()] == [...]  # what a fleet of KCL consumers would be given

Needs botocore (``pip install 'shardpack[aws]'``): its model of Kinesis checks parameters, and its errors are raised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any, Self

from ..limits import MAX_REQUEST_BYTES
from ..records import ReceivedRecord
from ..unpacking.unpacker import unpack
from ._api import Api
from ._client import AsyncClient, Client
from ._clock import Clock, ManualClock, SystemClock
from ._script import Call, Fault, RecordFaults, Script, ScriptBook
from ._service import (
    ServiceError,
    check,
    client_error,
    client_exceptions,
    client_meta,
    normalised,
    response_metadata,
    scripted_error,
)
from ._shards import StoredShard, Stream

__all__ = ["AsyncFakeKinesis", "Call", "Clock", "FakeKinesis", "ManualClock", "Script", "SystemClock"]


class FakeKinesis(Client):
    """A scriptable Kinesis in memory with the interface of boto3's client. Thread-safe.

    Operations take boto3's keyword arguments, return boto3's responses and raise boto3's errors: ``ClientError`` with
    the service's ``Error.Code``, also catchable as ``client.exceptions.<Code>``, and ``ParamValidationError`` for what
    boto3 refuses before it calls. A stream is named by ``StreamName`` or ``StreamARN``, not by ``StreamId``.

    Time is the clock's: arrival timestamps, expiry, throttling and latency follow it, and nothing else moves it.

    Args:
        streams: streams to begin with: {name: number of shards}. More with `add_stream` and ``create_stream``.
        clock: a `ManualClock` (the default: one of its own), or `SystemClock()` for the real time.
        throttling: whether each shard takes only 1,000 records/s and 1 MiB/s (`PutRecords` API reference), saved up for
            at most a second; a larger record takes a full budget and leaves a debt. What is over the budget fails with
            ``ProvisionedThroughputExceededException``: in ``put_records`` record by record. Reads are never throttled
            by themselves; script that.
        max_request_bytes: most bytes in one ``put_records``, partition keys counted: 10 MiB as in the API reference;
            give ``5 * 1024 * 1024`` for the older rule.
        transition_seconds: how long a stream is CREATING, UPDATING or DELETING before the change takes effect; 0: at
            once.
        seed: of the order in which streams with the distribution strategy AUTO take their shards.

    Attributes:
        clock: the clock.
        calls: a `Call` for everything that reached the fake, oldest first. Clear it as you like.
        meta: ``region_name``, ``endpoint_url``, ``partition``, ``service_model`` and ``method_to_api_mapping``.
        exceptions: the classes of errors, as in boto3: ``client.exceptions.ResourceNotFoundException``.
        aio: the same Kinesis as an `AsyncFakeKinesis`.

    Raises:
        ModuleNotFoundError: botocore is not installed.
    """

    def __init__(
        self,
        *,
        streams: Mapping[str, int] | None = None,
        clock: Clock | None = None,
        throttling: bool = False,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        transition_seconds: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.clock: Clock = ManualClock() if clock is None else clock
        self.calls: list[Call] = []
        self.meta = client_meta()
        self.exceptions: Any = client_exceptions()
        self._lock = threading.RLock()
        self._book = ScriptBook()
        self._api = Api(
            self.clock,
            region=self.meta.region_name,
            throttling=throttling,
            max_request_bytes=max_request_bytes,
            transition_seconds=transition_seconds,
            seed=seed,
        )
        self.aio = AsyncFakeKinesis(self)
        for name, shards in (streams or {}).items():
            self.add_stream(name, shards)

    # What a test sets up and looks at

    def add_stream(
        self,
        name: str,
        shards: int = 1,
        *,
        on_demand: bool = False,
        distribution: str = "USER_PARTITION_KEY",
        max_record_size_kib: int = 1024,
    ) -> str:
        """Make a stream that is ACTIVE at once, without a call.

        Args:
            name: its name.
            shards: how many shards it has, each with an equal part of all hash keys.
            on_demand: whether it has the on-demand capacity mode.
            distribution: its ``RecordDistributionStrategy``; ``"AUTO"`` ignores keys and spreads records over the
                shards, in a seeded order that takes each shard once a round.
            max_record_size_kib: largest record that it takes, in KiB, partition key counted; 1,024 to 10,240.

        Returns:
            Its ARN.

        Raises:
            ValueError: there is such a stream, or the service would refuse it; the message says why.
        """
        parameters = {
            "StreamName": name,
            "ShardCount": shards,
            "MaxRecordSizeInKiB": max_record_size_kib,
            "RecordDistributionStrategy": distribution,
        }
        with self._lock:
            try:
                check(parameters)
                return self._api.add(parameters, on_demand=on_demand).arn
            except ServiceError as error:
                raise ValueError(error.message) from None

    def autoscale(self, shard_id: str, *, stream_name: str | None = None) -> None:
        """Split a shard in the middle of its hash range, in any capacity mode: what on-demand streams do by themselves.

        Args:
            shard_id: the open shard.
            stream_name: its stream; needed when there is more than one.

        Raises:
            ValueError: there is no such stream, or the shard cannot be split; the message says why.
        """
        with self._lock:
            stream = self._one_stream(stream_name)
            try:
                shard = stream.shard(shard_id)
                self._api.split(stream, shard, sum(shard.hash_range) // 2 + 1)
            except ServiceError as error:
                raise ValueError(error.message) from None

    def script(
        self,
        operation: str,
        *,
        error: str | BaseException | None = None,
        records: RecordFaults | None = None,
        after_storing: bool = False,
        throttle: Collection[str] = (),
        result_count: int | None = None,
        latency: float = 0.0,
        latency_after: float = 0.0,
        action: Callable[[], object] | None = None,
        when: Callable[[Mapping[str, Any]], bool] | None = None,
        times: int | None = 1,
        for_seconds: float | None = None,
    ) -> Script:
        """Say what is to go wrong. Faults of one entry happen together.

        An entry with `times` is used by so many calls, one entry a call, in the order of scripting. A standing one
        (``times=None``) meets every call, together with other standing ones and the one that is used.

        Args:
            operation: boto3's name of it, such as ``"put_records"``, or ``"*"`` for any.
            error: what the call raises: an error code of the service (``"InternalFailure"``); one of botocore's
                ``"ConnectTimeoutError"``, ``"ConnectionClosedError"``, ``"EndpointConnectionError"`` and
                ``"ReadTimeoutError"``; or an exception of your own.
            records: which records of a ``put_records`` fail: {index: error code}, or a function of index and entry that
                gives an error code or None.
            after_storing: `error` is raised, or `records` are said to have failed, though the call took effect, as when
                its response was lost.
            throttle: ids of shards that answer ``ProvisionedThroughputExceededException`` (``"*"``: all): to
                ``put_records`` record by record, to ``put_record``, ``get_records`` and ``get_shard_iterator`` by
                raising it.
            result_count: how many results ``put_records`` returns, be it too few or too many.
            latency: seconds that pass on the clock before the call takes effect; a `ManualClock` is moved.
            latency_after: seconds that pass after it took effect, before the caller has the answer or the error.
            action: called just before the call takes effect, for instance to split a shard under it. Other threads'
                calls wait meanwhile.
            when: only calls for whose parameters it holds.
            times: how many calls, or None for every one.
            for_seconds: forget the entry after so long on the clock; then `times` may well be None.

        Returns:
            The entry, as `scripts` has it until it is used up.

        Raises:
            ValueError: there is no such operation, a setting is out of its range, or the entry does nothing.
        """
        if for_seconds is not None and for_seconds <= 0:
            raise ValueError(f"for_seconds is {for_seconds}; give more than 0, or None for no end")
        until = None if for_seconds is None else self.clock.now() + for_seconds
        entry = Script(
            operation=operation,
            error=error,
            records=records,
            after_storing=after_storing,
            throttle=frozenset([throttle] if isinstance(throttle, str) else throttle),
            result_count=result_count,
            latency=latency,
            latency_after=latency_after,
            action=action,
            when=when,
            times=times,
            until=until,
        )
        with self._lock:
            self._book.add(entry)
        return entry

    @property
    def scripts(self) -> list[Script]:
        """The entries that are not used up, standing ones among them."""
        with self._lock:
            return self._book.waiting(self.clock.now())

    def clear_scripts(self, operation: str | None = None) -> None:
        """Forget what was scripted.

        Args:
            operation: only the entries scripted for this one; None: all.
        """
        with self._lock:
            self._book.clear(operation)

    def records(self, shard_id: str | None = None, *, stream_name: str | None = None) -> list[dict[str, Any]]:
        """Every Kinesis record that was ever stored, raw.

        Args:
            shard_id: only this shard; None: all that ever were, one after another, parents before children.
            stream_name: needed when there is more than one.

        Returns:
            As in a ``get_records`` response, with ``ShardId``, and ``ExplicitHashKey`` where it was put with one.

        Raises:
            ValueError: there is no such stream or shard.
        """
        with self._lock:
            stored = [(s, record) for s in self._shards(shard_id, stream_name) for record in s.records]
        return [
            record.as_boto3()
            | {"ShardId": shard.shard_id}
            | ({} if record.explicit_hash_key is None else {"ExplicitHashKey": record.explicit_hash_key})
            for shard, record in stored
        ]

    def user_records(self, shard_id: str | None = None, *, stream_name: str | None = None) -> list[ReceivedRecord]:
        """The user records that a fleet of KCL consumers would be given of everything stored.

        Each shard is read to its end, by the KCL's rules (``AggregatorUtil``): a sub-record whose hash key lies
        outside its shard's hash range costs the whole aggregate.

        Args:
            shard_id: see `records`.
            stream_name: see `records`.

        Raises:
            ValueError: there is no such stream or shard.
        """
        with self._lock:
            stored = [(s, list(s.records)) for s in self._shards(shard_id, stream_name)]
        return [
            received
            for shard, records in stored
            for received in unpack(
                [record.as_boto3() | {"ShardId": shard.shard_id} for record in records],
                on_corrupt="kcl",
                hash_range=shard.hash_range,
                out_of_range="drop_aggregate",
            )
        ]

    # How a call goes

    def _call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        call, fault = self._begin(operation, parameters)
        if fault.latency:
            self.clock.wait(fault.latency)
        self._perform(call, fault)
        if fault.latency_after:
            self.clock.wait(fault.latency_after)
        return call.outcome()

    def _begin(self, operation: str, parameters: dict[str, Any]) -> tuple[Call, Fault]:
        call = Call(operation, normalised(operation, parameters), self.clock.now())
        with self._lock:
            self.calls.append(call)
            return call, self._book.take(operation, call.parameters, call.time)

    def _perform(self, call: Call, fault: Fault) -> None:
        with self._lock:
            try:
                fault.act()
                self._raise_scripted(call, fault, after_storing=False)
                response = self._answer(call, fault)
                self._raise_scripted(call, fault, after_storing=True)
            except BaseException as error:  # noqa: BLE001  # raised by the caller, once the latency has passed
                call.error = error
            else:
                call.response = response

    def _answer(self, call: Call, fault: Fault) -> dict[str, Any]:
        try:
            check(call.parameters)
            answer = self._api.handler(call.operation)(call.parameters, fault)
        except ServiceError as error:
            raise client_error(error.code, error.message, call.operation) from None
        return answer | {"ResponseMetadata": response_metadata()}

    def _raise_scripted(self, call: Call, fault: Fault, *, after_storing: bool) -> None:
        error = fault.error(after_storing=after_storing)
        if error is not None:
            raise scripted_error(error, call.operation, self.meta.endpoint_url)

    def _one_stream(self, name: str | None) -> Stream:
        self._api.settle()
        streams = self._api.streams
        if name is None and len(streams) == 1:
            return next(iter(streams.values()))
        if name is None or name not in streams:
            raise ValueError(f"stream_name is {name!r}; the streams are {', '.join(streams) or 'none'}")
        return streams[name]

    def _shards(self, shard_id: str | None, stream_name: str | None) -> list[StoredShard]:
        stream = self._one_stream(stream_name)
        shards = [shard for shard in stream.shards if shard_id in (None, shard.shard_id)]
        if not shards:
            raise ValueError(f"stream {stream.name} never had the shard {shard_id!r}")
        return shards


class AsyncFakeKinesis(AsyncClient):
    """A `FakeKinesis` with the interface of aiobotocore's client: the same operations as coroutines.

    Streams, scripts, clock and calls are the fake's own, so a test may use both sides at once. Each call lets other
    tasks run before it takes effect; one that is cancelled then has taken no effect, one that is cancelled in the
    ``latency_after`` of a script has. `FakeKinesis` describes the operations.

    Args:
        fake: the Kinesis; ``fake.aio`` is this for it.

    Attributes:
        fake: the Kinesis.
        meta: see `FakeKinesis`.
        exceptions: see `FakeKinesis`.
    """

    def __init__(self, fake: FakeKinesis) -> None:
        self.fake = fake
        self.meta = fake.meta
        self.exceptions = fake.exceptions

    async def __aenter__(self) -> Self:
        """This client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes it, which does nothing."""
        await self.close()

    async def close(self) -> None:
        """Does nothing, as there is nothing to close."""

    async def _call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        fake = self.fake
        call, fault = fake._begin(operation, parameters)  # noqa: SLF001  # two halves of one thing
        await fake.clock.wait_async(fault.latency)
        fake._perform(call, fault)  # noqa: SLF001  # the second
        if fault.latency_after:
            await fake.clock.wait_async(fault.latency_after)
        return call.outcome()
