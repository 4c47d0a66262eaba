"""The operations of Kinesis over streams in memory: parameters in, responses out. No botocore types, no locks."""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..limits import KIB, MAX_HASH_KEY, MIB
from ._clock import Clock
from ._script import Fault
from ._service import THROTTLED, ServiceError, seconds, whole_milliseconds
from ._shards import ACCOUNT, ON_DEMAND_SHARDS, RETENTION_HOURS, StoredShard, Stream

_TOKEN_SECONDS = 300  # both kinds expire after five minutes (GetShardIterator, ListShards)
_PAGE_BYTES = 10 * MIB
_PAGE_RECORDS = 10_000
_PAGE_SHARDS = 1000

Parameters = Mapping[str, Any]
Response = dict[str, Any]


class Api:
    """Every stream of an account, and a method for each operation, named as in boto3."""

    def __init__(
        self,
        clock: Clock,
        *,
        region: str,
        throttling: bool,
        max_request_bytes: int,
        transition_seconds: float,
        seed: int,
    ) -> None:
        self.streams: dict[str, Stream] = {}
        self._clock = clock
        self._region = region
        self._throttling = throttling
        self._max_request_bytes = max_request_bytes
        self._transition_seconds = transition_seconds
        self._seed = seed
        self._counter = itertools.count(1)

    def settle(self) -> None:
        """Let the changes take effect that have fallen due."""
        for stream in list(self.streams.values()):
            stream.settle(self._clock.now())

    def handler(self, operation: str) -> Callable[[Parameters, Fault], Response]:
        """The method that answers an operation."""
        self.settle()
        method: Callable[[Parameters, Fault], Response] = getattr(self, operation)
        return method

    def add(self, parameters: Parameters, *, on_demand: bool) -> Stream:
        """A new stream, by the parameters of `CreateStream`."""
        name = parameters["StreamName"]
        distribution = parameters.get("RecordDistributionStrategy", "USER_PARTITION_KEY")
        if name in self.streams:
            raise ServiceError("ResourceInUseException", f"Stream {name} under account {ACCOUNT} already exists.")
        _check_distribution(distribution, on_demand=on_demand)
        stream = Stream(
            name,
            f"arn:aws:kinesis:{self._region}:{ACCOUNT}:stream/{name}",
            parameters.get("ShardCount", ON_DEMAND_SHARDS),
            on_demand=on_demand,
            now=self._clock.now(),
            counter=self._counter,
            throttling=self._throttling,
            seed=self._seed,
        )
        stream.max_record_bytes = parameters.get("MaxRecordSizeInKiB", 1024) * KIB
        stream.distribution = distribution
        self.streams[name] = stream
        return stream

    def create_stream(self, parameters: Parameters, _: Fault) -> Response:
        on_demand = parameters.get("StreamModeDetails", {}).get("StreamMode") == "ON_DEMAND"
        if on_demand == ("ShardCount" in parameters):
            raise ServiceError(
                "InvalidArgumentException", "ShardCount is required in provisioned mode, and refused in on-demand mode."
            )
        stream = self.add(parameters, on_demand=on_demand)
        stream.change("CREATING", lambda _: None, self._clock.now(), self._transition_seconds)
        return {}

    def delete_stream(self, parameters: Parameters, _: Fault) -> Response:
        stream = self._stream(parameters)
        if stream.status != "DELETING":
            stream.change(
                "DELETING", lambda _: self.streams.pop(stream.name, None), self._clock.now(), self._transition_seconds
            )
        return {}

    def describe_stream_summary(self, parameters: Parameters, _: Fault) -> Response:
        stream = self._stream(parameters)
        return {
            "StreamDescriptionSummary": {
                "StreamName": stream.name,
                "StreamARN": stream.arn,
                "StreamStatus": stream.status,
                "StreamModeDetails": {"StreamMode": stream.mode},
                "RetentionPeriodHours": RETENTION_HOURS,
                "StreamCreationTimestamp": datetime.fromtimestamp(stream.created_at, UTC),
                "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
                "EncryptionType": "NONE",
                "OpenShardCount": 0 if stream.status == "CREATING" else len(stream.open_shards),
                "ConsumerCount": 0,
                "MaxRecordSizeInKiB": stream.max_record_bytes // KIB,
                "RecordDistributionStrategy": stream.distribution,
            }
        }

    def list_shards(self, parameters: Parameters, _: Fault) -> Response:
        now = self._clock.now()
        if "NextToken" in parameters:
            for other in parameters.keys() - {"NextToken", "MaxResults"}:
                raise ServiceError("InvalidArgumentException", f"NextToken and {other} cannot be provided together.")
            name, kind, moment, after, issued = _read_token(parameters["NextToken"], "NextToken")
            if now - issued > _TOKEN_SECONDS:
                raise ServiceError("ExpiredNextTokenException", "NextToken has expired; list from the start.")
            stream = self._stream({"StreamName": name})
        else:
            stream = self._stream(parameters)
            kind, moment, after = _filter(parameters)
        if stream.status == "CREATING":
            stream.require_active()
        shards = [shard for shard in stream.listed(kind, moment, now) if shard.shard_id > after]
        count = min(parameters.get("MaxResults", _PAGE_SHARDS), _PAGE_SHARDS)
        response: Response = {"Shards": [shard.described() for shard in shards[:count]]}
        if len(shards) > count:
            response["NextToken"] = _token("NextToken", stream.name, kind, moment, shards[count - 1].shard_id, now)
        return response

    def put_record(self, parameters: Parameters, fault: Fault) -> Response:
        stream = self._ready(parameters)
        _check_record(stream, parameters)
        shard = self._route(stream, parameters)
        now = self._clock.now()
        if fault.throttles(shard.shard_id) or not stream.within_budget(shard, _size(parameters), now):
            raise stream.throttled(shard)
        return self._store(stream, shard, parameters)

    def put_records(self, parameters: Parameters, fault: Fault) -> Response:
        stream = self._ready(parameters)
        entries = parameters["Records"]
        for entry in entries:
            _check_record(stream, entry)
        if (size := sum(map(_size, entries))) > self._max_request_bytes:
            raise ServiceError(
                "InvalidArgumentException",
                f"Records size {size} exceeds the limit of {self._max_request_bytes} bytes for a request",
            )
        results = [self._put_one(stream, index, entry, fault) for index, entry in enumerate(entries)]
        if fault.result_count is not None:
            results = (results * (fault.result_count // len(results) + 1))[: fault.result_count]
        return {"FailedRecordCount": sum("ErrorCode" in result for result in results), "Records": results}

    def get_shard_iterator(self, parameters: Parameters, fault: Fault) -> Response:
        stream = self._ready(parameters)
        shard = stream.shard(parameters["ShardId"])
        if fault.throttles(shard.shard_id):
            raise stream.throttled(shard)
        return {"ShardIterator": self._iterator(stream, shard, self._start(stream, shard, parameters))}

    def get_records(self, parameters: Parameters, fault: Fault) -> Response:
        now = self._clock.now()
        name, shard_id, starting_number, start, issued = _read_token(parameters["ShardIterator"], "ShardIterator")
        stream = self._ready({"StreamName": name, **{k: v for k, v in parameters.items() if k == "StreamARN"}})
        shard = stream.shard(shard_id)
        if shard.starting_number != starting_number:
            raise ServiceError("ResourceNotFoundException", f"Stream {name} under account {ACCOUNT} was made anew.")
        if now - issued > _TOKEN_SECONDS:
            raise ServiceError(
                "ExpiredIteratorException", f"Iterator expired. It was made at {issued}, and the time is {now}."
            )
        if fault.throttles(shard_id):
            raise stream.throttled(shard)
        start = max(start, shard.first_from(now - RETENTION_HOURS * 3600))
        end = _page_end(shard, start, parameters.get("Limit", _PAGE_RECORDS))
        response: Response = {
            "Records": [record.as_boto3() for record in shard.records[start:end]],
            "MillisBehindLatest": 0,
        }
        if end < len(shard.records):
            # Never 0 while something is left, even if the clock stood still: 0 means that the reader has caught up.
            response["MillisBehindLatest"] = max(1, int((now - shard.records[end - 1].arrival) * 1000))
        if shard.ending_number is not None and end == len(shard.records):
            response["ChildShards"] = [child.described_as_child() for child in shard.children]
        else:
            response["NextShardIterator"] = self._iterator(stream, shard, end)
        return response

    def split_shard(self, parameters: Parameters, _: Fault) -> Response:
        stream = self._stream(parameters)
        stream.require_provisioned()
        self.split(stream, stream.shard(parameters["ShardToSplit"]), int(parameters["NewStartingHashKey"]))
        return {}

    def split(self, stream: Stream, shard: StoredShard, hash_key: int) -> None:
        stream.require_active()
        stream.check_split(shard, hash_key)
        stream.change(
            "UPDATING", lambda now: stream.split(shard, hash_key, now), self._clock.now(), self._transition_seconds
        )

    def merge_shards(self, parameters: Parameters, _: Fault) -> Response:
        stream = self._stream(parameters)
        stream.require_provisioned()
        stream.require_active()
        shard, adjacent = (stream.shard(parameters[name]) for name in ("ShardToMerge", "AdjacentShardToMerge"))
        stream.check_merge(shard, adjacent)
        stream.change(
            "UPDATING", lambda now: stream.merge(shard, adjacent, now), self._clock.now(), self._transition_seconds
        )
        return {}

    def update_max_record_size(self, parameters: Parameters, _: Fault) -> Response:
        stream = self._stream(parameters)
        stream.require_active()
        limit = parameters["MaxRecordSizeInKiB"] * KIB
        stream.change(
            "UPDATING",
            lambda _: setattr(stream, "max_record_bytes", limit),
            self._clock.now(),
            self._transition_seconds,
        )
        return {}

    def update_stream_record_distribution_strategy(self, parameters: Parameters, _: Fault) -> Response:
        stream = self._stream(parameters)
        stream.require_active()
        distribution = parameters["RecordDistributionStrategy"]
        _check_distribution(distribution, on_demand=stream.mode == "ON_DEMAND")
        stream.distribution = distribution  # "the change takes effect immediately", and the stream stays ACTIVE
        return {}

    def _stream(self, parameters: Parameters) -> Stream:
        arn, name = parameters.get("StreamARN"), parameters.get("StreamName")
        if arn is None and name is None:
            raise ServiceError("InvalidArgumentException", "Either StreamName or StreamARN must be given.")
        for stream in self.streams.values():
            if name in (None, stream.name) and arn in (None, stream.arn):
                return stream
        raise ServiceError("ResourceNotFoundException", f"Stream {name or arn} under account {ACCOUNT} not found.")

    def _ready(self, parameters: Parameters) -> Stream:
        """The stream, for reading and writing: both go on while it is UPDATING (`SplitShard` API reference)."""
        stream = self._stream(parameters)
        if stream.status == "CREATING":
            raise ServiceError("ResourceNotFoundException", f"Stream {stream.name} under account {ACCOUNT} not found.")
        return stream

    def _route(self, stream: Stream, entry: Parameters) -> StoredShard:
        return stream.route(entry.get("PartitionKey"), entry.get("ExplicitHashKey"))

    def _put_one(self, stream: Stream, index: int, entry: Parameters, fault: Fault) -> Response:
        shard = self._route(stream, entry)
        code, is_stored = fault.of_record(index, entry)
        if code is not None:
            if is_stored:
                self._store(stream, shard, entry)
            message = str(stream.throttled(shard)) if code == THROTTLED else f"scripted: {code}"
            return {"ErrorCode": code, "ErrorMessage": message}
        if fault.throttles(shard.shard_id) or not stream.within_budget(shard, _size(entry), self._clock.now()):
            return {"ErrorCode": THROTTLED, "ErrorMessage": str(stream.throttled(shard))}
        return self._store(stream, shard, entry)

    def _store(self, stream: Stream, shard: StoredShard, entry: Parameters) -> Response:
        explicit_hash_key = entry.get("ExplicitHashKey")
        record = stream.store(shard, entry["Data"], entry.get("PartitionKey"), explicit_hash_key, self._clock.now())
        return {"SequenceNumber": str(record.number), "ShardId": shard.shard_id}

    def _start(self, stream: Stream, shard: StoredShard, parameters: Parameters) -> int:
        """The index of the first record that an iterator gives."""
        kind = parameters["ShardIteratorType"]
        by_number = kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")
        if by_number != ("StartingSequenceNumber" in parameters):
            raise ServiceError(
                "InvalidArgumentException",
                f"StartingSequenceNumber goes with AT_ and AFTER_SEQUENCE_NUMBER, not {kind}.",
            )
        if kind == "TRIM_HORIZON":
            return 0
        if kind == "LATEST":
            return len(shard.records)
        if kind == "AT_TIMESTAMP":
            if "Timestamp" not in parameters:
                raise ServiceError("InvalidArgumentException", "Must give Timestamp with AT_TIMESTAMP.")
            if (moment := seconds(parameters["Timestamp"])) > whole_milliseconds(self._clock.now()):
                raise ServiceError("InvalidArgumentException", f"The Timestamp {moment} lies in the future.")
            return shard.first_from(moment)
        number = int(parameters["StartingSequenceNumber"])
        return stream.position(shard, number if kind == "AT_SEQUENCE_NUMBER" else number + 1)

    def _iterator(self, stream: Stream, shard: StoredShard, start: int) -> str:
        now = self._clock.now()
        return _token("ShardIterator", stream.name, shard.shard_id, shard.starting_number, start, now)


def _check_distribution(distribution: str, *, on_demand: bool) -> None:
    if distribution == "AUTO" and not on_demand:
        raise ServiceError(
            "InvalidArgumentException", "RecordDistributionStrategy AUTO is only supported in on-demand mode."
        )


def _check_record(stream: Stream, entry: Parameters) -> None:
    if entry.get("PartitionKey") is None and stream.distribution != "AUTO":
        raise ServiceError(
            "ValidationException",
            "1 validation error detected: Value null at 'partitionKey' failed to satisfy constraint: Member must not"
            " be null",
        )
    if int(entry.get("ExplicitHashKey", "0")) > MAX_HASH_KEY:
        raise ServiceError(
            "InvalidArgumentException",
            f"Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was"
            f" {entry['ExplicitHashKey']}",
        )
    if (size := _size(entry)) > stream.max_record_bytes:
        raise ServiceError(
            "InvalidArgumentException",
            f"A record has {size} bytes with its partition key; stream {stream.name} takes {stream.max_record_bytes}",
        )


def _size(entry: Parameters) -> int:
    return len(entry["Data"]) + len(entry.get("PartitionKey", "").encode())


def _page_end(shard: StoredShard, start: int, limit: int) -> int:
    """Where a page ends: after so many records, or before the one that makes it more than 10 MiB."""
    size, end = 0, start
    for record in shard.records[start : start + limit]:
        size += record.size
        if size > _PAGE_BYTES:  # never the first: a record has at most as much
            break
        end += 1
    return end


def _filter(parameters: Parameters) -> tuple[str | None, float | None, str]:
    """(type, moment, the shard id to list after) of a first ``ListShards`` call."""
    given = parameters.get("ShardFilter", {})
    kind, after = given.get("Type"), parameters.get("ExclusiveStartShardId", "")
    needed = {"AFTER_SHARD_ID": "ShardId", "AT_TIMESTAMP": "Timestamp", "FROM_TIMESTAMP": "Timestamp"}.get(kind)
    if needed is not None and needed not in given:
        raise ServiceError("InvalidArgumentException", f"{needed} must be given with the ShardFilter {kind}.")
    moment = seconds(given["Timestamp"]) if needed == "Timestamp" else None
    return kind, moment, given["ShardId"] if needed == "ShardId" else after


def _token(*fields: object) -> str:
    return base64.b64encode(json.dumps(fields).encode()).decode()


def _read_token(token: str, name: str) -> list[Any]:
    try:
        fields = json.loads(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError):
        fields = None
    if not isinstance(fields, list) or fields[:1] != [name]:
        raise ServiceError("InvalidArgumentException", f"Invalid {name}.")
    return fields[1:]
