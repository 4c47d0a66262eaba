"""What `shardpack inspect` finds out; how it shows it is in test_cli.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.inspection import inspect_record
from shardpack.unpacking import kcl as _kcl
from shardpack.unpacking.shapes import KinesisRecord

SHARDS = sp.ShardMap([sp.Shard("low", 0, 9), sp.Shard("middle", 10, 19), sp.Shard("high", 20)])
KEYS = st.sampled_from([None, "0", "9", "10", "15", "20", str(2**128 - 1)])


def kinesis_record(data: bytes, partition_key: str | None = "k", explicit_hash_key: str | None = None) -> KinesisRecord:
    return KinesisRecord(data, partition_key, explicit_hash_key, None, 0, None, None)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.just(b"data"), KEYS), min_size=1, max_size=4))
def test_the_kcl_s_verdict_is_its_answer_shard_by_shard(records: list[tuple[str, bytes, str | None]]) -> None:
    blob = sp.encode(records)
    delivering = [
        shard.shard_id
        for shard in SHARDS.shards
        if _kcl.read(blob, (shard.starting_hash_key, shard.ending_hash_key)).data
    ]

    verdicts = inspect_record(kinesis_record(blob), SHARDS).kcl

    assert [shard_id for shard_id in ("low", "middle", "high") if f"from {shard_id}" in verdicts[0]] == delivering
    assert "drops all of it" in verdicts[-1]


def test_no_shard_is_another_where_there_is_one() -> None:
    assert inspect_record(kinesis_record(sp.encode([("k", b"x")])), sp.ShardMap.single("only")).kcl == [
        "delivers 1 sub-records when it reads it from only"
    ]


@pytest.mark.parametrize("explicit_hash_key", ["\u00b2", "9" * 5000, "x", "-1"])
def test_an_outer_explicit_hash_key_that_is_none_routes_nowhere(explicit_hash_key: str) -> None:
    inspection = inspect_record(kinesis_record(b"x", "k", explicit_hash_key), SHARDS)

    assert inspection.outer_hash_key is None
    assert inspection.outer_shard is None
