"""Kinesis records of every shape in, user records out: nothing lost, nothing half expanded, order kept."""

from __future__ import annotations

import base64
import pickle
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import chain
from typing import Any

import pytest
from aggregate_bytes import MAGIC, frame
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp

MAX_HASH_KEY = 2**128 - 1
EVERYTHING = (0, MAX_HASH_KEY)
SEQUENCE_NUMBER = "49546986683135544286507457936321625675700192471156785154"
TIME = datetime(2026, 7, 21, 12, 30, 15, 250_000, UTC)

BLOB = sp.encode([("k", b"one", "5"), ("l", b"two")])


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def boto3_record(data: bytes, sequence_number: str = SEQUENCE_NUMBER) -> dict[str, Any]:
    return {
        "SequenceNumber": sequence_number,
        "ApproximateArrivalTimestamp": TIME,
        "Data": data,
        "PartitionKey": "outer",
        "EncryptionType": "NONE",
    }


def lambda_record(data: bytes) -> dict[str, Any]:
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "outer",
            "sequenceNumber": SEQUENCE_NUMBER,
            "data": b64(data),
            "approximateArrivalTimestamp": TIME.timestamp(),
        },
        "eventSource": "aws:kinesis",
        "eventID": f"shardId-000000000006:{SEQUENCE_NUMBER}",
        "eventName": "aws:kinesis:record",
    }


def firehose_record(data: bytes, metadata: str = "kinesisRecordMetadata") -> dict[str, Any]:
    return {
        "recordId": "49578734086442259037497492980620233840400173390482112514000000",
        "approximateArrivalTimestamp": round(TIME.timestamp() * 1000),
        "data": b64(data),
        metadata: {
            "sequenceNumber": SEQUENCE_NUMBER,
            "subsequenceNumber": 0,
            "shardId": "shardId-000000000006",
            "partitionKey": "outer",
            "approximateArrivalTimestamp": round(TIME.timestamp() * 1000),
        },
    }


def shapes(data: bytes) -> dict[str, tuple[Any, str | None, datetime | None, str | None]]:
    """One Kinesis record in every shape, with the sequence number, time and shard that the shape carries."""
    shard_id = "shardId-000000000006"
    boto3, from_lambda, firehose = boto3_record(data), lambda_record(data), firehose_record(data)
    as_text = {**boto3, "Data": b64(data)}
    put = {"Data": data, "PartitionKey": "outer"}
    packed = sp.PackedRecord(data, "outer", None, 1, "shardId-000000000006")
    analytics = firehose_record(data, "kinesisStreamRecordMetadata")
    subscribed = {"SubscribeToShardEvent": {"Records": [boto3], "ContinuationSequenceNumber": "1"}}
    full, timed, bare = (SEQUENCE_NUMBER, TIME, shard_id), (SEQUENCE_NUMBER, TIME, None), (None, None, None)
    return {
        "boto3 record": (boto3, *timed),
        "boto3 record, bytearray": ({**boto3, "Data": bytearray(data)}, *timed),
        "boto3 record, memoryview": ({**boto3, "Data": memoryview(data)}, *timed),
        "GetRecords response": ({"Records": [boto3], "NextShardIterator": "AAA", "MillisBehindLatest": 0}, *timed),
        "records of a GetRecords response": ([boto3], *timed),
        "SubscribeToShard event": (subscribed, *timed),
        "SubscribeToShard event stream": (iter([subscribed]), *timed),
        "PutRecords entry": (put, *bare),
        "PutRecords request": ({"StreamName": "s", "Records": [put]}, *bare),
        "AWS CLI, ISO time": ({"Records": [{**as_text, "ApproximateArrivalTimestamp": TIME.isoformat()}]}, *timed),
        "AWS CLI, epoch": ({"Records": [{**as_text, "ApproximateArrivalTimestamp": TIME.timestamp()}]}, *timed),
        "Lambda record": (from_lambda, *full),
        "Lambda event": ({"Records": [from_lambda]}, *full),
        "kinesis field of a Lambda record": (from_lambda["kinesis"], *timed),
        "Firehose record": (firehose, *full),
        "Firehose event": ({"invocationId": "i", "deliveryStreamArn": "a", "records": [firehose]}, *full),
        "Kinesis Analytics record": (analytics, *full),
        "Kinesis Analytics event": ({"applicationArn": "a", "streamArn": "s", "records": [analytics]}, *full),
        "PackedRecord": (packed, None, None, shard_id),
        "tuple, generator, nested": (((part for part in [(), [[boto3]]]),), *timed),
    }


