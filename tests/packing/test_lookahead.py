"""`Packer(lookahead=n)`: nothing is lost, no key's records change places, and little room is left."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packer_model import Setting

import shardpack as sp
from shardpack.limits import KIB, MIB
from shardpack.packing.lookahead import best_prefixes
from shardpack.testing import strategies

SETTINGS = st.sampled_from(
    [
        Setting("any"),
        Setting("key", "kpl"),
        Setting("shard", shards=(sp.Shard("a", 0, 2**127 - 1), sp.Shard("b", 2**127))),
        Setting("shard", "kpl", shards=(sp.Shard("a", 0, 2**127 - 1), sp.Shard("b", 2**127))),
        Setting("shard", lanes=3),
    ]
)
USER_RECORDS = strategies.user_record_lists(
    max_size=60,
    partition_key=st.text("abc\u00e9", min_size=1, max_size=8),
    data=st.binary(max_size=150),
    tags=st.just(()),
)


def numbered(records: list[sp.UserRecord]) -> list[sp.UserRecord]:
    return [record._replace(data=b"%04d" % nth + record.data) for nth, record in enumerate(records)]


@given(USER_RECORDS, SETTINGS, st.integers(1, 4), st.sampled_from([None, 1, 3]), st.sampled_from([list, iter]))
def test_all_come_out_and_those_of_a_key_in_their_order(
    records: list[sp.UserRecord], setting: Setting, lookahead: int, count: int | None, kind: type
) -> None:
    limit = 1000
    records = numbered(records)
    arguments = {**setting.arguments, "limits": sp.Limits(limit, count)}
    packed = list(sp.pack(kind(records), **arguments, lookahead=lookahead))

    assert all(one.size <= limit for one in packed)
    assert count is None or all(one.user_record_count <= count for one in packed)
    out = [record for one in packed for record in sp.unpack(one)]
    assert Counter(record.data for record in out) == Counter(record.data for record in records)
    given_keys = {record.data: record.explicit_hash_key for record in records}
    orders = defaultdict(list)
    for record in out:  # another explicit hash key may mean another route
        orders[record.partition_key, given_keys[record.data]].append(record.data)
    assert all(order == sorted(order) for order in orders.values())


@given(USER_RECORDS, SETTINGS, st.integers(1, 3))
def test_no_more_waits_than_was_said(records: list[sp.UserRecord], setting: Setting, lookahead: int) -> None:
    limit = 500
    packer = sp.Packer(**{**setting.arguments, "limits": sp.Limits(limit)}, lookahead=lookahead)
    waiting: Counter[str] = Counter()
    for record in numbered(records):
        waiting[record.data.hex()] = len(record.data)
        for packed in packer.add(*record):
            for one in sp.unpack(packed):
                del waiting[one.data.hex()]
        routes = {packer._router.route_for(one).key for one in records}  # how many there may be
        assert waiting.total() <= len(routes) * (lookahead * limit)
    for packed in packer.flush():
        for one in sp.unpack(packed):
            del waiting[one.data.hex()]
    assert not waiting
    assert packer.flush() == []


def test_memory_is_bounded_across_routes() -> None:
    packer = sp.Packer(by="key", max_buffered_bytes=MIB, limits=sp.Limits(51_200), lookahead=4)
    held = 0
    for nth in range(5000):
        held += 1000
        held -= sum(1000 * packed.user_record_count for packed in packer.add(f"k{nth}", bytes(1000)))
        assert held <= MIB + 1000


def test_what_has_gone_out_counts_no_more() -> None:
    records = ((f"k{nth}", bytes(1000)) for nth in range(5000))
    packed = list(sp.pack(records, max_buffered_bytes=MIB, limits=sp.Limits(51_200), lookahead=1))
    assert len(packed) <= 5000 * 1020 // 51_000 + 3


@pytest.mark.parametrize("seed", range(3))
def test_large_records_fill_to_within_a_hundredth_of_the_bound(seed: int) -> None:
    source = random.Random(seed)  # no secret
    sizes = [source.randrange(100 * KIB, 400 * KIB) for _ in range(300)]
    payload = bytes(400 * KIB)
    records = [(f"user-{nth}", payload[:size]) for nth, size in enumerate(sizes)]
    bound = -(-sum(sizes) // MIB)
    assert len(list(sp.pack(iter(records), lookahead=4))) <= bound * 1.01 + 4  # the last four are not full
    assert len(list(sp.pack(iter(records)))) > bound * 1.1


@pytest.mark.parametrize("size", [50, 100, 1000])
def test_small_records_fill_to_within_one(size: int) -> None:
    source = random.Random(size)  # no secret
    records = [(f"user-{n % 50}", bytes(source.randrange(size // 2, size * 3 // 2))) for n in range(400_000 // size)]
    packed = list(sp.pack(iter(records), limits=sp.Limits(51_200), lookahead=3))
    assert len(packed) >= 8
    assert all(51_200 - one.size <= size * 3 // 2 + 20 for one in packed[:-3])


def test_a_record_too_large_is_refused_at_once_and_changes_nothing() -> None:
    packer = sp.Packer(limits=sp.Limits(1000), lookahead=2)
    packer.add("k", b"first")
    with pytest.raises(sp.RecordTooLargeError):
        packer.add("k", bytes(1001))
    (packed,) = packer.flush()
    assert packed.data == b"first"


def test_a_record_that_fits_only_alone_goes_alone_and_in_its_turn() -> None:
    packer = sp.Packer(limits=sp.Limits(1000), lookahead=2)
    out = [packed for data in (b"a", bytes(999), b"b") for packed in packer.add("k", data)] + packer.flush()
    assert [record.data for one in out for record in sp.unpack(one)] == [b"a", bytes(999), b"b"]


@pytest.mark.parametrize("lookahead", [-1, 101])
def test_a_setting_out_of_range(lookahead: int) -> None:
    with pytest.raises(ValueError, match="lookahead is"):
        sp.Packer(lookahead=lookahead)


def test_a_setting_that_is_no_number() -> None:
    with pytest.raises(TypeError, match=r"lookahead is 2\.5"):
        sp.Packer(lookahead=2.5)  # type: ignore[arg-type]


@given(
    st.dictionaries(st.text("abcd", min_size=1, max_size=1), st.lists(st.integers(1, 30), max_size=4)),
    st.integers(0, 80),
)
def test_the_best_prefixes_are_those_that_trying_all_finds(costs: dict[str, list[int]], room: int) -> None:
    def total(counts: tuple[int, ...]) -> int:
        return sum(sum(of_key[:count]) for of_key, count in zip(costs.values(), counts, strict=True))

    every = itertools.product(*(range(len(of_key) + 1) for of_key in costs.values()))
    best = max(found for counts in every if (found := total(counts)) <= room)
    chosen = best_prefixes(costs, room)
    assert total(tuple(chosen.get(key, 0) for key in costs)) == best
