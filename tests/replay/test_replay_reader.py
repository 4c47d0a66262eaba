"""Which calls read a stretch of a shard again, and what is said of it: with no call made."""

from __future__ import annotations

from typing import Any

import pytest

from shardpack.errors import DecodeError
from shardpack.replay.core.reader import AskIterator, AskRecords, AskStream, StretchReader
from shardpack.replay.core.stretch import Stretch, stretch_of

ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/clicks"


class CallError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": code}}


def page(*numbers: int, behind: int = 0, following: str | None = "next") -> dict[str, Any]:
    records = [{"SequenceNumber": str(number)} for number in numbers]
    return {"Records": records, "MillisBehindLatest": behind, "NextShardIterator": following}


def reader(first: int = 10, last: int = 20, size: int | None = None) -> StretchReader:
    made = StretchReader(Stretch(ARN, "shardId-000000000000", str(first), str(last), size), lambda: 1.0)
    assert made.call == AskIterator("AT_SEQUENCE_NUMBER", str(first))
    assert made.answered({"ShardIterator": "first"}) == ()
    return made


def numbers(records: Any) -> list[int]:
    return [int(record["SequenceNumber"]) for record in records]


@pytest.mark.parametrize(
    ("pages", "expected", "missing"),
    [
        ([page(10, 12, 20, 21)], [10, 12, 20], None),
        ([page(10, 12, 20)], [10, 12, 20], None),
        ([page(10), page(behind=5), page(20, 30)], [10, 20], None),
        ([page(10), page(12, 21)], [10, 12], "only those up to 12 are there"),
        ([page(12, 20)], [12, 20], "only those from 12 on are left"),
        ([page(30)], [], "none is left"),
        ([page()], [], "none is left"),
        ([page(10), page()], [10], "only those up to 10 are there"),
        ([page(10, 12, following=None)], [10, 12], "only those up to 12 are there"),
    ],
)
def test_it_ends_exactly_at_the_last_sequence_number(
    pages: list[dict[str, Any]], expected: list[int], missing: str | None
) -> None:
    reading = reader()
    found: list[int] = []
    for number, answer in enumerate(pages):
        assert isinstance(reading.call, AskRecords)
        assert (reading.wait > 0) == (number > 0)  # five reads a second is what a shard takes
        found += numbers(reading.answered(answer))

    assert reading.call is None
    assert found == expected
    assert reading.missing == missing


def test_one_record_is_a_stretch_too_and_no_more_is_asked_for_than_the_batch_had() -> None:
    reading = reader(10, 10, size=1)

    assert reading.call == AskRecords("first", 1)
    assert numbers(reading.answered(page(10, following="x"))) == [10]
    assert reading.missing is None
    assert reader(size=50_000).call == AskRecords("first", 10_000)
    assert reader().call == AskRecords("first", 10_000)


@pytest.mark.parametrize(
    "code", ["ProvisionedThroughputExceededException", "InternalFailure", "EndpointConnectionError", "ExpiredToken"]
)
def test_what_may_pass_is_tried_again_and_no_longer_than_makes_sense(code: str) -> None:
    reading = reader()
    waits = []
    for _ in range(10):
        reading.failed(CallError(code))
        assert reading.call == AskRecords("first", 10_000)
        waits.append(reading.wait)

    assert waits == sorted(waits)
    assert waits[0] > 0
    with pytest.raises(CallError):
        reading.failed(CallError(code))
    again = reader()
    for _ in range(30):  # each page makes up for the failures before it
        again.failed(CallError(code))
        again.answered(page(behind=1, following="first"))


def test_an_expired_iterator_is_made_again_after_what_was_read() -> None:
    reading = reader()
    reading.failed(CallError("ExpiredIteratorException"))
    assert reading.call == AskIterator("AT_SEQUENCE_NUMBER", "10")
    reading.answered({"ShardIterator": "second"})
    reading.answered(page(10, 12))
    reading.failed(CallError("ExpiredIteratorException"))
    assert reading.call == AskIterator("AFTER_SEQUENCE_NUMBER", "12")
    reading.answered({"ShardIterator": "third"})
    assert numbers(reading.answered(page(20))) == [20]
    assert reading.missing is None


@pytest.mark.parametrize("code", ["AccessDeniedException", "InvalidArgumentException", "NoCredentialsError"])
def test_what_no_retry_mends_is_raised_at_once(code: str) -> None:
    with pytest.raises(CallError, match=code):
        reader().failed(CallError(code))


def test_a_shard_that_is_gone_has_expired_and_a_stream_that_is_gone_is_an_error() -> None:
    gone = StretchReader(Stretch(ARN, "shardId-000000000000", "10", "20"), lambda: 1.0)
    gone.failed(CallError("ResourceNotFoundException"))
    assert gone.call == AskStream()
    with pytest.raises(CallError):
        gone.failed(CallError("ResourceNotFoundException"))
    gone.failed(CallError("ThrottlingException"))
    gone.answered({"StreamDescriptionSummary": {}})
    assert gone.missing == "none is left"


def info(**changed: Any) -> dict[str, Any]:
    fields = {"streamArn": ARN, "shardId": "shardId-000000000000", "startSequenceNumber": "1", "endSequenceNumber": "2"}
    return {"KinesisBatchInfo": fields | changed}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"startSequenceNumber": "3"}, "begins at the sequence number 3, which is after the one it ends at, 2"),
        ({"startSequenceNumber": 1}, "'startSequenceNumber' of an on-failure record is 1; expected a sequence number"),
        ({"endSequenceNumber": "9" * 130}, "'endSequenceNumber'.*at most 129 digits"),
        ({"endSequenceNumber": "\u0662"}, "'endSequenceNumber'"),
        ({"streamArn": ""}, "'streamArn' of an on-failure record is ''; expected text"),
        ({"shardId": None}, "'shardId'"),
    ],
)
def test_a_stretch_that_cannot_be(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        stretch_of(info(**changed))


@pytest.mark.parametrize("info", [None, 7, [], "text"])
def test_a_batch_info_of_another_kind_is_named(info: Any) -> None:
    with pytest.raises(DecodeError, match=r"'KinesisBatchInfo' of an on-failure record is .*; expected an object with"):
        stretch_of({"KinesisBatchInfo": info})
    with pytest.raises(DecodeError, match="has no 'KinesisBatchInfo', only"):
        stretch_of({"DDBStreamBatchInfo": info})


def test_a_stretch_tells_what_it_knows() -> None:
    known = stretch_of(
        info(
            streamArn=f"{ARN}/consumer/reader:17300",
            batchSize=3,
            approximateArrivalOfFirstRecord="2024-10-27T03:33:20.250Z",
        )
    )

    assert known == Stretch(ARN, "shardId-000000000000", "1", "2", 3, "2024-10-27T03:33:20.250Z")
    assert str(known) == (
        f"1 to 2 of shardId-000000000000 in {ARN}, which arrived at 2024-10-27T03:33:20.250Z and after"
    )
    for size in (0, -1, "3", None, 2.5):
        assert stretch_of(info(batchSize=size)).batch_size is None
