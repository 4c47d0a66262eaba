"""The same cases over `FakeKinesis` and over three servers of other people, so that the fake is not its own judge.

Each case takes a client and the name of a stream of two shards with even hash ranges. `CANNOT` has what a server does
otherwise than Kinesis; a case in it must fail, so that one which a new version has learned shows up.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import old_botocore
import pytest
import servers
from botocore.exceptions import ClientError, ParamValidationError
from kinesis_calls import (
    HIGH,
    LOW,
    SHARD_0,
    SHARD_1,
    SHARD_2,
    SHARD_3,
    SHARD_4,
    code_of,
    data_of,
    hash_range,
    iterator,
    put,
    read,
    shard_ids,
    shards,
    walk,
)

import shardpack as sp
from shardpack.limits import MAX_HASH_KEY, MIB
from shardpack.testing import FakeKinesis, SystemClock

HALF, QUARTER = 2**127, 2**126
REFUSED = {"ValidationException", "InvalidArgumentException"}  # which of the two, the API reference does not say
MANY = 300


def split(client: Any, stream: str, shard_id: str = SHARD_0, at: int = QUARTER) -> None:
    client.split_shard(StreamName=stream, ShardToSplit=shard_id, NewStartingHashKey=str(at))
    servers.wait_until_active(client, stream)


def merge(client: Any, stream: str, shard_id: str, adjacent: str) -> None:
    client.merge_shards(StreamName=stream, ShardToMerge=shard_id, AdjacentShardToMerge=adjacent)
    servers.wait_until_active(client, stream)


def arn_of(client: Any, stream: str) -> str:
    arn: str = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    return arn


def moment() -> datetime:
    """A time with some milliseconds before and after it in which nothing happens."""
    time.sleep(0.01)
    now = datetime.now(UTC)
    time.sleep(0.01)
    return now


# Putting


def conforms_md5_and_explicit_hash_keys_route(client: Any, stream: str) -> None:
    shard_map = sp.ShardMap(shards(client, stream))
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
    results = put(client, stream, *[b"x"] * 10)
    last = client.put_record(StreamName=stream, Data=b"y", PartitionKey="k", ExplicitHashKey=LOW)
    numbers = [int(result["SequenceNumber"]) for result in [*results, last]]
    assert numbers == sorted(set(numbers))


def conforms_sequence_numbers_are_canonical_decimals(client: Any, stream: str) -> None:
    (result,) = put(client, stream, b"x")
    assert str(int(result["SequenceNumber"])) == result["SequenceNumber"]


def conforms_a_sequence_number_for_ordering_is_taken(client: Any, stream: str) -> None:
    (first,) = put(client, stream, b"0")
    second = client.put_record(
        StreamName=stream,
        Data=b"1",
        PartitionKey="k",
        ExplicitHashKey=LOW,
        SequenceNumberForOrdering=first["SequenceNumber"],
    )
    assert int(second["SequenceNumber"]) > int(first["SequenceNumber"])


def conforms_500_records_are_taken_and_501_refused(client: Any, stream: str) -> None:
    assert not any("ErrorCode" in result for result in put(client, stream, *[b"x"] * 500))
    assert code_of(lambda: put(client, stream, *[b"x"] * 501)) in REFUSED


def conforms_partition_key_of_256_characters_at_most(client: Any, stream: str) -> None:
    client.put_record(StreamName=stream, Data=b"x", PartitionKey="\u00e9" * 256)
    assert code_of(lambda: client.put_record(StreamName=stream, Data=b"x", PartitionKey="k" * 257)) in REFUSED


def conforms_a_record_needs_a_partition_key(client: Any, stream: str) -> None:
    # boto3 leaves this to the service: with the distribution strategy AUTO none is needed.
    entries = [{"Data": b"x"}, {"Data": b"x", "PartitionKey": "k"}]
    assert code_of(lambda: client.put_records(StreamName=stream, Records=entries)) in REFUSED
    assert list(data_of(walk(client, stream))) == []


def conforms_explicit_hash_key_below_2_to_the_128(client: Any, stream: str) -> None:
    put(client, stream, b"x", ehk=HIGH)
    for wrong in (str(MAX_HASH_KEY + 1), "9" * 39):
        assert code_of(partial(put, client, stream, b"x", ehk=wrong)) in REFUSED, wrong


def conforms_explicit_hash_key_in_canonical_decimals(client: Any, stream: str) -> None:
    for wrong in ("01", "-1", "1e3"):
        assert code_of(partial(put, client, stream, b"x", ehk=wrong)) in REFUSED, wrong


def conforms_more_than_a_mebibyte_is_refused(client: Any, stream: str) -> None:
    put(client, stream, bytes(MIB - 1))
    assert code_of(lambda: put(client, stream, bytes(MIB + 1))) in REFUSED


def conforms_the_partition_key_counts_in_the_record(client: Any, stream: str) -> None:
    assert code_of(lambda: put(client, stream, bytes(MIB))) == "InvalidArgumentException"


def conforms_more_than_10_mebibytes_in_a_request_are_refused(client: Any, stream: str) -> None:
    assert code_of(lambda: put(client, stream, *[bytes(MIB - 1)] * 11)) in REFUSED


def conforms_more_than_5_mebibytes_in_a_request_are_taken(client: Any, stream: str) -> None:
    assert len(put(client, stream, *[bytes(MIB - 1)] * 6)) == 6


def conforms_a_larger_record_after_update(client: Any, stream: str) -> None:
    client.update_max_record_size(StreamARN=arn_of(client, stream), MaxRecordSizeInKiB=2048)
    servers.wait_until_active(client, stream)
    put(client, stream, bytes(2 * MIB - 1))
    assert code_of(lambda: put(client, stream, bytes(2 * MIB))) in REFUSED


def conforms_one_bad_record_refuses_all(client: Any, stream: str) -> None:
    assert code_of(lambda: put(client, stream, b"good", bytes(MIB + 1))) in REFUSED
    assert list(data_of(walk(client, stream))) == []


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


def conforms_data_may_be_any_blob_of_boto3(client: Any, stream: str) -> None:
    put(client, stream, bytearray(b"array"), "text")  # type: ignore[arg-type]
    assert read(client, iterator(client, stream)) == [b"array", b"text"]


def conforms_threads_lose_nothing(client: Any, stream: str) -> None:
    chunks = [[b"%d" % n for n in range(start, start + 25)] for start in range(0, MANY, 25)]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda chunk: put(client, stream, *chunk), chunks))
    numbers = [result["SequenceNumber"] for chunk in results for result in chunk]
    assert len(set(numbers)) == MANY
    found = walk(client, stream)[SHARD_0]
    assert sorted(record["Data"] for record in found) == sorted(itertools.chain.from_iterable(chunks))
    assert [int(record["SequenceNumber"]) for record in found] == sorted(map(int, numbers))


# Reading


def conforms_records_come_back_as_they_were_put(client: Any, stream: str) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    client.put_record(StreamName=stream, Data=b"\x00\xff", PartitionKey="\u00e9", ExplicitHashKey=LOW)
    page = client.get_records(ShardIterator=iterator(client, stream))
    (record,) = page["Records"]
    assert (record["Data"], record["PartitionKey"]) == (b"\x00\xff", "\u00e9")
    assert before < record["ApproximateArrivalTimestamp"] < before + timedelta(minutes=1)
    assert page["NextShardIterator"]
    assert page["MillisBehindLatest"] == 0
    assert read(client, page["NextShardIterator"]) == []


def conforms_limit_pages(client: Any, stream: str) -> None:
    put(client, stream, *[b"%d" % n for n in range(5)])
    page = client.get_records(ShardIterator=iterator(client, stream), Limit=3)
    assert len(page["Records"]) == 3
    assert read(client, page["NextShardIterator"]) == [b"3", b"4"]


def conforms_an_iterator_can_be_used_again(client: Any, stream: str) -> None:
    put(client, stream, b"0", b"1")
    token = iterator(client, stream)
    assert read(client, token, Limit=1) == read(client, token, Limit=1) == [b"0"]


def conforms_an_empty_page_s_iterator_finds_what_comes_later(client: Any, stream: str) -> None:
    token = client.get_records(ShardIterator=iterator(client, stream))["NextShardIterator"]
    put(client, stream, b"0")
    page = client.get_records(ShardIterator=token)
    assert [record["Data"] for record in page["Records"]] == [b"0"]
    put(client, stream, b"1")
    assert read(client, page["NextShardIterator"]) == [b"1"]


def conforms_limit_is_10_000_at_most(client: Any, stream: str) -> None:
    token = iterator(client, stream)
    assert read(client, token, Limit=10_000) == []
    assert code_of(lambda: read(client, token, Limit=10_001)) in REFUSED


def conforms_a_page_is_10_mebibytes_at_most(client: Any, stream: str) -> None:
    for _ in range(3):
        put(client, stream, *[bytes(MIB - 1)] * 4)
    page = client.get_records(ShardIterator=iterator(client, stream))
    assert len(page["Records"]) == 10
    assert len(read(client, page["NextShardIterator"])) == 2


def conforms_milliseconds_behind(client: Any, stream: str) -> None:
    put(client, stream, b"0", b"1")
    moment()
    page = client.get_records(ShardIterator=iterator(client, stream), Limit=1)
    assert 0 < page["MillisBehindLatest"] < 60_000
    page = client.get_records(ShardIterator=page["NextShardIterator"], Limit=1)
    assert page["MillisBehindLatest"] == 0


def conforms_trim_horizon_and_latest(client: Any, stream: str) -> None:
    put(client, stream, b"old")
    latest = iterator(client, stream, "LATEST")
    put(client, stream, b"new")
    assert read(client, iterator(client, stream)) == [b"old", b"new"]
    assert read(client, latest) == [b"new"]


def conforms_at_and_after_sequence_number(client: Any, stream: str) -> None:
    numbers = [result["SequenceNumber"] for result in put(client, stream, b"0", b"1", b"2")]
    at = iterator(client, stream, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1])
    after = iterator(client, stream, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1])
    assert read(client, at) == [b"1", b"2"]
    assert read(client, after) == [b"2"]
    past = iterator(client, stream, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[2])
    assert read(client, past) == []
    put(client, stream, b"3")
    assert read(client, past) == [b"3"]


def conforms_the_shard_s_first_sequence_number_is_a_position(client: Any, stream: str) -> None:
    put(client, stream, b"0")
    first = shards(client, stream)[0]["SequenceNumberRange"]["StartingSequenceNumber"]
    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        assert read(client, iterator(client, stream, kind, StartingSequenceNumber=first)) == [b"0"]


def conforms_a_sequence_number_belongs_to_its_shard(client: Any, stream: str) -> None:
    (other,) = put(client, stream, b"x", ehk=HIGH)
    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        asked = {"kind": kind, "StartingSequenceNumber": other["SequenceNumber"]}
        assert code_of(partial(iterator, client, stream, **asked)) in REFUSED


def conforms_at_timestamp(client: Any, stream: str) -> None:
    long_ago, start = datetime(2020, 1, 1, tzinfo=UTC), moment()
    put(client, stream, b"0")
    between = moment()
    put(client, stream, b"1")
    end = moment()
    found = {at: read(client, iterator(client, stream, "AT_TIMESTAMP", Timestamp=at)) for at in (long_ago, start)}
    assert found == {long_ago: [b"0", b"1"], start: [b"0", b"1"]}
    assert read(client, iterator(client, stream, "AT_TIMESTAMP", Timestamp=between)) == [b"1"]
    caught_up = iterator(client, stream, "AT_TIMESTAMP", Timestamp=end)
    assert read(client, caught_up) == []


def conforms_at_timestamp_after_the_last_record_finds_what_comes_later(client: Any, stream: str) -> None:
    put(client, stream, b"0")
    token = iterator(client, stream, "AT_TIMESTAMP", Timestamp=moment())
    assert read(client, token) == []
    put(client, stream, b"1")
    assert read(client, token) == [b"1"]


def conforms_at_timestamp_of_a_record_gives_that_record(client: Any, stream: str) -> None:
    put(client, stream, b"0")
    moment()
    put(client, stream, b"1")
    arrival = client.get_records(ShardIterator=iterator(client, stream))["Records"][1]["ApproximateArrivalTimestamp"]
    assert read(client, iterator(client, stream, "AT_TIMESTAMP", Timestamp=arrival)) == [b"1"]


def conforms_at_timestamp_in_the_future_is_refused(client: Any, stream: str) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert code_of(lambda: iterator(client, stream, "AT_TIMESTAMP", Timestamp=tomorrow)) in REFUSED


def conforms_iterator_types_need_their_parameters(client: Any, stream: str) -> None:
    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP"):
        assert code_of(partial(iterator, client, stream, kind)) in REFUSED, kind
    assert code_of(lambda: iterator(client, stream, "FIRST")) in REFUSED


def conforms_trim_horizon_and_latest_take_no_sequence_number(client: Any, stream: str) -> None:
    (first,) = put(client, stream, b"0")
    for kind in ("TRIM_HORIZON", "LATEST"):
        asked = {"kind": kind, "StartingSequenceNumber": first["SequenceNumber"]}
        assert code_of(partial(iterator, client, stream, **asked)) in REFUSED, kind


def conforms_garbage_iterator(client: Any, stream: str) -> None:
    assert code_of(lambda: client.get_records(ShardIterator="garbage")) == "InvalidArgumentException"
    token = iterator(client, stream)
    assert code_of(lambda: client.get_records(ShardIterator=token[:-8])) == "InvalidArgumentException"


# Streams and shards


def conforms_shards_cover_all_hash_keys(client: Any, stream: str) -> None:
    shard_map = sp.ShardMap(shards(client, stream))
    assert [shard.shard_id for shard in shard_map.shards] == [SHARD_0, SHARD_1]
    assert [hash_range(shard) for shard in shards(client, stream)] == [(0, HALF - 1), (HALF, MAX_HASH_KEY)]


def conforms_three_shards_cover_all_hash_keys_too(client: Any, stream: str) -> None:
    servers.create_stream(client, f"{stream}-3", 3)
    listed = shards(client, f"{stream}-3")
    assert len(sp.ShardMap(listed).shards) == 3
    sizes = [end - start for start, end in map(hash_range, listed)]
    assert max(sizes) - min(sizes) <= 2


def conforms_unknown_names_are_not_found(client: Any, stream: str) -> None:
    assert code_of(lambda: put(client, "nowhere", b"x")) == "ResourceNotFoundException"
    assert code_of(lambda: client.list_shards(StreamName="nowhere")) == "ResourceNotFoundException"
    assert code_of(lambda: client.describe_stream_summary(StreamName="nowhere")) == "ResourceNotFoundException"
    assert code_of(lambda: iterator(client, stream, shard_id=SHARD_3)) == "ResourceNotFoundException"
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.delete_stream(StreamName="nowhere")


def conforms_a_name_is_taken_once(client: Any, stream: str) -> None:
    assert code_of(lambda: client.create_stream(StreamName=stream, ShardCount=1)) == "ResourceInUseException"


def delete(client: Any, stream: str) -> None:
    client.delete_stream(StreamName=stream)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            client.describe_stream_summary(StreamName=stream)
        except client.exceptions.ResourceNotFoundException:
            return
        time.sleep(0.01)
    pytest.fail(f"{stream} is not deleted")


def conforms_a_deleted_stream_is_gone(client: Any, stream: str) -> None:
    token = iterator(client, stream)
    delete(client, stream)
    assert code_of(lambda: read(client, token)) == "ResourceNotFoundException"


def conforms_a_stream_made_anew_is_empty(client: Any, stream: str) -> None:
    put(client, stream, b"old")
    delete(client, stream)
    servers.create_stream(client, stream, 2)
    assert read(client, iterator(client, stream)) == []
    put(client, stream, b"new")
    assert list(data_of(walk(client, stream))) == [b"new"]


def conforms_summary(client: Any, stream: str) -> None:
    summary = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    assert summary["StreamName"] == stream
    assert summary["StreamARN"].endswith(f":stream/{stream}")
    assert summary["StreamStatus"] == "ACTIVE"
    assert summary["OpenShardCount"] == 2
    assert summary["RetentionPeriodHours"] == 24


def conforms_summary_has_the_capacity_mode(client: Any, stream: str) -> None:
    summary = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    assert summary["StreamModeDetails"] == {"StreamMode": "PROVISIONED"}


def conforms_the_summary_counts_open_shards(client: Any, stream: str) -> None:
    split(client, stream)
    summary = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 3


def conforms_the_arn_names_the_stream(client: Any, stream: str) -> None:
    arn = arn_of(client, stream)
    client.put_records(StreamARN=arn, Records=[{"Data": b"0", "PartitionKey": "k", "ExplicitHashKey": LOW}])
    token = client.get_shard_iterator(StreamARN=arn, ShardId=SHARD_0, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    assert [record["Data"] for record in client.get_records(StreamARN=arn, ShardIterator=token)["Records"]] == [b"0"]
    assert len(client.list_shards(StreamARN=arn)["Shards"]) == 2


def conforms_on_demand_begins_with_four_shards(client: Any, stream: str) -> None:
    name = f"{stream}-on-demand"
    client.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    servers.wait_until_active(client, name)
    assert len(sp.ShardMap(shards(client, name)).shards) == 4


def conforms_on_demand_is_not_split_by_hand(client: Any, stream: str) -> None:
    name = f"{stream}-on-demand"
    client.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    servers.wait_until_active(client, name)
    assert code_of(lambda: split(client, name, at=2)) == "ValidationException"


# Listing


def conforms_list_shards_pages(client: Any, stream: str) -> None:
    first = client.list_shards(StreamName=stream, MaxResults=1)
    second = client.list_shards(NextToken=first["NextToken"], MaxResults=1)
    assert [s["ShardId"] for s in first["Shards"] + second["Shards"]] == [SHARD_0, SHARD_1]
    assert "NextToken" not in second


def conforms_a_next_token_names_the_stream(client: Any, stream: str) -> None:
    token = client.list_shards(StreamName=stream, MaxResults=1).get("NextToken")
    call = {"StreamName": stream, "NextToken": token or "token"}
    assert code_of(lambda: client.list_shards(**call)) == "InvalidArgumentException"


def conforms_the_paginator_gives_a_first_page(client: Any, stream: str) -> None:
    pages = client.get_paginator("list_shards").paginate(StreamName=stream)
    assert [shard["ShardId"] for shard in pages.search("Shards[]")] == [SHARD_0, SHARD_1]


def conforms_list_shards_after_a_shard(client: Any, stream: str) -> None:
    assert shard_ids(client, stream, ExclusiveStartShardId=SHARD_0) == [SHARD_1]
    assert shard_ids(client, stream, ExclusiveStartShardId=SHARD_1) == []


def conforms_shard_filter_by_kind(client: Any, stream: str) -> None:
    split(client, stream)
    everything = [SHARD_0, SHARD_1, SHARD_2, SHARD_3]
    assert shard_ids(client, stream) == everything
    assert shard_ids(client, stream, ShardFilter={"Type": "FROM_TRIM_HORIZON"}) == everything
    assert shard_ids(client, stream, ShardFilter={"Type": "AT_LATEST"}) == everything[1:]
    assert shard_ids(client, stream, ShardFilter={"Type": "AFTER_SHARD_ID", "ShardId": SHARD_1}) == everything[2:]


def conforms_shard_filter_at_trim_horizon(client: Any, stream: str) -> None:
    split(client, stream)
    assert shard_ids(client, stream, ShardFilter={"Type": "AT_TRIM_HORIZON"}) == [SHARD_0, SHARD_1]


def conforms_shard_filter_by_time(client: Any, stream: str) -> None:
    before = moment()
    split(client, stream)
    after = moment()
    everything = [SHARD_0, SHARD_1, SHARD_2, SHARD_3]
    assert shard_ids(client, stream, ShardFilter={"Type": "AT_TIMESTAMP", "Timestamp": before}) == everything[:2]
    assert shard_ids(client, stream, ShardFilter={"Type": "AT_TIMESTAMP", "Timestamp": after}) == everything[1:]
    assert shard_ids(client, stream, ShardFilter={"Type": "FROM_TIMESTAMP", "Timestamp": before}) == everything
    assert shard_ids(client, stream, ShardFilter={"Type": "FROM_TIMESTAMP", "Timestamp": after}) == everything[1:]


def conforms_shard_filters_need_their_parameters(client: Any, stream: str) -> None:
    for kind in ("AFTER_SHARD_ID", "AT_TIMESTAMP", "FROM_TIMESTAMP", "SOME"):
        asked = {"ShardFilter": {"Type": kind}}
        assert code_of(partial(shards, client, stream, **asked)) in REFUSED, kind


# Splits and merges


def conforms_a_split_closes_the_parent_and_divides_its_range(client: Any, stream: str) -> None:
    start, end = hash_range(shards(client, stream)[0])
    split(client, stream)
    parent, other, low, high = shards(client, stream)
    assert "EndingSequenceNumber" in parent["SequenceNumberRange"]
    assert not any("EndingSequenceNumber" in shard["SequenceNumberRange"] for shard in (other, low, high))
    assert (hash_range(low), hash_range(high)) == ((start, QUARTER - 1), (QUARTER, end))
    assert low["ParentShardId"] == high["ParentShardId"] == SHARD_0
    assert not any("AdjacentParentShardId" in shard for shard in (parent, other, low, high))


def conforms_a_split_keeps_the_parent_s_records(client: Any, stream: str) -> None:
    put(client, stream, b"before")
    split(client, stream)
    (result,) = put(client, stream, b"after", ehk=str(QUARTER - 1))
    assert result["ShardId"] == SHARD_2
    assert read(client, iterator(client, stream)) == [b"before"]
    assert read(client, iterator(client, stream, shard_id=SHARD_2)) == [b"after"]


def conforms_a_closed_parent_s_iterator_ends(client: Any, stream: str) -> None:
    put(client, stream, b"0", b"1")
    split(client, stream)
    page = client.get_records(ShardIterator=iterator(client, stream), Limit=1)
    assert [record["Data"] for record in page["Records"]] == [b"0"]
    page = client.get_records(ShardIterator=page["NextShardIterator"], Limit=2)
    assert [record["Data"] for record in page["Records"]] == [b"1"]
    if page.get("NextShardIterator") is not None:  # a server may say so with an empty page of its own
        page = client.get_records(ShardIterator=page["NextShardIterator"])
        assert page["Records"] == []
    assert page.get("NextShardIterator") is None


def conforms_an_iterator_that_waits_at_a_parent_s_end_ends(client: Any, stream: str) -> None:
    put(client, stream, b"0", b"1")
    waiting = iterator(client, stream, "LATEST")
    split(client, stream)
    page = client.get_records(ShardIterator=waiting)
    assert page["Records"] == []
    assert page.get("NextShardIterator") is None


def conforms_latest_of_a_closed_parent_is_its_end(client: Any, stream: str) -> None:
    put(client, stream, b"0", b"1")
    split(client, stream)
    page = client.get_records(ShardIterator=iterator(client, stream, "LATEST"))
    assert page["Records"] == []
    assert page.get("NextShardIterator") is None


def conforms_the_end_of_a_parent_names_its_children(client: Any, stream: str) -> None:
    assert "ChildShards" not in client.get_records(ShardIterator=iterator(client, stream))
    start, end = hash_range(shards(client, stream)[0])
    split(client, stream)
    children = client.get_records(ShardIterator=iterator(client, stream))["ChildShards"]
    assert [child["ShardId"] for child in children] == [SHARD_2, SHARD_3]
    assert [child["ParentShards"] for child in children] == [[SHARD_0], [SHARD_0]]
    assert [hash_range(child) for child in children] == [(start, QUARTER - 1), (QUARTER, end)]


def conforms_the_last_sequence_number_of_a_parent_is_a_position(client: Any, stream: str) -> None:
    (last,) = put(client, stream, b"0")
    split(client, stream)
    token = iterator(client, stream, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=last["SequenceNumber"])
    page = client.get_records(ShardIterator=token)
    assert page["Records"] == []
    assert page.get("NextShardIterator") is None


def conforms_an_ending_sequence_number_is_a_position(client: Any, stream: str) -> None:
    (last,) = put(client, stream, b"0")
    split(client, stream)
    ending = shards(client, stream)[0]["SequenceNumberRange"]["EndingSequenceNumber"]
    assert int(ending) >= int(last["SequenceNumber"])
    assert read(client, iterator(client, stream, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=ending)) == []


def conforms_sequence_numbers_rise_across_a_split(client: Any, stream: str) -> None:
    numbers = [int(result["SequenceNumber"]) for result in put(client, stream, *[b"x"] * 20)]
    split(client, stream)
    _, _, low, high = shards(client, stream)
    for child in (low, high):
        assert int(child["SequenceNumberRange"]["StartingSequenceNumber"]) > numbers[-1]
    for ehk in (LOW, str(QUARTER)):
        assert int(put(client, stream, b"y", ehk=ehk)[0]["SequenceNumber"]) > numbers[-1]


def conforms_a_merge_joins_the_ranges(client: Any, stream: str) -> None:
    put(client, stream, b"low")
    put(client, stream, b"high", ehk=HIGH)
    merge(client, stream, SHARD_0, SHARD_1)
    low, high, child = shards(client, stream)
    assert hash_range(child) == (0, MAX_HASH_KEY)
    assert (child["ParentShardId"], child["AdjacentParentShardId"]) == (SHARD_0, SHARD_1)
    assert all("EndingSequenceNumber" in parent["SequenceNumberRange"] for parent in (low, high))
    assert put(client, stream, b"new", ehk=HIGH)[0]["ShardId"] == child["ShardId"] == SHARD_2
    assert read(client, iterator(client, stream)) == [b"low"]
    assert read(client, iterator(client, stream, shard_id=SHARD_1)) == [b"high"]
    assert read(client, iterator(client, stream, shard_id=SHARD_2)) == [b"new"]


def conforms_the_end_of_both_merged_parents_names_the_child(client: Any, stream: str) -> None:
    merge(client, stream, SHARD_0, SHARD_1)
    for shard_id in (SHARD_0, SHARD_1):
        (child,) = client.get_records(ShardIterator=iterator(client, stream, shard_id=shard_id))["ChildShards"]
        assert child["ShardId"] == SHARD_2
        assert sorted(child["ParentShards"]) == [SHARD_0, SHARD_1]


def conforms_generations_are_walked_in_order(client: Any, stream: str) -> None:
    keys = (0, QUARTER - 1, QUARTER, HALF - 1, HALF, MAX_HASH_KEY)
    sent: list[bytes] = []

    def put_round(number: int) -> None:
        for key in keys:
            sent.append(b"%d %d" % (key, number))
            put(client, stream, sent[-1], ehk=str(key))

    put_round(0)
    split(client, stream)  # 0 becomes 2 and 3
    put_round(1)
    merge(client, stream, SHARD_3, SHARD_1)  # 3 and 1 become 4
    put_round(2)
    split(client, stream, SHARD_4, at=HALF + QUARTER)  # 4 becomes 5 and 6
    put_round(3)
    found = walk(client, stream, Limit=2)
    assert len(found) == 7
    assert sorted(data_of(found)) == sorted(sent)
    for key in keys:
        rounds = [data for data in data_of(found) if data.startswith(b"%d " % key)]
        assert rounds == [b"%d %d" % (key, number) for number in range(4)]


def conforms_what_cannot_be_split_is_refused(client: Any, stream: str) -> None:
    start, end = hash_range(shards(client, stream)[0])
    for at in (start, start + 1, end, end + 1, MAX_HASH_KEY):
        assert code_of(partial(split, client, stream, at=at)) in REFUSED, at
    assert code_of(lambda: split(client, stream, SHARD_3)) == "ResourceNotFoundException"
    split(client, stream, at=start + 2)
    assert [hash_range(shard) for shard in shards(client, stream)][2:] == [(start, start + 1), (start + 2, end)]


def conforms_a_closed_shard_is_not_split_or_merged(client: Any, stream: str) -> None:
    split(client, stream)
    for call in (
        lambda: split(client, stream, at=QUARTER // 2),
        lambda: merge(client, stream, SHARD_0, SHARD_1),
    ):
        assert code_of(call) in {*REFUSED, "ResourceNotFoundException", "ResourceInUseException"}
    assert len(shards(client, stream)) == 4


def conforms_only_neighbours_are_merged(client: Any, stream: str) -> None:
    split(client, stream)
    assert code_of(lambda: merge(client, stream, SHARD_2, SHARD_1)) == "InvalidArgumentException"
    assert code_of(lambda: merge(client, stream, SHARD_1, SHARD_1)) in REFUSED
    assert code_of(lambda: merge(client, stream, SHARD_1, "shardId-000000000009")) == "ResourceNotFoundException"
    assert len(shards(client, stream)) == 4


CASES: dict[str, Callable[[Any, str], None]] = {
    name.removeprefix("conforms_"): value for name, value in list(globals().items()) if name.startswith("conforms_")
}

_NO_FILTER = "ignores ShardFilter"
_NO_ON_DEMAND = "knows no capacity modes"
_DELETES = "deletes the parents and their records"

# What a server does otherwise than Kinesis, case by case. The fake is to have none.
CANNOT: dict[str, dict[str, str]] = {
    "fake": {},
    "kinesalite": {
        "explicit_hash_key_in_canonical_decimals": "takes what only begins like a number",
        "the_partition_key_counts_in_the_record": "counts the data alone",
        "more_than_10_mebibytes_in_a_request_are_refused": "answers HTTP 413 without a code",
        "more_than_5_mebibytes_in_a_request_are_taken": "keeps to the limit of before 2025",
        "a_larger_record_after_update": "does not know UpdateMaxRecordSize",
        "a_page_is_10_mebibytes_at_most": "gives any number of bytes",
        "milliseconds_behind": "always says 0",
        "at_timestamp": "never answers when no record is that late",
        "at_timestamp_after_the_last_record_finds_what_comes_later": "never answers when no record is that late",
        "summary_has_the_capacity_mode": _NO_ON_DEMAND,
        "the_arn_names_the_stream": "wants StreamName",
        "on_demand_begins_with_four_shards": _NO_ON_DEMAND,
        "on_demand_is_not_split_by_hand": _NO_ON_DEMAND,
        "list_shards_pages": "does not page",
        "shard_filter_by_kind": _NO_FILTER,
        "shard_filter_at_trim_horizon": _NO_FILTER,
        "shard_filter_by_time": _NO_FILTER,
        "shard_filters_need_their_parameters": _NO_FILTER,
        "the_end_of_a_parent_names_its_children": "is older than ChildShards",
        "the_end_of_both_merged_parents_names_the_child": "is older than ChildShards",
        "a_closed_shard_is_not_split_or_merged": "splits a shard twice (kinesalite issue 109)",
    },
    "kinesis-local": {
        "500_records_are_taken_and_501_refused": "takes any number",
        "a_record_needs_a_partition_key": "answers with a SerializationException",
        "explicit_hash_key_in_canonical_decimals": "answers HTTP 500 to what is no number",
        "more_than_a_mebibyte_is_refused": "fails that record alone, with a code that Kinesis does not have there",
        "the_partition_key_counts_in_the_record": "counts the data alone",
        "more_than_10_mebibytes_in_a_request_are_refused": "takes any number of bytes",
        "a_larger_record_after_update": "fails the record that is still too large alone",
        "one_bad_record_refuses_all": "stores the good ones",
        "a_page_is_10_mebibytes_at_most": "counts more than data and keys, and ends a page of MiBs after 9",
        "milliseconds_behind": "always says 0",
        "a_sequence_number_belongs_to_its_shard": "takes those of other shards",
        "at_timestamp_in_the_future_is_refused": "takes it",
        "iterator_types_need_their_parameters": "answers to an unknown type with a SerializationException",
        "trim_horizon_and_latest_take_no_sequence_number": "ignores it",
        "garbage_iterator": "answers HTTP 500",
        "shards_cover_all_hash_keys": "divides the hash keys one below the half",
        "on_demand_is_not_split_by_hand": "splits it",
        "shard_filter_at_trim_horizon": "gives everything since",
        "shard_filter_by_time": "gives everything since",
        "shard_filters_need_their_parameters": "answers to an unknown type with a SerializationException",
        "an_ending_sequence_number_is_a_position": "has one that is no sequence number (kinesis-mock issue 1536)",
        "what_cannot_be_split_is_refused": "splits anywhere within the range",
    },
    "ministack": {
        "sequence_numbers_are_canonical_decimals": "pads them with zeros",
        "a_record_needs_a_partition_key": "takes one without",
        "explicit_hash_key_below_2_to_the_128": "takes any",
        "explicit_hash_key_in_canonical_decimals": "takes any",
        "the_partition_key_counts_in_the_record": "counts the data alone",
        "more_than_5_mebibytes_in_a_request_are_taken": "keeps to the limit of before 2025",
        "a_larger_record_after_update": "does not know UpdateMaxRecordSize",
        "limit_is_10_000_at_most": "takes any",
        "a_page_is_10_mebibytes_at_most": "gives any number of bytes",
        "a_sequence_number_belongs_to_its_shard": "takes those of other shards",
        "at_timestamp_in_the_future_is_refused": "takes it",
        "iterator_types_need_their_parameters": "does without",
        "trim_horizon_and_latest_take_no_sequence_number": "ignores it",
        "garbage_iterator": "says that it expired",
        "a_deleted_stream_is_gone": "says that the iterator expired",
        "on_demand_begins_with_four_shards": "begins with one",
        "on_demand_is_not_split_by_hand": "splits it",
        "list_shards_pages": "wants StreamName with NextToken",
        "a_next_token_names_the_stream": "wants StreamName with NextToken",
        "shard_filter_by_kind": _NO_FILTER,
        "shard_filter_at_trim_horizon": _NO_FILTER,
        "shard_filter_by_time": _NO_FILTER,
        "shard_filters_need_their_parameters": _NO_FILTER,
        "a_split_closes_the_parent_and_divides_its_range": _DELETES,
        "a_split_keeps_the_parent_s_records": _DELETES,
        "a_closed_parent_s_iterator_ends": _DELETES,
        "an_iterator_that_waits_at_a_parent_s_end_ends": _DELETES,
        "latest_of_a_closed_parent_is_its_end": _DELETES,
        "the_end_of_a_parent_names_its_children": _DELETES,
        "the_last_sequence_number_of_a_parent_is_a_position": _DELETES,
        "an_ending_sequence_number_is_a_position": _DELETES,
        "sequence_numbers_rise_across_a_split": _DELETES,
        "a_merge_joins_the_ranges": _DELETES,
        "the_end_of_both_merged_parents_names_the_child": _DELETES,
        "generations_are_walked_in_order": _DELETES,
        "what_cannot_be_split_is_refused": "splits anywhere",
        "a_closed_shard_is_not_split_or_merged": _DELETES,
        "only_neighbours_are_merged": "merges any",
    },
}

# Left out, for they take from three seconds to a minute: kinesalite does not answer, kinesis-local stores slowly.
TOO_LONG = {
    ("kinesalite", "at_timestamp"),
    ("kinesalite", "at_timestamp_after_the_last_record_finds_what_comes_later"),
    ("kinesis-local", "more_than_5_mebibytes_in_a_request_are_taken"),
    ("kinesis-local", "more_than_10_mebibytes_in_a_request_are_refused"),
    ("kinesis-local", "a_page_is_10_mebibytes_at_most"),
}


@pytest.fixture(scope="module")
def clients() -> Iterator[Callable[[str], Any]]:
    """A client by the server's name; each server is started when it is first asked for, and once."""
    starters: dict[str, Callable[[], AbstractContextManager[str]]] = {
        "kinesalite": servers.kinesalite,
        "kinesis-local": servers.kinesis_local,
        "ministack": servers.ministack,
    }
    started: dict[str, Any] = {"fake": FakeKinesis(clock=SystemClock(), transition_seconds=0.01)}
    with ExitStack() as running:

        def client(server: str) -> Any:
            if server not in started:
                url = running.enter_context(starters[server]())
                started[server] = servers.client("kinesis", url)
            return started[server]

        yield client


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("server", CANNOT)
def test_conforms(server: str, case: str, clients: Callable[[str], Any]) -> None:
    if (server, case) in TOO_LONG and os.environ.get("HYPOTHESIS_PROFILE") != "long":
        pytest.skip("takes too long; HYPOTHESIS_PROFILE=long runs it")
    if "at_timestamp" in case and server != "fake" and not old_botocore.sends_fractions():
        pytest.skip("this botocore sends times to the second")
    if "needs_a_partition_key" in case and old_botocore.wants("PutRecord", "PartitionKey"):
        pytest.skip("this botocore asks for partition keys itself")
    client, stream = clients(server), case.replace("_", "-")
    servers.create_stream(client, stream, 2)
    if case in CANNOT[server]:
        _expect_that_it_fails(server, case, client, stream)
    else:
        CASES[case](client, stream)


def _expect_that_it_fails(server: str, case: str, client: Any, stream: str) -> None:
    """What the mark xfail does, but for rendering a traceback that nobody sees: that takes longer than the cases."""
    try:
        CASES[case](client, stream)
    except (AssertionError, LookupError, ValueError, ClientError, pytest.fail.Exception):
        raise pytest.xfail.Exception(f"{server} {CANNOT[server][case]}", pytrace=False) from None
    pytest.fail(f"{server} can do it now: take it out of the table")


def test_the_table_names_cases() -> None:
    named = {*itertools.chain.from_iterable(CANNOT.values()), *(case for _, case in TOO_LONG)}
    assert named <= CASES.keys()
    assert CANNOT["fake"] == {}