SHAPES = list(shapes(b""))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("data", [b"plain", b"", MAGIC, MAGIC + bytes(99)])
def test_a_plain_record_of_every_shape(shape: str, data: bytes) -> None:
    source, sequence_number, arrival, shard_id = shapes(data)[shape]

    assert list(sp.unpack(source)) == [
        sp.ReceivedRecord("outer", data, None, sequence_number, 0, False, arrival, shard_id, ())
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_an_aggregate_of_every_shape(shape: str) -> None:
    source, sequence_number, arrival, shard_id = shapes(BLOB)[shape]

    received = list(sp.unpack(source))

    assert received == [
        sp.ReceivedRecord("k", b"one", "5", sequence_number, 0, True, arrival, shard_id, ()),
        sp.ReceivedRecord("l", b"two", None, sequence_number, 1, True, arrival, shard_id, ()),
    ]
    assert all(type(record) is sp.ReceivedRecord and type(record.data) is bytes for record in received)
    assert [record.position for record in received] == [
        sequence_number and sp.Position(sequence_number, sub) for sub in (0, 1)
    ]


def test_all_shapes_in_one_iterable() -> None:
    plain = [source for source, *_ in shapes(b"plain").values()]
    mixed = [source for source, *_ in shapes(BLOB).values()]

    received = list(sp.unpack(chain.from_iterable(zip(plain, mixed, strict=True))))

    assert [record.data for record in received] == [b"plain", b"one", b"two"] * len(SHAPES)


BARE = {
    "boto3": {"Data": BLOB},
    "boto3, None": dict.fromkeys(
        ("PartitionKey", "ExplicitHashKey", "SequenceNumber", "ApproximateArrivalTimestamp", "ShardId"), None
    )
    | {"Data": BLOB},
    "Lambda": {"kinesis": {"data": b64(BLOB)}},
    "Lambda, None": {
        "kinesis": {
            "data": b64(BLOB),
            "partitionKey": None,
            "sequenceNumber": None,
            "approximateArrivalTimestamp": None,
        },
        "eventID": None,
    },
    "Lambda, an event ID without a shard": {"kinesis": {"data": b64(BLOB)}, "eventID": "1"},
    "Firehose": {"recordId": "1", "data": b64(BLOB)},
    "Firehose, empty metadata": {"recordId": "1", "data": b64(BLOB), "kinesisRecordMetadata": {}},
    "Firehose, None": {
        "recordId": "1",
        "data": b64(BLOB),
        "kinesisRecordMetadata": None,
        "approximateArrivalTimestamp": None,
    },
    "Firehose, None inside": {
        "recordId": "1",
        "data": b64(BLOB),
        "kinesisRecordMetadata": dict.fromkeys(
            ("sequenceNumber", "subsequenceNumber", "shardId", "partitionKey", "approximateArrivalTimestamp")
        ),
    },
    "data alone": {"data": b64(BLOB)},
}


@pytest.mark.parametrize("name", BARE)
@pytest.mark.parametrize("after", [None, sp.Position.SHARD_END])
def test_what_a_source_leaves_out_is_none(name: str, after: sp.Position | None) -> None:
    received = list(sp.unpack(BARE[name], after=after, hash_range=EVERYTHING, out_of_range="raise"))

    assert received == [
        sp.ReceivedRecord("k", b"one", "5", None, 0, True, None, None),
        sp.ReceivedRecord("l", b"two", None, None, 1, True, None, None),
    ]
    assert {record.position for record in received} == {None}


def test_explicit_hash_key_and_shard_of_a_plain_record_are_kept() -> None:
    (received,) = sp.unpack({"Data": b"d", "PartitionKey": "k", "ExplicitHashKey": "7", "ShardId": "s"})

    assert (received.partition_key, received.explicit_hash_key, received.shard_id) == ("k", "7", "s")


def test_the_sub_sequence_number_that_firehose_gives_is_kept() -> None:
    sub_records = [firehose_record(b"0"), firehose_record(b"1")]
    sub_records[1]["kinesisRecordMetadata"]["subsequenceNumber"] = 1

    received = list(sp.unpack(sub_records))

    assert [record.position for record in received] == [sp.Position(SEQUENCE_NUMBER, n) for n in (0, 1)]
    assert list(sp.unpack(sub_records, after=sp.Position(SEQUENCE_NUMBER, 0))) == received[1:]


@pytest.mark.parametrize(
    "given_time",
    [
        TIME,
        TIME.replace(tzinfo=None),
        TIME.astimezone(timezone(timedelta(hours=-7))),
        TIME.isoformat(),
        "2026-07-21T12:30:15.250Z",
        "2026-07-21T12:30:15.250",
        "2026-07-21T14:30:15.250000+02:00",
        TIME.timestamp(),
    ],
)
def test_times_of_every_kind_are_one_point_in_utc(given_time: object) -> None:
    for source in (
        {"Data": b"", "ApproximateArrivalTimestamp": given_time},
        {"kinesis": {"data": "", "approximateArrivalTimestamp": given_time}},
    ):
        (received,) = sp.unpack(source)
        assert received.approximate_arrival_timestamp == TIME
        assert received.approximate_arrival_timestamp.tzinfo is UTC


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of a process cannot be set here")
def test_a_time_without_a_zone_is_in_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        for given_time in (TIME.replace(tzinfo=None), "2026-07-21T12:30:15.250", TIME.timestamp()):
            (received,) = sp.unpack({"Data": b"", "ApproximateArrivalTimestamp": given_time})
            assert received.approximate_arrival_timestamp == TIME
    finally:
        monkeypatch.undo()
        time.tzset()


def test_whole_seconds_are_a_time_too() -> None:
    (received,) = sp.unpack({"Data": b"", "ApproximateArrivalTimestamp": 0})

    assert received.approximate_arrival_timestamp == datetime(1970, 1, 1, tzinfo=UTC)


def test_the_time_of_a_firehose_record_without_metadata_is_in_milliseconds() -> None:
    (received,) = sp.unpack({"recordId": "1", "data": "", "approximateArrivalTimestamp": 1_784_637_015_250})

    assert received.approximate_arrival_timestamp == TIME


LAST_MOMENT = datetime.max.replace(tzinfo=timezone(-timedelta(hours=9)))


@pytest.mark.parametrize("given_time", ["yesterday", "", float("nan"), 1e300, [], LAST_MOMENT])
def test_what_is_no_time_is_named(given_time: object) -> None:
    with pytest.raises(sp.DecodeError, match="not a point in time"):
        list(sp.unpack({"Data": b"", "ApproximateArrivalTimestamp": given_time}))


@pytest.mark.parametrize("data", ["plain text", "é", "YQ", "YQ=", "YQ==\n", "-_-_"])
def test_text_that_is_not_base64_is_named(data: str) -> None:
    for source in ({"Data": data}, {"kinesis": {"data": data}}, {"recordId": "1", "data": data}):
        with pytest.raises(sp.DecodeError, match=r"'[dD]ata' of a Kinesis record is not base64"):
            list(sp.unpack(source))


@pytest.mark.parametrize("data", [None, 7, [1], {"a": 1}])
def test_data_of_another_type_is_named(data: object) -> None:
    for source in ({"Data": data}, {"kinesis": {"data": data}}, {"recordId": "1", "data": data}):
        with pytest.raises(sp.DecodeError, match=f"is of type {type(data).__name__}; expected base64 or bytes"):
            list(sp.unpack(source))


@pytest.mark.parametrize("source", [BLOB, bytearray(BLOB), memoryview(BLOB), "text", None, 7, [BLOB], [None], [[7]]])
def test_what_is_no_record_is_refused_with_what_to_do(source: object) -> None:
    with pytest.raises(TypeError, match=r"is no Kinesis record.*decode\(blob\) or \{\"Data\": blob\}"):
        list(sp.unpack(source))


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ({}, "none"),
        ({"message": "hello", "id": 1}, "'message', 'id'"),
        ({"Record": []}, "'Record'"),
        ([{"body": ""}], "'body'"),
    ],
)
def test_a_mapping_without_a_known_key_is_refused_with_those_that_are_known(source: object, named: str) -> None:
    with pytest.raises(sp.DecodeError) as caught:
        list(sp.unpack(source))

    for text in (f"keys {named}", "'kinesis'", "'Data'", "'data'", "'Records'", "'records'", "'SubscribeToShardEvent'"):
        assert text in str(caught.value)


