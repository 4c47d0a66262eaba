"""What the fault proxy knows of Kinesis and of DynamoDB: their limits, and what local servers leave out."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fault_calls import Answer, Call
from fault_proxy import FaultProxy

MIB = 1 << 20
EXCEEDED = "ProvisionedThroughputExceededException"
LIMITED = "LimitExceededException"
_RESHARDS = frozenset({"SplitShard", "MergeShards", "UpdateShardCount", "CreateStream", "DeleteStream"})
_SHARDS_SECONDS = 0.2  # how old the list of shards may be by which records are throttled
_ITERATORS = 10_000  # how many are remembered


class DynamoDB:
    """DynamoDB's errors; what it is asked goes through as it is."""

    internal_failure = "InternalServerError"

    def throttling_codes(self, operation: str) -> tuple[str, ...]:
        """Those of a table's throughput, and of the account's calls."""
        return (EXCEEDED, "ThrottlingException") if operation.endswith(("Item", "Query", "Scan")) else (LIMITED,)

    def serve(self, call: Call, proxy: FaultProxy) -> Answer:
        """Have the server do it."""
        return proxy.forward(call)


@dataclass
class Quotas:
    """What a shard takes and gives in a second, as buckets that hold one second's worth. A test may change it.

    Attributes:
        write_records: records put.
        write_bytes: bytes put, data and partition keys.
        reads: `GetRecords` calls.
        read_bytes: bytes read; what one call reads beyond that, later ones wait for.
    """

    write_records: float = 1000
    write_bytes: float = MIB
    reads: float = 5
    read_bytes: float = 2 * MIB

    @classmethod
    def none(cls) -> Quotas:
        """As local servers do it."""
        return cls(*[float("inf")] * 4)


class Kinesis:
    """Kinesis' limits and errors, the arguments that a local server lacks, and what it leaves out of its answers.

    Counts, besides the proxy's own: ``record_throttled`` (records of a `PutRecords` call or a `PutRecord`),
    ``read_throttled``, ``refused`` (calls over 500 records or 10 MiB).

    Args:
        quotas: of each shard; None: Kinesis' own.
        clock: the seconds in which quotas are counted.
    """

    internal_failure = "InternalFailure"

    def __init__(self, quotas: Quotas | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.quotas = quotas or Quotas()
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str, str], _Bucket] = {}
        self._shards: dict[str, tuple[float, _Routes]] = {}
        self._iterators: OrderedDict[str, tuple[str, str]] = OrderedDict()  # to stream and shard

    def throttling_codes(self, operation: str) -> tuple[str, ...]:
        """A shard's throughput for data, the account's calls for the rest."""
        is_data = operation in ("PutRecords", "PutRecord", "GetRecords", "GetShardIterator")
        return (EXCEEDED,) if is_data else (LIMITED,)

    def serve(self, call: Call, proxy: FaultProxy) -> Answer:
        """Have the server do it, within a shard's quotas."""
        self._name_the_stream(call)
        if call.operation == "PutRecords":
            return self._put_records(call, proxy)
        if call.operation == "PutRecord":
            return self._put_record(call, proxy)
        if call.operation == "GetRecords":
            return self._get_records(call, proxy)
        answer = proxy.forward(call)
        if call.operation == "GetShardIterator" and answer.status == 200:
            where = call.arguments["StreamName"], call.arguments["ShardId"]
            self._remember(answer.value["ShardIterator"], where)
        elif call.operation in _RESHARDS:
            self._shards.pop(call.arguments["StreamName"], None)
        return answer

    def _name_the_stream(self, call: Call) -> None:
        """Kinesalite knows no ``StreamARN``."""
        arn = call.arguments.pop("StreamARN", None)
        if arn is None:
            return
        if call.operation != "GetRecords" and "NextToken" not in call.arguments:
            call.arguments["StreamName"] = arn.rpartition("/")[2]
        call.body = json.dumps(call.arguments).encode()

    # Writing.

    def _put_records(self, call: Call, proxy: FaultProxy) -> Answer:
        records = call.arguments["Records"]
        sizes = [_size(record) for record in records]
        if len(records) > 500 or sum(sizes) > 10 * MIB:
            proxy.count("refused")
            message = f"{len(records)} records of {sum(sizes)} bytes; a call takes 500 of 10485760"
            return Answer.error(400, "InvalidArgumentException", message)
        name = call.arguments["StreamName"]
        routes = self._routes(name, call, proxy)
        results = [
            self._refusal(name, record, size, routes, call, proxy) for record, size in zip(records, sizes, strict=True)
        ]
        passed = [index for index, refusal in enumerate(results) if refusal is None]
        if passed:
            rest = None if len(passed) == len(records) else [records[index] for index in passed]
            answer = proxy.forward(call, None if rest is None else call.arguments | {"Records": rest})
            if answer.status != 200:
                return answer
            for index, result in zip(passed, answer.value["Records"], strict=True):
                results[index] = result
        if proxy.strikes("wrong_count", call):
            proxy.lose(call, "wrong_count")
            results = results[:-1] if len(results) % 2 else [*results, results[-1]]
        failed = sum(result is not None and "ErrorCode" in result for result in results)
        return Answer.of({"FailedRecordCount": failed, "Records": results, "EncryptionType": "NONE"})

    def _put_record(self, call: Call, proxy: FaultProxy) -> Answer:
        record, name = call.arguments, call.arguments["StreamName"]
        refusal = self._refusal(name, record, _size(record), self._routes(name, call, proxy), call, proxy)
        if refusal is None:
            return proxy.forward(call)
        status = 400 if refusal["ErrorCode"] == EXCEEDED else 500
        return Answer.error(status, refusal["ErrorCode"], refusal["ErrorMessage"])

    def _refusal(
        self, name: str, record: dict[str, Any], size: int, routes: _Routes, call: Call, proxy: FaultProxy
    ) -> dict[str, str] | None:
        if proxy.strikes("record_failure", call):
            return {"ErrorCode": "InternalFailure", "ErrorMessage": "Internal service failure."}
        shard_id = routes.shard_for(record)
        if shard_id is None:
            return None
        with self._lock:
            count = self._bucket(name, shard_id, "records", self.quotas.write_records)
            size_left = self._bucket(name, shard_id, "bytes", self.quotas.write_bytes)
            if count.has(1) and size_left.has(size):
                count.take(1)
                size_left.take(size)
                return None
        proxy.count("record_throttled")
        message = f"Rate exceeded for shard {shard_id} in stream {name} under account 000000000000."
        return {"ErrorCode": EXCEEDED, "ErrorMessage": message}

    def _routes(self, name: str, call: Call, proxy: FaultProxy) -> _Routes:
        listed_at, routes = self._shards.get(name, (float("-inf"), _Routes([])))
        now = time.monotonic()
        if now - listed_at > _SHARDS_SECONDS:
            routes = _Routes(self._list_shards(name, call, proxy))
            self._shards[name] = now, routes
        return routes

    def _list_shards(self, name: str, call: Call, proxy: FaultProxy) -> list[dict[str, Any]]:
        shards: list[dict[str, Any]] = []
        arguments = {"StreamName": name}
        while True:
            page = proxy.ask(call, "ListShards", json.dumps(arguments).encode()).value
            shards += page.get("Shards", ())  # none in an error, which the call itself will get too
            if not page.get("NextToken"):
                return shards
            arguments = {"NextToken": page["NextToken"]}

    # Reading.

    def _get_records(self, call: Call, proxy: FaultProxy) -> Answer:
        where = self._iterators.get(call.arguments["ShardIterator"])
        if where is None:  # not from here, so nothing is known of its shard
            return proxy.forward(call)
        with self._lock:
            reads = self._bucket(*where, "reads", self.quotas.reads)
            size_left = self._bucket(*where, "read bytes", self.quotas.read_bytes)
            may_read = reads.has(1) and size_left.has(1)
            if may_read:
                reads.take(1)
        if not may_read:
            proxy.count("read_throttled")
            message = f"Rate exceeded for shard {where[1]} in stream {where[0]} under account 000000000000."
            return Answer.error(400, EXCEEDED, message)
        answer = proxy.forward(call)
        if answer.status != 200:
            return answer
        page = answer.value
        with self._lock:
            size_left.take(sum(_size(record) for record in page["Records"]))
        if page.get("NextShardIterator"):
            self._remember(page["NextShardIterator"], where)
            return answer
        if "ChildShards" in page:
            return answer
        return Answer.of(page | {"NextShardIterator": None, "ChildShards": self._children(where, call, proxy)})

    def _children(self, where: tuple[str, str], call: Call, proxy: FaultProxy) -> list[dict[str, Any]]:
        """What kinesalite leaves out at a shard's end."""
        name, shard_id = where
        children = []
        for shard in self._list_shards(name, call, proxy):
            parents = [shard[key] for key in ("ParentShardId", "AdjacentParentShardId") if shard.get(key)]
            if shard_id in parents:
                hash_range = shard["HashKeyRange"]
                children.append({"ShardId": shard["ShardId"], "ParentShards": parents, "HashKeyRange": hash_range})
        return children

    def _remember(self, iterator: str, where: tuple[str, str]) -> None:
        with self._lock:
            self._iterators[iterator] = where
            if len(self._iterators) > _ITERATORS:
                self._iterators.popitem(last=False)

    def _bucket(self, name: str, shard_id: str, kind: str, rate: float) -> _Bucket:
        bucket = self._buckets.get((name, shard_id, kind))
        if bucket is None or bucket.rate != rate:
            bucket = self._buckets[name, shard_id, kind] = _Bucket(rate, self._clock)
        bucket.fill()
        return bucket


