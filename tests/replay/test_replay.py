"""`replay`: what Lambda gave up is handled once more, and each message is accounted for."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lambda_model import DictProgress, aggregate, event, record

import shardpack as sp
from shardpack.aws_lambda import InvokeFunction, PutAgain, process, replay
from shardpack.errors import DecodeError, DeliveryError, FileError
from shardpack.testing import FakeKinesis, ManualClock

SHARD = "shardId-000000000000"


class CallError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": code}}


class Stream:
    """A stream of one shard with an aggregate between plain records, and a client that fails when it is told to."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.kinesis = FakeKinesis(clock=self.clock)
        self.kinesis.create_stream(StreamName="s", ShardCount=1)
        self.clock.advance(60)
        self.arn = self.kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
        self.numbers: list[str] = []
        self.errors: dict[str, list[str | None]] = {}
        for data in (b"before", sp.encode([("k", b"1"), ("k", b"2")]), b"3", b"after"):
            self.numbers.append(self.kinesis.put_record(StreamName="s", PartitionKey="k", Data=data)["SequenceNumber"])
            self.clock.advance(3600)

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            errors = self.errors.get(operation)
            if errors and (code := errors.pop(0)):
                raise CallError(code)
            return getattr(self.kinesis, operation)(**parameters)

        return call

    def message(self, first: int = 1, last: int = 2, **more: Any) -> dict[str, Any]:
        """What Lambda writes of a batch from one record to another."""
        ends = {"startSequenceNumber": self.numbers[first], "endSequenceNumber": self.numbers[last]}
        return {"KinesisBatchInfo": {"streamArn": self.arn, "shardId": SHARD, "batchSize": 2, **ends}, **more}

    def event(self, first: int = 1, last: int = 2) -> dict[str, Any]:
        """The same batch as the function had it."""
        records = [
            aggregate(self.numbers[1], [("k", b"1"), ("k", b"2")]),
            record(self.numbers[2], b"3", "k"),
            record(self.numbers[3], b"after", "k"),
        ][first - 1 : last]
        for one in records:
            one["eventSourceARN"] = self.arn
        return event(*records)


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("shardpack.replay.shells.fetching.time.sleep", waited.append)
    return waited


class Seen:
    def __init__(self, poison: bytes | None = None) -> None:
        self.poison = poison
        self.data: list[bytes] = []

    def __call__(self, received: sp.ReceivedRecord) -> None:
        if received.data == self.poison:
            raise ValueError("poison")
        self.data.append(received.data)


