"""The native core against the pure one: the same records, the same bytes, the same errors."""

from __future__ import annotations

import base64
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from itertools import repeat
from typing import Any, Literal

import pytest
from aggregate_bytes import frame
from cores import Bytes, Str, answer, with_core
from hypothesis import given
from hypothesis import strategies as st
from packer_model import MAGIC, aggregate

import shardpack as sp
from shardpack.hashing import md5_hash_key
from shardpack.limits import KIB, MAX_HASH_KEY
from shardpack.testing import strategies
from shardpack.wire import pure_core as _pure

native = pytest.importorskip("shardpack.wire.native_core", reason="the native core is not built")


def columns(core: Any, blob: bytes) -> tuple[object, ...]:
    found = core.read(blob)
    return found.partition_keys, found.data, found.explicit_hash_keys, found.tags


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An aggregate that was changed, cut or lengthened, most with a checksum that is right all the same."""
    body = draw(strategies.aggregates())[0][len(MAGIC) : -16]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        what = draw(st.sampled_from(["change", "insert", "cut", "repeat"]))
        piece = draw(
            st.one_of(st.binary(max_size=3), st.sampled_from([b"\x00", b"\x80", b"\xff" * 10, b"\x1a", b"\x0a"]))
        )
        if what == "change":
            body = body[:at] + piece + body[at + len(piece) :]
        elif what == "insert":
            body = body[:at] + piece + body[at:]
        elif what == "cut":
            body = body[:at]
        else:
            body += body[at:]
    blob = frame(body)
    return draw(st.sampled_from([blob, blob, blob, blob[:-1], blob[:10], b"x" + blob, blob + b"x"]))


blobs = st.one_of(
    damaged(), strategies.aggregates().map(lambda drawn: drawn[0]), strategies.kinesis_data(), st.binary().map(frame)
)


class TestReading:
    @given(blobs)
    def test_of_anything(self, blob: bytes) -> None:
        for name in ("decode", "is_aggregated"):
            assert answer(partial(getattr(native, name), blob)) == answer(partial(getattr(_pure, name), blob))
        assert answer(lambda: columns(native, blob)) == answer(lambda: columns(_pure, blob))

    @given(st.lists(blobs, max_size=40), st.sampled_from(["raw", "raise", "kcl"]), st.data())
    def test_unpacking_anything_under_every_option(
        self, data: list[bytes], on_corrupt: Literal["raw", "raise", "kcl"], draw: st.DataObject
    ) -> None:
        records = [{"Data": one, "SequenceNumber": str(nth), "ShardId": "s"} for nth, one in enumerate(data)]
        options: dict[str, Any] = {
            "on_corrupt": on_corrupt,
            "out_of_range": draw.draw(st.sampled_from(["keep", "drop_record", "drop_aggregate", "raise"])),
            "hash_range": draw.draw(st.sampled_from([None, (0, MAX_HASH_KEY), (0, MAX_HASH_KEY // 2)])),
        }

        def unpacked() -> tuple[list[sp.ReceivedRecord], tuple[str, object]]:
            seen: list[sp.ReceivedRecord] = []
            return seen, answer(lambda: seen.extend(sp.unpack(records, **options)))

        assert unpacked() == with_core(_pure, unpacked)

    @given(st.lists(st.binary(max_size=6), min_size=1, max_size=4))
    def test_keys_that_are_not_utf_8(self, keys: list[bytes]) -> None:
        from shardpack.wire._generated.kpl_pb2 import AggregatedRecord

        message = AggregatedRecord(partition_key_table=keys, explicit_hash_key_table=keys)
        for nth in range(len(keys)):
            message.records.add(partition_key_index=nth, explicit_hash_key_index=nth, data=b"")
        blob = frame(message.SerializeToString())
        assert columns(native, blob) == columns(_pure, blob)

    @given(
        st.one_of(
            st.text(), st.binary().map(lambda b: base64.b64encode(b).decode()), st.text("AZaz09+/=\n", max_size=9)
        )
    )
    def test_base64(self, text: str) -> None:
        def ours() -> bytes:
            return next(iter(sp.unpack({"kinesis": {"data": text}}))).data

        assert answer(ours) == with_core(_pure, lambda: answer(ours))

    @given(st.lists(st.text(max_size=200), max_size=40), st.integers(0, MAX_HASH_KEY), st.integers(0, MAX_HASH_KEY))
    def test_hash_keys_outside(self, keys: list[str], first: int, last: int) -> None:
        assert native.outside(keys, first, last) == _pure.outside(keys, first, last)

    def test_hash_keys_on_the_bounds_are_inside(self) -> None:
        number = md5_hash_key(b"k")
        assert native.outside(["k"], number, number) == []
        assert native.outside(["x", "k"], number + 1, MAX_HASH_KEY)[-1:] == [1]
        assert native.outside(["x", "k"], 0, number - 1)[-1:] == [1]

    def test_of_views_and_subclasses(self) -> None:
        blob = sp.encode([("k", b"data"), ("k2", b"more")])
        for one in (Bytes(blob), bytearray(blob), memoryview(blob), memoryview(blob + b"x")[:-1]):
            assert native.decode(one) == native.decode(blob) == _pure.decode(blob)
            assert native.is_aggregated(one)

    def test_records_outlive_what_they_were_read_from(self) -> None:
        received = sp.unpack({"Data": sp.encode([(f"k{n}", bytes(n)) for n in range(1000)])})
        first = [next(received) for _ in range(300)]
        gc.collect()
        assert [record.data for record in [*first, *received]] == [bytes(n) for n in range(1000)]

    def test_records_are_real_named_tuples(self) -> None:
        (record,) = sp.unpack({"Data": sp.encode([("k", b"d", "5")]), "SequenceNumber": "7", "ShardId": "s"})
        assert type(record) is sp.ReceivedRecord
        assert record == sp.ReceivedRecord("k", b"d", "5", "7", 0, True, None, "s")
        assert hash(record) == hash(tuple(record))
        assert record._replace(data=b"e").data == b"e"
        (decoded,) = sp.decode(sp.encode([("k", b"d", "5")]))
        assert (type(decoded), decoded) == (sp.UserRecord, sp.UserRecord("k", b"d", "5"))


def encode(core: Any, records: Any) -> Any:
    return with_core(core, lambda: sp.encode(records))


class TestBuilding:
    @given(
        st.lists(strategies.user_records(), max_size=30),
        st.integers(0, 3000),
        st.sampled_from([None, "7"]),
    )
    def test_one_by_one(self, records: list[sp.UserRecord], capacity: int, pin: str | None) -> None:
        ours, theirs = native.builder(capacity, pin), _pure.builder(capacity, pin)
        for record in records:
            if record.explicit_hash_key is None and not record.tags:
                assert ours.add(*record[:2]) == theirs.add(*record[:2])
            else:
                assert ours.add_any(*record) == theirs.add_any(*record)
            assert (ours.count, ours.size) == (theirs.count, theirs.size)
        assert ours.build() == theirs.build()
        assert len(ours.build()) == ours.size

    @given(st.lists(strategies.user_records(), min_size=1, max_size=60))
    def test_encode(self, records: list[sp.UserRecord]) -> None:
        assert encode(native, records) == encode(_pure, records) == aggregate(records)

    def test_several_at_once(self) -> None:
        builders = [native.builder(10**9, None) for _ in range(40)]
        for nth, builder in enumerate(builders):
            for _ in range(nth + 1):
                builder.add(f"k{nth}", bytes(nth * 97))
        assert native.build_many(builders) == [builder.build() for builder in builders]
        assert native.build_many([]) == []

    @pytest.mark.parametrize("key", ["", "x" * 257, "\ud800", "a\udfffb", 5, None, b"k"])
    def test_what_is_no_partition_key_is_refused_as_by_the_pure_core(self, key: Any) -> None:
        assert answer(lambda: native.builder(1000, None).add(key, b"")) == answer(
            lambda: _pure.builder(1000, None).add(key, b"")
        )
        assert answer(lambda: encode(native, [(key, b"")])) == answer(lambda: encode(_pure, [(key, b"")]))

    def test_a_partition_key_is_measured_in_characters(self) -> None:
        for key in ("é" * 256, "\U0001f600" * 256, "x" * 256):
            assert encode(native, [(key, b"")]) == encode(_pure, [(key, b"")])

    @pytest.mark.parametrize("capacity", [-1, 0, sys.maxsize])
    def test_any_capacity(self, capacity: int) -> None:
        assert native.builder(capacity, None).add("k", b"") == _pure.builder(capacity, None).add("k", b"")


class TestPacking:
    @given(
        strategies.user_record_lists(max_size=80),
        strategies.shard_maps(),
        st.sampled_from(
            [
                ("any", "pinned", 1),
                ("key", "kpl", 1),
                ("shard", "pinned", 1),
                ("shard", "kpl", 1),
                ("shard", "pinned", 3),
            ]
        ),
        st.sampled_from([300, 1000, 51_200]),
        st.sampled_from([None, 3]),
        st.sampled_from([list, tuple, iter]),
    )
    def test_under_every_option(
        self,
        records: list[sp.UserRecord],
        shard_map: sp.ShardMap,
        setting: tuple[Any, Any, int],
        limit: int,
        count: int | None,
        kind: Callable[[Any], Any],
    ) -> None:
        by, hash_keys, lanes = setting

        def packed() -> tuple[list[sp.PackedRecord], tuple[str, object]]:
            seen: list[sp.PackedRecord] = []
            limits = sp.Limits(limit, count)
            arguments: dict[str, Any] = {"by": by, "shard_map": shard_map if by == "shard" else None, "limits": limits}
            return seen, answer(
                lambda: seen.extend(sp.pack(kind(records), hash_keys=hash_keys, lanes=lanes, **arguments))
            )

        assert packed() == with_core(_pure, packed)

    @pytest.mark.parametrize(
        "odd",
        [
            (Str("k"), b"d"),
            ("k", Bytes(b"d")),
            ("k", bytearray(b"d")),
            ("k", memoryview(b"d")),
            ("k", b"d", None),
            ("k", b"d", 5),
            ("k", b"d", None, ()),
            ("k", b"d", None, []),
            ("k", b"d", None, [("tag", None)]),
            ("k", b"d", None, (("tag", "value"),)),
        ],
        ids=lambda odd: f"{len(odd)} {type(odd[1]).__name__} {odd[2:]}",
    )
    def test_records_that_are_not_plain(self, odd: Any) -> None:
        records = [("k", b"before"), odd, ("k", b"after")]
        assert list(sp.pack(records)) == with_core(_pure, lambda: list(sp.pack(records)))

    @pytest.mark.parametrize(
        "odd", [None, 5, (), ("k",), ("k", b"d", None, (), 1), ("", b""), ("k", "text"), ["k", b"d"]]
    )
    def test_records_that_are_none(self, odd: Any) -> None:
        def packed() -> object:
            try:
                return list(sp.pack([("k", b"before"), odd, ("k", b"after")]))
            except Exception as error:  # noqa: BLE001  # whatever it is
                return type(error)

        assert packed() == with_core(_pure, packed)

    def test_what_the_iterator_raises_comes_out_after_what_was_complete(self) -> None:
        class BrokenError(Exception):
            pass

        def records() -> Any:
            yield from repeat(("k", bytes(1000)), 100)
            raise BrokenError

        packer = sp.Packer(limits=sp.Limits(5000))
        packed = packer.add_all(records())
        taken = [next(packed) for _ in range(24)]
        with pytest.raises(BrokenError):
            next(packed)
        assert sum(one.user_record_count for one in taken + packer.flush()) == 100

    def test_a_list_that_grows_while_it_is_packed(self) -> None:
        records = [("k", bytes(30))] * 3
        packed = sp.pack(records, limits=sp.Limits(100))
        next(packed)
        records.append(("k", b"late"))
        assert sum(one.user_record_count for one in packed) + 1 in (3, 4)

    def test_an_iterator_that_uses_the_packer_itself(self) -> None:
        packer = sp.Packer()

        def records() -> Any:
            for nth in range(10):
                packer.add("inner", b"%d" % nth)
                yield "outer", b"%d" % nth

        assert list(packer.add_all(records())) == []
        (packed,) = packer.flush()
        assert packed.user_record_count == 20


def test_checksums_of_every_length_and_number() -> None:
    body = os.urandom(200)
    blobs = [frame(body[:length]) for length in range(200)] + [frame(os.urandom(50 * KIB)) for _ in range(20)]
    assert [native.is_aggregated(blob) for blob in blobs] == [_pure.is_aggregated(blob) for blob in blobs]
    assert sum(one is not None for one in native.read_ahead([sp.encode([("k", body[:n])]) for n in range(200)])) == 200


@pytest.mark.parametrize("path", ["avx512", "avx2", "sse2", "neon", "scalar"])
def test_every_path_can_be_forced(path: str) -> None:
    code = (
        "import shardpack as sp\n"
        "blobs = [sp.encode([('k', bytes(n * 100))]) for n in range(100)]\n"
        "assert [r.data for r in sp.unpack([{'Data': b} for b in blobs], on_corrupt='raise')] == "
        "[bytes(n * 100) for n in range(100)]\n"
        "broken = [b[:-1] + bytes([b[-1] ^ 1]) for b in blobs]\n"
        "assert not any(r.aggregated for r in sp.unpack([{'Data': b} for b in broken]))\n"
        "print(sp.native)"
    )
    environment = {**os.environ, "SHARDPACK_NATIVE": path}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:  # this machine does not have it
        assert f"SHARDPACK_NATIVE is '{path}', and this machine or this build has no such instructions" in done.stderr
        assert path != "scalar"
    else:
        assert done.stdout.strip() == path


def test_the_pure_core_can_be_forced() -> None:
    code = (
        "import shardpack as sp, sys; sp.decode(sp.encode([('k', b'')]))\n"
        "print(sp.native, 'shardpack.wire._native' in sys.modules)"
    )
    environment = {**os.environ, "SHARDPACK_NATIVE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["pure", "False"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process so")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer ends such a process itself")
def test_a_process_that_may_have_little_more_memory_goes_on() -> None:
    code = (
        "import resource, shardpack as sp\n"
        "sp.encode([('k', b'')])\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 24 * 1024 * 1024,) * 2)\n"
        "print(len(list(sp.pack(iter([('k', bytes(400_000))] * 12)))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.returncode) == (["6"], 0), done.stderr[-1000:]


def test_threads_read_and_write_side_by_side() -> None:
    blob = sp.encode([(f"k{n}", bytes(100)) for n in range(2000)])
    failures: list[object] = []

    def work() -> None:
        for _ in range(20):
            records = list(sp.unpack([{"Data": blob}] * 3))
            if len(records) != 6000 or sp.encode([(str(r.partition_key), r.data) for r in records[:2000]]) != blob:
                failures.append(records)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_hash_keys_are_those_of_the_pure_core() -> None:
    assert sp.hash_key("key") == md5_hash_key(b"key")