class _Bucket:
    """Tokens that come in evenly, and one second's worth of them at most."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self.rate = self._tokens = rate
        self._clock = clock
        self._filled = clock()

    def fill(self) -> None:
        now = self._clock()
        if self.rate != float("inf"):
            self._tokens = min(self.rate, self._tokens + (now - self._filled) * self.rate)
        self._filled = now

    def has(self, tokens: float) -> bool:
        return self._tokens >= min(tokens, self.rate)  # a large record goes when the bucket is full

    def take(self, tokens: float) -> None:
        self._tokens -= tokens


class _Routes:
    """The open shards by hash key."""

    def __init__(self, shards: list[dict[str, Any]]) -> None:
        is_open = [shard for shard in shards if not shard["SequenceNumberRange"].get("EndingSequenceNumber")]
        ordered = sorted((int(shard["HashKeyRange"]["StartingHashKey"]), shard["ShardId"]) for shard in is_open)
        self._starts = [start for start, _ in ordered]
        self._shard_ids = [shard_id for _, shard_id in ordered]

    def shard_for(self, record: dict[str, Any]) -> str | None:
        """The shard's id, or None where none is known."""
        if not self._starts:
            return None
        if record.get("ExplicitHashKey"):
            hash_key = int(record["ExplicitHashKey"])
        else:
            hash_key = int.from_bytes(hashlib.md5(record["PartitionKey"].encode()).digest())
        shard_id: str = self._shard_ids[max(0, bisect_right(self._starts, hash_key) - 1)]
        return shard_id


def _size(record: dict[str, Any]) -> int:
    """Bytes as Kinesis counts them; the data are in base64."""
    data: str = record["Data"]
    partition_key: str = record["PartitionKey"]
    return len(data) // 4 * 3 - data.count("=", -2) + len(partition_key.encode())