@pytest.mark.parametrize("source", [[], (), {"Records": []}, {"records": []}, iter(()), [[], {"Records": []}]])
def test_nothing_in_nothing_out(source: object) -> None:
    assert list(sp.unpack(source)) == []


@pytest.mark.parametrize("record", [{"kinesis": {}}, {"kinesis": {"partitionKey": "k"}}, {"kinesis": None}])
def test_a_lambda_record_without_data_is_named(record: object) -> None:
    with pytest.raises(sp.DecodeError, match="data"):
        list(sp.unpack([record]))


def test_the_kinesis_field_of_a_lambda_record_keeps_the_rest_without_a_partition_key() -> None:
    kinesis = lambda_record(b"d")["kinesis"]
    del kinesis["partitionKey"]

    assert list(sp.unpack(kinesis)) == [
        sp.ReceivedRecord(None, b"d", None, SEQUENCE_NUMBER, 0, False, TIME, None),
    ]


def test_a_subscribe_to_shard_response_is_read() -> None:
    response = {"EventStream": iter([{"SubscribeToShardEvent": {"Records": [boto3_record(b"d")]}}])}

    assert [record.data for record in sp.unpack(response)] == [b"d"]


def test_a_record_of_eventbridge_pipes_keeps_its_shard() -> None:
    # EventBridge Pipes, "Amazon Kinesis stream as a source": the fields of "kinesis" stand beside "eventID".
    record = lambda_record(b"d")
    flat = {**record.pop("kinesis"), **record}

    assert [received.shard_id for received in sp.unpack([flat])] == ["shardId-000000000006"]


