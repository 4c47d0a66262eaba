"""Enhanced fan-out behind the calls of polling: `SubscribeToShard` pushes, `get_records` gives what has come.

So leases, positions and reshards are those of polling. A subscription lasts for five minutes; the next one is begun
when its records are asked for, after the last sequence number that it reached, which leaves no gap and repeats nothing.
A worker that has lost a shard asks no more, and so never takes the subscription back (`SubscribeToShard` API reference:
a later call ends the subscription before, at the earliest after five seconds).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from ...aws.errors import error_of
from ...aws.streams import describe_stream
from ...limits import MIB

_log = logging.getLogger("shardpack.consumer")

LOOKING_SECONDS = 0.2
"""How often to look for what was pushed: it waits in memory, so looking costs nothing."""

_MOST_WAITING = 16 * MIB  # of a shard, before its subscription is read on
_MOST_AT_ONCE = 8 * MIB  # in one answer
_REGISTRATION_SECONDS = 60.0
_TAKEN_OVER = 3  # times in a row; a worker that has lost its shard asks no more, so this one has not
_NOT_ALLOWED = frozenset(
    {"AccessDeniedException", "AccessDenied", "LimitExceededException", "InvalidArgumentException"}
)
_NOT_ALLOWED |= {"UnknownOperationException", "InternalFailure"}  # of servers that do not have it


class FanOut:
    """A Kinesis client whose records are pushed.

    Args:
        client: boto3's.
        stream: how calls name the stream.
        name: of the stream consumer, which is registered if it is not, and stays registered: it costs by the hour, and
            belongs to the application, not to one worker.
    """

    def __init__(self, client: Any, stream: Mapping[str, str], name: str) -> None:
        self._client = client
        self._stream = stream
        self._name = name
        self._lock = threading.Lock()
        self._arn: str | None = None
        self._is_polling = False
        self._subscriptions: dict[str, _Subscription] = {}
        self._has_warned = False

    def __getattr__(self, call: str) -> Any:
        return getattr(self._client, call)

    def get_shard_iterator(self, **arguments: Any) -> dict[str, Any]:
        """Where a subscription shall begin; nothing is asked of Kinesis but the registration, once."""
        arn = self._consumer_arn()
        if arn is None:
            iterator: dict[str, Any] = self._client.get_shard_iterator(**arguments)
            return iterator
        subscription = _Subscription(self._client, arn, arguments["ShardId"], _starting_position(arguments))
        with self._lock:
            before = self._subscriptions.pop(subscription.shard_id, None)
            self._subscriptions[subscription.shard_id] = subscription
        if before is not None:
            before.close()
        return {"ShardIterator": subscription.token}

    def get_records(self, **arguments: Any) -> dict[str, Any]:
        """What has been pushed since; none, if nothing was."""
        token = arguments["ShardIterator"]
        with self._lock:
            found = [one for one in self._subscriptions.values() if one.token == token]
        if not found:
            if is_pushed(token):
                raise _ExpiredError
            answer: dict[str, Any] = self._client.get_records(**arguments)
            return answer
        if found[0].taken_over >= _TAKEN_OVER:
            self._warn_of_another()
        try:
            return found[0].take()
        except Exception as error:
            if error_of(error)[0] not in _NOT_ALLOWED:
                raise
            self._poll_from_now_on(error)
            raise _ExpiredError from None  # the reader goes on from where it is, with an iterator of polling

    def close(self) -> None:
        """End all subscriptions; the stream consumer stays registered."""
        with self._lock:
            subscriptions = list(self._subscriptions.values())
            self._subscriptions.clear()
        for subscription in subscriptions:
            subscription.close()

    def _consumer_arn(self) -> str | None:
        """The stream consumer's, or None to poll."""
        with self._lock:
            if self._is_polling or self._arn is not None:
                return self._arn
            try:
                self._arn = self._registered()
            except Exception as error:
                code = error_of(error)[0]
                if code not in _NOT_ALLOWED:
                    raise
                refused = error
            else:
                return self._arn
        self._poll_from_now_on(refused)
        return None

    def _poll_from_now_on(self, refused: Exception) -> None:
        with self._lock:
            if self._is_polling:
                return
            self._is_polling, self._arn = True, None
            subscriptions = list(self._subscriptions.values())
            self._subscriptions.clear()
        for subscription in subscriptions:
            subscription.close()
        _log.warning(
            "enhanced fan-out for %s is not allowed here (%s): reading by GetRecords instead; it takes the permissions"
            " kinesis:RegisterStreamConsumer, DescribeStreamConsumer and SubscribeToShard, and a free place among the"
            " stream's consumers",
            self._name,
            ": ".join(error_of(refused)),
        )

    def _warn_of_another(self) -> None:
        with self._lock:
            if self._has_warned:
                return
            self._has_warned = True
        _log.error(
            "another application reads %s as the stream consumer %s, and each takes the other's subscriptions over;"
            " give each application a fan_out of its own",
            next(iter(self._stream.values())),
            self._name,
        )

    def _registered(self) -> str:
        arn = self._stream.get("StreamARN")
        if arn is None:
            arn = describe_stream(self._client, self._stream)["StreamARN"]
        deadline = time.monotonic() + _REGISTRATION_SECONDS
        while True:
            try:
                told = self._client.describe_stream_consumer(StreamARN=arn, ConsumerName=self._name)
                if told["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE":
                    found: str = told["ConsumerDescription"]["ConsumerARN"]
                    return found
            except Exception as error:
                if error_of(error)[0] != "ResourceNotFoundException":
                    raise
                self._register(arn)
            if time.monotonic() > deadline:
                raise TimeoutError(f"the stream consumer {self._name} is not ACTIVE after {_REGISTRATION_SECONDS:g} s")
            time.sleep(0.2)

    def _register(self, stream_arn: str) -> None:
        try:
            self._client.register_stream_consumer(StreamARN=stream_arn, ConsumerName=self._name)
        except Exception as error:
            if error_of(error)[0] != "ResourceInUseException":  # another worker has just done it
                raise


_OURS = "fan-out:"


def is_pushed(iterator: str) -> bool:
    """Whether this iterator is a subscription's."""
    return iterator.startswith(_OURS)


class _ExpiredError(Exception):
    """To be asked for a new iterator."""

    response: Mapping[str, Any] = {"Error": {"Code": "ExpiredIteratorException", "Message": "begin a new subscription"}}


class _Subscription:
    """One shard's records, in the order in which they come, over as many calls as it takes."""

    def __init__(self, client: Any, consumer_arn: str, shard_id: str, position: dict[str, Any]) -> None:
        self._client = client
        self._consumer_arn = consumer_arn
        self.shard_id = shard_id
        self.token = f"{_OURS}{shard_id}:{id(self):x}"
        self._position = position
        self._changed = threading.Condition()
        self._events: deque[dict[str, Any]] = deque()
        self._waiting = 0
        self._reading: threading.Thread | None = None
        self._stream: Any = None
        self._error: Exception | None = None
        self._closed = False
        self._millis: int | None = None
        self.taken_over = 0  # times in a row that another call for the same shard has ended the subscription

    def take(self) -> dict[str, Any]:
        """What has come, as `GetRecords` would answer."""
        with self._changed:
            error, self._error = self._error, None
            if error is not None and not self._events:
                raise error
            self._error = error
            if not self._events and self._reading is None and not self._closed:
                reading = threading.Thread(target=self._read, name=f"fan-out {self.shard_id}", daemon=True)
                reading.start()  # it fails while the system has no thread left, and is tried again
                self._reading = reading
            records: list[dict[str, Any]] = []
            size, last = 0, None
            while self._events and size < _MOST_AT_ONCE:
                last = self._events.popleft()
                records += last["Records"]
                size += _size(last)
                self._millis = last.get("MillisBehindLatest")
            self._waiting -= size
            self._changed.notify_all()
        answer = {"Records": records, "NextShardIterator": self.token, "MillisBehindLatest": self._millis}
        if last is not None and not last.get("ContinuationSequenceNumber"):
            answer |= {"NextShardIterator": None, "ChildShards": last.get("ChildShards") or []}
        return answer

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            stream = self._stream
        if stream is not None:
            stream.close()

    def _read(self) -> None:
        """One call, until its five minutes are over."""
        try:
            response = self._client.subscribe_to_shard(
                ConsumerARN=self._consumer_arn, ShardId=self.shard_id, StartingPosition=self._position
            )
            with self._changed:
                self._stream = response["EventStream"]
            for event in self._stream:
                if not self._keep(event):
                    break
            self.taken_over = 0
        except Exception as error:  # noqa: BLE001  # told to who asks next
            with self._changed:
                if not self._closed:
                    self._error = error
        finally:
            with self._changed:
                stream, self._stream, self._reading = self._stream, None, None
            if stream is not None:
                stream.close()

    def _keep(self, event: Mapping[str, Any]) -> bool:
        """Keep an event for who asks; whether to read on."""
        told = event.get("SubscribeToShardEvent")
        if told is None:
            ((code, why),) = event.items()
            with self._changed:
                self.taken_over += code == "ResourceInUseException"
            raise _EventError(code, why)
        number = told.get("ContinuationSequenceNumber")
        with self._changed:
            while self._waiting > _MOST_WAITING and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._events.append(dict(told))
            self._waiting += _size(told)
            if number:
                self._position = {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": number}
        return bool(number)


class _EventError(Exception):
    """An exception that came as an event."""

    def __init__(self, code: str, why: Mapping[str, Any]) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": why.get("message") or why.get("Message") or code}}


def _size(event: Mapping[str, Any]) -> int:
    return sum(len(record["Data"]) for record in event["Records"])


def _starting_position(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`SubscribeToShard`'s StartingPosition for the arguments of `GetShardIterator`."""
    position = {"Type": arguments["ShardIteratorType"]}
    for name, of_iterator in (("SequenceNumber", "StartingSequenceNumber"), ("Timestamp", "Timestamp")):
        if of_iterator in arguments:
            position[name] = arguments[of_iterator]
    return position
