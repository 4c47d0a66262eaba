"""Digests of user records that do not depend on their order."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from xxhash import xxh3_128_intdigest

import shardpack as sp
from shardpack.dedup import Deduplicator, RecordDigest

keys = st.text(st.characters(codec="utf-8"), max_size=4)
records = st.lists(st.builds(sp.UserRecord, keys, st.binary(max_size=4), st.none() | st.just("7")), max_size=8)


def digest_of(given_records: Iterable[Any]) -> RecordDigest:
    digest = RecordDigest()
    digest.update(given_records)
    return digest


def test_known_digests() -> None:
    digest = RecordDigest()
    assert digest.hexdigest() == "0" * 32
    digest.add(sp.UserRecord("key", b"data"))
    assert digest.hexdigest() == "ebb9848c88702a9b265caeeedf2feaad"
    digest.add(sp.UserRecord("\u00e9", b""))
    assert digest.hexdigest() == "09d89c67514cc402a923d5adeae5889c"
    assert repr(digest) == "<RecordDigest 09d89c67514cc402a923d5adeae5889c of 2 records, 4 bytes>"


@given(records, st.randoms())
def test_the_order_makes_no_difference(given_records: list[sp.UserRecord], shuffle: Any) -> None:
    shuffled = list(given_records)
    shuffle.shuffle(shuffled)

    assert digest_of(given_records) == digest_of(shuffled)
    assert digest_of(given_records).hexdigest() == digest_of(shuffled).hexdigest()


@given(records, records)
def test_digests_are_equal_only_for_the_same_records_as_many_times(
    left: list[sp.UserRecord], right: list[sp.UserRecord]
) -> None:
    same = sorted(record[:2] for record in left) == sorted(record[:2] for record in right)

    assert (digest_of(left) == digest_of(right)) == same
    assert (digest_of(left) != digest_of(right)) != same


@given(records, records)
def test_merged_is_as_if_all_had_gone_into_one(left: list[sp.UserRecord], right: list[sp.UserRecord]) -> None:
    merged = digest_of(left)
    merged.merge(digest_of(right))

    assert merged == digest_of(left + right)
    assert (merged.count, merged.data_bytes) == (
        len(left + right),
        sum(len(record.data) for record in left + right),
    )


@given(records.filter(bool), st.data())
def test_one_changed_byte_makes_a_difference(given_records: list[sp.UserRecord], drawn: st.DataObject) -> None:
    nth = drawn.draw(st.integers(0, len(given_records) - 1))
    record = given_records[nth]
    assume(record.data)
    place = drawn.draw(st.integers(0, len(record.data) - 1))
    changed = bytearray(record.data)
    changed[place] ^= drawn.draw(st.integers(1, 255))
    others = [*given_records[:nth], record._replace(data=bytes(changed)), *given_records[nth + 1 :]]

    assert digest_of(given_records).hexdigest() != digest_of(others).hexdigest()


@pytest.mark.parametrize(
    "others",
    [
        [("ke", b"ydata")],
        [("keyd", b"ata")],
        [("keydata", b"")],
        [("", b"keydata")],
        [("key", b"data"), ("", b"")],
        [("key", b"data"), ("key", b"data")],
        [("key", b"da"), ("", b"ta")],
        [],
    ],
)
def test_a_moved_boundary_makes_a_difference(others: list[tuple[str, bytes]]) -> None:
    digest = digest_of([sp.UserRecord("key", b"data")])

    assert digest.hexdigest() != digest_of(sp.UserRecord(*other) for other in others).hexdigest()


def test_records_that_cancel_out_when_xored_do_not_here() -> None:
    twice = digest_of([sp.UserRecord("key", b"data")] * 2)

    assert twice.hexdigest() != RecordDigest().hexdigest()
    assert twice.hexdigest() != digest_of([sp.UserRecord("k", b"d")] * 2).hexdigest()


@given(records.map(lambda given_records: [record for record in given_records if record.partition_key]))
def test_what_arrived_has_the_digest_of_what_was_sent(given_records: list[sp.UserRecord]) -> None:
    assert digest_of(sp.unpack(sp.pack(given_records))) == digest_of(given_records)


def test_a_digest_is_no_key_and_equals_nothing_else() -> None:
    with pytest.raises(TypeError):
        hash(RecordDigest())
    assert RecordDigest() != 0
    assert RecordDigest() != RecordDigest().hexdigest()
    digest = digest_of([sp.UserRecord("key", b"data")])
    copied = copy.copy(digest)
    digest.add(sp.UserRecord("key", b"data"))
    assert copied != digest


def received(
    key: str = "k",
    data: bytes = b"data",
    sequence_number: str | None = "7",
    sub_sequence_number: int = 0,
    explicit_hash_key: str | None = None,
    seconds: float | None = None,
) -> sp.ReceivedRecord:
    arrival = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return sp.ReceivedRecord(
        key, data, explicit_hash_key, sequence_number, sub_sequence_number, True, arrival, "shardId-000000000000"
    )


class TestDeduplicator:
    def test_it_tells_a_redelivery_from_a_reproduction(self) -> None:
        deduplicator = Deduplicator()
        assert deduplicator.seen(received()) is None
        assert deduplicator.seen(received()) is None  # looking is not remembering
        deduplicator.add(received())

        assert deduplicator.seen(received()) == "redelivery"
        assert deduplicator.seen(received(sequence_number="8")) == "reproduction"
        assert deduplicator.seen(received(sub_sequence_number=1)) == "reproduction"
        assert deduplicator.seen(received()._replace(shard_id="shardId-000000000001")) == "reproduction"
        assert deduplicator.seen(received(sequence_number=None)) == "reproduction"
        assert deduplicator.seen(sp.UserRecord("k", b"data")) == "reproduction"
        deduplicator.add(received(sequence_number="8"))
        assert deduplicator.seen(received(sequence_number="8")) == "redelivery"
        assert deduplicator.seen(received()) == "redelivery"
        assert len(deduplicator) == 1

    def test_other_content_at_the_same_position_is_another_record(self) -> None:
        deduplicator = Deduplicator()
        deduplicator.add(received())

        assert deduplicator.seen(received(data=b"other")) is None
        assert deduplicator.seen(received(key="other")) is None

    @pytest.mark.parametrize("other", [("kd", b"ata"), ("", b"kdata"), ("kdata", b"")])
    def test_a_moved_boundary_makes_a_difference(self, other: tuple[str, bytes]) -> None:
        deduplicator = Deduplicator()
        deduplicator.add(received())

        assert deduplicator.seen(received(*other)) is None

    def test_the_fingerprint_is_that_of_the_documentation(self) -> None:
        fields = (b"k", b"5", b"data")
        expected = xxh3_128_intdigest(b"".join(len(field).to_bytes(8, "little") + field for field in fields))

        deduplicator = Deduplicator(explicit_hash_key=True)
        assert deduplicator._fingerprint(received(explicit_hash_key="5")) == expected

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
    def test_a_copy_goes_on_by_itself(self, copied: Callable[[Deduplicator], Deduplicator]) -> None:
        deduplicator = Deduplicator(max_count=2)
        deduplicator.add(received())
        other = copied(deduplicator)
        assert other.seen(received()) == "redelivery"
        for nth in range(2):
            other.add(received(data=b"%d" % nth))
        assert (deduplicator.seen(received()), other.seen(received())) == ("redelivery", None)

    def test_the_explicit_hash_key_counts_when_told_to(self) -> None:
        for counts in (False, True):
            deduplicator = Deduplicator(explicit_hash_key=counts)
            deduplicator.add(received(explicit_hash_key="5"))
            assert (deduplicator.seen(received(explicit_hash_key="6")) is None) == counts
            assert deduplicator.seen(received(explicit_hash_key="5")) == "redelivery"

    def test_what_is_put_again_by_a_pinning_producer_is_a_reproduction(self) -> None:
        shard_map = sp.ShardMap.single()
        first, second = (
            [sp.UserRecord(key, b"%d" % n) for n, key in enumerate(keys)] for keys in (["a", "b", "c"], ["z", "b", "y"])
        )
        deduplicator = Deduplicator()
        for one in sp.unpack(sp.pack(first, shard_map=shard_map)):
            deduplicator.add(one)

        seen = [deduplicator.seen(one) for one in sp.unpack(sp.pack(second, shard_map=shard_map))]
        assert seen == [None, "reproduction", None]

    def test_a_key_of_your_own(self) -> None:
        deduplicator = Deduplicator(key=lambda record: record.data[:2])
        deduplicator.add(received(data=b"id1"))

        assert deduplicator.seen(received(data=b"id2")) == "redelivery"
        assert deduplicator.seen(received(data=b"no", sequence_number="8")) is None
        text = Deduplicator(key=lambda record: record.partition_key or "")
        text.add(received())
        assert text.seen(received(data=b"x", sequence_number="9")) == "reproduction"

    @pytest.mark.parametrize("picked", [None, 7, ["a"]])
    def test_a_key_that_is_none_is_refused(self, picked: Any) -> None:
        deduplicator = Deduplicator(key=lambda _: picked)
        with pytest.raises(TypeError, match="key picked"):
            deduplicator.seen(received())
        with pytest.raises(TypeError, match="key picked"):
            deduplicator.add(received())

    def test_the_count_bounds_the_window(self) -> None:
        deduplicator = Deduplicator(max_count=2)
        for data in (b"1", b"2", b"1", b"3"):  # 1 is seen again, so 2 is the oldest
            deduplicator.add(received(data=data))

        assert [deduplicator.seen(received(data=data)) is None for data in (b"1", b"2", b"3")] == [False, True, False]
        assert len(deduplicator) == 2

    def test_the_age_bounds_the_window(self) -> None:
        deduplicator = Deduplicator(max_age=10)
        deduplicator.add(received(data=b"1"), now=100)
        deduplicator.add(received(data=b"2"), now=105)

        assert deduplicator.seen(received(data=b"1"), now=109.9) == "redelivery"
        assert deduplicator.seen(received(data=b"1"), now=110) is None
        assert deduplicator.seen(received(data=b"2"), now=110) == "redelivery"
        assert len(deduplicator) == 1
        assert deduplicator.seen(received(data=b"2"), now=90) == "redelivery"  # time does not go back
        deduplicator.add(received(data=b"3"), now=90)
        assert deduplicator.seen(received(data=b"3"), now=119) == "redelivery"

    def test_the_stream_s_own_time_is_the_clock_unless_one_is_given(self) -> None:
        deduplicator = Deduplicator(max_age=10)
        deduplicator.add(received(seconds=100))

        assert deduplicator.seen(received(seconds=109)) == "redelivery"
        assert deduplicator.seen(received(seconds=110)) is None
        with pytest.raises(ValueError, match="give now"):
            deduplicator.seen(received())
        with pytest.raises(ValueError, match="give now"):
            deduplicator.add(sp.UserRecord("k", b"data"))
        Deduplicator().add(received())  # without an age there is no need for a clock

    @pytest.mark.parametrize(
        ("settings", "message"), [({"max_count": 0}, "max_count is 0"), ({"max_age": 0}, "max_age is 0")]
    )
    def test_a_window_without_room_is_refused(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Deduplicator(**settings)

    @given(
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 5), st.booleans()), max_size=40),
        st.integers(1, 4),
        st.none() | st.integers(1, 10),
    )
    def test_it_does_what_a_list_would(
        self, steps: list[tuple[int, int, int, bool]], max_count: int, max_age: int | None
    ) -> None:
        deduplicator = Deduplicator(max_count=max_count, max_age=max_age)
        window: list[tuple[bytes, int]] = []  # content and time, the latest last
        delivered: set[tuple[bytes, str]] = set()
        now = 0
        for content, place, seconds, added in steps:
            now += seconds
            record = received(data=b"%d" % content, sequence_number=f"{place}")
            window = [(data, when) for data, when in window if max_age is None or when > now - max_age]
            seen = deduplicator.seen(record, now=now)

            assert (seen is None) == (record.data not in [data for data, _ in window])
            assert seen != "redelivery" or (record.data, f"{place}") in delivered
            if added:
                deduplicator.add(record, now=now)
                window = [(data, when) for data, when in window if data != record.data] + [(record.data, now)]
                window = window[-max_count:]
                delivered.add((record.data, f"{place}"))
                assert deduplicator.seen(record, now=now) == "redelivery"
            assert len(deduplicator) == len(window)