def test_a_nested_aggregate_is_delivered_as_data() -> None:
    nested = sp.encode([("outer", BLOB), ("k", b"d")])

    assert [record.data for record in sp.unpack({"Data": nested})] == [BLOB, b"d"]


def test_tags_come_along() -> None:
    blob = sp.encode([("k", b"d", None, [("t", "v"), ("u", None)]), ("k", b"e")])

    assert [record.tags for record in sp.unpack({"Data": blob})] == [(("t", "v"), ("u", None)), ()]


def test_records_come_lazily() -> None:
    def source() -> Iterator[dict[str, Any]]:
        yield boto3_record(BLOB)
        yield {"Data": None}
        raise AssertionError

    received = sp.unpack(source())

    assert [next(received).data, next(received).data] == [b"one", b"two"]
    with pytest.raises(sp.DecodeError):
        next(received)


def test_options_are_checked_at_the_call_and_records_later() -> None:
    with pytest.raises(ValueError, match='choose "raw", "raise" or "kcl"'):
        sp.unpack([], on_corrupt="drop")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='choose "keep", "drop_record", "drop_aggregate" or "raise"'):
        sp.unpack([], out_of_range="drop")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hash_range runs from 5 down to 0"):
        sp.unpack([], hash_range=(5, 0))
    with pytest.raises(ValueError, match="hash_range runs from 5 down to 0"):
        sp.unpack([], hash_range=sp.Shard("s", 5, 0))
    sp.unpack(None)


