"""Values of wrong types and odd sizes for every public function: only errors of our own come, in words of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from odd_values import Call, check, every_odd_value, odd_values, options

import shardpack as sp
from shardpack import aws_lambda, dedup, density, firehose

PACKED = sp.PackedRecord(b"x", "k", None, 1)
RANGE = {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)}
SHARDS = sp.ShardMap.single()
EVENT = {"records": [{"recordId": "1", "data": ""}]}
LAMBDA = {"Records": [{"kinesis": {"data": "", "sequenceNumber": "1"}}]}


def request() -> sp.PutRequest:
    return next(iter(sp.put_requests([PACKED])))


def unpacked(record: Mapping[str, Any], **options: Any) -> list[sp.ReceivedRecord]:
    return list(sp.unpack(record, **options))


def nothing(_record: object) -> None: ...


CALLS: dict[str, dict[str, Call]] = {
    "encode": {
        "records": sp.encode,
        "a record": lambda value: sp.encode([value]),
        "a key": lambda value: sp.encode([(value, b"")]),
        "data": lambda value: sp.encode([("k", value)]),
        "an explicit hash key": lambda value: sp.encode([("k", b"", value)]),
        "tags": lambda value: sp.encode([("k", b"", None, value)]),
    },
    "decode": {"blob": sp.decode},
    "is_aggregated": {"blob": sp.is_aggregated},
    "hash_key": {"key": sp.hash_key},
    "pack": {
        "records": lambda value: list(sp.pack(value)),
        "a record": lambda value: list(sp.pack([value])),
        "from an iterator": lambda value: list(sp.pack(iter([value, ("k", b"")]))),
        **options(
            lambda **given: list(sp.pack([], **given)),
            *("by", "shard_map", "limits", "hash_keys", "lanes", "max_buffered_bytes", "lookahead"),
        ),
    },
    "Packer": {
        "key": lambda value: sp.Packer().add(value, b""),
        "data": lambda value: sp.Packer().add("k", value),
        "an explicit hash key": lambda value: sp.Packer().add("k", b"", value),
        "tags": lambda value: sp.Packer().add("k", b"", None, value),
        "records": lambda value: list(sp.Packer().add_all(value)),
        "of a shard": lambda value: sp.Packer(shard_map=SHARDS).add(value, b""),
        "by key": lambda value: sp.Packer(by="key").add(value, b""),
    },
    "put_requests": {
        "records": lambda value: list(sp.put_requests(value)),
        "a record": lambda value: list(sp.put_requests([value])),
        **options(lambda **given: sp.put_requests([], **given), "max_records", "max_bytes"),
    },
    "PutRequest": {
        "a response": lambda value: request().retry(value),
        "results": lambda value: request().retry({"Records": value}),
        "a result": lambda value: request().retry({"Records": [value]}),
    },
    "ShardBudget": {
        "a record": lambda value: sp.ShardBudget().wait_for(value, 0.0),
        "now": lambda value: sp.ShardBudget().wait_for(PACKED, value),
        **options(sp.ShardBudget, "rate_limit", "burst_bytes"),
    },
    "unpack": {
        "records": lambda value: list(sp.unpack(value)),
        "data": lambda value: unpacked({"Data": value}),
        "sequence number": lambda value: unpacked({"Data": b"", "SequenceNumber": value}, after=sp.Position("1")),
        "time": lambda value: unpacked({"Data": b"", "ApproximateArrivalTimestamp": value}),
        "kinesis": lambda value: unpacked({"kinesis": value}),
        "Lambda's data": lambda value: unpacked({"kinesis": {"data": value}}),
        "sub-sequence number": lambda value: unpacked({"kinesis": {"data": "", "subSequenceNumber": value}}),
        "eventID": lambda value: unpacked({"kinesis": {"data": ""}, "eventID": value}),
        "Firehose's metadata": lambda value: unpacked({"data": "", "recordId": "1", "kinesisRecordMetadata": value}),
        **options(
            lambda **given: list(sp.unpack([], **given)),
            *("on_corrupt", "hash_range", "out_of_range", "after", "max_key_characters"),
        ),
    },
    "ShardMap": {
        "shards": sp.ShardMap,
        "a shard": lambda value: sp.ShardMap([value]),
        "a shard's id": lambda value: sp.ShardMap([{"ShardId": value, "HashKeyRange": RANGE}]),
        "a hash range": lambda value: sp.ShardMap([{"ShardId": "s", "HashKeyRange": value}]),
        "a bound": lambda value: sp.ShardMap(
            [{"ShardId": "s", "HashKeyRange": {"StartingHashKey": value, "EndingHashKey": "5"}}]
        ),
        "an end": lambda value: sp.ShardMap([{"ShardId": "s", "HashKeyRange": RANGE, "SequenceNumberRange": value}]),
        "a hash key": SHARDS.shard_for,
        "a partition key": SHARDS.shard_for_partition_key,
    },
    "Shard": {
        "id": lambda value: sp.ShardMap([sp.Shard(value)]),
        "starting": lambda value: sp.ShardMap([sp.Shard("s", value)]),
        "ending": lambda value: sp.ShardMap([sp.Shard("s", 0, value)]),
    },
    "Position": {"number": sp.Position, "index": lambda value: sp.Position("1", value)},
    "Limits": {
        "bytes": sp.Limits,
        "records": lambda value: sp.Limits(1000, value),
        "units": sp.Limits.put_units,
    },
    "process": {
        "event": lambda value: aws_lambda.process(value, nothing),
        "records": lambda value: aws_lambda.process({"Records": value}, nothing),
        "handle": lambda value: aws_lambda.process({"Records": []}, value),
        **options(
            lambda **given: aws_lambda.process(LAMBDA, nothing, **given),
            *("on_failure", "divert", "max_attempts", "save_every", "on_corrupt"),
        ),
    },
    "transform": {
        "event": lambda value: firehose.transform(value, lambda record: record.data),
        "a record": lambda value: firehose.transform({"records": [value]}, lambda record: record.data),
        "fn": lambda value: firehose.transform({"records": []}, value),
        "a result": lambda value: firehose.transform(EVENT, lambda _: value),
        "keys": lambda value: firehose.transform(EVENT, lambda _: firehose.Transformed(b"", value)),
        **options(
            lambda **given: firehose.transform(EVENT, lambda record: record.data, **given),
            *("delimiter", "on_corrupt", "max_response_bytes"),
        ),
    },
    "Deduplicator": {
        "seen": lambda value: dedup.Deduplicator().seen(value),
        "add": lambda value: dedup.Deduplicator().add(value),
        "now": lambda value: dedup.Deduplicator(max_age=1).add(sp.UserRecord("k", b""), value),
        **options(dedup.Deduplicator, "max_count", "max_age", "key"),
    },
    "RecordDigest": {
        "add": lambda value: dedup.RecordDigest().add(value),
        "update": lambda value: dedup.RecordDigest().update(value),
        "merge": lambda value: dedup.RecordDigest().merge(value),
    },
    "measure": {
        "a record": lambda value: density.measure([value], [density.Strategy("s", None)]),
        "a time": lambda value: density.measure([(("k", b""), value)], [density.Strategy("s", None)], timestamps=True),
        **options(
            lambda **given: density.measure(**{"records": [], **given}),
            *("records", "strategies", "rate", "record_max_buffered_time", "prices", "peers", "progress"),
        ),
    },
}

# Every one of them, so that one that is added later is not forgotten. What delivers and consumes has the module beside.
ELSEWHERE = {
    *("Producer", "AsyncProducer", "ProducerConfig", "Consumer", "AsyncConsumer", "ConsumerConfig"),
    *("MemoryLeases", "SQLiteLeases", "DynamoDBLeases"),
}
GIVEN_OUT = {"ProducerStats", "Delivery", "Attempt", "Batch", "AsyncBatch"}  # nobody makes one but shardpack
PLAIN = {"UserRecord", "ReceivedRecord", "PackedRecord", "native"}  # hold what they are given


def test_every_public_name_is_tried() -> None:
    errors = {name for name in sp.__all__ if isinstance(getattr(sp, name), type) and name.endswith("Error")}

    assert set(sp.__all__) - errors - ELSEWHERE - GIVEN_OUT - PLAIN == set(CALLS) & set(sp.__all__)


@pytest.mark.parametrize(("function", "what"), [(function, what) for function in CALLS for what in CALLS[function]])
def test_every_odd_value(function: str, what: str) -> None:
    for value in every_odd_value():
        check(CALLS[function][what], value)


@settings(max_examples=60)
@given(call=st.sampled_from([call for calls in CALLS.values() for call in calls.values()]), value=odd_values)
@example(call=CALLS["unpack"]["sub-sequence number"], value=1e400)
@example(call=CALLS["ShardMap"]["shards"], value="clicks")
@example(call=CALLS["pack"]["records"], value=[b"x"])
def test_values_in_values(call: Call, value: Any) -> None:
    check(call, value)


def test_a_number_that_is_none_is_not_said_to_be_the_callers_to_encode() -> None:
    with pytest.raises(sp.DecodeError, match=r"cannot be compared with the position to go on after: sequence_number"):
        unpacked({"Data": b"", "SequenceNumber": "seven"}, after=sp.Position("1"))


@pytest.mark.parametrize("keys", [1_000_000])
def test_a_message_does_not_grow_with_the_input(keys: int) -> None:
    with pytest.raises(sp.DecodeError) as caught:
        unpacked(dict.fromkeys(map(str, range(keys))))

    assert len(str(caught.value)) < 500
