"""Firehose's contract: each record back exactly once, whatever is in it."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.errors import ChecksumMismatchError, DecodeError
from shardpack.firehose import MAX_RESPONSE_BYTES, Transformed, transform
from shardpack.firehose.transformation import _json_size


def record(record_id: str, data: bytes | str, **fields: Any) -> dict[str, Any]:
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    return {"recordId": record_id, "approximateArrivalTimestamp": 1495072949453, "data": text, **fields}


def event(*records: Any) -> dict[str, Any]:
    """As Firehose makes them ("Use AWS Lambda functions to transform data in Amazon Data Firehose")."""
    return {
        "invocationId": "invocationIdExample",
        "deliveryStreamArn": "arn:aws:firehose:us-east-1:123456789012:deliverystream/clicks",
        "region": "us-east-1",
        "records": list(records),
    }


def aggregate(*data: bytes) -> bytes:
    return sp.encode([("k", one) for one in data])


def corrupt() -> bytes:
    blob = bytearray(aggregate(b"a", b"b"))
    blob[-1] ^= 1
    return bytes(blob)


def upper(received: sp.ReceivedRecord) -> bytes:
    return received.data.upper()


def answered(answer: dict[str, Any]) -> list[tuple[str, str, bytes | None]]:
    json.dumps(answer)
    return [
        (one["recordId"], one["result"], base64.b64decode(one["data"], validate=True) if "data" in one else None)
        for one in answer["records"]
    ]


class TestResults:
    def test_plain_records_and_aggregates(self) -> None:
        answer = transform(event(record("1", b"plain"), record("2", aggregate(b"a", b"b", b"c"))), upper)

        assert answered(answer) == [("1", "Ok", b"PLAIN"), ("2", "Ok", b"A\nB\nC")]
        assert set(answer["records"][0]) == {"recordId", "result", "data"}
        assert set(answer) == {"records"}

    def test_the_delimiter_is_yours(self) -> None:
        batch = event(record("1", aggregate(b"a", b"b")))

        assert answered(transform(batch, upper, delimiter=b"")) == [("1", "Ok", b"AB")]
        assert answered(transform(batch, lambda r: r.data + b"\r\n", delimiter=b"")) == [("1", "Ok", b"a\r\nb\r\n")]

    def test_none_drops_a_user_record_and_a_record_when_all_are_dropped(self) -> None:
        batch = event(record("1", aggregate(b"a", b"b", b"c")), record("2", b"b"), record("3", b"d"))

        answer = transform(batch, lambda r: None if r.data == b"b" else r.data)

        assert answered(answer) == [("1", "Ok", b"a\nc"), ("2", "Dropped", b"b"), ("3", "Ok", b"d")]

    def test_an_empty_result_is_a_result(self) -> None:
        answer = transform(event(record("1", b"a"), record("2", aggregate(b"a", b"b"))), lambda _: b"")

        assert answered(answer) == [("1", "Ok", b""), ("2", "Ok", b"\n")]

    def test_a_failure_fails_its_record_as_it_came_and_no_other(self, caplog: pytest.LogCaptureFixture) -> None:
        blob = aggregate(b"a", b"b", b"c")

        def fail(received: sp.ReceivedRecord) -> bytes:
            if received.data == b"b":
                raise KeyError("no such thing")
            return received.data

        answer = transform(event(record("1", b"x"), record("2", blob), record("3", b"y")), fail)

        assert answered(answer) == [("1", "Ok", b"x"), ("2", "ProcessingFailed", blob), ("3", "Ok", b"y")]
        (message,) = caplog.records
        assert (message.name, message.levelno) == ("shardpack.firehose", logging.WARNING)
        assert "record 2" in message.getMessage()
        assert message.exc_info is not None
        assert isinstance(message.exc_info[1], KeyError)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_what_ends_a_process_passes_through(self, error: type[BaseException]) -> None:
        def end(_: sp.ReceivedRecord) -> bytes:
            raise error

        with pytest.raises(error):
            transform(event(record("1", b"x")), end)

    @pytest.mark.parametrize("result", ["text", {"a": 1}, 7, bytearray(b"x"), ("x", {}), Transformed("x", {})])  # type: ignore[arg-type]
    def test_a_result_of_another_type_is_an_error_in_the_function(self, result: Any) -> None:
        with pytest.raises(TypeError, match="fn returned"):
            transform(event(record("1", b"x")), lambda _: result)

    def test_what_firehose_says_of_the_record_reaches_the_function(self) -> None:
        seen: list[sp.ReceivedRecord] = []
        metadata = {
            "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
            "subsequenceNumber": 3,
            "partitionKey": "k",
            "shardId": "shardId-000000000000",
            "approximateArrivalTimestamp": 1495072949453,
        }

        transform(event(record("1", b"x", kinesisRecordMetadata=metadata)), lambda r: seen.append(r) or r.data)  # type: ignore[func-returns-value]

        (received,) = seen
        assert received.position == sp.Position(metadata["sequenceNumber"], 3)  # type: ignore[arg-type]
        assert (received.partition_key, received.shard_id) == ("k", "shardId-000000000000")


class TestPartitionKeys:
    def test_those_on_which_all_agree_are_given(self) -> None:
        batch = event(record("1", b"a"), record("2", aggregate(b"b", b"b")))

        answer = transform(batch, lambda r: Transformed(r.data, {"letter": r.data.decode()}))

        assert [one["metadata"] for one in answer["records"]] == [
            {"partitionKeys": {"letter": "a"}},
            {"partitionKeys": {"letter": "b"}},
        ]

    @pytest.mark.parametrize("others", [{"letter": "z"}, {}, {"letter": "a", "more": "b"}])
    def test_those_that_differ_fail_the_record(self, others: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
        blob = aggregate(b"a", b"b")

        answer = transform(
            event(record("1", blob)), lambda r: Transformed(r.data, {"letter": "a"} if r.data == b"a" else others)
        )

        assert answered(answer) == [("1", "ProcessingFailed", blob)]
        assert "different partition keys" in caplog.text

    @pytest.mark.parametrize("keyless", [b"a", b"b"])
    def test_keys_on_some_user_records_and_none_on_others_differ(self, keyless: bytes) -> None:
        blob = aggregate(b"a", b"b")

        answer = transform(
            event(record("1", blob)), lambda r: r.data if r.data == keyless else Transformed(r.data, {"letter": "x"})
        )

        assert answered(answer) == [("1", "ProcessingFailed", blob)]

    def test_dropped_user_records_have_no_say(self) -> None:
        def keep_b(received: sp.ReceivedRecord) -> Transformed | None:
            return Transformed(received.data, {"letter": "b"}) if received.data == b"b" else None

        (one,) = transform(event(record("1", aggregate(b"a", b"b", b"c"))), keep_b)["records"]

        assert one["metadata"] == {"partitionKeys": {"letter": "b"}}

    def test_they_are_text(self) -> None:
        with pytest.raises(TypeError, match="not all str"):
            transform(event(record("1", b"x")), lambda r: Transformed(r.data, {"n": 1}))  # type: ignore[dict-item]


class TestCorrupt:
    def test_raw_hands_it_over_whole(self) -> None:
        assert answered(transform(event(record("1", corrupt())), lambda r: r.data)) == [("1", "Ok", corrupt())]

    def test_raise_fails_the_record(self, caplog: pytest.LogCaptureFixture) -> None:
        batch = event(record("1", corrupt()), record("2", b"x"))

        answer = transform(batch, upper, on_corrupt="raise")

        assert answered(answer) == [("1", "ProcessingFailed", corrupt()), ("2", "Ok", b"X")]
        assert caplog.records[0].exc_info is not None
        assert isinstance(caplog.records[0].exc_info[1], ChecksumMismatchError)

    def test_kcl_does_what_the_kcl_does(self) -> None:
        assert answered(transform(event(record("1", corrupt())), lambda r: r.data, on_corrupt="kcl"))[0][:2] == (
            "1",
            "Ok",
        )

    @pytest.mark.parametrize(
        "fields",
        [
            {"data": "not base64!"},
            {"data": None},
            {"data": 7},
            {"data": ["YQ=="]},
            {"data": "YQ==", "approximateArrivalTimestamp": "yesterday"},
            {"data": "YQ==", "kinesisRecordMetadata": {"subsequenceNumber": "x"}},
            {},
            {"records": [{"recordId": "9", "data": "YQ=="}]},
        ],
    )
    def test_a_record_that_cannot_be_read_fails_alone(self, fields: dict[str, Any]) -> None:
        answer = transform(event({"recordId": "1", **fields}, record("2", b"x")), upper)

        assert [(one["recordId"], one["result"]) for one in answer["records"]] == [
            ("1", "ProcessingFailed"),
            ("2", "Ok"),
        ]
        assert isinstance(answer["records"][0].get("data", ""), str)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, "no list of 'records'"),
            ({"Records": []}, "aws_lambda.process"),
            ({"records": {}}, "no list"),
            (None, "type NoneType"),
            ([], "type list"),
            (event({"data": "YQ=="}), "record 0 of the event has no 'recordId'"),
            (event(record("1", b"a"), "text"), "record 1 of the event has no 'recordId'"),
            (event({"recordId": 7, "data": "YQ=="}), "no 'recordId'"),
            (event(record("1", b"a"), record("1", b"b")), "recordId '1' twice"),
        ],
    )
    def test_an_event_that_cannot_be_answered_is_refused(self, given: Any, message: str) -> None:
        with pytest.raises(DecodeError, match=message):
            transform(given, upper)

    def test_an_empty_event_has_an_empty_answer(self) -> None:
        assert transform(event(), upper) == {"records": []}

    def test_an_unknown_policy_is_refused(self) -> None:
        with pytest.raises(ValueError, match="on_corrupt is 'skip'"):
            transform(event(), upper, on_corrupt="skip")  # type: ignore[arg-type]


class TestSize:
    def test_what_does_not_fit_into_the_answer_fails_and_the_rest_is_delivered(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        batch = event(*(record(f"{n}", b"x" * 1000) for n in range(10)))

        answer = transform(batch, lambda r: r.data * 1000)  # 1.3 MB in base64 each

        assert [result for _, result, _ in answered(answer)] == ["Ok"] * 4 + ["ProcessingFailed"] * 6
        assert len(json.dumps(answer)) <= MAX_RESPONSE_BYTES == 6_291_456
        assert "BufferSizeInMBs" in caplog.text

    def test_a_small_one_fits_after_one_that_does_not(self) -> None:
        batch = event(record("1", b"a" * 900), record("2", b"b"))

        answer = transform(batch, upper, max_response_bytes=300)

        assert answered(answer) == [("1", "ProcessingFailed", None), ("2", "Ok", b"B")]

    sizes = st.integers(0, 60)

    @given(
        st.lists(st.tuples(st.sampled_from(["plain", "aggregate", "fail", "drop", "broken"]), sizes), max_size=12),
        st.integers(0, 2000),
        st.text(max_size=3),
    )
    def test_every_record_comes_back_once_within_the_size(
        self, drawn: list[tuple[str, int]], room: int, prefix: str
    ) -> None:
        records = []
        for number, (kind, size) in enumerate(drawn):
            record_id = f"{prefix}-{number}"
            data = b"%s:" % kind.encode() + b"x" * size
            blob = aggregate(data, b"second") if kind == "aggregate" else data
            records.append(record(record_id, "~" * size + "~" if kind == "broken" else blob))

        def fn(received: sp.ReceivedRecord) -> bytes | Transformed | None:
            if received.data.startswith(b"fail"):
                raise ValueError
            if received.data.startswith(b"drop"):
                return None
            return Transformed(received.data * 2, {"é": "ü"})

        least = len(
            json.dumps({"records": [{"recordId": one["recordId"], "result": "ProcessingFailed"} for one in records]})
        )
        answer = transform(event(*records), fn, max_response_bytes=least + room)

        assert [one["recordId"] for one in answer["records"]] == [one["recordId"] for one in records]
        assert len(json.dumps(answer)) <= least + room
        expected = {
            "plain": "Ok",
            "aggregate": "Ok",
            "fail": "ProcessingFailed",
            "drop": "Dropped",
            "broken": "ProcessingFailed",
        }
        for (kind, _), one in zip(drawn, answer["records"], strict=True):
            assert one["result"] in {expected[kind], "ProcessingFailed"} - (
                {"ProcessingFailed"} if kind == "drop" else set()
            )
            assert ("data" in one) or one["result"] != "Ok"
        if room > 100_000:
            assert [one["result"] for one in answer["records"]] == [expected[kind] for kind, _ in drawn]

    def test_the_answer_fills_the_room_to_the_byte(self) -> None:
        batch = event(record("1", b"a" * 90), record("2", aggregate(b"b", b"c")))
        whole = transform(batch, lambda r: Transformed(r.data, {"k": "é"}))
        size = len(json.dumps(whole))

        assert transform(batch, lambda r: Transformed(r.data, {"k": "é"}), max_response_bytes=size) == whole
        less = transform(batch, lambda r: Transformed(r.data, {"k": "é"}), max_response_bytes=size - 1)
        assert less["records"][1]["result"] == "ProcessingFailed"


@given(
    st.recursive(
        st.text(max_size=6), lambda inside: st.dictionaries(st.text(max_size=3), inside, max_size=3), max_leaves=6
    )
)
@example('with "quotes", \\ and \x7f')
@example({})
def test_the_size_of_an_answer_is_that_of_its_json(value: object) -> None:
    assert _json_size(value) == len(json.dumps(value))