@pytest.mark.parametrize("hash_range", [5, "ab", (1,), (1, 2, 3), (None, 5), ("x", "y")])
def test_a_hash_range_that_is_none_is_refused_with_what_to_give(hash_range: Any) -> None:
    with pytest.raises(TypeError, match="give a Shard, or its starting and ending hash key"):
        sp.unpack([], hash_range=hash_range)


@pytest.mark.parametrize("after", ["5", 5, ("5", 1)])
def test_after_takes_positions_only(after: Any) -> None:
    with pytest.raises(TypeError, match="give a Position"):
        sp.unpack([], after=after)


NEAR, FAR = sp.UserRecord("k", b"near", "5"), sp.UserRecord("k", b"far", "6")
INSIDE = sp.encode([NEAR, NEAR])
OUTSIDE = sp.encode([NEAR, FAR, NEAR])
CORRUPT = INSIDE[:-1] + bytes([INSIDE[-1] ^ 1])
PLAIN = b"plain"
# An index outside its table after a sound record; no record at all; an explicit hash key that is no number.
BAD_INDEX = frame(bytes.fromhex("0a016b 120135 1a070800 10001a016e 1a05 0801 1a0178"))
NO_RECORDS = frame(b"\x0a\x01k")
NO_NUMBER = sp.encode([NEAR])[4:-16].replace(b"5", b"x")

Answer = list[bytes] | type[sp.DecodeError]


@pytest.mark.parametrize("out_of_range", ["keep", "drop_record", "drop_aggregate", "raise"])
@pytest.mark.parametrize(
    ("on_corrupt", "blob", "expected"),
    [
        *((on_corrupt, PLAIN, [PLAIN]) for on_corrupt in ("raw", "raise", "kcl")),
        *((on_corrupt, INSIDE, [b"near"] * 2) for on_corrupt in ("raw", "raise", "kcl")),
        ("raw", CORRUPT, [CORRUPT]),
        ("raise", CORRUPT, sp.ChecksumMismatchError),
        ("kcl", CORRUPT, [CORRUPT]),
        ("raw", BAD_INDEX, [BAD_INDEX]),
        ("raise", BAD_INDEX, sp.MalformedError),
        ("kcl", BAD_INDEX, [b"n"]),
        ("raw", NO_RECORDS, [NO_RECORDS]),
        ("raise", NO_RECORDS, sp.MalformedError),
        ("kcl", NO_RECORDS, []),
        ("raw", MAGIC, [MAGIC]),
        ("raise", MAGIC, sp.TruncatedError),
        ("kcl", MAGIC, [MAGIC]),
    ],
)
def test_on_corrupt_is_not_changed_by_out_of_range(
    on_corrupt: Any, out_of_range: Any, blob: bytes, expected: Answer
) -> None:
    unpacked = sp.unpack(
        [boto3_record(b"before"), boto3_record(blob)],
        on_corrupt=on_corrupt,
        hash_range=(5, 5),
        out_of_range=out_of_range,
    )

    assert next(unpacked).data == b"before"
    if isinstance(expected, list):
        assert [record.data for record in unpacked] == expected
    else:
        with pytest.raises(expected):
            list(unpacked)


@pytest.mark.parametrize("on_corrupt", ["raw", "raise", "kcl"])
@pytest.mark.parametrize("hash_range", [(5, 5), (0, 5), ("5", "5"), sp.Shard("s", 5, 5)])
def test_out_of_range_is_not_changed_by_on_corrupt(on_corrupt: Any, hash_range: Any) -> None:
    def unpack(out_of_range: Any) -> list[sp.ReceivedRecord]:
        source = [boto3_record(blob) for blob in (PLAIN, OUTSIDE, INSIDE)]
        return list(sp.unpack(source, on_corrupt=on_corrupt, hash_range=hash_range, out_of_range=out_of_range))

    kept = unpack("keep")

    assert [record.data for record in kept] == [PLAIN, b"near", b"far", b"near", b"near", b"near"]
    assert unpack("drop_record") == [kept[0], kept[1], *kept[3:]]
    assert [record.sub_sequence_number for record in unpack("drop_record")] == [0, 0, 2, 0, 1]
    assert unpack("drop_aggregate") == [kept[0], *kept[4:]]
    with pytest.raises(sp.OutOfRangeError, match=f"sub-record 1 .*{SEQUENCE_NUMBER}.* hash key 6, outside") as caught:
        unpack("raise")
    assert caught.value.hash_key == 6
    assert caught.value.hash_range[1] == 5


