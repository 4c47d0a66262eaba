"""A Kinesis in memory that pushes, as enhanced fan-out does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from shardpack.testing import FakeKinesis


class CodedError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": code}}


class Pushing:
    """A Kinesis that pushes: FakeKinesis behind `SubscribeToShard`, whose subscriptions end after so many events.

    Attributes:
        subscribed: the starting position of each call.
        refuse: codes that calls answer with, by the call's name, one after the other.
    """

    def __init__(self, kinesis: FakeKinesis, events: int = 3, *, ends_with: str | None = None) -> None:
        self._kinesis = kinesis
        self._events = events
        self._ends_with = ends_with
        self.subscribed: list[dict[str, Any]] = []
        self.refuse: dict[str, list[str]] = {}
        self.registered: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kinesis, name)

    def _check(self, call: str) -> None:
        if self.refuse.get(call):
            raise CodedError(self.refuse[call].pop(0))

    def describe_stream_consumer(self, *, StreamARN: str, ConsumerName: str) -> dict[str, Any]:
        self._check("describe_stream_consumer")
        if ConsumerName not in self.registered:
            raise CodedError("ResourceNotFoundException")
        return {"ConsumerDescription": {"ConsumerStatus": "ACTIVE", "ConsumerARN": f"{StreamARN}/{ConsumerName}"}}

    def register_stream_consumer(self, *, StreamARN: str, ConsumerName: str) -> None:  # noqa: ARG002  # as the service takes it
        self._check("register_stream_consumer")
        self.registered.append(ConsumerName)

    def subscribe_to_shard(self, *, ConsumerARN: str, ShardId: str, StartingPosition: dict[str, Any]) -> Any:
        assert ConsumerARN.endswith("/app")
        self._check("subscribe_to_shard")
        self.subscribed.append(StartingPosition)
        return {"EventStream": Events(self._pushed(ShardId, StartingPosition))}

    def _pushed(self, shard_id: str, position: dict[str, Any]) -> Iterator[dict[str, Any]]:
        names = {"Type": "ShardIteratorType", "SequenceNumber": "StartingSequenceNumber", "Timestamp": "Timestamp"}
        where = {names[name]: value for name, value in position.items()}
        iterator = self._kinesis.get_shard_iterator(StreamName="s", ShardId=shard_id, **where)["ShardIterator"]
        last = position.get("SequenceNumber")
        for _ in range(self._events):
            answer = self._kinesis.get_records(ShardIterator=iterator, Limit=1)
            iterator = answer.get("NextShardIterator")
            if answer["Records"]:
                last = answer["Records"][-1]["SequenceNumber"]
            elif last is None:  # it has nothing yet to go on after
                time.sleep(0.01)
                continue
            told = {"Records": answer["Records"], "MillisBehindLatest": answer["MillisBehindLatest"]}
            told |= {"ContinuationSequenceNumber": last} if iterator else {"ChildShards": answer.get("ChildShards", [])}
            yield {"SubscribeToShardEvent": told}
            if not iterator:
                return
        if self._ends_with == "raise":
            raise CodedError("ConnectionClosedError")
        if self._ends_with:
            yield {self._ends_with: {"message": "over"}}


class Events:
    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self.is_closed = False

    def __iter__(self) -> Iterator[Any]:
        return self._events

    def close(self) -> None:
        self.is_closed = True
