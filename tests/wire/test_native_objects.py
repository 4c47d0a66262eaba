"""An object that the native core has made cannot be told from one that Python made."""

from __future__ import annotations

import base64
import copy
import gc
import pickle
import sys
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.testing import strategies
from shardpack.wire import pure_core as _pure
from shardpack.wire.backend import backend

native = pytest.importorskip("shardpack.wire.native_core", reason="the native core is not built")

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ARRIVED: dict[str, object] = {"SequenceNumber": "495903", "ApproximateArrivalTimestamp": NOW, "ShardId": "shardId-0"}

Record = sp.UserRecord | sp.ReceivedRecord


class Case(NamedTuple):
    """The same records, as the native core makes them and as Python does."""

    native: list[Record]
    python: list[Record]


def as_python_makes_them(records: list[Record]) -> list[Record]:
    """The same field by field, with no object of the native core's in it."""
    again: list[Record] = []
    for record in records:
        fields: list[object] = []
        for field in record:
            if isinstance(field, str):
                fields.append("".join(list(field)))
            elif isinstance(field, bytes):
                fields.append(bytes(list(field)))
            elif isinstance(field, int) and not isinstance(field, bool):
                fields.append(int(str(field)))
            else:
                fields.append(field)
        again.append(type(record)._make(fields))
    return again


@st.composite
def cases(draw: st.DrawFn) -> Case:
    records = strategies.user_record_lists(min_size=1, data=strategies.data(max_size=300), tags=st.just(()))
    blob, _ = draw(strategies.aggregates(records))
    shared = (
        draw(st.sampled_from([None, "495903"])),
        draw(st.sampled_from([None, NOW])),
        draw(st.sampled_from([None, "shardId-0"])),
    )
    kind = draw(st.sampled_from(["decode", "received"]))
    if kind == "decode":
        made: list[Record] = list(native.decode(blob))
        pure: list[Record] = list(_pure.decode(blob))
    else:
        made = list(native.read(blob).received(*shared))
        pure = list(_pure.read(blob).received(*shared))
    assert made == pure
    return Case(made, as_python_makes_them(made))


@given(cases())
def test_it_hashes_and_compares_as_pythons_does(case: Case) -> None:
    for made, python in zip(*case, strict=True):
        assert hash(made) == hash(python) == hash(tuple(python))
        assert hash(made) == hash(made)
        assert made == python
        assert python == made
        assert made == tuple(python)
        assert made in {python}
        assert made in {tuple(python)}
        assert tuple(made) in {made}
        assert {made: 1}[python] == 1
        assert repr(made) == repr(python)
        assert type(made) is type(python)
    assert set(case.native) == set(case.python)
    assert dict.fromkeys(case.native) == dict.fromkeys(case.python)


@given(cases())
def test_its_fields_are_pythons_own(case: Case) -> None:
    for made, python in zip(*case, strict=True):
        for field, other in zip(made, python, strict=True):
            assert type(field) is type(other)
            assert field == other
            assert hash(field) == hash(other)
            assert sys.getsizeof(field) == sys.getsizeof(other)
            assert gc.is_tracked(field) == gc.is_tracked(other)
            if isinstance(field, str) and isinstance(other, str):
                assert field.isascii() == other.isascii()
                assert field.encode() == other.encode()
                assert sys.intern(field) == other
            if isinstance(field, bytes):
                assert memoryview(field).tobytes() == other


