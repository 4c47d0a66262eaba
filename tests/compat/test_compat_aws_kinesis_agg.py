"""The stand-in for aws-kinesis-agg: its answers where they are right, and none of its defects.

The package itself runs in a process of its own, because importing it changes sys.path.
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from aggregate_bytes import frame
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.compat import aws_kinesis_agg as agg
from shardpack.compat.aws_kinesis_agg.aggregator import AggRecord, RecordAggregator
from shardpack.compat.aws_kinesis_agg.deaggregator import deaggregate_records, iter_deaggregate_records
from shardpack.testing import strategies as sps

SHARD_ID = "shardId-000000000006"
SEQUENCE_NUMBER = "49546986683135544286507457936321625675700192471156785154"
TIME = datetime(2026, 7, 21, 12, 30, 15, 250_000, UTC)
BLOB = sp.encode([("k", b"one", "5"), ("l", b"two")])

PEER = """
import base64, json, sys, warnings
warnings.simplefilter("ignore")
from aws_kinesis_agg.aggregator import AggRecord
from aws_kinesis_agg.deaggregator import deaggregate_records

def as_text(record):
    data = record["kinesis"]["data"]
    return {**record, "kinesis": {**record["kinesis"], "data": data if isinstance(data, str) else data.decode()}}

def deaggregate(records):
    return [as_text(record) for record in deaggregate_records(records)]

def aggregate(user_records):
    record = AggRecord()
    for partition_key, data, explicit_hash_key in user_records:
        encoded = explicit_hash_key and explicit_hash_key.encode()
        assert record.add_user_record(partition_key.encode(), base64.b64decode(data), encoded)
    return [base64.b64encode(record.get_contents()[2]).decode(), record.get_size_bytes(), record.get_num_user_records()]

for line in sys.stdin:
    name, argument = json.loads(line)
    print(json.dumps(globals()[name](argument)), flush=True)
