"""Beside AWS Lambda Powertools, the real package."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from lambda_model import aggregate, event
from lambda_model import record as lambda_record

import shardpack as sp
from shardpack.aws_lambda import powertools_records, process
from shardpack.errors import ChecksumMismatchError, DecodeError

batch_utilities: Any = pytest.importorskip("aws_lambda_powertools.utilities.batch")
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
        list(powertools_records({"Records": [{"Data": b"x"}]}))
    with pytest.raises(DecodeError, match="no list of 'Records'"):
        list(powertools_records({}))


def test_without_powertools_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_lambda_powertools.utilities.data_classes.kinesis_stream_event", None)

    with pytest.raises(ModuleNotFoundError, match="pip install aws-lambda-powertools"):
        list(powertools_records(mixed()))
