"""The strategies give what they promise: valid values, and the awkward ones among them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

import shardpack as sp
from shardpack.records import check_user_record
from shardpack.testing import strategies as sps

MAX_HASH_KEY = 2**128 - 1
few = settings(max_examples=30)
# What is asked for must turn up soon; making it smaller would take longer than finding it.
soon = settings(max_examples=300, database=None, phases=[Phase.generate])


@few
@given(sps.partition_keys())
def test_partition_keys_are_what_kinesis_takes(key: str) -> None:
    assert 1 <= len(key) <= 256
    assert key.encode().decode() == key
    assert 0 <= sp.hash_key(key) <= MAX_HASH_KEY


@pytest.mark.parametrize(
    "awkward",
    [
        lambda key: len(key) == 256,
        lambda key: not key.isascii(),
        lambda key: max(key) > "\uffff",
        lambda key: len(key.encode()) == 1024,
        lambda key: len(key.encode()) in (127, 128),
    ],
)
def test_partition_keys_are_awkward_too(awkward: Any) -> None:
    find(sps.partition_keys(), awkward, settings=soon)


@few
@given(sps.explicit_hash_keys())
def test_explicit_hash_keys_are_numbers_in_range(key: str) -> None:
    assert str(int(key)) == key
    assert 0 <= int(key) <= MAX_HASH_KEY


@pytest.mark.parametrize("edge", [0, 2**127, MAX_HASH_KEY])
def test_explicit_hash_keys_reach_the_edges(edge: int) -> None:
    find(sps.explicit_hash_keys(), lambda key: int(key) == edge, settings=soon)


@few
@given(st.data(), st.sampled_from([0, 63, 111, 128, 16_370, 20_000]))
def test_data_is_no_longer_than_asked_for(drawn: st.DataObject, most: int) -> None:
    assert len(drawn.draw(sps.data(most))) <= most


@pytest.mark.parametrize(
    "awkward",
    [
        lambda data: data == b"",
        lambda data: 120 <= len(data) < 128,
        lambda data: len(data) >= 128,
        lambda data: 16_370 < len(data) < 16_384,
        lambda data: len(data) >= 16_384,
        sp.is_aggregated,
        lambda data: data.startswith(bytes.fromhex("f3899ac2")) and not sp.is_aggregated(data),
    ],
)
def test_data_is_awkward_too(awkward: Any) -> None:
    find(sps.data(), awkward, settings=soon)


@few
@given(sps.user_records())
def test_user_records_are_valid_and_normalised(record: sp.UserRecord) -> None:
    assert isinstance(record, sp.UserRecord)
    assert check_user_record(record) == record


@few
@given(
    sps.user_records(
        partition_key=st.just("k"), data=st.just(b""), explicit_hash_key=st.just("5"), tags=st.just((("t", None),))
    )
)
def test_fields_of_user_records_can_be_chosen(record: sp.UserRecord) -> None:
    assert record == ("k", b"", "5", (("t", None),))


@few
@given(sps.user_record_lists(min_size=2, max_size=5))
def test_lists_have_the_length_asked_for(records: list[sp.UserRecord]) -> None:
    assert 2 <= len(records) <= 5


def test_lists_repeat_keys() -> None:
    lists = sps.user_record_lists(min_size=12, data=sps.data(0), tags=st.just(()))
    find(lists, lambda records: len({r.partition_key for r in records}) > 2, settings=soon)
    with pytest.raises(NoSuchExample):
        find(lists, lambda records: len({r.partition_key for r in records}) > 4, settings=soon)


@few
@given(sps.aggregates())
def test_aggregates_hold_their_records(aggregate: tuple[bytes, list[sp.UserRecord]]) -> None:
    blob, records = aggregate

    assert sp.is_aggregated(blob)
    assert sp.decode(blob) == records


@few
@given(sps.aggregates(st.just([sp.UserRecord("k", b"data")])))
def test_what_aggregates_hold_can_be_chosen(aggregate: tuple[bytes, list[sp.UserRecord]]) -> None:
    assert sp.decode(aggregate[0]) == aggregate[1] == [("k", b"data", None, ())]


@few
@given(sps.shard_maps(max_shards=5), sps.explicit_hash_keys().map(int))
def test_shard_maps_cover_every_hash_key(shard_map: sp.ShardMap, hash_key: int) -> None:
    assert 1 <= len(shard_map) <= 5
    assert hash_key in shard_map.shard_for(hash_key)
    assert len({shard.shard_id for shard in shard_map.shards}) == len(shard_map)
    for left, right in pairwise(shard_map.shards):
        assert left.ending_hash_key + 1 == right.starting_hash_key


@pytest.mark.parametrize("count", [1, 8])
def test_shard_maps_have_from_one_shard_to_all_allowed(count: int) -> None:
    find(sps.shard_maps(), lambda shard_map: len(shard_map) == count, settings=soon)


def test_shard_maps_have_shards_of_one_hash_key() -> None:
    def has_one(shard_map: sp.ShardMap) -> bool:
        return any(shard.starting_hash_key == shard.ending_hash_key for shard in shard_map.shards)

    find(sps.shard_maps(), has_one, settings=soon)
    with pytest.raises(NoSuchExample):
        find(sps.shard_maps(max_shards=1), has_one, settings=soon)


@few
@given(sps.limits(min_record_bytes=100, max_record_bytes=60_000))
def test_limits_stay_in_what_was_asked_for(limits: sp.Limits) -> None:
    assert 100 <= limits.max_record_bytes <= 60_000


@pytest.mark.parametrize("size", [64, 51_200, 1_048_576, 10_485_760])
def test_limits_reach_the_edges(size: int) -> None:
    find(sps.limits(), lambda limits: limits.max_record_bytes == size, settings=soon)


@few
@given(sps.lambda_events(min_size=1, max_size=3))
def test_lambda_events_are_what_lambda_sends(event: dict[str, Any]) -> None:
    assert json.loads(json.dumps(event)) == event
    assert 1 <= len(event["Records"]) <= 3
    numbers = [int(record["kinesis"]["sequenceNumber"]) for record in event["Records"]]
    assert numbers == sorted(set(numbers))
    assert len({record["eventID"].partition(":")[0] for record in event["Records"]}) == 1
    assert len(list(sp.unpack(event))) >= len(event["Records"])


@few
@given(sps.get_records_responses(max_size=3))
def test_get_records_responses_are_what_boto3_returns(response: dict[str, Any]) -> None:
    assert len(response["Records"]) <= 3
    for record in response["Records"]:
        assert record["ApproximateArrivalTimestamp"].tzinfo is not None
    assert len(list(sp.unpack(response))) >= len(response["Records"])


@pytest.mark.parametrize("aggregated", [True, False])
def test_events_hold_aggregates_and_plain_records(aggregated: bool) -> None:
    def holds(event: dict[str, Any]) -> bool:
        data = (base64.b64decode(record["kinesis"]["data"]) for record in event["Records"])
        return any(sp.is_aggregated(blob) is aggregated for blob in data)

    short = sps.data(300)
    either = short | sps.aggregates(sps.user_record_lists(min_size=1, max_size=3, data=short)).map(lambda pair: pair[0])
    find(sps.lambda_events(data=either), holds, settings=soon)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_kinesis_data_holds_any_number_of_sub_records(count: int) -> None:
    def holds(data: bytes) -> bool:
        return len(data) < 3000 and (len(sp.decode(data)) if sp.is_aggregated(data) else 0) == count

    find(sps.kinesis_data(), holds, settings=settings(soon, max_examples=20 * soon.max_examples))


@few
@given(sps.lambda_events(data=st.just(b"mine")))
def test_the_data_of_events_can_be_chosen(event: dict[str, Any]) -> None:
    assert {record.data for record in sp.unpack(event)} == {b"mine"}


@few
@given(
    sps.user_record_lists(data=sps.data(300)),
    sps.shard_maps(),
    sps.limits(min_record_bytes=2000, max_record_bytes=20_000),
)
def test_together_they_drive_a_packer(records: list[sp.UserRecord], shard_map: sp.ShardMap, limits: sp.Limits) -> None:
    packed = list(sp.pack(records, shard_map=shard_map, limits=limits))

    assert sum(record.user_record_count for record in packed) == len(records)
    assert all(record.size <= limits.max_record_bytes for record in packed)


def run(code: str) -> str:
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert child.returncode == 0, child.stderr
    return child.stdout.strip()


def test_importing_testing_loads_no_hypothesis() -> None:
    assert run("import sys, shardpack.testing; print('hypothesis' in sys.modules)") == "False"
    assert run("import shardpack.testing as t; print(callable(t.strategies.data), dir(t)[-1])") == "True strategies"


def test_what_is_not_there_is_an_attribute_error() -> None:
    import shardpack.testing

    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = shardpack.testing.nothing


def test_without_hypothesis_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import shardpack.testing\n"
        "try: shardpack.testing.strategies\n"
        "except ModuleNotFoundError as error: print(error)"
    )

    assert run(code).endswith("pip install 'shardpack[testing]'")