@given(cases(), st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_it_is_pickled_as_pythons_is(case: Case, protocol: int) -> None:
    for made, python in zip(*case, strict=True):
        there_and_back = pickle.loads(pickle.dumps(made, protocol))
        assert there_and_back == python
        assert type(there_and_back) is type(python)
        assert hash(there_and_back) == hash(made)
        assert there_and_back == pickle.loads(pickle.dumps(python, protocol))


@given(cases())
def test_it_is_copied_as_pythons_is(case: Case) -> None:
    for made, python in zip(*case, strict=True):
        for copied in (copy.copy(made), copy.deepcopy(made), made._replace(data=made.data), type(made)._make(made)):
            assert copied == python
            assert type(copied) is type(python)
            assert hash(copied) == hash(made)
            assert sys.getsizeof(copied) == sys.getsizeof(made)


@given(cases())
def test_it_takes_as_much_memory_and_is_referred_to_as_often(case: Case) -> None:
    for nth in range(len(case.native)):
        assert sys.getsizeof(case.native[nth]) == sys.getsizeof(case.python[nth])
        assert case.native[nth].__sizeof__() == case.python[nth].__sizeof__()
        assert sys.getrefcount(case.native[nth]) == sys.getrefcount(case.python[nth])


@pytest.mark.parametrize("kind", ["decode", "received"])
def test_no_reference_to_what_records_share_is_lost_or_left(kind: str) -> None:
    shared = str(10**56), datetime(2026, 1, 1, tzinfo=UTC), str(10**12)
    blob = sp.encode([(f"key {nth % 3}", b"data %d" % nth, str(nth % 2)) for nth in range(1000)])

    def made() -> list[Record]:
        if kind == "decode":
            return list(native.decode(blob))
        return list(native.read(blob).received(*shared))

    before = [sys.getrefcount(one) for one in (blob, *shared)]
    records = made()
    expected = 1000 if kind == "received" else 0
    held = [sys.getrefcount(one) for one in (blob, *shared)]
    assert [after - earlier for after, earlier in zip(held[1:], before[1:], strict=True)] == [expected] * 3
    key, data = records[0].partition_key, records[7].data
    other = str(10**9)
    as_often = [other] * 334
    assert sys.getrefcount(key) == sys.getrefcount(other)
    del records, as_often
    assert sys.getrefcount(key) == sys.getrefcount(other)
    one_more = bytes([100] * 100)
    assert sys.getrefcount(data) == sys.getrefcount(one_more)
    assert [sys.getrefcount(one) for one in (blob, *shared)] == before


class Renamed(sp.ReceivedRecord):
    """What a record may be made into, because it has the same layout."""

    __slots__ = ()


FATES = ("let go", "let go", "kept", "kept for one more", "hashed", "hashed and kept", "of another class")


@given(
    st.lists(st.sampled_from(FATES), min_size=1, max_size=12).map(lambda fates: fates * 4),
    st.booleans(),
    st.booleans(),
)
@example(["kept for one more"] * 12, True, False)
@example(["of another class", "let go", "let go", "let go"], False, False)
def test_whatever_becomes_of_records_the_next_ones_are_right_and_those_kept_do_not_change(
    fates: list[str], has_explicit_hash_keys: bool, has_tags: bool
) -> None:
    """An iterator fills records again that nobody has any more."""
    users = [
        sp.UserRecord(
            f"k{nth % 3}",
            b"%d" % nth,
            str(nth % 5) if has_explicit_hash_keys and nth % 4 else None,
            ((f"tag {nth}", None),) if has_tags and nth % 3 else (),
        )
        for nth in range(len(fates))
    ]
    pure = list(_pure.read(sp.encode(users)).received("495903", NOW, "shardId-0"))
    kept: dict[int, sp.ReceivedRecord] = {}
    passing: sp.ReceivedRecord | None = None
    for nth, record in enumerate(native.read(sp.encode(users)).received("495903", NOW, "shardId-0")):
        assert record == pure[nth]
        assert type(record) is sp.ReceivedRecord
        assert (passing is None) or passing == pure[nth - 1]
        passing = record if fates[nth] == "kept for one more" else None
        if fates[nth].startswith("hashed"):
            assert hash(record) == hash(pure[nth])
        if fates[nth].endswith("kept"):
            kept[nth] = record
        if fates[nth] == "of another class":
            record.__class__ = Renamed
        assert all(one == pure[earlier] for earlier, one in kept.items())
    del record, passing
    assert len(set(map(id, kept.values()))) == len(kept)
    assert [hash(one) for one in kept.values()] == [hash(pure[nth]) for nth in kept]
    assert [sys.getrefcount(kept[nth]) for nth in kept] == [sys.getrefcount(pure[nth]) for nth in kept]


def test_an_iterator_that_is_let_go_half_way_keeps_nothing() -> None:
    blob = sp.encode([("key", b"data %d" % nth) for nth in range(10)])
    records = iter(native.read(blob).received(None, None, None))
    first, second = next(records), next(records)
    assert first.data + second.data == b"data 0data 1"
    del records
    other = sp.UserRecord("k", bytes([100] * 6))
    assert sys.getrefcount(first) == sys.getrefcount(second) == sys.getrefcount(other)
    assert sys.getrefcount(first.data) == sys.getrefcount(other.data)


@pytest.mark.parametrize("count", [8191, 8192, 8193])
def test_numbers_of_records_that_are_made_once_are_right_beyond_them(count: int) -> None:
    blob = sp.encode([("key", b"")] * count)
    for _ in range(2):
        received = native.read(blob).received(None, None, None)
        assert [record.sub_sequence_number for record in received] == list(range(count))


def test_keys_are_right_where_they_take_each_others_place() -> None:
    """Keys that come again in other aggregates are made once, as long as no other takes their place."""
    for prefix in ("k", "\N{GREEK SMALL LETTER ALPHA}", "\N{GRINNING FACE}"):
        aggregates = [[(f"{prefix}{nth * step}", b"%d" % nth) for nth in range(3000)] for step in (1, 1, 2, 7)]
        read = native.read_ahead([sp.encode(users) for users in aggregates])
        for aggregate, users in zip(read, aggregates, strict=True):
            assert aggregate is not None
            assert list(aggregate.partition_keys) == [key for key, _ in users]


def test_records_of_plain_fields_are_hidden_from_the_collector_as_plain_tuples_are() -> None:
    # The one thing in which they may differ from Python's own, and for which `gc.is_tracked` was asked: CPython
    # hides plain tuples of such fields when it first looks at them, and named tuples never.
    blob = sp.encode([("key", b"data", "5")] * 3)
    plain = ("key", b"data", "5")
    gc.collect()
    assert not gc.is_tracked(plain)
    assert not any(map(gc.is_tracked, native.decode(blob)))
    if backend() is native:  # the pure core's are named tuples that Python made
        assert not any(map(gc.is_tracked, sp.unpack([{"Data": blob, "PartitionKey": "a", **ARRIVED}])))


def test_fields_may_be_nested_as_deep_as_they_like() -> None:
    nested: tuple[object, ...] = ()
    for _ in range(300_000):
        nested = (nested,)
    (aggregate,) = native.read_ahead([sp.encode([("k", b"data")])])
    assert aggregate is not None

    (record,) = aggregate.received(nested, None, None)  # no caller of ours gives that

    assert record.sequence_number is nested
    assert gc.is_tracked(record)


def test_nobody_finds_the_fields_that_are_filled_again() -> None:
    blob = sp.encode([("k", bytes([nth])) for nth in range(9)])
    gc.collect()
    received = sp.unpack({**ARRIVED, "Data": blob} for _ in range(2))
    next(received)

    tuples = [one for one in gc.get_objects() if type(one) is tuple and len(one) == 1]

    assert not [one for (one,) in tuples if type(one) is tuple and "495903" in one]
    assert [record.data[0] for record in received] == [*range(1, 9), *range(9)]


class Time(datetime):
    """A time that something else can hang on, as those of freezegun and pendulum are."""

    records: list[sp.ReceivedRecord]


def test_records_that_may_be_part_of_a_cycle_are_collected() -> None:
    time = Time(2026, 1, 1, tzinfo=UTC)
    blob = sp.encode([("key", b"data")] * 3)
    records = list(sp.unpack([{"Data": blob, "PartitionKey": "a", **ARRIVED, "ApproximateArrivalTimestamp": time}]))
    assert records[0].approximate_arrival_timestamp is time
    assert all(map(gc.is_tracked, records))
    time.records = records
    gone = weakref.ref(time)
    del time, records
    gc.collect()
    assert gone() is None


def every_kind_of_bytes() -> Iterator[tuple[str, object]]:
    yield "an aggregate", sp.encode([("key", b"data")])
    packer = sp.Packer(by="any")
    packer.add("key", b"data")
    packer.add("key", b"more")
    yield "a packed aggregate", packer.flush()[0].data
    for text in (b"", b"a", b"ab", bytes(256)):
        yield f"{len(text)} bytes of an aggregate", native.decode(sp.encode([("key", text)]))[0].data
        yield f"{len(text)} bytes of base64", native.from_base64(base64.b64encode(text).decode())
    yield "counts", native.cut([[sp.encode([("key", b"d", "5")])]], False)[0].counts


@pytest.mark.parametrize("name", dict(every_kind_of_bytes()))
def test_bytes_are_pythons_own(name: str) -> None:
    made = dict(every_kind_of_bytes())[name]
    assert type(made) is bytes
    python = bytes(list(made))
    assert made == python
    assert hash(made) == hash(python)
    assert made in {python}
    assert sys.getsizeof(made) == sys.getsizeof(python)
    assert pickle.dumps(made) == pickle.dumps(python)
    assert copy.deepcopy(made) is made
    assert not gc.is_tracked(made)
    assert made.find(b"\0") == python.find(b"\0")
