"""Values of wrong types and odd sizes for what delivers, consumes, keeps and reads: only documented errors come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_values import Call, check, every_odd_value, odd_values, options
from producer_client import Client
from soak_interrupts import AsyncClient

import shardpack as sp
from shardpack import aws_lambda, dedup, density, files
from shardpack.leases import Lease
from shardpack.testing import FakeKinesis, SystemClock

pa: Any = pytest.importorskip("pyarrow")

from shardpack import arrow, spark  # need pyarrow

BLOB = sp.encode([("k", b"x")])
BATCH = pa.RecordBatch.from_pydict({"data": pa.array([BLOB, b"plain"], pa.binary())})
USERS = pa.RecordBatch.from_pydict({"data": pa.array([b"x"], pa.binary()), "partition_key": ["k"]})
RECORD = sp.UserRecord("k", b"x")
RECEIVED = next(iter(sp.unpack({"Data": BLOB, "SequenceNumber": "1"})))
LAMBDA = {"Records": [{"kinesis": {"data": "", "sequenceNumber": "1"}, "eventID": "s:1"}]}
WINDOW: dict[str, Any] = {
    **LAMBDA,
    "window": {"start": "2026-07-21T12:00:00Z", "end": "2026-07-21T12:01:00Z"},
    "state": {},
    "shardId": "s",
    "isFinalInvokeForWindow": False,
    "isWindowTerminatedEarly": False,
}
NOW = 0.0


def nothing(*_: object) -> None: ...


def batches(**given: Any) -> list[Any]:
    return list(arrow.unpack_batches(BATCH, **given))


def packed(**given: Any) -> list[Any]:
    return list(arrow.pack_batches(USERS, **given))


def in_spark(**given: Any) -> list[Any]:
    return list(spark.unpack([BATCH], **given))


def producing(use: Callable[[sp.Producer], object]) -> object:
    with sp.Producer("s", client=Client()) as producer:
        return use(producer)


def producing_async(use: Callable[[sp.AsyncProducer], Any]) -> object:
    async def main() -> object:
        async with sp.AsyncProducer("s", client=AsyncClient(Client())) as producer:
            return await use(producer)

    return asyncio.run(main())


def consumer(**given: Any) -> sp.Consumer:
    client = FakeKinesis(streams={"s": 1}, clock=SystemClock())
    return sp.Consumer(**{"stream_name": "s", "leases": sp.MemoryLeases(), "client": client, **given})


def make_consumer(**given: Any) -> None:
    consumer(**given)  # which is not given back: whoever looked into it would wait for batches


def async_consumer(**given: Any) -> sp.AsyncConsumer:
    return sp.AsyncConsumer(**{"stream_name": "s", "leases": sp.MemoryLeases(), "client": object(), **given})


def consuming(use: Callable[[sp.Consumer], object]) -> object:
    with consumer() as reading:
        return use(reading)


def measured(**given: Any) -> density.Measurement:
    return density.measure([RECORD], [density.Strategy("s", None)], **given)


PRODUCER_SETTINGS = tuple(sp.ProducerConfig.__dataclass_fields__)
CONSUMER_SETTINGS = tuple(sp.ConsumerConfig.__dataclass_fields__)
STRATEGY = tuple(density.Strategy.__dataclass_fields__)
PRICES = tuple(density.Prices.__dataclass_fields__)
LEASE = tuple(Lease.__dataclass_fields__.keys() - {"parents", "children"})  # of which a store makes JSON as they are
POLICY = ("on_corrupt", "hash_range", "out_of_range", "max_key_characters")
FAILING = ("workers", "on_failure", "divert", "max_attempts")

CALLS: dict[str, dict[str, Call]] = {
    "arrow": {
        "batches": lambda value: list(arrow.unpack_batches(value)),
        "records": arrow.to_table,
        "a record": lambda value: arrow.to_table([value]),
        "schema": arrow.unpacked_schema,
        "users": lambda value: list(arrow.pack_batches(value)),
        **options(batches, "data", "max_rows", "max_bytes", "repeated", *POLICY),
        **{
            f"packed {name}": call
            for name, call in options(
                packed,
                "data",
                "partition_key",
                "explicit_hash_key",
                "max_rows",
                "max_bytes",
                "by",
                "shard_map",
                "limits",
            ).items()
        },
        **{
            f"schema {name}": call
            for name, call in options(
                lambda **given: arrow.unpacked_schema(BATCH.schema, **given), "data", "repeated"
            ).items()
        },
    },
    "spark": {"batches": lambda value: list(spark.unpack(value)), **options(in_spark, "data", "max_rows", *POLICY)},
    "ProducerConfig": options(sp.ProducerConfig, *PRODUCER_SETTINGS),
    "ConsumerConfig": options(sp.ConsumerConfig, *CONSUMER_SETTINGS),
    "Producer": {
        "stream": lambda value: sp.Producer(value, client=Client()),
        "config": lambda value: sp.Producer("s", value, client=Client()),
        "key": lambda value: producing(lambda producer: producer.put(value, b"")),
        "data": lambda value: producing(lambda producer: producer.put("k", value)),
        "explicit hash key": lambda value: producing(lambda producer: producer.put("k", b"", value)),
        "records": lambda value: producing(lambda producer: producer.put_many(value)),
        "a record": lambda value: producing(lambda producer: producer.put_many([value])),
        "timeout": lambda value: producing(lambda producer: producer.put("k", b"", timeout=value)),
        "flush": lambda value: producing(lambda producer: producer.flush(value)),
        "close": lambda value: producing(lambda producer: producer.close(value)),
    },
    "AsyncProducer": {
        "stream": lambda value: sp.AsyncProducer(value, client=object()),
        "config": lambda value: sp.AsyncProducer("s", value, client=object()),
        "key": lambda value: producing_async(lambda producer: producer.put(value, b"")),
        "data": lambda value: producing_async(lambda producer: producer.put("k", value)),
        "records": lambda value: producing_async(lambda producer: producer.put_many([value])),
        "iterable": lambda value: producing_async(lambda producer: producer.put_many(value or [None])),
    },
    "Consumer": {
        **options(make_consumer, "stream_name", "leases", "start", "start_at", "worker_id", "config", "fan_out"),
        "where": lambda value: make_consumer(start_at={"shardId-000000000000": value}),
        "next_batch": lambda value: consuming(lambda reading: reading.next_batch(value) if value is not None else None),
        "close": lambda value: consumer().close(value),
        "handler": lambda value: consuming(lambda reading: reading.run(value)) if not callable(value) else None,
        "each": lambda value: consuming(lambda reading: reading.run_each(value)) if not callable(value) else None,
        **options(lambda **given: consuming(lambda reading: stopped(reading).run(nothing, **given)), *FAILING),
    },
    "AsyncConsumer": options(async_consumer, "stream_name", "leases", "start", "start_at", "worker_id", "config"),
    "leases": {
        "path": lambda value: sp.SQLiteLeases(value) if not isinstance(value, str | bytes) else None,
        **options(lambda **given: sp.SQLiteLeases("/nowhere/at/all", **given), "timeout", "read_only"),
        **options(
            lambda **given: sp.DynamoDBLeases(**{"table_name": "t", "client": object(), **given}),
            *("table_name", "create_table", "table_settings", "retry_for"),
        ),
        "claim": lambda value: sp.MemoryLeases().claim(value),
        **{
            f"lease {name}": call
            for name, call in options(
                lambda **given: sp.MemoryLeases().create(Lease(**{"key": "s", **given})), *LEASE
            ).items()
        },
    },
    "files": {
        "source": lambda value: list(files.read(value)) if not isinstance(value, str | bytes) else None,
        **options(
            lambda **given: list(files.read(__file__, **given)), "on_corrupt", "hash_range", "out_of_range", "after"
        ),
    },
    "aws_lambda": {
        "window": lambda value: aws_lambda.process_window(value, nothing),
        "window's handler": lambda value: aws_lambda.process_window(WINDOW, value) if not callable(value) else None,
        **options(lambda **given: aws_lambda.process_window({**WINDOW, **given}, nothing), *WINDOW),
        **options(
            lambda **given: aws_lambda.process_window(WINDOW, nothing, **given),
            *("finish", "on_failure", "divert", "max_attempts", "on_corrupt"),
        ),
        "progress": lambda value: aws_lambda.process(LAMBDA, nothing, progress=value),
        "workers": lambda value: aws_lambda.process(LAMBDA, nothing, workers=value),
        "powertools": lambda value: list(aws_lambda.powertools_records(value)),
        "powertools's event": aws_lambda.powertools_event,
        "idempotency": aws_lambda.idempotency_key,
        "table change": aws_lambda.table_change,
        "log batch": aws_lambda.log_batch,
        "max_bytes": lambda value: aws_lambda.log_batch(b"", max_bytes=value),
        **options(lambda **given: aws_lambda.SQLiteProgress(**{"path": "/nowhere/x", **given}), "consumer", "ttl"),
        **options(
            lambda **given: aws_lambda.DynamoDBProgress(**{"table_name": "t", "client": object(), **given}),
            *("table_name", "consumer", "ttl"),
        ),
    },
    "dedup": {
        "a key": lambda value: dedup.Deduplicator(key=lambda _: value).add(RECORD),
        "seen's now": lambda value: dedup.Deduplicator(max_age=1).seen(RECORD, value),
    },
    "density": {
        **options(lambda **given: density.Strategy(**{"name": "s", **given}), *STRATEGY),
        **options(lambda **given: density.Prices(**given), *PRICES),
        "strategies": lambda value: density.measure([RECORD], value),
        "usual strategies": density.usual_strategies,
        "peers": lambda value: measured(peers=value),
        "latency": lambda value: measured(latency=value) if value is not None else None,
    },
}


def stopped(reading: sp.Consumer) -> sp.Consumer:
    reading.stop()
    return reading


@pytest.mark.parametrize(("room", "what"), [(room, what) for room in CALLS for what in sorted(CALLS[room])])
def test_every_odd_value(room: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for value in every_odd_value():
        check(CALLS[room][what], value)


@settings(max_examples=40)
@given(call=st.sampled_from([CALLS[room][what] for room in CALLS for what in CALLS[room]]), value=odd_values)
def test_values_in_values(call: Call, value: Any) -> None:
    check(call, value)
