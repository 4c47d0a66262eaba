"""FakeKinesis: the service's behaviour, checked against a server of someone else's, and what scripts do to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ParamValidationError,
)

import servers
import shardpack as sp
from shardpack.limits import MAX_HASH_KEY, MIB
from shardpack.testing.kinesis import FakeKinesis

THROTTLED = "ProvisionedThroughputExceededException"
S = "events"
SHARD_0, SHARD_1, SHARD_2, SHARD_3 = (f"shardId-{index:012}" for index in range(4))
LOW, HIGH = "0", str(MAX_HASH_KEY)


@pytest.fixture
def fake() -> FakeKinesis:
    return FakeKinesis(streams={S: 2})


def put(client: Any, *data: bytes, ehk: str = LOW, stream: str = S) -> dict[str, Any]:
    records = [{"Data": each, "PartitionKey": "k", "ExplicitHashKey": ehk} for each in data]
    response: dict[str, Any] = client.put_records(StreamName=stream, Records=records)
    return response


def iterator(client: Any, kind: str = "TRIM_HORIZON", shard_id: str = SHARD_0, stream: str = S, **more: Any) -> str:
    asked = {"StreamName": stream, "ShardId": shard_id, "ShardIteratorType": kind} | more
    token: str = client.get_shard_iterator(**asked)["ShardIterator"]
    return token


def read(client: Any, token: str, **more: Any) -> list[bytes]:
    return [record["Data"] for record in client.get_records(ShardIterator=token, **more)["Records"]]


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    code: str = caught.value.response["Error"]["Code"]
    return code


def data(fake: FakeKinesis, shard_id: str | None = None) -> list[bytes]:
    return [record["Data"] for record in fake.records(shard_id)]


def shard_ids(client: Any, **filters: Any) -> list[str]:
    return [shard["ShardId"] for shard in client.list_shards(StreamName=S, **filters)["Shards"]]


# Conformance: the same cases over the fake and over a server that is not ours. Each takes a client and a stream of two
# shards with even hash ranges.


def conforms_shards_cover_all_hash_keys(client: Any, stream: str) -> None:
    shard_map = sp.ShardMap(client.list_shards(StreamName=stream)["Shards"])
    assert [shard.shard_id for shard in shard_map.shards] == [SHARD_0, SHARD_1]


def conforms_md5_and_explicit_hash_keys_route(client: Any, stream: str) -> None:
    shard_map = sp.ShardMap(client.list_shards(StreamName=stream)["Shards"])
    keys = [f"key-{n}" for n in range(20)] + ["\u00e9", "\U0001f600"]
    entries = [{"Data": b"x", "PartitionKey": key} for key in keys]
    edges = [edge for shard in shard_map.shards for edge in (shard.starting_hash_key, shard.ending_hash_key)]
    entries += [{"Data": b"x", "PartitionKey": "k", "ExplicitHashKey": str(edge)} for edge in edges]
    expected = [shard_map.shard_for_partition_key(key).shard_id for key in keys]
    expected += [shard_map.shard_for(edge).shard_id for edge in edges]
    response = client.put_records(StreamName=stream, Records=entries)
    assert response["FailedRecordCount"] == 0
    assert [result["ShardId"] for result in response["Records"]] == expected


def conforms_sequence_numbers_rise_in_a_shard(client: Any, stream: str) -> None:
    results = put(client, *[b"x"] * 10, stream=stream)["Records"]
    last = client.put_record(StreamName=stream, Data=b"y", PartitionKey="k", ExplicitHashKey=LOW)
    numbers = [int(result["SequenceNumber"]) for result in [*results, last]]
    assert numbers == sorted(set(numbers))


def conforms_records_come_back_as_they_were_put(client: Any, stream: str) -> None:
    client.put_record(StreamName=stream, Data=b"\x00\xff", PartitionKey="\u00e9", ExplicitHashKey=LOW)
    page = client.get_records(ShardIterator=iterator(client, stream=stream))
    (record,) = page["Records"]
    assert (record["Data"], record["PartitionKey"]) == (b"\x00\xff", "\u00e9")
    assert record["ApproximateArrivalTimestamp"].tzinfo is not None
    assert page["NextShardIterator"]
    assert page["MillisBehindLatest"] == 0
    assert read(client, page["NextShardIterator"]) == []


def conforms_limit_pages(client: Any, stream: str) -> None:
    put(client, *[b"%d" % n for n in range(5)], stream=stream)
    page = client.get_records(ShardIterator=iterator(client, stream=stream), Limit=3)
    assert len(page["Records"]) == 3
    assert read(client, page["NextShardIterator"]) == [b"3", b"4"]


def conforms_trim_horizon_and_latest(client: Any, stream: str) -> None:
    put(client, b"old", stream=stream)
    latest = iterator(client, "LATEST", stream=stream)
    put(client, b"new", stream=stream)
    assert read(client, iterator(client, stream=stream)) == [b"old", b"new"]
    assert read(client, latest) == [b"new"]


def conforms_at_and_after_sequence_number(client: Any, stream: str) -> None:
    numbers = [r["SequenceNumber"] for r in put(client, b"0", b"1", b"2", stream=stream)["Records"]]
    at = iterator(client, "AT_SEQUENCE_NUMBER", stream=stream, StartingSequenceNumber=numbers[1])
    after = iterator(client, "AFTER_SEQUENCE_NUMBER", stream=stream, StartingSequenceNumber=numbers[1])
    assert read(client, at) == [b"1", b"2"]
    assert read(client, after) == [b"2"]


def conforms_at_timestamp(client: Any, stream: str) -> None:
    put(client, b"0", stream=stream)
    early = datetime(2020, 1, 1, tzinfo=UTC)
    assert read(client, iterator(client, "AT_TIMESTAMP", stream=stream, Timestamp=early)) == [b"0"]


def conforms_500_records_are_taken_and_501_refused(client: Any, stream: str) -> None:
    assert put(client, *[b"x"] * 500, stream=stream)["FailedRecordCount"] == 0
    assert code_of(lambda: put(client, *[b"x"] * 501, stream=stream)) in {
        "ValidationException",
        "InvalidArgumentException",
    }


def conforms_partition_key_of_256_characters_at_most(client: Any, stream: str) -> None:
    client.put_record(StreamName=stream, Data=b"x", PartitionKey="\u00e9" * 256)
    assert code_of(lambda: client.put_record(StreamName=stream, Data=b"x", PartitionKey="k" * 257)) in {
        "ValidationException",
        "InvalidArgumentException",
    }


def conforms_explicit_hash_key_below_2_to_the_128(client: Any, stream: str) -> None:
    too_high = str(MAX_HASH_KEY + 1)
    put(client, b"x", ehk=HIGH, stream=stream)
    assert code_of(lambda: put(client, b"x", ehk=too_high, stream=stream)) == "InvalidArgumentException"


def conforms_more_than_a_mebibyte_is_refused(client: Any, stream: str) -> None:
    put(client, bytes(MIB - 1), stream=stream)
    assert code_of(lambda: put(client, bytes(MIB + 1), stream=stream)) in {
        "ValidationException",
        "InvalidArgumentException",
    }


def conforms_the_partition_key_counts_in_the_record(client: Any, stream: str) -> None:
    assert code_of(lambda: put(client, bytes(MIB), stream=stream)) == "InvalidArgumentException"


def conforms_unknown_names_are_not_found(client: Any, stream: str) -> None:
    assert code_of(lambda: put(client, b"x", stream="nowhere")) == "ResourceNotFoundException"
    assert code_of(lambda: client.list_shards(StreamName="nowhere")) == "ResourceNotFoundException"
    assert code_of(lambda: client.describe_stream_summary(StreamName="nowhere")) == "ResourceNotFoundException"
    assert code_of(lambda: iterator(client, shard_id=SHARD_3, stream=stream)) == "ResourceNotFoundException"
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.delete_stream(StreamName="nowhere")


def conforms_a_name_is_taken_once(client: Any, stream: str) -> None:
    assert code_of(lambda: client.create_stream(StreamName=stream, ShardCount=1)) == "ResourceInUseException"


def conforms_summary(client: Any, stream: str) -> None:
    summary = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    assert summary["StreamName"] == stream
    assert summary["StreamStatus"] == "ACTIVE"
    assert summary["OpenShardCount"] == 2
    assert summary["StreamModeDetails"] == {"StreamMode": "PROVISIONED"}
    by_arn = client.list_shards(StreamARN=summary["StreamARN"])["Shards"]
    assert len(by_arn) == 2


def conforms_boto3_checks_parameters(client: Any, stream: str) -> None:
    wrongs: tuple[dict[str, Any], ...] = (
        {"Records": []},
        {"Records": [{"Data": b"x", "PartitionKey": ""}]},
        {"Records": [{"PartitionKey": "k"}]},
        {"Records": [{"Data": 5, "PartitionKey": "k"}]},
        {"Records": [{"Data": b"x", "PartitionKey": "k", "Colour": "red"}]},
        {},
    )
    for wrong in wrongs:
        with pytest.raises(ParamValidationError):
            client.put_records(StreamName=stream, **wrong)
    with pytest.raises(TypeError):
        client.put_records([])


def conforms_garbage_iterator(client: Any, stream: str) -> None:
    assert stream
    assert code_of(lambda: client.get_records(ShardIterator="garbage")) == "InvalidArgumentException"


def conforms_list_shards_pages(client: Any, stream: str) -> None:
    first = client.list_shards(StreamName=stream, MaxResults=1)
    second = client.list_shards(NextToken=first["NextToken"], MaxResults=1)
    assert [s["ShardId"] for s in first["Shards"] + second["Shards"]] == [SHARD_0, SHARD_1]
    assert "NextToken" not in second


def conforms_a_split_keeps_the_parent(client: Any, stream: str) -> None:
    put(client, b"before", stream=stream)
    client.split_shard(StreamName=stream, ShardToSplit=SHARD_0, NewStartingHashKey=str(2**126))
    put(client, b"after", stream=stream)
    page = client.get_records(ShardIterator=iterator(client, stream=stream))
    assert [record["Data"] for record in page["Records"]] == [b"before"]
    assert page.get("NextShardIterator") is None
    assert [child["ShardId"] for child in page["ChildShards"]] == [SHARD_2, SHARD_3]


def conforms_a_larger_record_after_update(client: Any, stream: str) -> None:
    arn = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    client.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=2048)
    put(client, bytes(2 * MIB - 1), stream=stream)


CASES = [value for name, value in list(globals().items()) if name.startswith("conforms_")]

MINISTACK_CANNOT: dict[Callable[..., None], str] = {
    conforms_explicit_hash_key_below_2_to_the_128: "takes any explicit hash key",
    conforms_the_partition_key_counts_in_the_record: "counts the data alone",
    conforms_garbage_iterator: "says that it expired",
    conforms_list_shards_pages: "does not page",
    conforms_a_split_keeps_the_parent: "deletes the parent and its records",
    conforms_a_larger_record_after_update: "does not know UpdateMaxRecordSize",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.removeprefix("conforms_"))
def test_the_fake_conforms(case: Callable[..., None], fake: FakeKinesis) -> None:
    case(fake, S)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.removeprefix("conforms_"))
def test_a_real_server_conforms(case: Callable[..., None], server: Any, request: pytest.FixtureRequest) -> None:
    if case in MINISTACK_CANNOT:
        # Not strict: a later version of the server may have learned it, which shows in the summary as XPASS.
        request.node.add_marker(pytest.mark.xfail(reason=f"ministack: {MINISTACK_CANNOT[case]}", strict=False))
    stream = case.__name__.replace("_", "-")
    server.create_stream(StreamName=stream, ShardCount=2)
    case(server, stream)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with servers.ministack() as url:
        yield servers.client("kinesis", url)
