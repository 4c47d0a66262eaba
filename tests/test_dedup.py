"""Digests of user records that do not depend on their order."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.dedup import RecordDigest

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