"""

Peer = Callable[[str, Any], Any]


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    """aws_kinesis_agg itself: a function's name and its argument, as JSON can hold it."""
    with subprocess.Popen(
        [sys.executable, "-c", PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def call(name: str, argument: Any) -> Any:
            print(json.dumps([name, argument]), file=stdin, flush=True)
            return json.loads(stdout.readline())

        yield call


def run(code: str) -> str:
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert child.returncode == 0, child.stderr
    return child.stdout


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


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
        "eventID": f"{SHARD_ID}:{SEQUENCE_NUMBER}",
        "awsRegion": "us-east-2",
    }


def boto3_record(data: bytes) -> dict[str, Any]:
    return {
        "SequenceNumber": SEQUENCE_NUMBER,
        "ApproximateArrivalTimestamp": TIME,
        "Data": data,
        "PartitionKey": "outer",
        "EncryptionType": "KMS",
    }


def firehose_record(data: bytes, metadata: str | None = "kinesisRecordMetadata") -> dict[str, Any]:
    milliseconds = round(TIME.timestamp() * 1000)
    record: dict[str, Any] = {"recordId": "r1", "approximateArrivalTimestamp": milliseconds, "data": b64(data)}
    if metadata is not None:
        record[metadata] = {
            "sequenceNumber": SEQUENCE_NUMBER,
            "subsequenceNumber": 0,
            "shardId": SHARD_ID,
            "partitionKey": "outer",
            "approximateArrivalTimestamp": milliseconds,
        }
    return record


def inner(records: list[dict[str, Any]]) -> list[Any]:
    return [
        (
            r["kinesis"]["partitionKey"],
            r["kinesis"]["data"],
            r["kinesis"].get("explicitHashKey"),
            "aggregated" in r["kinesis"],
        )
        for r in records
    ]


def offer(
    aggregator: RecordAggregator, user_records: Iterable[sp.UserRecord]
) -> tuple[list[sp.UserRecord], list[AggRecord]]:
    """The user records that were not refused as too large, and the aggregates that came out."""
    accepted, closed = [], []
    for record in user_records:
        with contextlib.suppress(sp.RecordTooLargeError):
            closed.append(aggregator.add_user_record(*record[:3]))
            accepted.append(record)
    closed.append(aggregator.clear_and_get())
    return accepted, [one for one in closed if one is not None]


def index_out_of_range(tag: bytes) -> bytes:
    """Three sub-records, of which the second has an index outside its table."""
    tables = b"\x0a\x01k\x12\x015"
    return frame(
        tables + b"\x1a\x05\x08\x00\x1a\x01x" + b"\x1a\x07\x08\x00" + tag + b"\x1a\x01y" + b"\x1a\x05\x08\x00\x1a\x01z"
    )


CORRUPT = {
    "a wrong MD5": BLOB[:-1] + bytes([BLOB[-1] ^ 1]),
    "a partition key index outside its table": index_out_of_range(b"\x08\x05"),
    "an explicit hash key index outside its table": index_out_of_range(b"\x10\x09"),
    "a partition key index of 2^63": index_out_of_range(b"\x08\x05").replace(b"\x08\x05", b"\x08\x01"),
    "keys and no record": frame(b"\x0a\x01k"),
    "no message": frame(b""),
    "a record without its partition key index": frame(b"\x0a\x01k\x1a\x03\x1a\x01x"),
    "a record without data": frame(b"\x0a\x01k\x1a\x02\x08\x00"),
    "a cut message": frame(BLOB[4:-17]),
    "the magic alone": agg.MAGIC,
    "the magic and junk": agg.MAGIC + bytes(16),
}


# --- what aws_kinesis_agg does right --------------------------------------------------------------------------------


@given(
    event=sps.lambda_events(data=sps.data(300) | sps.user_record_lists(min_size=1, data=sps.data(300)).map(sp.encode))
)
def test_lambda_records_come_out_as_the_peer_gives_them(peer: Peer, event: dict[str, Any]) -> None:
    expected = peer("deaggregate", event["Records"])

    ours = json.loads(json.dumps(deaggregate_records(event["Records"])))

    for record in ours:
        if "aggregated" in record["kinesis"]:  # see test_a14
            record["eventID"] = record["eventID"].removesuffix(f":{record['kinesis']['subSequenceNumber']}")
    for mine, theirs in zip(ours, expected, strict=True):
        theirs["kinesis"]["explicitHashKey"] = mine["kinesis"].get("explicitHashKey")  # see test_a01
        mine["kinesis"].setdefault("explicitHashKey", None)
        assert mine == theirs


@given(user_records=sps.user_record_lists(min_size=1, data=sps.data(300), tags=st.just(())))
def test_in_kpl_mode_aggregates_are_the_peer_s_byte_for_byte(peer: Peer, user_records: list[sp.UserRecord]) -> None:
    ours = AggRecord(hash_keys="kpl")

    assert all(ours.add_user_record(*record[:3]) for record in user_records)

    data = ours.get_contents()[2]
    expected = peer("aggregate", [(key, b64(data), own) for key, data, own, _ in user_records])
    assert [b64(data), ours.get_size_bytes(), ours.get_num_user_records()] == expected


@given(
    user_records=sps.user_record_lists(min_size=1, data=sps.data(300), explicit_hash_key=st.none(), tags=st.just(()))
)
def test_the_peer_reads_what_the_record_aggregator_writes(peer: Peer, user_records: list[sp.UserRecord]) -> None:
    aggregator = RecordAggregator()
    for record in user_records:
        assert aggregator.add_user_record(*record[:3]) is None
    closed = aggregator.clear_and_get()
    assert closed is not None

    received = peer("deaggregate", [lambda_record(closed.get_contents()[2])])

    assert [(r["kinesis"]["partitionKey"], r["kinesis"]["data"]) for r in received] == [
        (record.partition_key, b64(record.data)) for record in user_records
    ]


@pytest.mark.parametrize("metadata", ["kinesisRecordMetadata", "kinesisStreamRecordMetadata"])
def test_firehose_and_kinesis_analytics_records_hold_what_the_peer_s_hold(peer: Peer, metadata: str) -> None:
    records = [firehose_record(data, metadata) for data in (sp.encode([("k", b"one", "5")]), b"plain")]
    expected = peer("deaggregate", records)

    for mine, theirs in zip(deaggregate_records(records), expected, strict=True):
        assert {**mine["kinesis"], **theirs["kinesis"]} == mine["kinesis"]


def test_a_plain_lambda_record_is_the_same_object() -> None:
    record = lambda_record(b"plain")

    assert deaggregate_records([record])[0] is record


def test_one_record_will_do() -> None:
    assert inner(deaggregate_records(lambda_record(b"plain"))) == [("outer", b64(b"plain"), None, False)]


def test_nothing_that_came_in_is_changed() -> None:
    records = [lambda_record(BLOB), boto3_record(BLOB), firehose_record(BLOB), boto3_record(b"plain")]
    before = deepcopy(records)

    deaggregate_records(records)

    assert records == before


def test_the_generator_is_lazy() -> None:
    def source() -> Iterator[dict[str, Any]]:
        yield lambda_record(BLOB)
        raise AssertionError

    records = iter_deaggregate_records(source())

    assert [next(records)["kinesis"]["subSequenceNumber"] for _ in range(2)] == [0, 1]


def test_constants() -> None:
    constants = (agg.MAGIC, agg.DIGEST_SIZE, agg.MAX_BYTES_PER_RECORD)

    assert constants == (bytes.fromhex("f3899ac2"), 16, 1_048_576)


def test_the_aggregator_keeps_the_peer_s_interface() -> None:
    aggregator = RecordAggregator(110)
    assert (aggregator.get_num_user_records(), aggregator.get_size_bytes(), aggregator.clear_and_get()) == (0, 20, None)
    seen: list[AggRecord] = []
    aggregator.on_record_complete(seen.append, execute_on_new_thread=False)

    assert aggregator.add_user_record("k", "text") is None
    full = aggregator.add_user_record("k", b"x" * 30)

    assert full is not None
    assert seen == [full]
    assert sp.decode(full.get_contents()[2])[0].data == b"text"
    assert (aggregator.get_num_user_records(), aggregator.current_record.get_partition_key()) == (1, "k")
    aggregator.clear_callbacks()
    aggregator.clear_record()
    assert (aggregator.callbacks, aggregator.get_num_user_records()) == ([], 0)


def test_an_empty_agg_record_has_nothing_to_send() -> None:
    empty = AggRecord()

    assert (empty.get_partition_key(), empty.get_explicit_hash_key(), empty.get_size_bytes()) == (None, None, 20)
    with pytest.raises(sp.InvalidRecordError):
        empty.get_contents()


@pytest.mark.parametrize("make", [AggRecord, RecordAggregator])
def test_settings_out_of_range_are_refused(make: Callable[..., object]) -> None:
    make(10 * 1024 * 1024)
    with pytest.raises(ValueError, match="max_size is 10,485,761"):
        make(10 * 1024 * 1024 + 1)
    with pytest.raises(ValueError, match="hash_keys is 'mixed'"):
        make(hash_keys="mixed")
    with pytest.raises(ValueError, match="data_format is 'boto3'"):
        iter_deaggregate_records([], "boto3")  # type: ignore[arg-type]


# --- pinned: the KCL drops nothing ------------------------------------------------------------------------------------


def test_every_sub_record_carries_the_outer_explicit_hash_key() -> None:
    aggregator = RecordAggregator()
    for key in "abc":
        aggregator.add_user_record(key, b"data")
    closed = aggregator.clear_and_get()
    assert closed is not None
    partition_key, explicit_hash_key, data = closed.get_contents()

    assert (partition_key, explicit_hash_key) == ("a", str(sp.hash_key("a")))
    assert {record.explicit_hash_key for record in sp.decode(data)} == {explicit_hash_key}


def test_a_record_s_own_explicit_hash_key_is_kept() -> None:
    aggregator = RecordAggregator()
    given_keys = ["7", "7", None, "8", "7"]

    closed = [aggregator.add_user_record("k", b"data", key) for key in given_keys] + [aggregator.clear_and_get()]

    contents = [record.get_contents() for record in closed if record is not None]
    assert [[r.explicit_hash_key for r in sp.decode(data)] for *_, data in contents] == [["7"] * 3, ["8"], ["7"]]
    assert [outer for _, outer, _ in contents] == ["7", "8", "7"]


@given(
    user_records=sps.user_record_lists(data=sps.data(200), tags=st.just(())),
    max_size=st.integers(60, 600),
    hash_keys=st.sampled_from(["pinned", "kpl"]),
)
def test_every_record_is_in_exactly_one_aggregate_or_refused(
    user_records: list[sp.UserRecord], max_size: int, hash_keys: Any
) -> None:
    aggregator = RecordAggregator(max_size, hash_keys=hash_keys)
    accepted, closed = offer(aggregator, user_records)

    received = []
    for one in closed:
        partition_key, explicit_hash_key, data = one.get_contents()
        assert len(data) == one.get_size_bytes()
        assert len(data) + len(partition_key.encode()) <= max_size
        assert 0 <= int(explicit_hash_key) < 2**128
        received += sp.decode(data)
    assert [(r.partition_key, r.data) for r in received] == [(r.partition_key, r.data) for r in accepted]
    if hash_keys == "kpl":
        assert received == accepted


# --- one test for each defect of aws-kinesis-agg 1.2.3 ----------------------------------------------------------------


def test_a01_a_record_without_explicit_hash_key_gets_no_other_s() -> None:
    blob = sp.encode([("p1", b"a"), ("p2", b"b", "777"), ("p3", b"c")])

    received = deaggregate_records([lambda_record(blob)])

    assert [r["kinesis"]["explicitHashKey"] for r in received] == [None, "777", None]


@pytest.mark.parametrize("name", CORRUPT)
def test_a02_a_corrupt_aggregate_is_delivered_whole_and_in_silence(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    corrupt, sound = lambda_record(CORRUPT[name]), lambda_record(b"plain")

    assert deaggregate_records([corrupt, sound]) == [corrupt, sound]
    assert capfd.readouterr() == ("", "")


def test_a03_a_bad_explicit_hash_key_index_does_not_take_the_batch_with_it() -> None:
    corrupt = lambda_record(CORRUPT["an explicit hash key index outside its table"])

    received = deaggregate_records([lambda_record(BLOB), corrupt, lambda_record(BLOB)])

    assert [r["kinesis"].get("subSequenceNumber") for r in received] == [0, 1, None, 0, 1]


@pytest.mark.parametrize(
    "missing", ["approximateArrivalTimestamp", "kinesisSchemaVersion", "sequenceNumber", "partitionKey"]
)
@pytest.mark.parametrize("data", [BLOB, b"plain"])
def test_a04_an_incomplete_event_loses_nothing(missing: str, data: bytes) -> None:
    record = lambda_record(data)
    del record["kinesis"][missing]

    received = deaggregate_records([record])

    if data == b"plain":
        assert received == [record]
    else:
        assert [base64.b64decode(r["kinesis"]["data"]) for r in received] == [b"one", b"two"]
        assert received[0]["kinesis"][missing] == {"kinesisSchemaVersion": "1.0", "partitionKey": "k"}.get(missing)


def test_a04_the_least_event_there_can_be() -> None:
    received = deaggregate_records([{"kinesis": {"data": b64(BLOB)}}])

    assert [r["kinesis"]["partitionKey"] for r in received] == ["k", "l"]


@pytest.mark.parametrize("size", range(920, 1000))
def test_a05_a_record_near_the_limit_is_not_lost(size: int) -> None:
    record = sp.UserRecord("k", bytes(size))
    fits = len(sp.encode([record._replace(explicit_hash_key=str(sp.hash_key("k")))])) + len("k") <= 1000

    accepted, closed = offer(RecordAggregator(1000), [record, record])

    assert accepted == [record, record] * fits
    assert [len(sp.decode(one.get_contents()[2])) for one in closed] == [1, 1] * fits


def test_a05_a_record_that_fits_nowhere_takes_none_with_it() -> None:
    records = [sp.UserRecord("k", data) for data in (b"before", bytes(1000), b"after")]

    accepted, closed = offer(RecordAggregator(1000), records)

    assert accepted == [records[0], records[2]]
    assert [[r.data for r in sp.decode(one.get_contents()[2])] for one in closed] == [[b"before", b"after"]]


def test_a05_a_record_that_fits_nowhere_says_how_large_it_is() -> None:
    record = AggRecord(1000)

    with pytest.raises(sp.RecordTooLargeError) as caught:
        record.add_user_record("\u00e9", bytes(5000), "5")

    alone = len(sp.encode([("\u00e9", bytes(5000), "5")])) + 2
    assert (caught.value.size, caught.value.limit) == (alone, 1000)


def test_a06_a_repeated_str_key_is_counted_once() -> None:
    aggregator = RecordAggregator(51_200)
    added = 0
    while aggregator.add_user_record("k" * 36, b"0123456789") is None:
        added += 1

    # Frame, key and pin once, the outer key, and 18 bytes for each record. The peer stops at 947.
    pin = len(str(sp.hash_key("k" * 36)))
    assert added == (51_200 - 20 - (2 + 36) - (2 + pin) - 36) // 18
    record = AggRecord()
    for key in ("k", b"k", bytearray(b"k")):
        record.add_user_record(key, b"")
    assert record.get_size_bytes() == len(record.get_contents()[2])
    assert record.get_contents()[2].count(b"\x0a\x01k") == 1
    assert [r.partition_key for r in sp.decode(record.get_contents()[2])] == ["k"] * 3


def test_a07_data_and_partition_key_together_stay_within_the_limit() -> None:
    key = "\u00e9" * 256
    aggregator = RecordAggregator()
    full = None
    while full is None:
        full = aggregator.add_user_record(key, bytes(1000))

    partition_key, _, data = full.get_contents()
    assert agg.MAX_BYTES_PER_RECORD - 1020 < len(data) + len(partition_key.encode()) <= agg.MAX_BYTES_PER_RECORD

    around = len(sp.encode([(key, bytes(2**20 - 2000), "5")])) - (2**20 - 2000) + 512
    largest = AggRecord()
    assert largest.add_user_record(key, bytes(2**20 - around), "5")
    assert len(largest.get_contents()[2]) + 512 == 2**20
    with pytest.raises(sp.RecordTooLargeError, match="takes 1,048,577 bytes"):
        AggRecord().add_user_record(key, bytes(2**20 - around + 1), "5")


def test_a08_importing_changes_neither_sys_path_nor_what_is_found_there() -> None:
    changed = run(
        "import sys; before = list(sys.path)\n"
        "import shardpack.compat.aws_kinesis_agg.aggregator, shardpack.compat.aws_kinesis_agg.deaggregator\n"
        "shardpack.compat.aws_kinesis_agg.deaggregator.deaggregate_records([])\n"
        "print(sys.path != before, 'six' in sys.modules, 'aws_kinesis_agg' in sys.modules)"
    )

    assert changed.split() == ["False"] * 3


BOTH = """
import sys, warnings
warnings.simplefilter("ignore")
import {0}.aggregator, {0}.deaggregator
import {1}.aggregator, {1}.deaggregator
for package in sys.modules["{0}"], sys.modules["{1}"]:
    record = package.aggregator.AggRecord()
    record.add_user_record("k", b"data", "5")
    for other in sys.modules["{0}"], sys.modules["{1}"]:
        data = record.get_contents()[2]
        boto3 = {{"Data": data, "PartitionKey": "k", "SequenceNumber": "1", "ApproximateArrivalTimestamp": 0}}
        received = list(other.deaggregator.iter_deaggregate_records([boto3], data_format="Boto3"))
        print([r["kinesis"]["partitionKey"] for r in received])
"""


@pytest.mark.parametrize("ours_first", [True, False])
def test_a09_both_packages_can_be_imported_in_either_order(ours_first: bool) -> None:
    names = ["shardpack.compat.aws_kinesis_agg", "aws_kinesis_agg"]

    assert run(BOTH.format(*(names if ours_first else reversed(names)))).splitlines() == ["['k']"] * 4


def test_a09_another_s_messages_proto_and_config_proto_do_no_harm() -> None:
    taken = (
        "from google.protobuf import descriptor_pb2, descriptor_pool\n"
        "for name in ('config.proto', 'messages.proto'):\n"
        "    file = descriptor_pb2.FileDescriptorProto(name=name, package=name[:3])\n"
        "    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())\n"
        "from shardpack.compat.aws_kinesis_agg import AggRecord\n"
        "record = AggRecord(); record.add_user_record('k', b'd'); print(len(record.get_contents()))"
    )

    assert run(taken).split() == ["3"]


def test_a10_an_agg_record_can_be_cleared() -> None:
    record = AggRecord()
    record.add_user_record("k", b"old", "5")

    record.clear()

    assert (record.get_num_user_records(), record.get_size_bytes(), record.get_partition_key()) == (0, 20, None)
    assert record.add_user_record("l", b"new")
    assert sp.decode(record.get_contents()[2]) == [("l", b"new", str(sp.hash_key("l")), ())]


@pytest.mark.parametrize("hash_keys", ["pinned", "kpl"])
@pytest.mark.parametrize("own", [None, "", b"", "5", b"5", 5, 0])
def test_a10_contents_always_have_an_explicit_hash_key(hash_keys: Any, own: Any) -> None:
    record = AggRecord(hash_keys=hash_keys)
    record.add_user_record(b"k", b"data", own)

    expected = str(sp.hash_key("k")) if own in (None, "", b"") else str(int(own))
    assert record.get_contents()[:2] == ("k", expected)
    assert record.get_explicit_hash_key() == expected


def test_a10_a_callback_registered_twice_is_called_once() -> None:
    aggregator = RecordAggregator(100)
    seen: list[AggRecord] = []
    aggregator.on_record_complete(seen.append, execute_on_new_thread=True)
    aggregator.on_record_complete(seen.append)

    while aggregator.add_user_record("k", b"x" * 20) is None:
        pass

    assert len(seen) == 1
    assert aggregator.callbacks == [(seen.append, False)]


def test_a10_the_names_of_the_peer_s_readme_exist() -> None:
    assert agg.RecordAggregator is RecordAggregator
    assert agg.deaggregate_records is deaggregate_records


@pytest.mark.parametrize("hash_keys", ["pinned", "kpl"])
@pytest.mark.parametrize(
    ("partition_key", "data", "own"),
    [
        (b"\xff", b"", None),
        ("\ud800", b"", None),
        ("", b"", None),
        ("k" * 257, b"", None),
        (None, b"", None),
        ("k", 5, None),
        ("k", "\ud800", None),
        ("k", b"", "abc"),
        ("k", b"", b"\xff"),
        ("k", b"", str(2**128)),
        ("k", bytes(1000), None),
    ],
)
@pytest.mark.parametrize("make", [AggRecord, RecordAggregator])
def test_a11_a_failed_add_changes_nothing(
    make: Callable[..., Any], partition_key: Any, data: Any, own: Any, hash_keys: str
) -> None:
    target = make(1000, hash_keys=hash_keys)
    target.add_user_record("k", b"before")

    with pytest.raises(sp.EncodeError):
        target.add_user_record(partition_key, data, own)

    assert target.get_num_user_records() == 1
    target.add_user_record("k", b"after")
    record = target if make is AggRecord else target.clear_and_get()
    assert [r.data for r in sp.decode(record.get_contents()[2])] == [b"before", b"after"]


@pytest.mark.parametrize("data", [bytearray(b"data"), memoryview(b"data"), "data"])
def test_a11_data_of_any_bytes_type_will_do(data: Any) -> None:
    record = AggRecord()
    record.add_user_record(memoryview(b"k"), data, memoryview(b"5"))

    assert sp.decode(record.get_contents()[2]) == [("k", b"data", "5", ())]


@pytest.mark.parametrize("data_format", [None, "Boto3"])
def test_a12_boto3_data_is_bytes_plain_or_aggregated(data_format: Any) -> None:
    records = [boto3_record(BLOB), boto3_record(b"plain")]

    received = deaggregate_records(records, data_format)

    assert inner(received) == [("k", b"one", "5", True), ("l", b"two", None, True), ("outer", b"plain", None, False)]
    assert [r["EncryptionType"] for r in received] == ["KMS"] * 3
    assert [r["kinesis"]["approximateArrivalTimestamp"] for r in received] == [TIME] * 3
    assert received[2].items() >= records[1].items()


def test_a12_a_boto3_record_without_its_time_is_read() -> None:
    received = deaggregate_records([{"Data": BLOB, "PartitionKey": "outer"}], "Boto3")

    assert [r["kinesis"]["data"] for r in received] == [b"one", b"two"]
    assert received[0]["kinesis"]["approximateArrivalTimestamp"] is None


@pytest.mark.parametrize(("encode", "kind"), [(b64, str), (bytes, bytes), (lambda data: b64(data).encode(), str)])
def test_a12_data_inside_lambda_s_shape_keeps_its_type(encode: Callable[[bytes], Any], kind: type) -> None:
    record = {"kinesis": {"data": encode(BLOB)}}

    assert {type(r["kinesis"]["data"]) for r in deaggregate_records([record])} == {kind}


def test_a12_boto3_format_takes_bytes_in_lambda_s_shape_as_they_are() -> None:
    records = [{"kinesis": {"data": BLOB}}, {"kinesis": {"data": b"not base64!"}}, lambda_record(BLOB)]

    received = deaggregate_records(records, "Boto3")

    assert [r["kinesis"]["data"] for r in received] == [b"one", b"two", b"not base64!", b64(b"one"), b64(b"two")]


def test_a12_the_aws_cli_s_base64_is_read_and_given_back_as_such() -> None:
    records = [{**boto3_record(b""), "Data": b64(data)} for data in (BLOB, b"plain")]

    received = deaggregate_records(records)

    assert [r["kinesis"]["data"] for r in received] == [b64(b"one"), b64(b"two"), b64(b"plain")]


@pytest.mark.parametrize("metadata", ["kinesisRecordMetadata", "kinesisStreamRecordMetadata", None])
def test_a13_a_plain_firehose_record_keeps_every_field_it_had(metadata: str | None) -> None:
    record = firehose_record(b"plain", metadata)

    (received,) = deaggregate_records([record])

    assert {field: value for field, value in received.items() if field != "kinesis"} == record
    assert received["kinesis"]["data"] == record["data"]


@pytest.mark.parametrize("metadata", ["kinesisRecordMetadata", None])
def test_a13_user_records_of_firehose_say_which_record_id_to_answer_for(metadata: str | None) -> None:
    received = deaggregate_records([firehose_record(BLOB, metadata)])

    assert [(r["recordId"], r["kinesis"]["recordId"], r["kinesis"]["subSequenceNumber"]) for r in received] == [
        ("r1", "r1", 0),
        ("r1", "r1", 1),
    ]
    assert [r["kinesis"]["shardId"] for r in received] == [SHARD_ID if metadata else None] * 2
    assert all("data" not in r for r in received)


@pytest.mark.parametrize("wrap", ["Records", "records"])
def test_a14_a_whole_event_is_taken(wrap: str) -> None:
    make = lambda_record if wrap == "Records" else firehose_record

    assert inner(deaggregate_records({wrap: [make(BLOB)]})) == inner(deaggregate_records([make(BLOB)]))
    assert deaggregate_records({wrap: []}) == []


def test_a14_event_ids_tell_user_records_apart() -> None:
    received = deaggregate_records([lambda_record(BLOB), lambda_record(b"plain")])

    event_id = f"{SHARD_ID}:{SEQUENCE_NUMBER}"
    assert [r["eventID"] for r in received] == [f"{event_id}:0", f"{event_id}:1", event_id]
    assert [r["kinesis"]["sequenceNumber"] for r in received] == [SEQUENCE_NUMBER] * 3


def test_a14_lambda_s_user_records_are_json() -> None:
    received = deaggregate_records([lambda_record(sp.encode([("\u00e9", b"\xff")])), lambda_record(b"plain")])

    assert json.loads(json.dumps(received)) == received


def test_a14_keys_that_are_not_utf8_are_json_too() -> None:
    received = deaggregate_records([lambda_record(frame(b"\x0a\x01\xff\x1a\x05\x08\x00\x1a\x01x"))])

    assert json.loads(json.dumps(received))[0]["kinesis"]["partitionKey"] == "\ufffd"


# --- errors and callbacks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"dynamodb": {}}, "'dynamodb'"),
        ({"kinesis": None}, "'kinesis'"),
        ({}, "none"),
        ({"kinesis": {"data": 5}}, "of type int"),
        ({"kinesis": {"data": "a"}}, "not base64"),
        ({"kinesis": {"data": "\u00e9"}}, "not base64"),
    ],
)
def test_what_is_no_kinesis_record_is_named(record: dict[str, Any], message: str) -> None:
    with pytest.raises(sp.DecodeError, match=message):
        deaggregate_records([record])


