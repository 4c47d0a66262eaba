"""Where a user record goes: hash keys, shards, lanes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack import hashing
from shardpack.hashing import lane_of, lane_partition_key, md5_hash_key

MAX_HASH_KEY = 2**128 - 1
partition_keys = st.text(st.characters(codec="utf-8"), min_size=1, max_size=256)


def listed(shard_id: str, starting: int, ending: int, closed: str | None = None) -> dict[str, Any]:
    """A shard as boto3's list_shards gives it."""
    sequence_numbers = {"StartingSequenceNumber": "49"} | ({"EndingSequenceNumber": closed} if closed else {})
    return {
        "ShardId": shard_id,
        "HashKeyRange": {"StartingHashKey": str(starting), "EndingHashKey": str(ending)},
        "SequenceNumberRange": sequence_numbers,
    }


@given(partition_keys)
def test_a_hash_key_is_the_md5_as_a_big_endian_number(partition_key: str) -> None:
    assert sp.hash_key(partition_key) == int(hashlib.md5(partition_key.encode()).hexdigest(), 16)


def test_a_known_hash_key() -> None:
    assert sp.hash_key("a") == 0x0CC175B9C0F1B6A831C399E269772661


@pytest.mark.parametrize("partition_key", ["", "k" * 257, "\ud800", b"k", None])
def test_a_hash_key_of_no_partition_key_is_refused(partition_key: Any) -> None:
    with pytest.raises(sp.InvalidRecordError) as caught:
        sp.hash_key(partition_key)
    assert caught.value.field == "partition_key"


def test_a_reader_s_hash_key_has_no_bounds_on_length() -> None:
    assert md5_hash_key(b"") == int(hashlib.md5(b"").hexdigest(), 16)
    assert md5_hash_key(b"\xff" * 1000) == int(hashlib.md5(b"\xff" * 1000).hexdigest(), 16)


class TestShardMap:
    @given(st.sets(st.integers(1, MAX_HASH_KEY), max_size=8), st.randoms())
    def test_finds_the_owner_at_every_border_and_in_any_order(self, borders: set[int], shuffle: Any) -> None:
        edges = [0, *sorted(borders), MAX_HASH_KEY + 1]
        shards = [sp.Shard(f"{start}", start, end - 1) for start, end in pairwise(edges)]
        given_shards = list(shards)
        shuffle.shuffle(given_shards)
        shard_map = sp.ShardMap(given_shards)

        assert shard_map.shards == tuple(shards)
        assert len(shard_map) == len(shards)
        for shard in shards:
            middle = (shard.starting_hash_key + shard.ending_hash_key) // 2
            for hash_key in (shard.starting_hash_key, middle, shard.ending_hash_key):
                assert shard_map.shard_for(hash_key) is shard
                assert [one for one in shards if hash_key in one] == [shard]

    @given(partition_keys)
    def test_finds_the_owner_of_a_partition_key_each_time(self, partition_key: str) -> None:
        shard_map = sp.ShardMap([sp.Shard("low", 0, 2**127 - 1), sp.Shard("high", 2**127)])
        expected = "low" if sp.hash_key(partition_key) < 2**127 else "high"

        for _ in range(2):
            assert shard_map.shard_for_partition_key(partition_key).shard_id == expected

    def test_takes_what_list_shards_gives_and_leaves_out_the_closed(self) -> None:
        shard_map = sp.ShardMap(
            [
                listed("parent", 0, MAX_HASH_KEY, closed="50"),
                listed("high", 2**127, MAX_HASH_KEY),
                listed("low", 0, 2**127 - 1),
            ]
        )

        assert shard_map.shards == (sp.Shard("low", 0, 2**127 - 1), sp.Shard("high", 2**127, MAX_HASH_KEY))

    def test_takes_shards_from_a_generator_and_of_both_kinds(self) -> None:
        shards: Iterator[Any] = iter([sp.Shard("low", 0, 7), listed("high", 8, MAX_HASH_KEY)])

        assert [shard.shard_id for shard in sp.ShardMap(shards).shards] == ["low", "high"]

    def test_of_a_single_shard_owns_all(self) -> None:
        for shard_map in (sp.ShardMap.single("only"), sp.ShardMap([listed("only", 0, MAX_HASH_KEY)])):
            assert {shard_map.shard_for(key).shard_id for key in (0, 1, 2**127, MAX_HASH_KEY)} == {"only"}
            assert len(shard_map) == 1
        assert sp.ShardMap.single().shard_for(0).shard_id == "shardId-000000000000"

    @pytest.mark.parametrize("hash_key", [-1, MAX_HASH_KEY + 1, 2**200])
    def test_refuses_to_find_what_is_no_hash_key(self, hash_key: int) -> None:
        with pytest.raises(ValueError, match=f"hash key {hash_key} is outside"):
            sp.ShardMap.single().shard_for(hash_key)

    @pytest.mark.parametrize("partition_key", ["", "k" * 257])
    def test_refuses_to_find_what_is_no_partition_key(self, partition_key: str) -> None:
        with pytest.raises(sp.InvalidRecordError):
            sp.ShardMap.single().shard_for_partition_key(partition_key)

    @pytest.mark.parametrize(
        ("shards", "says"),
        [
            ([], "none of the 0 shards given is open"),
            ([listed("parent", 0, MAX_HASH_KEY, closed="50")], "none of the 1 shards given is open"),
            ([listed("only", 1, MAX_HASH_KEY)], "gap.* 0 to 0, before only"),
            ([listed("only", 0, MAX_HASH_KEY - 1)], f"gap.* {MAX_HASH_KEY} to .*, after only"),
            ([listed("low", 0, 7), listed("high", 9, MAX_HASH_KEY)], "gap.* 8 to 8, between low and high"),
            ([listed("low", 0, 8), listed("high", 8, MAX_HASH_KEY)], "low .*to 8.* and high .*from 8.*overlap"),
            ([listed("low", 0, 7), listed("high", 0, MAX_HASH_KEY)], "low .* and high .*overlap"),
            ([listed("one", 0, MAX_HASH_KEY)] * 2, "one .* and one .*overlap"),
            (
                [listed("parent", 0, MAX_HASH_KEY), listed("low", 0, 7), listed("high", 8, MAX_HASH_KEY)],
                "parent .* and low .*overlap",
            ),
            ([listed("outer", 0, 99), listed("inner", 5, 6), listed("last", 100, MAX_HASH_KEY)], "outer .* and inner"),
        ],
    )
    def test_refuses_what_leaves_hash_keys_without_an_owner_or_with_two(self, shards: Any, says: str) -> None:
        with pytest.raises(ValueError, match=says):
            sp.ShardMap(shards)

    @pytest.mark.parametrize("bounds", [(8, 7), (-1, 7), (0, MAX_HASH_KEY + 1)])
    def test_refuses_a_hash_range_that_is_none(self, bounds: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="odd has the hash range"):
            sp.ShardMap([listed("odd", *bounds)])
        with pytest.raises(ValueError, match="odd has the hash range"):
            sp.ShardMap([sp.Shard("odd", *bounds), sp.Shard("all")])

    @pytest.mark.parametrize(
        "shard",
        [
            {},
            {"ShardId": "odd"},
            {"HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(MAX_HASH_KEY)}},
            {"ShardId": "odd", "HashKeyRange": None},
            {"ShardId": "odd", "HashKeyRange": {"StartingHashKey": "0"}},
            {"ShardId": "odd", "HashKeyRange": {"StartingHashKey": "zero", "EndingHashKey": "1"}},
            {**listed("odd", 0, 1), "SequenceNumberRange": None},
            "shardId-000000000000",
            None,
            7,
        ],
    )
    def test_refuses_what_is_no_shard(self, shard: Any) -> None:
        with pytest.raises(ValueError, match="is not a shard as ListShards gives it"):
            sp.ShardMap([shard])

    def test_needs_no_sequence_numbers(self) -> None:
        shard = listed("only", 0, MAX_HASH_KEY)
        del shard["SequenceNumberRange"]

        assert len(sp.ShardMap([shard])) == 1

    def test_remembers_so_many_keys_and_is_right_when_it_forgets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hashing, "_CACHED_PARTITION_KEYS", 10)
        shard_map = sp.ShardMap([sp.Shard("low", 0, 2**127 - 1), sp.Shard("high", 2**127)])
        for nth in [*range(35), *range(35)]:
            expected = "low" if sp.hash_key(f"{nth}") < 2**127 else "high"
            assert shard_map.shard_for_partition_key(f"{nth}").shard_id == expected
            assert 1 <= len(shard_map._by_partition_key) <= 10

    def test_remembers_65536_keys(self) -> None:
        shard_map = sp.ShardMap.single()
        for nth in range(70_000):
            shard_map.shard_for_partition_key(f"{nth}")

        assert len(shard_map._by_partition_key) == 70_000 - 65_536