class TestSources:
    def test_messages_of_the_program_whatever_is_around_them(self, stream: Stream) -> None:
        text = json.dumps(stream.message())
        around: list[Any] = [
            stream.message(),
            text,
            {"Type": "Notification", "Message": text},
            {"Messages": [{"MessageId": "a", "Body": text}, {"MessageId": "b", "Body": text}]},
            event({"messageId": "m", "body": json.dumps({"Type": "Notification", "Message": text})}),
            event({"EventSource": "aws:sns", "Sns": {"Message": text}}),
            stream.message(payload=json.dumps(stream.event())),
            stream.message(payload=stream.event()),
            stream.message(payload='{"Records": []}'),  # then the ends of the batch say where its records lie
            [stream.message(), stream.message()],
        ]
        seen = Seen()

        report = replay(around, seen, client=stream)
        assert report.ok
        assert (report.messages, report.done, report.user_records, report.kinesis_records) == (10, 10, 36, 24)
        assert seen.data == [b"1", b"2", b"3"] * 12
        assert replay(stream.message(), Seen(), client=stream).user_records == 3

    @pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
    @pytest.mark.parametrize("indent", [None, 2])
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_a_file(
        self, stream: Stream, tmp_path: Path, pack: Callable[[bytes], bytes], indent: int | None, newline: str
    ) -> None:
        written = newline.join(json.dumps(stream.message(1, last), indent=indent) for last in (1, 2))
        path = tmp_path / "failed"
        path.write_bytes(pack(written.encode()))

        for given in (path, str(path), io.BytesIO(path.read_bytes())):
            seen = Seen()
            assert replay(given, seen, client=stream).ok
            assert seen.data == [b"1", b"2", b"1", b"2", b"3"]

    @pytest.mark.parametrize("source", [7, None, b"{}", bytearray(b"{}"), object()])
    def test_what_is_no_source(self, source: Any) -> None:
        with pytest.raises(TypeError, match=r"source is .*; give a queue's URL or ARN, s3://BUCKET/PREFIX, a path"):
            replay(source, Seen())

    def test_a_message_as_bytes_and_one_in_too_many_others(self, stream: Stream) -> None:
        given: Any = stream.message()
        for _ in range(8):
            given = {"body": json.dumps(given)}
        seen = Seen()

        assert replay([json.dumps(stream.message()).encode(), given], seen, client=stream).ok
        assert seen.data == [b"1", b"2", b"3"] * 2
        report = replay([{"body": json.dumps(given)}], seen, client=stream)
        assert "wrapped in more than 8 others" in str(report.failed[0].error)

    def test_a_file_of_something_else(self, stream: Stream, tmp_path: Path) -> None:
        path = tmp_path / "failed"
        path.write_text("a,b,c\n")
        with pytest.raises(FileError, match=r"failed:1: neither JSON"):
            replay(path, Seen(), client=stream)
        with pytest.raises(FileNotFoundError):
            replay(tmp_path / "not-there", Seen(), client=stream)
        path.write_bytes(b"")
        assert replay(path, Seen(), client=stream).messages == 0
        path.write_text('{"order": 1}\n' + json.dumps(stream.message()))
        seen = Seen()
        report = replay(path, seen, client=stream)
        assert (report.messages, report.done, seen.data) == (2, 1, [b"1", b"2", b"3"])
        ((name, error),) = report.failed
        assert name == f"{path}:1"
        assert isinstance(error, DecodeError)

    def test_objects_under_a_prefix(self, stream: Stream) -> None:
        bucket = Bucket(
            {
                "failed/": b"",
                "failed/1.json": json.dumps(stream.message(payload=json.dumps(stream.event(1, 1)))).encode(),
                "failed/2.json.gz": gzip.compress(json.dumps(stream.message(2, 2)).encode()),
                "failed/3.txt": b"a,b,c",
                "other/4.json": b"{}",
            }
        )
        seen = Seen()

        report = replay("s3://bucket/failed/", seen, client=stream, s3_client=bucket)
        assert seen.data == [b"1", b"2", b"3"]
        assert [name for name, _ in report.failed] == ["s3://bucket/failed/3.txt"]
        assert len(bucket.objects) == 5
        replay("s3://bucket/failed/", seen, client=stream, s3_client=bucket, delete=True)
        assert list(bucket.objects) == ["failed/", "failed/3.txt", "other/4.json"]
        with pytest.raises(ValueError, match="names no bucket"):
            replay("s3://", seen, s3_client=bucket)

    def test_a_queue_keeps_what_is_not_done(self, stream: Stream) -> None:
        bodies = [json.dumps(stream.message(1, 1)), "text", json.dumps(stream.message(2, 2))]
        queue = Queue([*bodies, *(json.dumps(stream.message(3, 3)) for _ in range(20))])
        seen = Seen(b"after")

        report = replay("https://sqs.us-east-1.amazonaws.com/123456789012/q", seen, client=stream, sqs_client=queue)
        assert seen.data == [b"1", b"2", b"3"]
        assert (report.messages, report.done, len(report.failed)) == (23, 2, 21)
        assert sorted(queue.visible) == [1, *range(3, 23)]  # there at once, for whoever comes next
        again = replay("arn:aws:sqs:us-east-1:123456789012:q", Seen(), client=stream, sqs_client=queue)
        assert (again.done, list(queue.visible)) == (20, [1])

    def test_a_queue_may_keep_everything(self, stream: Stream) -> None:
        queue = Queue([json.dumps(stream.message())])

        for settings in ({"delete": False}, {"dry_run": True}, {"dry_run": True, "delete": True}):
            report = replay("https://sqs/q", Seen(), client=stream, sqs_client=queue, **settings)  # type: ignore[arg-type]
            assert (report.done, list(queue.visible)) == (1, [0])

    def test_a_message_that_comes_again_does_not_hide_the_others(self, stream: Stream) -> None:
        queue = Repeating(["text", json.dumps(stream.message())])

        report = replay("https://sqs/q", Seen(), client=stream, sqs_client=queue)
        assert (report.messages, report.done, list(queue.visible)) == (2, 1, [0])

    def test_a_message_that_cannot_be_deleted_is_told_and_keeps_no_other(
        self, stream: Stream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queue = Queue([json.dumps(stream.message(1, 1)), json.dumps(stream.message(2, 2))])
        delete, errors = queue.delete_message, [CallError("AccessDenied")]

        def delete_message(**parameters: Any) -> None:
            if errors:
                raise errors.pop()
            delete(**parameters)

        monkeypatch.setattr(queue, "delete_message", delete_message)
        seen = Seen()
        report = replay("https://sqs/q", seen, client=stream, sqs_client=queue)
        assert seen.data == [b"1", b"2", b"3"]
        assert (report.messages, report.done, list(queue.visible)) == (2, 1, [0])
        assert [(name, str(error)) for name, error in report.failed] == [("m0", "AccessDenied")]

    def test_messages_that_take_long_stay_hidden(self, stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
        queue = Queue([json.dumps(stream.message())] * 3)
        now = [0.0]
        monkeypatch.setattr("shardpack.replay.shells.sources.time.monotonic", lambda: now[0])

        def slow(_: sp.ReceivedRecord) -> None:
            now[0] += 1200

        replay("https://sqs/q", slow, client=stream, sqs_client=queue)
        assert queue.extended
        assert set(queue.extended) <= {0, 1, 2}
        assert queue.visible == {}


class Queue:
    """The part of an SQS client that a replay uses."""

    def __init__(self, bodies: list[str]) -> None:
        self.visible = dict(enumerate(bodies))
        self.hidden: dict[int, str] = {}
        self.extended: list[int] = []

    def get_queue_url(self, **parameters: Any) -> dict[str, str]:
        assert parameters == {"QueueName": "q", "QueueOwnerAWSAccountId": "123456789012"}
        return {"QueueUrl": "https://sqs/q"}

    def receive_message(self, **_: Any) -> dict[str, Any]:
        taken = list(self.visible)[:10]
        self.hidden |= {number: self.visible.pop(number) for number in taken}
        messages = [{"MessageId": f"m{n}", "ReceiptHandle": f"r{n}", "Body": self.hidden[n]} for n in taken]
        return {"Messages": messages} if messages else {}

    def delete_message(self, **parameters: Any) -> None:
        del self.hidden[int(parameters["ReceiptHandle"][1:])]

    def change_message_visibility(self, **parameters: Any) -> None:
        number = int(parameters["ReceiptHandle"][1:])
        if parameters["VisibilityTimeout"] == 0:
            self.visible[number] = self.hidden.pop(number)
        else:
            self.extended.append(number)


class Repeating(Queue):
    """One that gives its first message three times before the second."""

    answers = 0

    def receive_message(self, **_: Any) -> dict[str, Any]:
        self.answers += 1
        if self.answers > 4:
            return {}
        number = self.answers // 4
        self.hidden[number] = self.visible.pop(number, "") or self.hidden[number]
        return {"Messages": [{"MessageId": f"m{number}", "ReceiptHandle": f"r{number}", "Body": self.hidden[number]}]}


class Bucket:
    """The part of an S3 client that a replay uses."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **parameters: Any) -> Iterator[dict[str, Any]]:
        assert parameters["Bucket"] == "bucket"
        for key in sorted(key for key in self.objects if key.startswith(parameters["Prefix"])):
            yield {"Contents": [{"Key": key, "Size": len(self.objects[key])}]}
        yield {}

    def get_object(self, **parameters: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.objects[parameters["Key"]])}

    def delete_object(self, **parameters: Any) -> None:
        del self.objects[parameters["Key"]]


class TestProgress:
    def test_what_the_function_had_done_is_skipped_and_what_is_done_now_too(self, stream: Stream) -> None:
        progress = DictProgress()
        process(stream.event(), Seen(b"2"), progress=progress)
        seen = Seen(b"3")

        report = replay(stream.message(), seen, client=stream, progress=progress)
        assert seen.data == [b"2"]
        assert (report.done, report.user_records, report.skipped, len(report.failed)) == (0, 1, 1, 1)
        seen = Seen()
        report = replay(stream.message(), seen, client=stream, progress=progress)
        assert seen.data == [b"3"]
        assert (report.ok, report.user_records, report.skipped) == (True, 1, 2)

    def test_a_dry_run_reports_and_leaves_everything_as_it_is(self, stream: Stream) -> None:
        progress = DictProgress()
        process(stream.event(), Seen(b"2"), progress=progress)
        before = dict(progress.items)

        unreadable = event({"kinesis": {"data": "!!"}}, {"eventName": "x"})
        report = replay([stream.message(), "text", unreadable], client=stream, progress=progress, dry_run=True)
        assert (report.user_records, report.skipped, report.kinesis_records) == (2, 1, 4)
        assert len(report.failed) == 2
        assert progress.items == before

    def test_a_poison_record_is_diverted(self, stream: Stream) -> None:
        diverted: list[Any] = []
        seen = Seen(b"2")

        report = replay(
            stream.message(), seen, client=stream, on_failure="divert", divert=lambda *args: diverted.append(args)
        )
        assert report.ok
        assert seen.data == [b"1", b"3"]
        assert [one.data for one, _ in diverted] == [b"2"]


class TestExpired:
    @pytest.mark.parametrize(("hours", "left"), [(21.5, [b"3"]), (47.5, [])])
    def test_what_has_expired_is_listed_and_what_is_left_is_handled(
        self, stream: Stream, hours: float, left: list[bytes]
    ) -> None:
        stream.clock.advance(hours * 3600)
        seen = Seen()

        report = replay([stream.message()], seen, client=stream)
        assert seen.data == left
        assert (report.ok, report.done, report.failed) == (False, 0, [])
        ((stretch, told, name),) = report.expired
        assert (stretch.first, stretch.last, name) == (stream.numbers[1], stream.numbers[2], "message 0")
        assert told == (f"only those from {stream.numbers[2]} on are left" if left else "none is left")

    def test_a_stream_that_is_not_there_is_an_error(self, stream: Stream) -> None:
        message = stream.message()
        message["KinesisBatchInfo"]["streamArn"] = stream.arn.replace("/s", "/other")

        report = replay([message, stream.message()], Seen(), client=stream)
        assert (report.done, report.expired) == (1, [])
        assert "other" in str(report.failed[0].error)


class TestReading:
    def test_records_without_a_partition_key(self) -> None:
        kinesis = FakeKinesis(clock=ManualClock())
        kinesis.add_stream("s", 1, on_demand=True, distribution="AUTO")
        number = kinesis.put_record(StreamName="s", Data=b"a")["SequenceNumber"]
        ends = {"startSequenceNumber": number, "endSequenceNumber": number}
        arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
        seen = Seen()

        message = {"KinesisBatchInfo": {"streamArn": arn, "shardId": SHARD, **ends}}
        assert replay(message, seen, client=kinesis).ok
        assert seen.data == [b"a"]

    def test_throttles_and_expired_iterators_are_mended(self, stream: Stream, waits: list[float]) -> None:
        throttled = "ProvisionedThroughputExceededException"
        stream.errors = {
            "get_shard_iterator": [throttled, None],
            "get_records": ["ExpiredIteratorException", throttled, "InternalFailure", None],
        }
        seen = Seen()

        assert replay(stream.message(), seen, client=stream).ok
        assert seen.data == [b"1", b"2", b"3"]
        assert len([one for one in waits if one > 0]) == 4

    def test_a_client_that_may_not_read_fails_its_message(self, stream: Stream) -> None:
        stream.errors = {"get_records": ["AccessDeniedException"]}

        report = replay([stream.message(), stream.message()], Seen(), client=stream)
        assert [name for name, _ in report.failed] == ["message 0"]
        assert report.done == 1

    def test_it_tells_how_it_goes_on(self, stream: Stream) -> None:
        told: list[tuple[int, int]] = []

        replay([stream.message()] * 2, Seen(), client=stream, tell=lambda r: told.append((r.done, r.user_records)))
        assert told == [(0, 3), (1, 3), (1, 6), (2, 6)]


class Function:
    """The part of a Lambda client that invokes, over a function in this process."""

    def __init__(self, function: Callable[[dict[str, Any]], Any], errors: list[str] | None = None) -> None:
        self.function = function
        self.errors = errors or []
        self.events: list[dict[str, Any]] = []

    def invoke(self, **parameters: Any) -> dict[str, Any]:
        assert parameters["FunctionName"] == "orders"
        assert len(parameters["Payload"]) < 6_291_456
        if self.errors:
            raise CallError(self.errors.pop(0))
        self.events.append(json.loads(parameters["Payload"]))
        try:
            answer = self.function(self.events[-1])
        except ValueError as error:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(str(error).encode())}
        return {"Payload": io.BytesIO(answer if isinstance(answer, bytes) else json.dumps(answer).encode())}


class TestInvoke:
    def test_the_function_gets_what_lambda_gave_it(self, stream: Stream) -> None:
        seen = Seen()
        function = Function(lambda event: process(event, seen), errors=["TooManyRequestsException"])

        report = replay(stream.message(), InvokeFunction("orders", function), client=stream)
        assert (report.ok, report.user_records) == (True, 3)
        assert seen.data == [b"1", b"2", b"3"]
        (given,) = function.events
        assert [one["kinesis"]["data"] for one in given["Records"]] == [
            one["kinesis"]["data"] for one in stream.event()["Records"]
        ]

    def test_what_is_done_in_part_goes_one_by_one(self, stream: Stream) -> None:
        progress = DictProgress()
        process(stream.event(), Seen(b"2"), progress=progress)
        seen = Seen()
        function = Function(lambda event: process(event, seen))

        report = replay(stream.message(), InvokeFunction("orders", function), client=stream, progress=progress)
        assert (report.ok, report.user_records, report.skipped, seen.data) == (True, 2, 1, [b"2", b"3"])
        assert function.events[0]["Records"][0]["kinesis"]["subSequenceNumber"] == 1
        assert (
            replay(stream.message(), InvokeFunction("orders", function), client=stream, progress=progress).skipped == 3
        )
        assert len(function.events) == 1

    def test_a_partial_response_says_what_is_done(self, stream: Stream) -> None:
        progress = DictProgress()
        seen = Seen(b"3")
        function = Function(lambda event: process(event, seen))

        report = replay(stream.message(), InvokeFunction("orders", function), client=stream, progress=progress)
        assert (report.user_records, report.done) == (2, 0)
        assert f"['{stream.numbers[2]}'] as failed" in str(report.failed[0].error)
        seen.poison = None
        assert replay(stream.message(), InvokeFunction("orders", function), client=stream, progress=progress).ok
        assert seen.data == [b"1", b"2", b"3"]

    def test_with_more_attempts_it_goes_on_from_there(self, stream: Stream) -> None:
        seen = Seen()

        def function(given: dict[str, Any]) -> Any:
            seen.poison = b"3" if len(given["Records"]) == 2 else None
            return process(given, seen)

        client = Function(function)
        assert replay(stream.message(), InvokeFunction("orders", client, max_attempts=2), client=stream).ok
        assert seen.data == [b"1", b"2", b"3"]
        assert len(client.events) == 2
        broken = Function(lambda _: {"batchItemFailures": [{"itemIdentifier": ""}]})
        assert not replay(stream.message(), InvokeFunction("orders", broken, max_attempts=3), client=stream).ok
        assert len(broken.events) == 3

    @pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}, "ok", 7, b""])
    def test_what_lambda_takes_for_a_success(self, stream: Stream, answer: Any) -> None:
        assert replay(stream.message(), InvokeFunction("orders", Function(lambda _: answer)), client=stream).ok

    @pytest.mark.parametrize(
        "failures", [[{"itemIdentifier": ""}], [{"itemIdentifier": None}], [{"itemIdentifier": "77"}], [{"wrong": "1"}]]
    )
    def test_what_lambda_takes_for_a_failure_of_all(self, stream: Stream, failures: Any) -> None:
        function = Function(lambda _: {"batchItemFailures": failures})

        report = replay(stream.message(), InvokeFunction("orders", function), client=stream)
        assert (report.done, report.user_records) == (0, 0)

    def test_a_function_that_raises_or_cannot_be_called(self, stream: Stream) -> None:
        def fail(_: Any) -> None:
            raise ValueError("no database")

        report = replay(stream.message(), InvokeFunction("orders", Function(fail)), client=stream)
        assert isinstance(report.failed[0].error, DeliveryError)
        assert "no database" in str(report.failed[0].error)
        denied = Function(lambda _: None, errors=["AccessDeniedException"])
        assert "AccessDenied" in str(replay(stream.message(), InvokeFunction("orders", denied), client=stream).failed)

    def test_a_large_batch_goes_in_events_that_a_call_takes(self, stream: Stream) -> None:
        numbers = [
            stream.kinesis.put_record(StreamName="s", PartitionKey="k", Data=bytes(1_000_000))["SequenceNumber"]
            for _ in range(9)
        ]
        stream.numbers += numbers
        function = Function(lambda _: None)

        report = replay(stream.message(4, 12), InvokeFunction("orders", function), client=stream)
        assert (report.ok, report.user_records) == (True, 9)
        assert [r["kinesis"]["sequenceNumber"] for one in function.events for r in one["Records"]] == numbers


class TestPutAgain:
    def test_the_user_records_are_stored_again(self, stream: Stream) -> None:
        progress = DictProgress()
        process(stream.event(), Seen(b"2"), progress=progress)
        with sp.Producer("s", client=stream.kinesis) as producer:
            report = replay(stream.message(), PutAgain(producer), client=stream, progress=progress)
        assert (report.ok, report.user_records, report.skipped) == (True, 2, 1)
        iterator = stream.kinesis.get_shard_iterator(
            StreamName="s",
            ShardId=SHARD,
            ShardIteratorType="AFTER_SEQUENCE_NUMBER",
            StartingSequenceNumber=stream.numbers[-1],
        )["ShardIterator"]
        stored = sp.unpack(stream.kinesis.get_records(ShardIterator=iterator))
        assert [(one.partition_key, one.data) for one in stored] == [("k", b"2"), ("k", b"3")]

    def test_what_is_not_stored_is_not_done(self, stream: Stream) -> None:
        refused = [{"Data": bytes(20), "PartitionKey": "", "SequenceNumber": "1"}]  # Kinesis takes no such key
        with sp.Producer("s", client=stream.kinesis) as producer:
            report = replay([event(*refused)], PutAgain(producer), client=stream)
        assert (report.user_records, report.done) == (0, 0)


async def later(_: sp.ReceivedRecord) -> None: ...


@pytest.mark.parametrize(
    ("destination", "settings", "error", "message"),
    [
        (None, {}, ValueError, "there is no destination"),
        (7, {}, TypeError, "the destination is 7, of type int"),
        (later, {}, TypeError, "the destination is asynchronous"),
        (Seen(), {"workers": 0}, ValueError, "workers"),
        (Seen(), {"on_failure": "divert"}, ValueError, "divert"),
        (Seen(), {"on_corrupt": "x"}, ValueError, "on_corrupt"),
    ],
)
def test_settings_that_make_no_sense(destination: Any, settings: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replay([], destination, **settings)
    with pytest.raises(ValueError, match="max_attempts is 0"):
        InvokeFunction("orders", None, max_attempts=0)
