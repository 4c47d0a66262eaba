"""Which user records share an aggregate, under which keys it goes out, and when."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packer_model import MAGIC, MAX_HASH_KEY, Model, Route, Setting, hash_key_of, settings_of, user_records

import shardpack as sp
from shardpack.records import UserRecordLike

HALVES = (sp.Shard("low", 0, 2**127 - 1), sp.Shard("high", 2**127, MAX_HASH_KEY))
LOW, HIGH = "0", str(MAX_HASH_KEY)
FIRST = sp.UserRecord("0", b"")

SETTINGS = [
    Setting("any"),
    Setting("key"),
    Setting("key", "kpl"),
    Setting("shard", shards=HALVES),
    Setting("shard", "kpl", shards=HALVES),
    Setting("shard", lanes=4, shards=HALVES),
    Setting("shard", "kpl", lanes=4, shards=HALVES),
]
each_setting = pytest.mark.parametrize("setting", SETTINGS)

fitting_records = st.lists(
    user_records.filter(lambda record: len(record.data) + len(record.partition_key.encode()) <= 400), max_size=20
)


def limited(setting: Setting, **limits: Any) -> Setting:
    return setting._replace(limits=sp.Limits(**limits))


def sent(packed: sp.PackedRecord) -> list[sp.UserRecord]:
    """The user records in a Kinesis record, as their sender knew them: without the pin."""
    read = [sp.UserRecord(r.partition_key or "", r.data, r.explicit_hash_key, r.tags) for r in sp.unpack(packed)]
    assert len(read) == packed.user_record_count
    return read


def check_each_comes_out_once(records: Sequence[sp.UserRecord], setting: Setting) -> None:
    """Once, and in order within its route; explicit hash keys aside, because a pin replaces their absence."""
    model = Model(setting)
    expected: dict[Route, list[tuple[Any, ...]]] = defaultdict(list)
    for nth, record in enumerate(records):
        expected[model.route(record)].append((nth, record.partition_key, record.tags))
    marked = [record._replace(data=b"%06d" % nth + record.data) for nth, record in enumerate(records)]

    got: dict[Route, list[tuple[Any, ...]]] = defaultdict(list)
    for packed in sp.pack(marked, **setting.arguments):
        for user_record in sent(packed):
            nth = int(user_record.data[:6])
            assert user_record.data == marked[nth].data
            got[model.route(records[nth])].append((nth, user_record.partition_key, user_record.tags))
    assert got == expected


@given(fitting_records, settings_of("any", "key"))
def test_each_user_record_comes_out_once_in_order_within_its_route(
    records: list[sp.UserRecord], setting: Setting
) -> None:
    check_each_comes_out_once(records, limited(setting, max_record_bytes=800))


@given(fitting_records, settings_of("shard"), st.none() | st.integers(1, 3))
def test_each_user_record_comes_out_once_in_order_within_its_shard(
    records: list[sp.UserRecord], setting: Setting, most: int | None
) -> None:
    check_each_comes_out_once(records, limited(setting, max_record_bytes=800, max_user_records=most))


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.by == "shard"])
def test_keys_that_met_their_shard_at_different_times_share_what_is_open(setting: Setting) -> None:
    packer = sp.Packer(**setting.arguments)
    place = Model(setting).route
    of_route = (str(nth) for nth in itertools.count() if place(sp.UserRecord(str(nth), b"")) == place(FIRST))
    packer.add(old := next(of_route), b"1")
    packer.flush()
    packer.add(next(of_route), b"2")
    packer.add(old, b"3")

    assert [[record.data for record in sent(packed)] for packed in packer.flush()] == [[b"2", b"3"]]


def test_records_by_shard_survive_a_limit_of_user_records() -> None:
    records = [("x", b"1"), ("x", b"2"), ("y", b"3"), ("x", b"4")]
    packed = list(sp.pack(records, shard_map=sp.ShardMap.single(), limits=sp.Limits(max_user_records=2)))

    assert sum(one.user_record_count for one in packed) == len(records)


@each_setting
@pytest.mark.parametrize("most", [1, 2, 7])
def test_no_aggregate_has_more_user_records_than_allowed_and_a_full_one_does_not_wait(
    setting: Setting, most: int
) -> None:
    packer = sp.Packer(**limited(setting, max_user_records=most).arguments)
    for _ in range(5):
        for nth in range(most):
            closed = packer.add("k", b"data")
            assert bool(closed) == (nth == most - 1)
        assert [one.user_record_count for one in closed] == [most]
    assert packer.flush() == []


class TestKeys:
    @pytest.mark.parametrize("setting", [s for s in SETTINGS if s.hash_keys == "pinned" and s.by != "key"])
    def test_every_sub_record_carries_the_hash_key_of_the_first(self, setting: Setting) -> None:
        packed = list(sp.pack(((f"k{nth}", b"data") for nth in range(50)), **setting.arguments))

        assert len(packed) in (1, 2, 8)
        for one in packed:
            records = sp.decode(one.data)
            assert one.explicit_hash_key == str(sp.hash_key(records[0].partition_key))
            assert {record.explicit_hash_key for record in records} == {one.explicit_hash_key}

    def test_records_with_an_explicit_hash_key_share_an_aggregate_with_their_equals_only(self) -> None:
        records: list[UserRecordLike] = [
            ("k", b"%d" % nth, explicit) for nth, explicit in enumerate([None, "7", 7, "8", None, "007"])
        ]
        packed = list(sp.pack(records))

        assert [[record.data for record in sent(one)] for one in packed] == [[b"0", b"4"], [b"1", b"2", b"5"], [b"3"]]
        assert [one.explicit_hash_key for one in packed] == [str(sp.hash_key("k")), "7", "8"]

    @pytest.mark.parametrize("hash_keys", ["pinned", "kpl"])
    def test_by_key_the_outer_keys_are_the_user_s_own_and_nothing_is_pinned(self, hash_keys: Any) -> None:
        records: list[UserRecordLike] = [
            ("k", b"1"),
            ("k", b"2"),
            ("k", b"3", "7"),
            ("k", b"4", "7"),
            ("j", b"5"),
            ("j", b"6"),
        ]
        packed = list(sp.pack(records, by="key", hash_keys=hash_keys))

        assert [(one.partition_key, one.explicit_hash_key) for one in packed] == [("k", None), ("k", "7"), ("j", None)]
        assert [{r.explicit_hash_key for r in sp.decode(one.data)} for one in packed[:2]] == [{None}, {"7"}]

    def test_as_the_kpl_a_shard_s_aggregate_mixes_explicit_hash_keys_and_leaves_records_without(self) -> None:
        records: list[UserRecordLike] = [("k", b"1", "7"), ("k", b"2"), ("j", b"3", "8")]
        (packed,) = sp.pack(records, shard_map=sp.ShardMap.single(), hash_keys="kpl")

        assert (packed.partition_key, packed.explicit_hash_key) == ("a", "7")
        assert [record.explicit_hash_key for record in sp.decode(packed.data)] == ["7", None, "8"]

    def test_the_shard_is_named_and_follows_the_explicit_hash_key(self) -> None:
        key = next(str(nth) for nth in itertools.count() if sp.hash_key(str(nth)) < 2**127)
        explicit = [None, HIGH, LOW, 2**127 - 1, 2**127]
        packed = list(sp.pack(((key, b"data", one) for one in explicit), shard_map=sp.ShardMap(HALVES)))

        assert [one.shard_id for one in packed] == ["low", "high", "low", "low", "high"]

    @pytest.mark.parametrize("by", ["any", "key"])
    def test_without_routing_by_shard_no_shard_is_named(self, by: Any) -> None:
        (packed,) = sp.pack([("k", b"data")], by=by, shard_map=sp.ShardMap.single())

        assert packed.shard_id is None

    def test_the_default_routing_is_by_shard_with_a_map_and_any_without(self) -> None:
        records = [("k", b"1", LOW), ("k", b"2", LOW)]

        assert next(sp.pack(records, shard_map=sp.ShardMap(HALVES))).shard_id == "low"
        assert next(sp.pack(records)).shard_id is None

    def test_a_lane_is_named_by_the_outer_key_and_keeps_a_user_key(self) -> None:
        lanes: dict[str, set[str]] = defaultdict(set)
        records = ((f"k{nth % 40}", b"data") for nth in range(400))
        for packed in sp.pack(records, shard_map=sp.ShardMap.single(), lanes=8):
            lanes[packed.partition_key] |= {record.partition_key for record in sent(packed)}

        assert lanes.keys() <= set("01234567")
        assert len(lanes) > 4
        assert sum(map(len, lanes.values())) == 40


class TestLoneRecords:
    @pytest.mark.parametrize("setting", [setting for setting in SETTINGS if setting.lanes == 1])
    @pytest.mark.parametrize("explicit", [None, "7"])
    @pytest.mark.parametrize("data", [b"", b"data", MAGIC, MAGIC + bytes(30)])
    def test_go_as_they_are_under_their_own_keys(self, setting: Setting, explicit: str | None, data: bytes) -> None:
        (packed,) = sp.pack([("key", data, explicit)], **setting.arguments)

        assert (packed.data, packed.partition_key, packed.explicit_hash_key) == (data, "key", explicit)
        assert packed.user_record_count == 1

    @each_setting
    def test_that_are_aggregates_themselves_come_out_as_they_went_in(self, setting: Setting) -> None:
        inner = sp.encode([("inner", b"data")])
        (packed,) = sp.pack([("key", inner)], **setting.arguments)

        (record,) = sent(packed)
        assert (record.partition_key, record.data) == ("key", inner)
        assert packed.explicit_hash_key == (None if setting.by == "key" else str(sp.hash_key("key")))

    @each_setting
    def test_keep_their_tags(self, setting: Setting) -> None:
        (packed,) = sp.pack([("key", b"data", None, [("tag", None), ("tag", "value")])], **setting.arguments)

        assert sent(packed)[0].tags == (("tag", None), ("tag", "value"))

    @pytest.mark.parametrize("setting", [setting for setting in SETTINGS if setting.lanes > 1])
    def test_go_as_an_aggregate_in_a_lane(self, setting: Setting) -> None:
        (packed,) = sp.pack([("key", b"data")], **setting.arguments)

        assert sp.is_aggregated(packed.data)
        assert packed.partition_key in "0123"
        assert packed.explicit_hash_key == str(sp.hash_key("key"))

    @each_setting
    @pytest.mark.parametrize("kind", [bytearray, memoryview])
    def test_from_a_buffer_keep_what_it_held_when_they_were_added(self, setting: Setting, kind: Any) -> None:
        for data in (b"data", sp.encode([("inner", b"data")])):
            buffer = bytearray(data)
            packer = sp.Packer(**setting.arguments)
            packer.add("key", kind(buffer))
            packer.add("key", kind(buffer))
            buffer[:] = bytes(len(buffer))

            (packed,) = packer.flush()
            assert [type(record.data) for record in sent(packed)] == [bytes, bytes]
            assert [record.data for record in sent(packed)] == [data, data]


def test_a_view_with_gaps_is_read_as_what_it_shows() -> None:
    (packed,) = sp.pack([("key", memoryview(b"d-a-t-a")[::2])])

    assert packed.data == b"data"
    assert type(packed.data) is bytes


class TestWhen:
    @each_setting
    def test_pack_takes_only_what_it_needs_for_the_next_kinesis_record(self, setting: Setting) -> None:
        taken = 0

        def counted() -> Iterator[tuple[str, bytes]]:
            nonlocal taken
            for _ in range(100):
                taken += 1
                yield "k", bytes(300)

        packing = sp.pack(counted(), **limited(setting, max_record_bytes=1000).arguments)
        assert taken == 0
        for nth in range(1, 4):
            assert next(packing).user_record_count == 3
            assert taken == 3 * nth + 1

    def test_pack_checks_its_settings_at_once(self) -> None:
        with pytest.raises(ValueError, match="by is"):
            sp.pack([], by="lane")  # type: ignore[arg-type]

    def test_add_all_leaves_what_is_open(self) -> None:
        packer = sp.Packer(limits=sp.Limits(max_user_records=2))

        assert len(list(packer.add_all([("k", b"1"), ("k", b"2"), ("k", b"3")]))) == 1
        assert [one.user_record_count for one in packer.flush()] == [1]
        assert list(packer.add_all([])) == []

    @each_setting
    def test_flush_gives_all_in_the_order_of_opening_and_then_nothing(self, setting: Setting) -> None:
        packer = sp.Packer(**setting.arguments)
        for nth in range(100):
            assert packer.add(f"k{nth % 10}", b"%02d" % nth) == []
        flushed = packer.flush()
        first = [sent(one)[0].data for one in flushed]

        assert sum(one.user_record_count for one in flushed) == 100
        assert first == sorted(first)
        assert packer.flush() == packer.flush() == []

    @each_setting
    def test_input_that_fails_in_the_middle_leaves_the_packer_usable(self, setting: Setting) -> None:
        def failing() -> Iterator[tuple[str, bytes]]:
            yield "k", b"1"
            yield "k", b"2"
            raise ConnectionError

        packer = sp.Packer(**setting.arguments)
        with pytest.raises(ConnectionError):
            list(packer.add_all(failing()))
        packer.add("k", b"3")

        (packed,) = packer.flush()
        assert [record.data for record in sent(packed)] == [b"1", b"2", b"3"]

    @each_setting
    def test_a_bad_record_in_the_middle_leaves_the_rest_of_the_input(self, setting: Setting) -> None:
        packer = sp.Packer(**setting.arguments)
        rest = iter([("k", b"1"), ("", b"2"), ("k", b"3")])
        with pytest.raises(sp.InvalidRecordError):
            list(packer.add_all(rest))
        list(packer.add_all(rest))

        (packed,) = packer.flush()
        assert [record.data for record in sent(packed)] == [b"1", b"3"]

    @given(fitting_records, settings_of("any", "key", "shard"))
    def test_the_same_input_gives_the_same_output(self, records: list[sp.UserRecord], setting: Setting) -> None:
        arguments = limited(setting, max_record_bytes=500).arguments

        assert list(sp.pack(records, **arguments)) == list(sp.pack(map(tuple, records), **arguments))  # type: ignore[arg-type]


def packed_under_the_kcl_s_rule(packed: sp.PackedRecord, shards: Sequence[sp.Shard]) -> list[sp.ReceivedRecord]:
    """What the KCL delivers of a Kinesis record from whichever shard it was put to (AggregatorUtil)."""
    outer = hash_key_of(sp.UserRecord(packed.partition_key, b"", packed.explicit_hash_key))
    (shard,) = [shard for shard in shards if outer in shard]
    return list(sp.unpack(packed, on_corrupt="kcl", hash_range=shard, out_of_range="drop_aggregate"))


class TestNothingIsLostToTheKcl:
    @given(fitting_records, settings_of("any", "key", "shard"), st.data())
    def test_whatever_the_stream_s_shards_are_by_now(
        self, records: list[sp.UserRecord], setting: Setting, drawn: st.DataObject
    ) -> None:
        now = drawn.draw(settings_of("any")).shards
        for packed in sp.pack(records, **limited(setting._replace(hash_keys="pinned"), max_record_bytes=800).arguments):
            assert len(packed_under_the_kcl_s_rule(packed, now)) == packed.user_record_count

    @given(fitting_records, settings_of("shard"))
    def test_as_the_kpl_while_the_shards_are_those_of_the_map(
        self, records: list[sp.UserRecord], setting: Setting
    ) -> None:
        for packed in sp.pack(records, **limited(setting._replace(hash_keys="kpl"), max_record_bytes=800).arguments):
            assert len(packed_under_the_kcl_s_rule(packed, setting.shards)) == packed.user_record_count

    @pytest.mark.parametrize(("hash_keys", "delivered"), [("pinned", 50), ("kpl", 0)])
    def test_a_split_loses_an_aggregate_of_the_kpl_s_and_no_pinned_one(self, hash_keys: Any, delivered: int) -> None:
        records = ((f"k{nth}", b"data") for nth in range(50))
        (packed,) = sp.pack(records, shard_map=sp.ShardMap.single(), hash_keys=hash_keys)

        assert len(packed_under_the_kcl_s_rule(packed, HALVES)) == delivered


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"by": "lane"}, "by is 'lane'"),
        ({"by": "shard"}, "needs a shard_map"),
        ({"hash_keys": "Pinned"}, "hash_keys is 'Pinned'"),
        ({"hash_keys": "kpl"}, "loses records"),
        ({"by": "any", "hash_keys": "kpl", "shard_map": sp.ShardMap.single()}, "loses records"),
        ({"shard_map": sp.ShardMap.single(), "lanes": 0}, "lanes is 0"),
        ({"shard_map": sp.ShardMap.single(), "lanes": -1}, "lanes is -1"),
        ({"lanes": 2}, "lanes subdivide a shard"),
        ({"by": "key", "lanes": 2}, "lanes subdivide a shard"),
        ({"by": "any", "lanes": 2, "shard_map": sp.ShardMap.single()}, "lanes subdivide a shard"),
        ({"max_buffered_bytes": 2**20 - 1}, "max_buffered_bytes is 1,048,575"),
    ],
)
def test_settings_out_of_range_or_at_odds_are_refused_by_name(arguments: dict[str, Any], says: str) -> None:
    for make in (sp.Packer, lambda **given: sp.pack([], **given)):
        with pytest.raises(ValueError, match=says):
            make(**arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"shard_map": []}, "shard_map is of type list; give a ShardMap"),
        ({"limits": 51_200}, r"limits is 51200, of type int; give a Limits, such as Limits\(51_200\)"),
        ({"lanes": 2.5, "shard_map": sp.ShardMap.single()}, "lanes is 2.5, of type float; give an int"),
        ({"lanes": "2"}, "lanes is '2', of type str; give an int"),
        ({"max_buffered_bytes": "1 GB"}, "max_buffered_bytes is '1 GB', of type str"),
    ],
)
def test_settings_of_the_wrong_type_are_refused_by_name(arguments: dict[str, Any], says: str) -> None:
    for make in (sp.Packer, lambda **settings: sp.pack([], **settings)):
        with pytest.raises(TypeError, match=says):
            make(**arguments)


def test_an_empty_routing_is_none_of_the_choices() -> None:
    with pytest.raises(ValueError, match="by is ''"):
        sp.Packer(by="")  # type: ignore[arg-type]
