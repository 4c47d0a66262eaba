"""Data that the native core copies only when an aggregate is finished: the bytes are those of the pure core."""

from __future__ import annotations

import sys
import threading
from array import array
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from typing import Any

import pytest
from cores import with_core
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.packing import columnar, finishing
from shardpack.packing.columnar import ColumnPacker, ColumnRows
from shardpack.testing import strategies
from shardpack.wire import pure_core as _pure

native = pytest.importorskip("shardpack.wire.native_core", reason="the native core is not built")
if sp.native == "pure":
    pytest.skip("these tests are about the other core", allow_module_level=True)

Pairs = list[tuple[str, bytes]]

# Below and above what is copied at once, of columns and of objects.
sizes = st.sampled_from([0, 1, 63, 64, 65, 127, 128, 511, 512, 513, 3000, 20_000])
pairs = st.lists(
    st.tuples(
        st.sampled_from(["k", "key 2", "a key of some length", "ü", "x" * 256]),
        st.builds(lambda size, byte: bytes([byte]) * size, sizes, st.integers(0, 255)),
    ),
    max_size=60,
)
settings = st.one_of(
    st.sampled_from([{}, {"hash_keys": "kpl", "by": "key"}]),
    strategies.shard_maps().map(lambda shards: {"shard_map": shards}),
)
limits = st.sampled_from([21_000, 60_000, 1_048_576]).map(sp.Limits)


def part(records: Pairs) -> ColumnRows:
    """The records in columns."""
    columns = []
    for values in ([key.encode() for key, _ in records], [data for _, data in records]):
        ends = array("q", accumulate(map(len, values), initial=0))
        columns.append((memoryview(b"".join(values)), memoryview(ends).cast("B")))
    return ColumnRows(native.rows(*columns), len(records), sum(len(data) for _, data in records), records.__getitem__)


@given(records=pairs, more=pairs, one=pairs, setting=settings, limit=limits)
def test_lists_and_single_records_in_turn(
    records: Pairs, more: Pairs, one: Pairs, setting: dict[str, Any], limit: sp.Limits
) -> None:
    def packed() -> list[sp.PackedRecord]:
        packer = sp.Packer(limits=limit, **setting)
        out = list(packer.add_all(records))
        for key, data in one:
            out += packer.add(key, data)
        out += packer.add_all(more)
        out += packer.add_all(pair for pair in one)
        return out + packer.flush()

    assert packed() == with_core(_pure, packed)


@given(parts=st.lists(pairs, max_size=4), setting=settings, limit=limits, most_lent=st.sampled_from([0, 5000, 10**9]))
def test_columns(parts: list[Pairs], setting: dict[str, Any], limit: sp.Limits, most_lent: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columnar, "_MOST_LENT_BYTES", most_lent)
        packer = ColumnPacker(limits=limit, **setting)
        ours = list(packer.pack_columns(map(part, parts)))
    every = [record for one in parts for record in one]
    theirs = with_core(_pure, lambda: list(sp.pack(every, limits=limit, **setting)))
    assert ours == theirs


@pytest.mark.parametrize("key", [b"", b"\xff", b"x" * 257, "é".encode() * 257, b"\xed\xa0\x80"])
@pytest.mark.parametrize("size", [5, 500])
def test_a_partition_key_in_a_column_that_is_not_sound_is_left_to_others(key: bytes, size: int) -> None:
    columns = []
    for values in ([b"k", b"k", key], [bytes(size)] * 3):
        ends = array("q", accumulate(map(len, values), initial=0))
        columns.append((memoryview(b"".join(values)), memoryview(ends).cast("B")))
    packer = sp.Packer()
    packer.add("k", b"")
    assert packer._simple is not None
    assert native.rows(*columns).fill(0, packer._simple) == 2
    (packed,) = packer.flush()
    assert packed.user_record_count == 3


def test_a_list_that_is_emptied_while_it_is_packed() -> None:
    records = [(f"k{nth}", bytes([nth]) * 1000) for nth in range(100)]
    expected = list(sp.pack(iter(records), limits=sp.Limits(30_000)))
    packer = sp.Packer(limits=sp.Limits(30_000))
    assert list(packer.add_all(records)) == expected[:3]
    records.clear()
    assert packer.flush() == expected[3:]