def test_the_first_sub_record_out_of_range_is_named() -> None:
    blob = sp.encode([NEAR, FAR, NEAR, ("k", b"farther", "7")])

    with pytest.raises(sp.OutOfRangeError, match="sub-record 1 ") as caught:
        list(sp.unpack({"Data": blob}, hash_range=(5, 5), out_of_range="raise"))
    assert caught.value.hash_key == 6
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(copied), vars(copied)) == (str(caught.value), vars(caught.value))


def test_both_bounds_are_inside_and_the_hash_key_of_a_partition_key_is_its_md5() -> None:
    blob = sp.encode([("k", b"d")])
    here = sp.hash_key("k")

    for hash_range, expected in (
        ((here, here), [b"d"]),
        ((0, here), [b"d"]),
        ((here, MAX_HASH_KEY), [b"d"]),
        ((here + 1, MAX_HASH_KEY), []),
        ((0, here - 1), []),
    ):
        received = sp.unpack({"Data": blob}, hash_range=hash_range, out_of_range="drop_record")
        assert [record.data for record in received] == expected


def test_plain_records_are_never_out_of_range() -> None:
    source = {"Data": PLAIN, "PartitionKey": "k", "ExplicitHashKey": "6"}

    for out_of_range in ("keep", "drop_record", "drop_aggregate", "raise"):
        received = sp.unpack(source, hash_range=(5, 5), out_of_range=out_of_range)
        assert [record.data for record in received] == [PLAIN]


@pytest.mark.parametrize("out_of_range", ["drop_record", "drop_aggregate", "raise"])
def test_an_explicit_hash_key_that_is_no_number_makes_the_aggregate_unsound(out_of_range: Any) -> None:
    blob = frame(NO_NUMBER)

    assert [r.data for r in sp.unpack({"Data": blob}, hash_range=(5, 5), out_of_range=out_of_range)] == [blob]
    with pytest.raises(sp.MalformedError, match="'x' is not a number"):
        list(sp.unpack({"Data": blob}, hash_range=(5, 5), out_of_range=out_of_range, on_corrupt="raise"))
    assert [r.data for r in sp.unpack({"Data": blob}, hash_range=(5, 5))] == [b"near"]


user_records = st.tuples(
    st.sampled_from(["a", "b", "\u00e9", "k"]), st.binary(max_size=3), st.none() | st.sampled_from(["0", "5", "9"])
)
blobs = st.lists(user_records, min_size=1, max_size=5).map(sp.encode)
bounds = st.sampled_from([0, 5, sp.hash_key("a"), sp.hash_key("k"), MAX_HASH_KEY])
hash_ranges = st.tuples(bounds, bounds).map(lambda pair: (min(pair), max(pair)))


@given(st.lists(blobs | st.binary(max_size=3), max_size=4), hash_ranges)
def test_what_drop_aggregate_leaves_of_sound_aggregates_is_what_the_kcl_delivers(
    data: list[bytes], hash_range: tuple[int, int]
) -> None:
    source = [boto3_record(each) for each in data]

    kept, kcl = (
        list(sp.unpack(source, on_corrupt=on_corrupt, hash_range=hash_range, out_of_range="drop_aggregate"))
        for on_corrupt in ("raw", "kcl")
    )

    assert kept == kcl


