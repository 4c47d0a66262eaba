"""What DynamoDB and CloudWatch Logs put into a stream, alone and inside an aggregate."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lambda_model import aggregate, event, record

from shardpack.aws_lambda import LogBatch, LogEvent, TableChange, log_batch, process, table_change
from shardpack.errors import DecodeError

DATA = Path(__file__).parents[1] / "vectors" / "aws-events" / "data"
AT = datetime(2024, 10, 27, 3, 33, 20, 250_000, UTC)


def data(name: str) -> bytes:
    return (DATA / f"{name}.json").read_bytes()


def change(**fields: Any) -> bytes:
    return json.dumps(json.loads(data("dynamodb-change")) | fields).encode()


def logs(**fields: Any) -> bytes:
    return gzip.compress(json.dumps(json.loads(data("cloudwatch-logs")) | fields).encode(), mtime=0)


class TestTableChange:
    def test_every_type_becomes_one_of_pythons(self) -> None:
        new = {
            "id": "ann",
            "sum": Decimal("12.50"),
            "paid": True,
            "note": None,
            "raw": b"\x00\x01",
            "tags": {"a", "b"},
            "sizes": {Decimal(1), Decimal(2)},
            "lines": [{"sku": "x"}],
        }
        old = {"id": "ann", "sum": Decimal(12)}
        event_id = "3a1b6f0e-0f1f-4c55-8f0a-55a1d0f9f1c2"

        read = table_change(data("dynamodb-change"))

        assert read == TableChange("MODIFY", event_id, "orders", {"id": "ann"}, new, old, AT)
        assert str(read.new_image and read.new_image["sum"]) == "12.50"

    def test_an_item_that_is_new_or_gone(self) -> None:
        read = table_change(change(eventName="REMOVE", dynamodb={"Keys": {"id": {"S": "ann"}}}))

        assert (read.event_name, read.new_image, read.old_image, read.at) == ("REMOVE", None, None, None)

    def test_microseconds(self) -> None:
        created = {"ApproximateCreationDateTime": 1730000000250001}
        precision = {"ApproximateCreationDateTimePrecision": "MICROSECOND"}

        assert table_change(change(dynamodb=created | precision)).at == AT + timedelta(microseconds=1)
        with pytest.raises(DecodeError, match="point in time"):  # as milliseconds it lies beyond the calendar
            table_change(change(dynamodb=created))

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (b"", "is no JSON"),
            (b"\xff", "is no JSON"),
            (b"[]", "type list"),
            (b"[" * 100_000, "is no JSON"),
            (b"{}", r"keys \[\]"),
            (change(eventName=None), "'eventName'"),
            (change(dynamodb=[]), "no change of a DynamoDB table"),
            (change(dynamodb={"Keys": []}), "an item is"),
            (change(dynamodb={"Keys": {"id": "ann"}}), "an attribute is 'ann'"),
            (change(dynamodb={"Keys": {"id": {"S": "a", "N": "1"}}}), "expected one type"),
            (change(dynamodb={"Keys": {"id": {"X": "a"}}}), "has the type 'X'"),
            (change(dynamodb={"Keys": {"id": {"N": "ten"}}}), "type 'N' is 'ten'"),
            (change(dynamodb={"Keys": {"id": {"B": "!"}}}), "type 'B'"),
            (change(dynamodb={"Keys": {"id": {"L": 7}}}), "type 'L' is 7"),
            (change(dynamodb={"Keys": {}, "ApproximateCreationDateTime": "now"}), "is 'now'"),
            (change(dynamodb={"Keys": {}, "ApproximateCreationDateTime": 1e300}), "point in time"),
            (logs(), "log_batch reads it"),
        ],
    )
    def test_something_else_is_an_error_that_says_what(self, given: bytes, message: str) -> None:
        with pytest.raises(DecodeError, match=message):
            table_change(given)


def nested(levels: int) -> bytes:
    inside = b'{"L": [' * levels + b'{"N": "1"}' + b"]}" * levels
    return b'{"eventName": "INSERT", "dynamodb": {"Keys": {"id": %s}}}' % inside


def test_no_depth_is_too_deep_for_an_error_that_says_so() -> None:
    """JSON and the values in it are nested as deep as each other, and Pythons differ in which they give up first."""
    said = set()
    for levels in [*range(20, 1000, 20), 100_000]:
        try:
            table_change(nested(levels))
        except DecodeError as error:
            said.add(str(error))
    assert any(re.search("nested too deeply|is no JSON", one) for one in said)


class TestLogBatch:
    def test_the_lines_come_out(self) -> None:
        read = log_batch(logs())

        assert read[:5] == ("DATA_MESSAGE", "210987654321", "/orders/web", "web-1", ("all",))
        first, second = read.events
        assert first == LogEvent("38500000000000000000000000000000000000000000000000000001", AT, "GET / 200")
        assert (second.message, second.at - first.at) == ("GET /x 404", timedelta(milliseconds=1))

    def test_a_control_message_has_no_lines(self) -> None:
        read = log_batch(gzip.compress(data("cloudwatch-logs-control")))

        assert read == LogBatch("CONTROL_MESSAGE", "CloudwatchLogs", "", "", (), ())

    def test_a_record_that_decompresses_to_too_much_is_refused_at_the_limit(self) -> None:
        blob = logs()
        size = len(gzip.decompress(blob))

        assert log_batch(blob, max_bytes=size).events
        with pytest.raises(DecodeError, match="more than max_bytes"):
            log_batch(blob, max_bytes=size - 1)
        with pytest.raises(DecodeError, match="67,108,864"):
            log_batch(gzip.compress(bytes(64 * 1024 * 1024 + 1), 1))

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (b"", "ends too early"),
            (b"{}", "not under gzip"),
            (logs()[:-1], "ends too early"),
            (logs()[:-4] + b"\0\0\0\0", "not under gzip"),
            (logs() + b"x", "1 bytes after its end"),
            (gzip.compress(b"text", mtime=0), "is no JSON"),
            (gzip.compress(b"7", mtime=0), "type int"),
            (gzip.compress(b"[" * 100_000, mtime=0), "is no JSON"),
            (gzip.compress(b"{}", mtime=0), "KeyError 'messageType'"),
            (logs(logEvents=None), "TypeError"),
            (logs(logEvents=[{"id": "1", "message": "x"}]), "'timestamp'"),
            (logs(logEvents=[{"id": "1", "timestamp": "x", "message": "x"}]), "'timestamp' is 'x'"),
        ],
    )
    def test_something_else_is_an_error_that_says_what(self, given: bytes, message: str) -> None:
        with pytest.raises(DecodeError, match=message):
            log_batch(given)


@pytest.mark.parametrize(("decode", "given"), [(table_change, data("dynamodb-change")), (log_batch, logs())])
def test_inside_an_aggregate_and_alone(decode: Callable[[Any], Any], given: bytes) -> None:
    seen: list[Any] = []

    answer = process(
        event(record(7, given), aggregate(8, [("k", given), ("l", given), ("m", b"other")])),
        lambda received: seen.append(decode(received)),
    )
    assert answer == {"batchItemFailures": [{"itemIdentifier": "8"}]}
    assert seen == [decode(given)] * 3