@pytest.mark.parametrize(("most_bytes", "most"), [(64 << 20, 16), (200_000, 6), (90_000, 3), (1000, 1)])
def test_fewer_large_kinesis_records_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch, most_bytes: int, most: int
) -> None:
    monkeypatch.setattr(finishing, "_MOST_TOGETHER_BYTES", most_bytes)
    records = [("k", bytes(1000))] * 2000
    limit = sp.Limits(30_000)
    expected = with_core(_pure, lambda: list(sp.pack(records, limits=limit)))
    doubled = min(2 * most, most_bytes // 30_000 or 1)

    packings: list[tuple[Any, int]] = [
        (sp.pack(records, limits=limit), most),
        (ColumnPacker(limits=limit).pack_columns([part(records)]), doubled),
    ]
    for packing, at_once in packings:
        sizes: list[int] = []
        packed = []
        for one in packing:
            packed.append(one)
            sizes.append(len(packing._group))
        assert packed == expected
        assert max(sizes[:-most]) == at_once


def test_so_many_wait_as_64_mib_hold_though_only_a_lone_user_record_may_be_so_large() -> None:
    large = 10 << 20
    assert finishing.together(16, sp.Limits()) == 16
    assert finishing.together(32, sp.Limits.large()) == 6
    assert finishing.together(16, sp.Limits(large, max_aggregate_bytes=51_200)) == 6


def test_nothing_is_kept_once_it_is_packed_or_given_up() -> None:
    data = bytes(1000)
    before = sys.getrefcount(data)
    records = [("k", data)] * 100
    for limit in (5000, 1_048_576):
        assert sum(one.user_record_count for one in sp.pack(records, limits=sp.Limits(limit))) == 100
    sp.Packer().add_all(records)
    packer = sp.Packer()
    assert list(packer.add_all(records)) == []
    del packer
    records.clear()
    assert sys.getrefcount(data) == before


def test_columns_are_let_go_though_their_aggregate_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar, "_MOST_LENT_BYTES", 10_000)
    raws = [bytes([nth]) * 4000 for nth in range(20)]  # what columns lie in
    before = list(map(sys.getrefcount, raws))
    kept: list[int] = []

    def record(raw: bytes, place: int) -> tuple[str, bytes]:
        return "k" * 100, raw[100 * place : 100 * place + 100]

    def parts() -> Iterator[ColumnRows]:
        ends = memoryview(array("q", range(0, 4001, 100))).cast("B")
        keys = memoryview(b"k" * 4000)
        for raw in raws:
            yield ColumnRows(native.rows((keys, ends), (memoryview(raw), ends)), 40, 4000, partial(record, raw))
            kept.append(sum(now > then for now, then in zip(map(sys.getrefcount, raws), before, strict=True)))

    (packed,) = ColumnPacker().pack_columns(parts())

    assert b"".join(one.data for one in sp.unpack(packed)) == b"".join(raws)
    assert max(kept) <= 4
    assert list(map(sys.getrefcount, raws)) == before


def test_slices_keep_alive_all_that_they_were_cut_from(monkeypatch: pytest.MonkeyPatch) -> None:
    pa, arrow = pytest.importorskip("pyarrow"), pytest.importorskip("shardpack.arrow")
    monkeypatch.setattr(columnar, "_MOST_LENT_BYTES", 1_000_000)
    before, most = pa.total_allocated_bytes(), 0

    def batches() -> Iterator[Any]:
        nonlocal most
        for nth in range(100):
            whole = pa.record_batch({"partition_key": ["k"] * 1000, "data": [bytes([nth]) * 300] * 1000})
            yield whole.slice(990)
            del whole
            most = max(most, pa.total_allocated_bytes() - before)

    (packed,) = arrow.pack_batches(batches())

    assert packed["user_record_count"].to_pylist() == [1000]
    assert most < 3_000_000  # and not 100 times 300 kB


def test_slices_of_one_memory_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pa, arrow = pytest.importorskip("pyarrow"), pytest.importorskip("shardpack.arrow")
    monkeypatch.setattr(columnar, "_MOST_LENT_BYTES", 400_000)
    counted: list[int] = []
    real = ColumnPacker._let_go

    def let_go(packer: ColumnPacker, rows: Any) -> None:
        counted.append(packer._lent_bytes)
        real(packer, rows)

    monkeypatch.setattr(ColumnPacker, "_let_go", let_go)
    wholes = [pa.record_batch({"partition_key": ["k"] * 1000, "data": [bytes(300)] * 1000}) for _ in range(3)]

    packed = arrow.pack_batches(whole.slice(start, 10) for whole in wholes for start in range(0, 1000, 10))

    assert sum(batch["user_record_count"].to_pylist()[0] for batch in packed) == 3000
    assert [nbytes > 600_000 for nbytes in counted] == [True, True]  # with the second, and with the third


def test_a_builder_may_be_given_twice() -> None:
    one, other = native.builder(10**6, None), native.builder(10**6, "7")
    one.add("k", b"one")
    other.add("k", b"other")
    assert native.build_many([one, other, one]) == [one.build(), other.build(), one.build()]


def test_threads_may_finish_and_add_at_the_same_time() -> None:
    builders = [native.builder(10**7, None) for _ in range(3)]
    blobs: list[bytes] = []

    def finish(order: list[int]) -> None:
        for _ in range(30):
            blobs.extend(native.build_many([builders[nth] for nth in order]))

    threads = [threading.Thread(target=finish, args=(order,)) for order in ([0, 1, 2], [2, 1, 0])]
    for thread in threads:
        thread.start()
    for nth in range(3000):
        builders[nth % 3].add("k", b"%d" % nth + bytes(500))
    for thread in threads:
        thread.join()
    for blob in blobs + native.build_many(builders):
        numbers = [int(record.data[:-500]) for record in (sp.decode(blob) if len(blob) > 20 else [])]
        assert numbers == list(range(numbers[0] if numbers else 0, 3 * len(numbers), 3))
