"""Every shape of event that AWS hands to a function: what is inside, and the answer that its caller reads."""

from __future__ import annotations

import base64
import copy
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from lambda_model import DictProgress, aggregate, event, record

import shardpack as sp
from shardpack import firehose
from shardpack.aws_lambda import powertools_records, process
from shardpack.errors import DecodeError
from shardpack.testing import FakeKinesis, ManualClock

VECTORS = Path(__file__).parents[1] / "vectors" / "aws-events"
NAMES = sorted(path.stem for path in VECTORS.glob("*.json"))


def vector(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


TAKEN = [name for name in NAMES if "refused" not in vector(name)]
REFUSED = [name for name in NAMES if "refused" in vector(name)]


class Stream:
    """The part of a Kinesis client that reads, over the records of the vectors."""

    def __init__(self) -> None:
        (first, *_), self.event = vector("pipes-kinesis")["event"], vector("pipes-kinesis")["event"]
        self.arn = first["eventSourceARN"]
        self.pages = 0

    def get_shard_iterator(self, **parameters: Any) -> dict[str, Any]:
        assert parameters["StreamARN"] == self.arn
        assert (parameters["ShardId"], parameters["ShardIteratorType"]) == (
            "shardId-000000000004",
            "AT_SEQUENCE_NUMBER",
        )
        return {"ShardIterator": parameters["StartingSequenceNumber"]}

    def get_records(self, **parameters: Any) -> dict[str, Any]:
        """One record a page, and an empty page after it."""
        self.pages += 1
        at, _, empty = parameters["ShardIterator"].partition("/")
        if empty:
            return {"Records": [], "MillisBehindLatest": 5, "NextShardIterator": at}
        for one in self.event:
            if int(one["sequenceNumber"]) >= int(at):
                found = {
                    "Data": base64.b64decode(one["data"]),
                    "PartitionKey": one["partitionKey"],
                    "SequenceNumber": one["sequenceNumber"],
                }
                following = f"{int(one['sequenceNumber']) + 1}/empty"
                return {"Records": [found], "MillisBehindLatest": 5, "NextShardIterator": following}
        return {"Records": [], "MillisBehindLatest": 0, "NextShardIterator": at}


class Bucket:
    """The part of an S3 client that reads, over the objects of a vector."""

    def __init__(self, objects: dict[str, Any] | None = None) -> None:
        self.objects = {key: one.encode() if isinstance(one, str) else one for key, one in (objects or {}).items()}
        self.versions: list[str | None] = []

    def get_object(self, **parameters: Any) -> dict[str, Any]:
        assert parameters["Bucket"] == "orders-failed"
        self.versions.append(parameters.get("VersionId"))
        return {"Body": io.BytesIO(self.objects[parameters["Key"]])}


class Handler:
    def __init__(self, poison: str | None = None) -> None:
        self.poison = poison
        self.seen: list[list[Any]] = []

    def __call__(self, received: sp.ReceivedRecord) -> None:
        data = received.data.decode()
        self.seen.append([received.partition_key, data, received.sequence_number, received.sub_sequence_number])
        if data == self.poison:
            raise ValueError(data)


@pytest.mark.parametrize(
    ("name", "workers"),
    [(name, workers) for name in TAKEN for workers in (1, 3) if workers == 1 or name != "kinesis-window"],
)
def test_every_user_record_is_handled(name: str, workers: int) -> None:
    given = vector(name)
    before = copy.deepcopy(given)
    handler = Handler()

    answer = process(given["event"], handler, workers=workers, client=Stream(), s3_client=Bucket(given.get("objects")))

    assert answer == given.get("done", {"batchItemFailures": []})
    assert sorted(handler.seen) == sorted(given["user_records"])
    if workers == 1:
        assert handler.seen == given["user_records"]
    assert given == before


@pytest.mark.parametrize(("name", "poison"), [(name, poison) for name in TAKEN for poison in vector(name)["answers"]])
def test_a_failure_is_answered_as_the_caller_expects(name: str, poison: str) -> None:
    given = vector(name)
    handler = Handler(poison)
    expected = given["answers"][poison]
    clients: dict[str, Any] = {"client": Stream(), "s3_client": Bucket(given.get("objects"))}

    if expected == "raises":
        with pytest.raises(ValueError, match=poison) as caught:
            process(given["event"], handler, **clients)
        assert "messageId" in caught.value.__notes__[0]
    else:
        assert process(given["event"], handler, **clients) == expected
    (failed,) = [number for number, one in enumerate(given["user_records"]) if one[1] == poison]
    assert handler.seen[: failed + 1] == given["user_records"][: failed + 1]
    if given.get("goes_on"):  # with the next message
        after = [one for one in given["user_records"] if int(one[2]) > int(given["user_records"][failed][2])]
        assert handler.seen[failed + 1 :] == after
    else:
        assert len(handler.seen) == failed + 1


@pytest.mark.parametrize("name", [name for name in NAMES if "user_records" in vector(name)])
def test_unpack_reads_what_carries_its_records(name: str) -> None:
    """`unpack` sees no messages: those of a queue hold text, which anything may be."""
    given = vector(name)
    if "sqs" in name or "sns" in name or "s3" in name:
        with pytest.raises(DecodeError):
            list(sp.unpack(given["event"]))
        return
    read = [
        [r.partition_key, r.data.decode(), r.sequence_number, r.sub_sequence_number] for r in sp.unpack(given["event"])
    ]
    assert read == given["user_records"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_for_another_function_is_refused_with_its_name(name: str) -> None:
    given = vector(name)
    handler = Handler()

    with pytest.raises(DecodeError, match=given["refused"]):
        process(given["event"], handler)
    assert handler.seen == []


@pytest.mark.parametrize("name", ["firehose", "kinesis-analytics"])
def test_what_wants_its_records_back_gets_them_from_firehose_transform(name: str) -> None:
    given = vector(name)

    answer = firehose.transform(given["event"], lambda r: None if r.data == b"one" else r.data.upper())

    assert [one["recordId"] for one in answer["records"]] == [one["recordId"] for one in given["event"]["records"]]
    assert [one["result"] for one in answer["records"]] == ["Dropped", "Ok", "Ok"]
    assert [base64.b64decode(one["data"]) for one in answer["records"][1:]] == [b"TWO\nTHREE\nFOUR", b"FIVE"]


@pytest.mark.parametrize("name", ["kinesis-mapping", "pipes-kinesis"])
def test_powertools_records_come_out_of_both_shapes(name: str) -> None:
    pytest.importorskip("aws_lambda_powertools")
    given = vector(name)

    records = list(powertools_records(given["event"]))
    assert [[r.kinesis.partition_key, r.kinesis.data_as_text()] for r in records] == [
        one[:2] for one in given["user_records"]
    ]
    assert {r.event_source_arn for r in records} == {Stream().arn}
    assert "data" not in records[0].raw_event


class TestPipes:
    def pipe(self) -> list[dict[str, Any]]:
        return list(vector("pipes-kinesis")["event"])

    def test_without_an_event_id_the_whole_batch_fails(self) -> None:
        """As after an input transformer that leaves it out."""
        records = self.pipe()
        del records[2]["eventID"]

        assert process(records, Handler()) == {"batchItemFailures": []}
        with pytest.raises(ValueError, match="three") as caught:
            process(records, Handler("three"))
        assert "an eventID to report" in caught.value.__notes__[0]

    def test_progress_knows_the_records_of_a_mapping_again(self) -> None:
        progress = DictProgress()
        process(vector("kinesis-mapping")["event"], Handler("three"), progress=progress)
        handler = Handler()

        assert process(self.pipe(), handler, progress=progress) == {"batchItemFailures": []}
        assert [one[1] for one in handler.seen] == ["three", "four", "five"]

    def test_an_empty_list_is_done(self) -> None:
        assert process([], Handler()) == {"batchItemFailures": []}


class TestMessages:
    def message(self, body: object, number: int = 0, queue: str = "q") -> dict[str, Any]:
        text = body if isinstance(body, str) else json.dumps(body)
        arn = f"arn:aws:sqs:us-east-1:123456789012:{queue}"
        return {"messageId": f"m{number}", "body": text, "eventSource": "aws:sqs", "eventSourceARN": arn}

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("plain text", "is no JSON"),
            ("", "is no JSON"),
            ("{", "is no JSON"),
            ("[" * 100_000, "is no JSON"),
            ("17", "type int"),
            ("null", "type NoneType"),
            ('{"order": 1}', "keys 'order'"),
            ('{"KinesisBatchInfo": null}', "'KinesisBatchInfo' of an on-failure record is None"),
            ('{"DDBStreamBatchInfo": {"shardId": "s"}}', "of no Kinesis stream"),
            ('{"KinesisBatchInfo": {"streamArn": "arn", "shardId": "s"}}', "'startSequenceNumber'"),
            ('{"KinesisBatchInfo": {"streamArn": 7}}', "'streamArn'"),
            ('{"KinesisBatchInfo": {}, "payload": "{"}', "'payload'"),
            ('{"KinesisBatchInfo": {}, "payload": "%s"}' % ("[" * 100_000), "'payload'"),
            (
                '{"KinesisBatchInfo": {"streamArn": "a", "shardId": "s", "startSequenceNumber": "%s"}}' % ("9" * 5000),
                "'startSequenceNumber'",
            ),
            ('{"Type": "Notification", "Message": "text"}', "is no JSON"),
        ],
    )
    def test_a_message_that_holds_no_records_comes_again_or_is_diverted_whole(
        self, body: str, message: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        batch = event(self.message(body), self.message(record(7, b"good"), 1))
        handler = Handler()

        assert process(batch, handler) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
        assert [one[1] for one in handler.seen] == ["good"]
        assert any(message in str(one.exc_info[1]) for one in caplog.records if one.exc_info)
        diverted: list[Any] = []
        answer = process(batch, handler, on_failure="divert", divert=lambda *args: diverted.append(args))
        assert answer == {"batchItemFailures": []}
        ((received, error),) = diverted
        assert received.data == body.encode()
        assert isinstance(error, DecodeError)

    def test_a_message_without_a_text_or_an_id(self) -> None:
        batch = event({**self.message(""), "body": None}, self.message(record(7, b"good"), 1))
        handler = Handler()

        assert process(batch, handler) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
        nameless = self.message(record(8, b"bad"))
        del nameless["messageId"]
        with pytest.raises(ValueError, match="bad"):
            process(event(nameless), Handler("bad"))

    def test_a_whole_event_in_a_message(self) -> None:
        handler = Handler()

        process(event(self.message(event(record(7, b"a"), aggregate(8, [("k", b"b")])))), handler)
        assert [one[1] for one in handler.seen] == ["a", "b"]


def created(key: str, **found: Any) -> dict[str, Any]:
    where = {"bucket": {"name": "orders-failed"}, "object": {"key": key, **found}}
    return {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": where}


class TestObjects:
    """Notifications of S3, other than those of the vectors."""

    BLOBS = (sp.encode([("k", b"1"), ("k", b"2")]), b"plain", sp.encode([("k", b"3")]))

    @pytest.mark.parametrize(
        "written", [b"\n".join(BLOBS), BLOBS[0] + BLOBS[1] + b"\n" + BLOBS[2], gzip.compress(b"\n".join(BLOBS) + b"\n")]
    )
    def test_what_firehose_wrote(self, written: bytes) -> None:
        handler = Handler()

        answer = process(event(created("2024/10/27/x")), handler, s3_client=Bucket({"2024/10/27/x": written}))
        assert answer == {"batchItemFailures": []}
        assert [one[1] for one in handler.seen] == ["1", "2", "plain", "3"]

    def test_the_version_that_the_notification_is_about_is_read(self) -> None:
        bucket = Bucket({"x": b'{"Data": "MQ=="}'})

        process(event(created("x", versionId="v7")), Handler(), s3_client=bucket)
        process(event(created("x")), Handler(), s3_client=bucket)
        process(vector("s3-eventbridge")["event"], Handler(), s3_client=Bucket(vector("s3-eventbridge")["objects"]))
        assert bucket.versions == ["v7", None]

    def test_an_object_of_something_else_is_diverted_as_the_notification(self) -> None:
        diverted: list[Any] = []
        settings: dict[str, Any] = {"on_failure": "divert", "divert": lambda *args: diverted.append(args)}

        answer = process(event(created("x")), Handler(), s3_client=Bucket({"x": b"a,b,c"}), **settings)
        assert answer == {"batchItemFailures": []}
        ((received, error),) = diverted
        assert json.loads(received.data) == created("x")
        assert "s3://orders-failed/x:1: neither JSON" in str(error)

    @pytest.mark.parametrize(
        "broken",
        [
            {"s3": {}},
            {"s3": {"bucket": {"name": "b"}}},
            {"s3": {"bucket": "b", "object": {"key": "k"}}},
            {"s3": {"bucket": {"name": "b"}, "object": {"key": ""}}},
            {"source": "aws.s3", "detail-type": "Object Created"},
        ],
    )
    def test_a_notification_that_names_no_object(self, broken: dict[str, Any]) -> None:
        with pytest.raises(DecodeError, match="names no object"):
            process([broken], Handler(), s3_client=Bucket())

    def test_objects_that_name_each_other_come_to_an_end(self) -> None:
        bucket = Bucket({"x": json.dumps(event(created("x")))})

        with pytest.raises(DecodeError, match="more than 4 objects"):
            process(event(created("x")), Handler(), s3_client=bucket)
        assert len(bucket.versions) == 4

    def test_unpack_says_that_the_records_are_elsewhere(self) -> None:
        for given in (event(created("x")), vector("s3-eventbridge")["event"]):
            with pytest.raises(DecodeError, match=r"notification of S3.*aws_lambda.process.*files.read"):
                list(sp.unpack(given))


class TestOnFailure:
    def discarded(self, first: str, last: str, arn: str) -> dict[str, Any]:
        info = {"shardId": "shardId-000000000000", "startSequenceNumber": first, "endSequenceNumber": last}
        body = json.dumps({"KinesisBatchInfo": {**info, "batchSize": 2, "streamArn": arn}})
        return event({"messageId": "m", "body": body, "eventSource": "aws:sqs"})

    def stream(self) -> tuple[FakeKinesis, ManualClock, list[str], str]:
        clock = ManualClock()
        kinesis = FakeKinesis(clock=clock)
        kinesis.create_stream(StreamName="s", ShardCount=1)
        clock.advance(60)
        arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
        numbers = []
        for data in (b"before", sp.encode([("k", b"1"), ("k", b"2")]), b"3", b"after"):
            answer = kinesis.put_record(StreamName="s", PartitionKey="k", Data=data)
            numbers.append(answer["SequenceNumber"])
            clock.advance(3600)
        return kinesis, clock, numbers, arn

    def test_the_records_of_the_batch_are_read_again_and_no_others(self) -> None:
        kinesis, _, numbers, arn = self.stream()
        handler = Handler()

        for stream_arn in (arn, f"{arn}/consumer/reader:1730000000"):
            batch = self.discarded(numbers[1], numbers[2], stream_arn)
            assert process(batch, handler, client=kinesis) == {"batchItemFailures": []}
        assert [one[1] for one in handler.seen] == ["1", "2", "3"] * 2

    def test_nothing_is_read_beyond_the_last_record(self) -> None:
        stream = Stream()
        process(vector("sqs-on-failure")["event"], Handler(), client=stream)
        assert stream.pages == 5  # three with a record, and an empty one between each two

        kinesis, _, numbers, arn = self.stream()
        handler = Handler()
        between = str(int(numbers[2]) + 1)  # not there, as when Kinesis has let it expire
        process(self.discarded(numbers[1], between, arn), handler, client=kinesis)
        assert [one[1] for one in handler.seen] == ["1", "2", "3"]

    def test_progress_skips_what_the_mapping_had_done(self) -> None:
        kinesis, _, numbers, arn = self.stream()
        progress = DictProgress()
        stored = event(aggregate(numbers[1], [("k", b"1"), ("k", b"2")]), record(numbers[2], b"3", "k"))
        for one in stored["Records"]:
            one["eventSourceARN"] = arn
        process(stored, Handler("2"), progress=progress)
        handler = Handler()

        process(self.discarded(numbers[1], numbers[2], arn), handler, client=kinesis, progress=progress)
        assert [one[1] for one in handler.seen] == ["2", "3"]

    @pytest.mark.parametrize(("hours", "left"), [(22, ["3"]), (48, [])])
    def test_what_has_expired_is_told(self, hours: int, left: list[str], caplog: pytest.LogCaptureFixture) -> None:
        kinesis, clock, numbers, arn = self.stream()
        clock.advance((hours - 0.5) * 3600)
        batch = self.discarded(numbers[1], numbers[2], arn)
        handler = Handler()

        assert process(batch, handler, client=kinesis) == {"batchItemFailures": [{"itemIdentifier": "m"}]}
        assert [one[1] for one in handler.seen] == left
        assert any("expired" in str(one.exc_info[1]) for one in caplog.records if one.exc_info)
        diverted: list[Any] = []
        settings: dict[str, Any] = {"on_failure": "divert", "divert": lambda *args: diverted.append(args)}
        assert process(batch, handler, client=kinesis, **settings) == {"batchItemFailures": []}
        ((received, error),) = diverted
        assert json.loads(received.data)["KinesisBatchInfo"]["startSequenceNumber"] == numbers[1]
        assert "expired" in str(error)

    def test_a_stream_that_cannot_be_read_has_the_message_come_again_and_diverts_nothing(self) -> None:
        kinesis, _, numbers, arn = self.stream()
        batch = self.discarded(numbers[1], numbers[2], arn.replace("/s", "/other"))
        diverted: list[Any] = []

        answer = process(
            batch, Handler(), client=kinesis, on_failure="divert", divert=lambda *args: diverted.append(args)
        )
        assert answer == {"batchItemFailures": [{"itemIdentifier": "m"}]}
        assert diverted == []
