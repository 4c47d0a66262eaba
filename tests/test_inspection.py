"""What `shardpack inspect` finds out; how it shows it is in test_cli.py."""

from __future__ import annotations

from typing import Any

import pytest
from aggregate_bytes import frame
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack import inspection
from shardpack.hashing import md5_hash_key
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
    found = inspect_record(kinesis_record(b"x", "k", explicit_hash_key), SHARDS)

    assert found.outer_hash_key is None
    assert found.outer_shard is None


def test_a_long_key_is_hashed_once_for_all_its_user_records(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []

    def md5(key: bytes) -> int:
        hashed.append(len(key))
        return md5_hash_key(key)

    monkeypatch.setattr(inspection, "md5_hash_key", md5)
    size = 16_000
    key = bytes([0x0A, size & 127 | 128, size >> 7]) + b"k" * size
    body = key + b"\x1a\x04\x08\x00\x1a\x00" * 1000

    found = inspect_record(kinesis_record(frame(body)), SHARDS)

    assert len(found.sub_records) == 1000
    assert sum(hashed) <= 2 * size + 10  # once for the user records, once for the KCL's verdict, once the outer key


@pytest.mark.parametrize("records", [[("7", b"a"), ("k", b"b", "7")], [("k", b"b", "7"), ("7", b"a")]])
def test_one_character_may_be_a_partition_key_here_and_an_explicit_hash_key_there(records: Any) -> None:
    found = inspect_record(kinesis_record(sp.encode(records)), SHARDS)

    assert {one.data: one.hash_key for one in found.sub_records} == {b"a": sp.hash_key("7"), b"b": 7}
    assert found.kcl == ["drops all of it, silently, whatever shard it reads it from"]
