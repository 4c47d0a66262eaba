"""Beside AWS Lambda Powertools, the real package."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
from lambda_model import aggregate, event
from lambda_model import record as lambda_record

import shardpack as sp
from shardpack.aws_lambda import idempotency_key, powertools_event, powertools_records, process
from shardpack.errors import ChecksumMismatchError, DecodeError

batch_utilities: Any = pytest.importorskip("aws_lambda_powertools.utilities.batch")
idempotency: Any = pytest.importorskip("aws_lambda_powertools.utilities.idempotency")
idempotency_errors: Any = pytest.importorskip("aws_lambda_powertools.utilities.idempotency.exceptions")
from aws_lambda_powertools.utilities.data_classes import KinesisStreamEvent
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord


def mixed() -> dict[str, Any]:
    return event(lambda_record(7, b"plain", "k"), aggregate(8, [("x", b'{"n": 1}'), ("y", b'{"n": 2}')]))


@pytest.mark.parametrize("wrap", [dict, KinesisStreamEvent])
def test_each_user_record_is_one_of_powertools_records(wrap: Any) -> None:
    records = list(powertools_records(wrap(mixed())))

    assert [type(one) for one in records] == [KinesisStreamRecord] * 3
    assert [one.kinesis.data_as_bytes() for one in records] == [b"plain", b'{"n": 1}', b'{"n": 2}']
    assert [one.kinesis.partition_key for one in records] == ["k", "x", "y"]
    assert [one.kinesis.sequence_number for one in records] == ["7", "8", "8"]
    assert [one.kinesis["subSequenceNumber"] for one in records] == [0, 0, 1]
    assert [one.kinesis["aggregated"] for one in records] == [False, True, True]
    assert records[2].kinesis.data_as_json() == {"n": 2}
    assert records[2].kinesis.approximate_arrival_timestamp == 1545084650.987
    assert (records[2].event_id, records[2].aws_region) == ("shardId-000000000000:8", "us-east-1")


def test_they_unpack_to_what_they_came_from() -> None:
    again = list(sp.unpack(one.raw_event for one in powertools_records(mixed())))

    assert [(r.partition_key, r.data, r.position) for r in again] == [
        (r.partition_key, r.data, r.position) for r in sp.unpack(mixed())
    ]


def test_its_batch_processor_takes_them() -> None:
    """As docs/lambda.md shows it; it reports a sequence number once for each failed user record."""
    seen: list[Any] = []

    def handle(record: KinesisStreamRecord) -> None:
        seen.append(record.kinesis.data_as_bytes())
        if record.kinesis.partition_key == "x":
            raise ValueError

    expanded = {"Records": [one.raw_event for one in powertools_records(mixed())]}
    processor = batch_utilities.BatchProcessor(event_type=batch_utilities.EventType.KinesisDataStreams)
    answer = batch_utilities.process_partial_response(
        event=expanded, record_handler=handle, processor=processor, context=None
    )

    assert answer == {"batchItemFailures": [{"itemIdentifier": "8"}]}
    assert seen == [b"plain", b'{"n": 1}', b'{"n": 2}']


@pytest.mark.parametrize("model", [False, True])
def test_both_of_its_processors_take_the_expanded_event(*, model: bool) -> None:
    """With its own data classes, and with its parser's models."""
    settings = {}
    if model:
        settings["model"] = pytest.importorskip("aws_lambda_powertools.utilities.parser.models").KinesisDataStreamRecord
    seen: list[bytes] = []

    def handle(record: Any) -> None:
        data = record.kinesis.data if model else record.kinesis.data_as_bytes()
        seen.append(data)
        if b"1" in data:
            raise ValueError

    async def handle_later(record: Any) -> None:
        await asyncio.sleep(0)
        handle(record)

    kinesis = batch_utilities.EventType.KinesisDataStreams
    for run, processor, handler in (
        (batch_utilities.process_partial_response, batch_utilities.BatchProcessor, handle),
        (batch_utilities.async_process_partial_response, batch_utilities.AsyncBatchProcessor, handle_later),
    ):
        seen.clear()
        answer = run(powertools_event(mixed()), handler, processor(event_type=kinesis, **settings), None)
        assert answer == {"batchItemFailures": [{"itemIdentifier": "8"}]}
        assert sorted(seen) == sorted([b"plain", b'{"n": 1}', b'{"n": 2}'])