def test_a_failing_callback_loses_nothing() -> None:
    aggregator = RecordAggregator(110)
    delivered: list[AggRecord] = []
    failures = ["throttled"]

    def send(record: AggRecord) -> None:
        if failures:
            raise RuntimeError(failures.pop())
        delivered.append(record)

    aggregator.on_record_complete(send)
    aggregator.add_user_record("k", b"first")
    with pytest.raises(RuntimeError):
        aggregator.add_user_record("k", b"x" * 30)
    assert aggregator.get_num_user_records() == 1

    full = aggregator.add_user_record("k", b"x" * 30)

    assert delivered == [full]
    assert aggregator.get_num_user_records() == 1


def test_callbacks_run_on_the_calling_thread_unless_asked_for() -> None:
    aggregator = RecordAggregator(100)
    threads: dict[str, threading.Thread] = {}
    done = threading.Event()

    def here(_: AggRecord) -> None:
        threads["here"] = threading.current_thread()

    def elsewhere(_: AggRecord) -> None:
        threads["elsewhere"] = threading.current_thread()
        done.set()

    aggregator.on_record_complete(here)
    aggregator.on_record_complete(elsewhere, execute_on_new_thread=True)
    while aggregator.add_user_record("k", b"x" * 20) is None:
        pass

    assert done.wait(60)
    threads["elsewhere"].join(60)
    assert threads["here"] is threading.current_thread() is not threads["elsewhere"]


def test_a_message_does_not_grow_with_the_keys_of_a_record() -> None:
    with pytest.raises(sp.DecodeError) as caught:
        deaggregate_records([dict.fromkeys(map(str, range(100_000)))])

    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "record", [5, "x", {"kinesis": 5}, {"kinesis": "data"}, {"data": 5, "kinesisRecordMetadata": 5}]
)
def test_what_is_no_record_is_said_to_be_none(record: Any) -> None:
    with pytest.raises(sp.DecodeError, match=r"no Kinesis record|data of a Kinesis record"):
        deaggregate_records([record])