# What other producers, and every later version, must find too: the hash and its seed are part of the format.
LANES = {
    "a": (0, 1, 1, 31, 719),
    "key": (0, 1, 5, 35, 987),
    "user-42": (0, 1, 3, 13, 621),
    "\u00e9": (0, 1, 6, 51, 795),
    "\U0001f600": (0, 0, 2, 14, 278),
    "k" * 256: (0, 0, 5, 0, 56),
}


class TestLanes:
    @pytest.mark.parametrize("partition_key", LANES)
    def test_are_the_same_for_ever(self, partition_key: str) -> None:
        assert tuple(lane_of(partition_key, lanes) for lanes in (1, 2, 7, 64, 1000)) == LANES[partition_key]

    @given(partition_keys, st.integers(1, 10_000))
    def test_are_counted_from_zero(self, partition_key: str, lanes: int) -> None:
        assert 0 <= lane_of(partition_key, lanes) < lanes

    def test_share_keys_about_evenly(self) -> None:
        found = [lane_of(f"user-{nth}", 8) for nth in range(8000)]

        assert all(800 < found.count(lane) < 1200 for lane in range(8))

    def test_have_partition_keys_of_their_own_short_ones_first(self) -> None:
        names = [lane_partition_key(lane) for lane in range(2001)]

        assert len(set(names)) == 2001
        assert {len(name.encode()) for name in names[:62]} == {1}
        assert "".join(names[:62]) == "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        assert names[62:64] == ["62", "63"]
        assert names[2000] == "2000"

    def test_keep_a_user_s_key_under_one_outer_key(self) -> None:
        outer: dict[str, set[str]] = {}
        for run in range(3):
            packer = sp.Packer(shard_map=sp.ShardMap.single(), lanes=5)
            records = [(f"k{nth * (run + 1) % 30}", b"data") for nth in range(100)]
            for packed in [*packer.add_all(records), *packer.flush()]:
                for record in sp.decode(packed.data):
                    outer.setdefault(record.partition_key, set()).add(packed.partition_key)

        assert {key: {lane_partition_key(lane_of(key, 5))} for key in outer} == outer
        assert len(set().union(*outer.values())) == 5
