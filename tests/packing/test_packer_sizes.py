"""How full Kinesis records become: exact sizes, the last byte that fits, records too large, and bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packer_model import Model, Setting, aggregate, settings_of, user_records

import shardpack as sp
from shardpack.limits import KIB, MIB

SETTINGS = [
    Setting("any"),
    Setting("key"),
    Setting("shard"),
    Setting("shard", "kpl"),
    Setting("shard", lanes=3),
    Setting("shard", "kpl", lanes=70),
]
each_setting = pytest.mark.parametrize("setting", SETTINGS)


def with_limit(setting: Setting, max_record_bytes: int) -> Setting:
    return setting._replace(limits=sp.Limits(max_record_bytes))


def size_of_aggregate(setting: Setting, records: Sequence[sp.UserRecord]) -> int:
    model = Model(setting)
    return model.wrapped(model.route(records[0]), records).size


def packed_by(setting: Setting, records: Sequence[sp.UserRecord]) -> list[sp.PackedRecord]:
    return list(sp.pack(records, **setting.arguments))


small = user_records.filter(lambda record: len(record.data) + len(record.partition_key.encode()) <= 64)


@given(st.lists(small, min_size=2, max_size=30), settings_of("any", "key", "shard"), st.integers(400, 800))
def test_sizes_are_real_and_within_the_limit(records: list[sp.UserRecord], setting: Setting, limit: int) -> None:
    for packed in packed_by(with_limit(setting, limit), records):
        assert packed.size == len(packed.data) + len(packed.partition_key.encode()) <= limit


@given(st.lists(small, min_size=2, max_size=30), settings_of("any", "key", "shard"), st.integers(400, 800))
def test_an_aggregate_closes_only_when_the_next_record_of_its_route_does_not_fit(
    records: list[sp.UserRecord], setting: Setting, limit: int
) -> None:
    setting = with_limit(setting, limit)
    place = Model(setting).route
    records = [record._replace(data=b"%02d" % nth + record.data) for nth, record in enumerate(records)]
    packer = sp.Packer(**setting.arguments)
    for nth, record in enumerate(records):
        for packed in packer.add(*record):
            group = [one for one in records[: nth + 1] if place(one) == place(record)]
            if packed.data == record.data:  # it goes as it is, because it does not even fit into an aggregate alone
                assert size_of_aggregate(setting, group[-1:]) > limit
            else:
                assert size_of_aggregate(setting, group[-1 - packed.user_record_count :]) > limit


@given(st.lists(small, min_size=1, max_size=10), settings_of("any", "key", "shard"), small)
def test_the_last_byte_is_used(before: list[sp.UserRecord], setting: Setting, last: sp.UserRecord) -> None:
    before = [record._replace(partition_key="k", explicit_hash_key="7") for record in before]
    last = last._replace(partition_key="k", explicit_hash_key="7", data=last.data + bytes(64))
    exact = with_limit(setting, size_of_aggregate(setting, [*before, last]))

    packer = sp.Packer(**exact.arguments)
    assert [packed for record in [*before, last] for packed in packer.add(*record)] == []
    assert [packed.size for packed in packer.flush()] == [exact.limits.max_record_bytes]

    longer = last._replace(data=last.data + b"!")
    assert packer.flush() == [packed for record in before for packed in packer.add(*record)] == []
    (closed, *_) = packer.add(*longer)
    assert closed.user_record_count == len(before)


# Data, with its head and keys, of so many bytes that the record's length or the data's is about to take a byte more.
AROUND_128 = range(100, 131)
AROUND_16384 = range(16_384 - 16, 16_384 + 3)
AROUND_2097152 = range(2_097_152 - 12, 2_097_152 + 2)


@each_setting
@pytest.mark.parametrize("sizes", [AROUND_128, AROUND_16384], ids=str)
@pytest.mark.parametrize("explicit", [None, "7"])
@pytest.mark.parametrize("tags", [(), (("tag", "value"),)], ids=["", "tagged"])
def test_a_record_of_any_length_fits_to_the_byte(setting: Setting, sizes: range, explicit: Any, tags: Any) -> None:
    for size in sizes:
        check_fits_to_the_byte(setting, sp.UserRecord("key", bytes(size), explicit, tags))


@pytest.mark.parametrize("setting", [Setting("any"), Setting("shard", "kpl")])
def test_a_record_of_about_two_mib_fits_to_the_byte(setting: Setting) -> None:
    for size in AROUND_2097152:
        check_fits_to_the_byte(setting, sp.UserRecord("key", bytes(size)))


def check_fits_to_the_byte(setting: Setting, record: sp.UserRecord) -> None:
    for records in ([record._replace(data=b"first"), record], [record, record._replace(data=b"")]):
        exact = size_of_aggregate(setting, records)
        (packed,) = packed_by(with_limit(setting, exact), records)
        assert packed.size == exact
        assert [one.user_record_count for one in packed_by(with_limit(setting, exact - 1), records)] == [1, 1]


@each_setting
@pytest.mark.parametrize("key_bytes", [1, 127, 128, 256])
def test_a_partition_key_of_any_length_fits_to_the_byte(setting: Setting, key_bytes: int) -> None:
    records = [sp.UserRecord("k" * key_bytes, bytes(200)), sp.UserRecord("k" * key_bytes, b"")]
    exact = size_of_aggregate(setting, records)

    assert [packed.size for packed in packed_by(with_limit(setting, exact), records)] == [exact]
    assert len(packed_by(with_limit(setting, exact - 1), records)) == 2


@pytest.mark.parametrize("limit", [64, 25 * KIB, 51_200, MIB, 10 * MIB])
@pytest.mark.parametrize("piece", [10, 1000, 70_000])
def test_kinesis_records_are_full_at_every_limit(limit: int, piece: int) -> None:
    count = min(3 * limit // piece + 3, 3000)
    packed = packed_by(Setting(limits=sp.Limits(limit)), [sp.UserRecord("k", bytes(min(piece, limit - 1)))] * count)

    assert sum(one.user_record_count for one in packed) == count
    assert all(one.size <= limit for one in packed)
    for one in packed[:-1]:
        assert one.size + piece + 12 > limit or one.user_record_count == 1


def plain(record: sp.UserRecord, _setting: Setting) -> int:
    return len(record.data) + len(record.partition_key.encode())


def wrapped(record: sp.UserRecord, setting: Setting) -> int:
    return size_of_aggregate(setting, [record])


INNER = aggregate([sp.UserRecord("inner", bytes(50))])


class TestRecordsTooLarge:
    @each_setting
    @pytest.mark.parametrize(
        ("record", "size"),
        [
            (sp.UserRecord("\u00e9" * 9, bytes(99)), plain),
            (sp.UserRecord("k" * 256, b""), plain),
            (sp.UserRecord("key", bytes(300), "7"), plain),
            (sp.UserRecord("key", INNER), wrapped),
            (sp.UserRecord("key", INNER, "7"), wrapped),
            (sp.UserRecord("key", bytes(99), None, (("tag", None),)), wrapped),
        ],
        ids=["unicode key", "long key", "hash key", "looks aggregated", "looks aggregated, hash key", "tag"],
    )
    def test_are_refused_from_the_first_byte_on_and_change_nothing(
        self, setting: Setting, record: sp.UserRecord, size: Callable[[sp.UserRecord, Setting], int]
    ) -> None:
        exact = (wrapped if setting.lanes > 1 else size)(record, setting)
        (packed,) = packed_by(with_limit(setting, exact), [record])
        assert packed.size == exact

        tight = with_limit(setting, exact - 1)
        packer, untouched = sp.Packer(**tight.arguments), sp.Packer(**tight.arguments)
        for one in (packer, untouched):
            assert one.add("f", b"") == []
        for _ in range(2):
            with pytest.raises(sp.RecordTooLargeError, match=rf"\b{exact:,} bytes.* {exact - 1:,}\b") as caught:
                packer.add(*record)
            assert (caught.value.size, caught.value.limit) == (exact, exact - 1)
        assert packer.add("f", b"") == untouched.add("f", b"") == []
        assert packer.flush() == untouched.flush() != []

    @pytest.mark.parametrize("limit", [64, 51_200, MIB, 10 * MIB])
    def test_at_every_limit(self, limit: int) -> None:
        packer = sp.Packer(limits=sp.Limits(limit))
        (packed,) = packer.add("k", bytes(limit - 1))
        assert packed.size == limit

        with pytest.raises(sp.RecordTooLargeError) as caught:
            packer.add("k", bytes(limit))
        assert (caught.value.size, caught.value.limit) == (limit + 1, limit)
        assert packer.flush() == []

    def test_are_no_reason_to_hold_memory(self) -> None:
        packer = sp.Packer(by="key", max_buffered_bytes=MIB)
        for nth in range(1000):
            with pytest.raises(sp.RecordTooLargeError):
                packer.add(f"{nth}", bytes(MIB))
        assert packer.add("k", b"data") == []
        assert len(packer.flush()) == 1

    def test_a_record_that_fits_only_as_it_is_keeps_its_place(self) -> None:
        packer = sp.Packer(limits=sp.Limits(200))
        packer.add("k", b"before")
        closed = packer.add("k", bytes(199))
        packer.add("k", b"after")

        assert [one.data for one in closed + packer.flush()] == [b"before", bytes(199), b"after"]


class TestBufferedBytes:
    """Each open aggregate may take its part of the memory, whatever the number of routes."""

    @staticmethod
    def held_back(packer: sp.Packer, records: Sequence[sp.UserRecord]) -> tuple[int, list[sp.PackedRecord]]:
        """The most bytes of user records that waited at any time, and what came out before the end."""
        waiting = most = 0
        closed = []
        for record in records:
            waiting += len(record.data) + len(record.partition_key)
            for packed in packer.add(*record):
                closed.append(packed)
                waiting -= sum(len(one.data) + len(one.partition_key or "") for one in sp.unpack(packed))
            most = max(most, waiting)
        return most, closed

    @pytest.mark.parametrize("by", ["key", "any"])  # by="any", explicit hash keys make the routes
    @pytest.mark.parametrize(("routes", "size"), [(100, 15_000), (3000, 1), (3, 400_000), (500, 3000), (100, 300)])
    def test_are_bounded_and_nothing_is_lost_or_out_of_order(self, by: Any, routes: int, size: int) -> None:
        records = [
            sp.UserRecord(f"{nth % routes}", b"%06d" % nth + bytes(size), str(nth % routes) if by == "any" else None)
            for nth in range(max(3 * routes, min(3 * MIB // size, 11_000), 20))
        ]
        packer = sp.Packer(by=by, max_buffered_bytes=MIB)
        most, closed = self.held_back(packer, records)
        assert closed
        assert most <= MIB

        came = [one for packed in closed + packer.flush() for one in sp.unpack(packed)]
        assert sorted(one.data for one in came) == [record.data for record in records]
        for _, group in itertools.groupby(sorted(came, key=lambda one: one.partition_key or ""), lambda one: one[0]):
            numbers = [int(one.data[:6]) for one in group]
            assert numbers == sorted(numbers)

    def test_close_the_aggregate_that_was_opened_first(self) -> None:
        packer = sp.Packer(by="key", max_buffered_bytes=MIB)
        _, closed = self.held_back(packer, [sp.UserRecord(f"{nth}", b"data") for nth in range(1000)])

        assert [packed.partition_key for packed in closed] == [f"{nth}" for nth in range(len(closed))]

    def test_do_not_close_what_still_has_room(self) -> None:
        packer = sp.Packer(by="key", max_buffered_bytes=MIB)
        records = [sp.UserRecord(f"{nth % 50}", bytes(1000)) for nth in range(200)]
        for _ in range(100):  # what was flushed takes no memory any more
            assert self.held_back(packer, records)[1] == []
            assert len(packer.flush()) == 50

    def test_count_no_longer_what_was_closed_for_its_size(self) -> None:
        packer = sp.Packer(by="key", limits=sp.Limits(2000), max_buffered_bytes=MIB)
        records = [sp.UserRecord(f"{nth % 50}", bytes(500)) for nth in range(10_000)]
        _, closed = self.held_back(packer, records)

        assert {packed.user_record_count for packed in closed} == {3}

    def test_may_be_less_than_one_large_record(self) -> None:
        packer = sp.Packer(limits=sp.Limits.large(), max_buffered_bytes=MIB)
        most, closed = self.held_back(packer, [sp.UserRecord("k", bytes(3 * MIB))] * 3)

        assert [packed.user_record_count for packed in closed] == [1, 1, 1]
        assert most <= 3 * MIB + 1
        assert packer.flush() == []

    def test_more_keys_than_are_remembered(self) -> None:
        packer = sp.Packer(by="key", max_buffered_bytes=MIB)
        closed = list(packer.add_all((f"{nth}", b"data") for nth in [*range(70_000), *range(100)])) + packer.flush()

        assert sum(packed.user_record_count for packed in closed) == 70_100
        assert len({packed.partition_key for packed in closed}) == 70_000

    def test_more_open_aggregates_than_keys_are_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is open stays remembered, so forgetting again with every new key would take quadratic time."""
        monkeypatch.setattr("shardpack.packing.router._CACHED_ROUTES", 100)
        packer = sp.Packer(by="key")
        remembered, times_forgotten = packer._router._routes, 0
        for nth in range(2000):
            assert packer.add(f"{nth}", b"data") == []
            times_forgotten += packer._router._routes is not remembered
            remembered = packer._router._routes

        assert times_forgotten < 10
        assert [packed.partition_key for packed in packer.flush()] == [f"{nth}" for nth in range(2000)]
