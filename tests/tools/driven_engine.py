"""The producer's engine, and a clock in the test's hand."""

from __future__ import annotations

from typing import Any

import shardpack as sp
from shardpack.limits import MAX_HASH_KEY
from shardpack.producer import Delivery, ProducerConfig
from shardpack.producer.core.actions import Action, DescribeStream, ListShards, PutRecords
from shardpack.producer.core.engine import Engine
from shardpack.producer.core.ordering.keys import Keys

HALF = (MAX_HASH_KEY + 1) // 2


THROTTLED = "ProvisionedThroughputExceededException"


def shard(shard_id: str, start: int, end: int) -> dict[str, Any]:
    return {
        "ShardId": shard_id,
        "HashKeyRange": {"StartingHashKey": str(start), "EndingHashKey": str(end)},
        "SequenceNumberRange": {"StartingSequenceNumber": "1"},
    }


ONE = [shard("s", 0, MAX_HASH_KEY)]


TWO = [shard("low", 0, HALF - 1), shard("high", HALF, MAX_HASH_KEY)]


LOW, HIGH = str(HALF - 1), str(HALF)


class Driven:
    """An engine, and a clock in the test's hand."""

    def __init__(
        self, shards: list[dict[str, Any]] | None = None, *, keys: Keys | None = None, **settings: Any
    ) -> None:
        self.engine = Engine("stream", ProducerConfig(**settings), random=lambda: 1.0, keys=keys)
        self.now = 100.0
        self.outcomes: dict[object, Delivery | sp.DeliveryError] = {}
        self.sequence_number = 0
        if shards is not None:
            assert {type(action) for action in self.poll()} == {ListShards, DescribeStream}
            self.engine.answered(ListShards(), shards, self.now)
            self.engine.answered(DescribeStream(), {}, self.now)

    def put(self, token: object, key: str = "k", data: bytes = b"data", hash_key: str | None = None) -> None:
        self.engine.put([sp.UserRecord(key, data, hash_key)], token, self.now)

    def poll(self, after: float = 0.0) -> list[Action]:
        self.now += after
        actions = self.engine.poll(self.now)
        self.settle()
        return actions

    def puts(self, after: float = 0.0) -> list[PutRecords]:
        actions = self.poll(after)
        assert all(isinstance(action, PutRecords) for action in actions), actions
        return [action for action in actions if isinstance(action, PutRecords)]

    def until_put(self) -> PutRecords:
        """The next call, at the engine's own deadlines."""
        for _ in range(100):
            puts = [action for action in self.poll() if isinstance(action, PutRecords)]
            if puts:
                (put,) = puts
                return put
            deadline = self.engine.deadline()
            assert deadline is not None, "it waits for nothing"
            self.now = max(self.now, deadline)
        raise AssertionError("it never puts")

    def stored(self, put: PutRecords, shard_id: str = "s") -> None:
        results = []
        for _ in put.request.records:
            self.sequence_number += 1
            results.append({"ShardId": shard_id, "SequenceNumber": str(self.sequence_number)})
        self.answered(put, results)

    def answered(self, put: PutRecords, results: list[dict[str, Any]]) -> None:
        self.engine.answered(put, {"Records": results}, self.now)
        self.settle()

    def failed(self, put: PutRecords, code: str) -> None:
        self.engine.failed(put, code, "message", self.now)
        self.settle()

    def settle(self) -> None:
        for token, _, (outcome,) in self.engine.take_finished():
            assert token not in self.outcomes, "settled twice"
            self.outcomes[token] = outcome

    def delivery(self, token: object) -> Delivery:
        outcome = self.outcomes[token]
        assert isinstance(outcome, Delivery), outcome
        return outcome

    def error(self, token: object) -> sp.DeliveryError:
        outcome = self.outcomes[token]
        assert isinstance(outcome, sp.DeliveryError), outcome
        return outcome