def test_the_expanded_event_keeps_what_is_around_the_records() -> None:
    batch = mixed() | {"window": {"start": "2024-10-27T03:32:00Z"}, "state": {"n": 1}}

    expanded = powertools_event(batch)
    assert {name: value for name, value in expanded.items() if name != "Records"} == {
        "window": batch["window"],
        "state": {"n": 1},
    }
    assert len(expanded["Records"]) == 3
    assert powertools_event(KinesisStreamEvent(batch)) == expanded
    assert powertools_event([]) == {"Records": []}


def memory() -> Any:
    """A store of Powertools' idempotency utility, in memory."""
    records: dict[str, Any] = {}

    def put(_: object, data_record: Any) -> None:
        if data_record.idempotency_key in records:
            raise idempotency_errors.IdempotencyItemAlreadyExistsError
        records[data_record.idempotency_key] = data_record

    methods = {
        "_put_record": put,
        "_get_record": lambda _, idempotency_key: records[idempotency_key],
        "_update_record": lambda _, data_record: records.update({data_record.idempotency_key: data_record}),
        "_delete_record": lambda _, data_record: records.pop(data_record.idempotency_key),
    }
    return type("Memory", (idempotency.BasePersistenceLayer,), methods)()


class Context:
    """The part of Lambda's context that the idempotency utility asks."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


class TestIdempotency:
    """The real utility of Powertools: a user record that is delivered again runs once, another like it runs too."""

    def once(self, fn: Callable[..., None], argument: str, **settings: Any) -> Callable[..., None]:
        config = idempotency.IdempotencyConfig(lambda_context=Context(), **settings)
        decorated: Callable[..., None] = idempotency.idempotent_function(
            fn, data_keyword_argument=argument, persistence_store=memory(), config=config
        )
        return decorated

    def test_in_process(self) -> None:
        seen: list[Any] = []

        def handle(key: str, record: sp.ReceivedRecord) -> None:
            seen.append((key, record.data))

        once = self.once(handle, "key")
        same = event(aggregate(8, [("x", b"same"), ("x", b"same")]), lambda_record(9, b"same", "x"))
        for _ in range(2):
            assert process(same, lambda r: once(key=idempotency_key(r), record=r)) == {"batchItemFailures": []}
        shard = "shardId-000000000000"
        assert seen == [(f"{shard}:8:0", b"same"), (f"{shard}:8:1", b"same"), (f"{shard}:9:0", b"same")]

    def test_in_a_batch_processor(self) -> None:
        seen: list[Any] = []

        def handle(record: KinesisStreamRecord) -> None:
            seen.append(idempotency_key(record))

        once = self.once(
            handle, "record", event_key_jmespath="kinesis.idempotencyKey", raise_on_no_idempotency_key=True
        )
        for _ in range(2):
            processor = batch_utilities.BatchProcessor(event_type=batch_utilities.EventType.KinesisDataStreams)
            answer = batch_utilities.process_partial_response(powertools_event(mixed()), once, processor, None)
            assert answer == {"batchItemFailures": []}
        assert seen == [idempotency_key(one) for one in sp.unpack(mixed())]

    def test_a_record_that_nothing_names_has_no_key(self) -> None:
        nameless = {"Records": [{"kinesis": {"data": "eA=="}}]}

        with pytest.raises(ValueError, match="no idempotency key"):
            idempotency_key(next(iter(sp.unpack(nameless))))
        with pytest.raises(ValueError, match="no idempotency key"):
            idempotency_key(next(powertools_records(nameless)))


def test_process_takes_an_event_that_was_expanded_for_powertools() -> None:
    expanded = {"Records": [one.raw_event for one in powertools_records(mixed())]}
    positions: list[sp.Position | None] = []

    assert process(expanded, lambda r: positions.append(r.position)) == {"batchItemFailures": []}
    assert positions == [sp.Position("7"), sp.Position("8", 0), sp.Position("8", 1)]


def test_corrupt_aggregates_and_strange_records() -> None:
    blob = bytearray(sp.encode([("k", b"1")]))
    blob[-1] ^= 1
    corrupt = event(lambda_record(7, bytes(blob)))

    assert [one.kinesis.data_as_bytes() for one in powertools_records(corrupt)] == [bytes(blob)]
    with pytest.raises(ChecksumMismatchError):
        list(powertools_records(corrupt, on_corrupt="raise"))
    with pytest.raises(DecodeError, match="'kinesis'"):
        list(powertools_records({"Records": [{"dynamodb": {}}]}))
    with pytest.raises(DecodeError, match="no list of 'Records'"):
        list(powertools_records({}))


def test_without_powertools_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_lambda_powertools.utilities.data_classes.kinesis_stream_event", None)

    with pytest.raises(ModuleNotFoundError, match="pip install aws-lambda-powertools"):
        list(powertools_records(mixed()))