@given(st.lists(blobs | st.just(CORRUPT) | st.binary(max_size=3), max_size=6))
def test_what_came_before_a_position_and_what_comes_after_it_is_everything(data: list[bytes]) -> None:
    # Numbers of different lengths, so that comparing them as text would go wrong.
    source = [boto3_record(each, str(8 + 5 * n)) for n, each in enumerate(data)]
    everything = list(sp.unpack(source))

    for cut, record in enumerate(everything, start=1):
        assert record.position is not None
        assert everything[:cut] + list(sp.unpack(source, after=record.position)) == everything
    for n in range(len(source)):
        between = [r for r in everything if int(r.sequence_number or 0) > 9 + 5 * n]
        assert list(sp.unpack(source, after=sp.Position(str(9 + 5 * n)))) == between


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (sp.Position.AT_TIMESTAMP, [b"p", b"one", b"two", b"q"]),
        (sp.Position.TRIM_HORIZON, [b"p", b"one", b"two", b"q"]),
        (sp.Position.LATEST, [b"p", b"one", b"two", b"q"]),
        (sp.Position("8"), [b"p", b"one", b"two", b"q"]),
        (sp.Position("9"), [b"one", b"two", b"q"]),
        (sp.Position("10", 0), [b"two", b"q"]),
        (sp.Position("10", 1), [b"q"]),
        (sp.Position("10", 99), [b"q"]),
        (sp.Position("11", 0), []),
        (sp.Position.SHARD_END, []),
    ],
)
def test_after_a_position(after: sp.Position, expected: list[bytes]) -> None:
    source = [boto3_record(b"p", "9"), boto3_record(BLOB, "10"), boto3_record(b"q", "11")]

    assert [record.data for record in sp.unpack(source, after=after)] == expected


def test_after_counts_what_was_sent_and_not_what_was_left() -> None:
    dropped = list(sp.unpack(boto3_record(OUTSIDE, "1"), hash_range=(5, 5), out_of_range="drop_record"))
    assert [str(record.position) for record in dropped] == ["Position('1', 0)", "Position('1', 2)"]

    rest = sp.unpack(
        boto3_record(OUTSIDE, "1"), hash_range=(5, 5), out_of_range="drop_record", after=sp.Position("1", 1)
    )
    assert list(rest) == dropped[1:]


@pytest.mark.parametrize("value", [5, [], {}, b"5", True, "\ud800"])
@pytest.mark.parametrize("field", ["PartitionKey", "ExplicitHashKey", "SequenceNumber", "ShardId"])
def test_metadata_that_is_no_text_is_named(field: str, value: Any) -> None:
    lower = field[0].lower() + field[1:]
    sources: list[Any] = [{"Data": b"x", field: value}]
    if field != "ShardId":
        sources.append({"kinesis": {"data": "eA==", lower: value}})
    if field != "ExplicitHashKey":
        sources.append({"recordId": "1", "data": "eA==", "kinesisRecordMetadata": {lower: value}})
    for source in sources:
        with pytest.raises(sp.DecodeError, match=f"(?i)'{field}' of a Kinesis record"):
            list(sp.unpack(source))


@pytest.mark.parametrize("metadata", [5, ["x"], {"subsequenceNumber": "x"}, {"subsequenceNumber": [1]}])
def test_metadata_of_firehose_that_is_none_is_named(metadata: Any) -> None:
    with pytest.raises(sp.DecodeError, match="of a Kinesis record is"):
        list(sp.unpack({"recordId": "1", "data": "eA==", "kinesisRecordMetadata": metadata}))


LONG_KEYS = [sp.encode([("k" * 256, b"x")]), sp.encode([("k", b"x", "1" * 39)])]


@pytest.mark.parametrize("blob", LONG_KEYS, ids=["partition key", "explicit hash key"])
def test_an_aggregate_with_a_key_that_is_too_long_is_taken_for_corrupt(blob: bytes) -> None:
    longest = max(len(key) for key in sp.decode(blob)[0] if isinstance(key, str))

    assert [r.data for r in sp.unpack({"Data": blob}, max_key_characters=longest)] == [b"x"]
    assert [r.data for r in sp.unpack({"Data": blob}, max_key_characters=longest - 1)] == [blob]
    assert [r.data for r in sp.unpack({"Data": blob}, max_key_characters=longest - 1, on_corrupt="kcl")] == [blob]
    with pytest.raises(sp.MalformedError, match=f"key of {longest} characters, more than max_key_characters"):
        list(sp.unpack({"Data": blob}, max_key_characters=longest - 1, on_corrupt="raise"))


