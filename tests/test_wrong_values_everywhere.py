"""Values of wrong types for every parameter of every public function and class, found by looking, not by being named.

What is deeper inside of an argument is tried by test_wrong_values.py and test_wrong_values_of_rooms.py.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from odd_values import check, every_odd_value
from producer_client import Client

pa: Any = pytest.importorskip("pyarrow")
pytest.importorskip("boto3")

import shardpack as sp
from shardpack import aws_lambda
from shardpack.testing import FakeKinesis

RECORD = sp.UserRecord("k", b"x")
LAMBDA = {"Records": [{"kinesis": {"data": "", "sequenceNumber": "1"}, "eventID": "s:1"}]}
WINDOW = {
    **LAMBDA,
    "window": {"start": "2026-07-21T12:00:00Z", "end": "2026-07-21T12:01:00Z"},
    "state": {},
    "shardId": "s",
    "isFinalInvokeForWindow": False,
    "isWindowTerminatedEarly": False,
}
RECEIVED = next(iter(sp.unpack({"Data": sp.encode([RECORD]), "SequenceNumber": "1"})))


def nothing(*_: object) -> None: ...


# What each is given beside the odd value. A new public function has to be written down here.
GIVEN: dict[str, dict[str, Any]] = {
    "encode": {"records": []},
    "decode": {},
    "is_aggregated": {},
    "hash_key": {},
    "pack": {"user_records": [RECORD]},
    "Packer": {},
    "put_requests": {"packed_records": []},
    "ShardBudget": {},
    "unpack": {"records": []},
    "ShardMap": {},
    "Position": {"sequence_number": "1"},
    "Limits": {},
    "Producer": {"stream_name": "s", "client": Client()},
    "AsyncProducer": {"stream_name": "s", "client": object()},
    "ProducerConfig": {},
    "Consumer": {"stream_name": "s", "leases": sp.MemoryLeases(), "client": FakeKinesis(streams={"s": 1})},
    "AsyncConsumer": {
        "stream_name": "s",
        "leases": sp.MemoryLeases(),
        "client": object(),
        "fan_out_client": object(),
    },
    "ConsumerConfig": {},
    "consumer.FleetConfig": {},
    "MemoryLeases": {},
    "DynamoDBLeases": {"table_name": "t", "client": object()},
    "SQLiteLeases": {"path": "/nowhere/at/all"},
    "arrow.pack_batches": {"batches": []},
    "arrow.read_stream": {"stream": "s", "client": FakeKinesis(streams={"s": 1})},
    "arrow.to_table": {"records": []},
    "arrow.unpack_batches": {"batches": []},
    "arrow.unpacked_schema": {"schema": pa.schema([("data", pa.binary())])},
    "aws_lambda.DynamoDBProgress": {"table_name": "t", "consumer": "c", "client": object()},
    "aws_lambda.SQLiteProgress": {"path": "progress.db", "consumer": "c"},
    "aws_lambda.idempotency_key": {},
    "aws_lambda.log_batch": {"record": RECEIVED},
    "aws_lambda.table_change": {},
    "aws_lambda.powertools_event": {"event": LAMBDA},
    "aws_lambda.powertools_records": {"event": LAMBDA},
    "aws_lambda.process": {"event": LAMBDA, "handle": nothing},
    "aws_lambda.process_window": {"event": WINDOW, "handle": nothing},
    "aws_lambda.replay": {"source": "messages", "destination": nothing},
    "compat.aws_kinesis_agg.RecordAggregator": {},
    "compat.aws_kinesis_agg.deaggregate_records": {"records": []},
    "compat.aws_kinesis_agg.iter_deaggregate_records": {"records": []},
    "density.Prices": {},
    "density.Strategy": {"name": "s"},
    "density.measure": {"records": [RECORD], "strategies": []},
    "density.usual_strategies": {"shards": 1},
    "files.read": {"source": __file__},
    "firehose.transform": {"event": {"records": []}, "fn": nothing},
    "multilang.run": {"handler": nothing},
    "multilang.run_each": {"handler": nothing},
    "polars.scan_kinesis": {"stream": "s", "client": FakeKinesis(streams={"s": 1})},
    "spark.unpack": {"batches": []},
}
NOT_TRIED = {
    "shardpack only makes them, or they hold what they are given": (
        "AsyncBatch Attempt Batch Delivery PackedRecord ProducerStats PutRequest ReceivedRecord Shard UserRecord"
        " aws_lambda.LogBatch aws_lambda.LogEvent aws_lambda.TableChange aws_lambda.Window consumer.ConsumerStats"
        " consumer.DataLoss consumer.Lease density.Growth density.Measurement density.Overhead density.Point"
        " density.Row density.Sampling density.Spread firehose.Transformed producer.Statistics multilang.Checkpointer"
        " compat.aws_kinesis_agg.AggRecord"
    ),
    "protocols and bases": (
        "aws_lambda.Progress consumer.Leases multilang.RecordProcessor testing.Clock values.NamedTuple values.Value"
    ),
    "for tests": (
        "testing.AsyncFakeKinesis testing.Call testing.FakeKinesis testing.ManualClock testing.Script"
        " testing.SystemClock"
    ),
    "they take what others make: a client, a producer, a processor, a session of Spark": (
        "aws_lambda.InvokeFunction aws_lambda.PutAgain multilang.run_processor spark.register spark.unpacked"
    ),
    "they ask for the stream when they are made, and Ray is seldom here": "ray.KinesisDatasink ray.KinesisDatasource",
}
# Handed on to boto3 or OpenTelemetry as they are.
HANDED_ON = {"client", "sqs_client", "s3_client", "fan_out_client", "meter_provider", "tracer_provider"}
HANDED_ON |= {"region_name", "endpoint_url", "profile_name"}
# A callable is taken for what it is, and called: a handler that waits for a stream, a path that is there.
LEGITIMATE = {("multilang.run", "handler"), ("multilang.run_each", "handler"), ("files.read", "source")}
LEGITIMATE |= {("SQLiteLeases", "path"), ("aws_lambda.SQLiteProgress", "path"), ("aws_lambda.replay", "source")}


STRATEGIES = "shardpack.testing.strategies"  # of hypothesis, which checks what it is given when it draws


def public() -> dict[str, Any]:
    """Every function and class in the `__all__` of a public module, by the first name that it is found under."""
    found: dict[int, tuple[str, Any]] = {}
    modules = [name for _, name, _ in pkgutil.walk_packages(sp.__path__, "shardpack.")]
    for name in ["shardpack", *modules]:
        if any(part.startswith("_") for part in name.split(".")) or name in ("shardpack.kcl", STRATEGIES):
            continue
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:  # an extra that is not installed
            continue
        for one in getattr(module, "__all__", ()):
            value = getattr(module, one)
            if callable(value) and not (inspect.isclass(value) and issubclass(value, BaseException)):
                found.setdefault(id(value), (f"{name}.{one}".removeprefix("shardpack."), value))
    return dict(found.values())


PUBLIC = public()


def parameters() -> Iterator[tuple[str, str]]:
    for name in sorted(GIVEN.keys() & PUBLIC.keys()):
        for one in inspect.signature(PUBLIC[name]).parameters.values():
            is_named = one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
            if is_named and one.name not in HANDED_ON and (name, one.name) not in LEGITIMATE:
                yield name, one.name


def test_every_public_function_and_class_is_tried_or_said_not_to_be() -> None:
    excused = {name for names in NOT_TRIED.values() for name in names.split()}

    assert PUBLIC.keys() - GIVEN.keys() - excused == set(), "write down what they are given"
    assert not GIVEN.keys() & excused


@pytest.mark.parametrize(("name", "parameter"), [*parameters()])
def test_every_parameter(name: str, parameter: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.startswith("aws_lambda.powertools"):
        pytest.importorskip("aws_lambda_powertools")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "messages").touch()
    kind = inspect.signature(PUBLIC[name]).parameters[parameter].kind

    def call(value: Any) -> object:
        rest = {key: one for key, one in GIVEN[name].items() if key != parameter}
        if kind is inspect.Parameter.POSITIONAL_ONLY:
            made = PUBLIC[name](value, **rest)
        else:
            made = PUBLIC[name](**rest, **{parameter: value})
        if isinstance(made, aws_lambda.SQLiteProgress):
            made.close()
        return None if inspect.isclass(PUBLIC[name]) else made  # who iterated over a consumer would wait for batches

    for value in every_odd_value():
        check(call, value)
