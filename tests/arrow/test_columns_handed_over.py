"""Columns of the native core, by Arrow's C data interface: whole, and alive for as long as they are used."""

from __future__ import annotations

import functools
import gc
import sys
import threading
from array import array
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.testing import strategies

pa = pytest.importorskip("pyarrow")

from shardpack import arrow  # needs pyarrow
from shardpack.arrow import _unpack
from shardpack.wire.backend import backend
from shardpack.wire.backend import native as core

native: Any = backend()
needs_native = pytest.mark.skipif(core == "pure", reason="the native core was not built")

RECORDS = [(f"key {nth % 7}", b"%d" % nth * (nth % 9), [None, "5", "7"][nth % 3]) for nth in range(100)]
BLOBS = [sp.encode(RECORDS[:40]), sp.encode(RECORDS[40:])]
MIXED = [*BLOBS, b"plain", BLOBS[0][:-1], b"", sp.encode([("k", b"x", None, [("tag", "1")])]), BLOBS[1]]


def cut(blobs: list[bytes], views: bool) -> Any:
    (made,) = native.cut([blobs], views)
    return made


@needs_native
class TestCapsules:
    @pytest.mark.parametrize("views", [False, True])
    def test_what_they_hold(self, views: bool) -> None:
        both = BLOBS[0] + BLOBS[1]
        ends = memoryview(array("q", [0, len(BLOBS[0]), len(both)]))
        for made in native.cut([BLOBS, (memoryview(both), ends)], views):
            columns = pa.record_batch(made)

            columns.validate(full=True)
            assert list(array("i", made.counts)) == [40, 60]
            assert len(made) == 100
            assert columns["partition_key"].to_pylist() == [key for key, _, _ in RECORDS]
            assert columns["explicit_hash_key"].to_pylist() == [own for _, _, own in RECORDS]
            assert columns["data"].to_pylist() == [data for _, data, _ in RECORDS]
            assert columns["data"].type == (pa.binary_view() if views else pa.binary())
            assert columns["sub_sequence_number"].to_pylist() == [*range(40), *range(60)]
            assert pa.array(made.spread(memoryview(array("q", [2**40, 3])))).to_pylist() == [2**40] * 40 + [3] * 60

    def test_what_was_not_cut(self) -> None:
        assert list(array("i", cut(MIXED, False).counts)) == [40, 60, -1, -2, -1, 1, 60]

    @pytest.mark.parametrize("views", [False, True])
    def test_they_outlive_all_that_they_came_from(self, views: bool) -> None:
        blobs = [bytes(bytearray(blob)) for blob in BLOBS]
        made = cut(blobs, views)
        key, data = (pa.record_batch(made)[name] for name in ("partition_key", "data"))  # two of the children
        del blobs, made
        gc.collect()
        noise = [cut([sp.encode([("other", b"\0" * 70_000)])] * 2, False) for _ in range(5)]

        assert (key.to_pylist(), data.to_pylist()) == ([one[0] for one in RECORDS], [one[1] for one in RECORDS])
        assert noise

    def test_views_keep_what_came_in_and_copies_do_not(self) -> None:
        blob = sp.encode([("k", b"more than twelve bytes")])
        before = sys.getrefcount(blob)

        copies = pa.record_batch(cut([blob], False))
        assert sys.getrefcount(blob) == before
        views = pa.record_batch(cut([blob], True))
        data = views["data"]
        del views
        assert sys.getrefcount(blob) == before + 1
        del data
        cut([blob], True).__arrow_c_array__()  # and nobody takes it
        gc.collect()
        assert sys.getrefcount(blob) == before
        assert copies

    def test_they_can_be_asked_for_again(self) -> None:
        made = cut(BLOBS, True)

        assert pa.record_batch(made).equals(pa.record_batch(made))

    def test_what_is_let_go_in_another_thread(self) -> None:
        held = [pa.record_batch(cut(BLOBS, views)) for views in (False, True) for _ in range(20)]
        threads = [threading.Thread(target=held.pop) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert not held

    def test_what_does_not_fit(self) -> None:
        made = cut(BLOBS, False)
        with pytest.raises(ValueError, match="one number for each"):
            made.spread(memoryview(array("i", [1, 2, 3])))
        with pytest.raises(ValueError, match="do not lie in data"):
            native.cut([BLOBS, (memoryview(b"abc"), memoryview(array("q", [0, 4])))], False)


class TestViews:
    @given(
        blobs=st.lists(strategies.aggregates().map(lambda one: one[0]) | strategies.data(max_size=40), max_size=5),
        max_bytes=st.sampled_from([1, 300, 2**26]),
        repeated=st.sampled_from(["dictionary", "plain"]),
        policy=st.sampled_from([{}, {"hash_range": (0, 2**127)}, {"on_corrupt": "kcl"}]),
    )
    def test_the_same_as_copies(
        self, blobs: list[bytes], max_bytes: int, repeated: Any, policy: dict[str, Any]
    ) -> None:
        sources = (
            [{"Data": blob, "SequenceNumber": "1"} for blob in blobs],
            pa.table({"data": pa.array(blobs, pa.binary())}),
        )
        for source in sources:
            unpack = functools.partial(arrow.to_table, source, max_bytes=max_bytes, repeated=repeated, **policy)
            views = unpack(views=True)

            views.validate(full=True)
            assert views.to_pylist() == unpack().to_pylist()
            assert views.schema.field("data").type == pa.binary_view()

    @pytest.mark.parametrize("blobs", [BLOBS, MIXED, [b"plain"], []], ids=["sound", "mixed", "plain", "none"])
    def test_engines_read_them(self, blobs: list[bytes]) -> None:
        users = arrow.to_table([{"Data": blob} for blob in blobs], views=True)
        expected = [record.data for record in sp.unpack([{"Data": blob} for blob in blobs])]

        polars = pytest.importorskip("polars").from_arrow(users)
        assert polars["data"].to_list() == expected
        duckdb = pytest.importorskip("duckdb").sql("SELECT data FROM users").fetchall()
        assert [data for (data,) in duckdb] == expected

    def test_the_schema_that_is_foretold(self) -> None:
        source = pa.table({"data": pa.array(BLOBS, pa.binary()), "stream": ["a", "b"]})
        for repeated in ("dictionary", "plain"):
            (one,) = arrow.unpack_batches(source, views=True, repeated=repeated)
            assert one.schema == arrow.unpacked_schema(source.schema, views=True, repeated=repeated)


class TestThreads:
    @pytest.mark.parametrize("threads", [1, 2, 5])
    @pytest.mark.parametrize("on_corrupt", ["raw", "kcl"])
    def test_the_order_stays(self, monkeypatch: pytest.MonkeyPatch, threads: int, on_corrupt: Any) -> None:
        monkeypatch.setattr(_unpack, "_GROUP_BYTES", 1000)
        blobs = [sp.encode([(str(nth), b"x" * (nth % 7 * 100))] * (nth % 5 + 1)) for nth in range(100)] + MIXED
        source = [{"Data": blob, "SequenceNumber": str(nth)} for nth, blob in enumerate(blobs)]

        table = arrow.to_table(source, threads=threads, on_corrupt=on_corrupt)

        expected = [(one.sequence_number, one.sub_sequence_number, one.data) for one in sp.unpack(source)]
        assert [tuple(row.values()) for row in table.select([1, 2, 5]).to_pylist()] == expected

    def test_it_reads_for_each_thread_once(self) -> None:
        read: list[int] = []

        def batches() -> Iterator[Any]:
            for nth in range(10):
                read.append(nth)
                yield pa.record_batch({"data": pa.array([BLOBS[0]], pa.binary())})

        unpacked = arrow.unpack_batches(batches(), threads=3)
        assert read == []
        assert [len(next(unpacked)) for _ in range(3)] == [40] * 3
        assert read == [0, 1, 2]
        next(unpacked)
        assert read == [0, 1, 2, 3, 4, 5]

    def test_an_error_comes_in_its_turn(self) -> None:
        sources = [[BLOBS[0]], [BLOBS[0][:-1]], [BLOBS[1]]]
        batches = [pa.record_batch({"data": pa.array(source, pa.binary())}) for source in sources]

        unpacked = arrow.unpack_batches(batches, threads=3, on_corrupt="raise")
        assert len(next(unpacked)) == 40
        with pytest.raises(sp.ChecksumMismatchError):
            next(unpacked)

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ({"threads": 0}, "threads is 0"),
            ({"threads": 1.5}, "threads"),
            ({"views": 1}, "views is 1"),
            ({"data": "x"}, "'x'"),
        ],
    )
    def test_options_that_make_no_sense(self, option: dict[str, Any], message: str) -> None:
        with pytest.raises((TypeError, ValueError), match=message):
            arrow.to_table([], **option)