def test_keys_of_any_length_are_shared_by_the_user_records_that_have_them() -> None:
    body = b"\x0a\xe8\x07" + b"k" * 1000 + b"\x1a\x04\x08\x00\x1a\x00" * 3

    records = list(sp.unpack({"Data": frame(body)}))

    assert [record.partition_key for record in records] == ["k" * 1000] * 3
    assert len({id(record.partition_key) for record in records}) == 1


def test_a_long_key_is_no_matter_where_nothing_is_repeated() -> None:
    record = {"Data": b"plain", "PartitionKey": "k" * 1000}

    assert [r.partition_key for r in sp.unpack(record, max_key_characters=256)] == ["k" * 1000]


@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), ("256", TypeError)])
def test_a_limit_of_keys_that_makes_no_sense_is_named(limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_key_characters is"):
        sp.unpack([], max_key_characters=limit)


@pytest.mark.parametrize("records", [[("7", b"a"), ("k", b"b", "7")], [("k", b"b", "7"), ("7", b"a")]])
@pytest.mark.parametrize("character", ["7", "\u0667"])
def test_one_character_may_be_a_partition_key_here_and_an_explicit_hash_key_there(records: Any, character: str) -> None:
    """Python has it once, as one object."""
    record = {"Data": sp.encode(records)}
    if character != "7":
        body = record["Data"][4:-16].replace(b"\x01" + b"7", b"\x02" + character.encode())
        record = {"Data": frame(body)}

    low = [r.data for r in sp.unpack(record, hash_range=(0, 99), out_of_range="drop_record")]
    high = [r.data for r in sp.unpack(record, hash_range=(100, MAX_HASH_KEY), out_of_range="drop_record")]

    assert (low, high) == ([b"b"], [b"a"])


# User records share these, so whoever writes out each of them writes a long one as often: 1 MiB becomes 45 GB.
@pytest.mark.parametrize(
    ("record", "most"),
    [
        (lambda text: {"Data": BLOB, "SequenceNumber": text}, 129),
        (lambda text: {"Data": BLOB, "ShardId": text}, 128),
        (lambda text: {"kinesis": {"data": b64(BLOB), "sequenceNumber": text}}, 129),
        (lambda text: {"kinesis": {"data": b64(BLOB)}, "eventID": text + ":1"}, 128),
        (lambda text: {"data": b64(BLOB), "sequenceNumber": text}, 129),
        (lambda text: {"data": b64(BLOB), "kinesisRecordMetadata": {"sequenceNumber": text}}, 129),
        (lambda text: {"data": b64(BLOB), "kinesisRecordMetadata": {"shardId": text}}, 128),
    ],
)
def test_a_sequence_number_or_shard_id_longer_than_any_is_refused(record: Any, most: int) -> None:
    assert len(list(sp.unpack(record("1" * most)))) == 2
    with pytest.raises(sp.DecodeError, match=rf"has {most + 1} characters, '11.*; Kinesis's have at most {most}"):
        list(sp.unpack(record("1" * (most + 1))))
    with pytest.raises(sp.DecodeError) as caught:
        list(sp.unpack(record("1" * 1_000_000)))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("bounds", [(-5, -1), (MAX_HASH_KEY + 1, 2**200)])
def test_a_hash_range_in_which_no_hash_key_lies_drops_all(bounds: tuple[int, int]) -> None:
    record = {"Data": sp.encode([("a", b"x"), ("b", b"y", "7")])}
    assert list(sp.unpack(record, hash_range=bounds, out_of_range="drop_record")) == []
    assert len(list(sp.unpack(record, hash_range=(-5, 2**200), out_of_range="drop_record"))) == 2