class TestPack:
    """Columns into aggregates: the same as `pack`, whichever way each row takes."""

    @given(
        rows=st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "\u00e9" * 200, "k" * 256]),
                strategies.data(max_size=300),
                st.sampled_from([None, None, None, "7"]),
            ),
            max_size=60,
        ),
        settings=st.sampled_from(
            [
                {},
                {"by": "key"},
                {"shard_map": sp.ShardMap([sp.Shard("a", 0, 2**127 - 1), sp.Shard("b", 2**127, 2**128 - 1)])},
                {"hash_keys": "kpl", "by": "key"},
                {"lookahead": 2},
            ]
        ),
        limits=st.sampled_from([sp.Limits(2000), sp.Limits(2000, max_user_records=3)]),
        has_own=st.booleans(),
        cuts=st.lists(st.integers(0, 60), max_size=2).map(sorted),
    )
    def test_the_same_as_pack(
        self, rows: list[Any], settings: dict[str, Any], limits: sp.Limits, has_own: bool, cuts: list[int]
    ) -> None:
        rows = [row if has_own else (*row[:2], None) for row in rows]
        names = ("partition_key", "data", "explicit_hash_key")
        kinds = (pa.string(), pa.binary(), pa.string())
        columns = [pa.array([row[nth] for row in rows], kind) for nth, kind in enumerate(kinds)]
        whole = pa.record_batch(columns, names=list(names))
        batches = [whole.slice(start, stop - start) for start, stop in zip([0, *cuts], [*cuts, 60], strict=True)]

        packed = [row for one in arrow.pack_batches(batches, limits=limits, **settings) for row in one.to_pylist()]

        assert [sp.PackedRecord(**row) for row in packed] == list(sp.pack(rows, limits=limits, **settings))

    @pytest.mark.parametrize("wrong", ["", "k" * 257])
    def test_a_record_that_is_refused_leaves_those_before_it(self, wrong: str) -> None:
        keys = ["k"] * 50 + [wrong] + ["k"] * 50
        source = pa.table({"partition_key": keys, "data": pa.array([b"x" * 100] * 101, pa.binary())})

        packed = arrow.pack_batches(source, limits=sp.Limits(1500), max_rows=1)
        counts: list[int] = []
        with pytest.raises(sp.InvalidRecordError):
            counts.extend(one["user_record_count"][0].as_py() for one in packed)
        assert counts == [13] * 2  # the third was complete, and was to come out when its batch was

    def test_batches_are_of_16_mib(self) -> None:
        source = pa.table({"partition_key": ["k"] * 40, "data": pa.array([bytes(500_000)] * 40, pa.binary())})

        assert [len(one) for one in arrow.pack_batches(source)] == [16, 4]

    def test_columns_of_nothing(self) -> None:
        source = pa.table({"partition_key": ["k"] * 3, "data": pa.array([b""] * 3, pa.binary())})

        (one,) = arrow.pack_batches(source)

        assert [record.data for record in sp.unpack(sp.PackedRecord(**one.to_pylist()[0]))] == [b""] * 3
