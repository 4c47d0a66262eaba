"""Many user records at once: as one by one, whichever core does it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from cores import Bytes, Str, answer
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.hashing import Shard
from shardpack.limits import MAX_HASH_KEY
from shardpack.producer.core import bulk
from shardpack.producer.core.aggregator import Aggregator
from shardpack.producer.core.pending import Parcel, Pending
from shardpack.producer.delivery import Attempt, Delivery
from shardpack.records import check_user_record
from shardpack.wire.backend import backend, native

MANY = sp.ShardMap(
    [Shard(f"s{n}", (MAX_HASH_KEY + 1) * n // 7, (MAX_HASH_KEY + 1) * (n + 1) // 7 - 1) for n in range(7)]
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
USER_RECORDS = st.lists(
    st.tuples(KEYS, st.binary(max_size=300)).map(lambda fields: sp.UserRecord(*fields)), min_size=1, max_size=60
)
ODD: list[Any] = [
    ("k", b"x"),
    ("k", b"x", None),
    ("k", b"x", None, ()),
    sp.UserRecord("k", b"x"),
    sp.UserRecord("é" * 256, b"", "7", (("t", None),)),
    ("k", b"x", 7),
    ("k", b"x", "007"),
    ("k", b"x", None, [("t", "v")]),
    ("k", bytearray(b"x")),
    ("k", memoryview(b"x")),
    (Str("k"), Bytes(b"x")),
    ("", b"x"),
    ("k" * 257, b"x"),
    ("\ud800", b"x"),
    ("k", "text"),
    (b"k", b"x"),
    ("k", b"x", -1),
    ("k", b"x", None, "ab"),
    ("k",),
    ("k", b"x", None, (), 5),
    ["k", b"x"],
    None,
]


@pytest.mark.parametrize("record", ODD, ids=map(str, range(len(ODD))))
def test_each_is_checked_as_alone(record: Any) -> None:
    expected = answer(lambda: [check_user_record(("a", b"")), check_user_record(record)])
    got = answer(lambda: bulk.checked([("a", b""), record]))

    assert got == expected
    if got[0] == "returned":
        assert [type(one) for one in bulk.checked([record])] == [sp.UserRecord]


def test_any_iterable_is_taken_and_its_error_comes_through() -> None:
    def numbered() -> Iterator[tuple[str, bytes]]:
        yield "k", b"1"
        raise LookupError("the application's own")

    assert bulk.checked(iter([("k", b"1")])) == [sp.UserRecord("k", b"1")]
    assert bulk.checked([]) == []
    with pytest.raises(LookupError):
        bulk.checked(numbered())
    with pytest.raises(TypeError):
        bulk.checked(5)  # type: ignore[arg-type]  # what it is about


def test_no_room_is_made_for_more_than_there_are() -> None:
    class Boastful(list[tuple[str, bytes]]):
        def __len__(self) -> int:
            return 10**15

    core = backend().bulk
    for checked in (bulk.checked, *([core.checked] if core else [])):
        assert checked(Boastful([("k", b"1")])) == [sp.UserRecord("k", b"1")]
    with pytest.raises(sp.InvalidRecordError, match="0 is no user record"):
        bulk.checked(range(10**15))  # type: ignore[arg-type]  # what it is about


@given(USER_RECORDS)
def test_sizes_are_those_of_the_service(records: list[sp.UserRecord]) -> None:
    sizes = [len(record.data) + len(record.partition_key.encode()) for record in records]

    assert bulk.measured(records) == (sum(sizes), max(sizes), sum(len(record.data) for record in records))
    assert [bulk.size_of(record) for record in records] == sizes


@given(USER_RECORDS)
def test_each_record_goes_to_the_shard_of_its_key(records: list[sp.UserRecord]) -> None:
    shares = bulk.Shares(MANY).of(records)

    if native == "pure":
        assert shares is None
        return
    assert shares is not None
    placed = {place: shard_id for shard_id, places in shares.items() for place in places}
    assert placed == {
        place: MANY.shard_for_partition_key(record.partition_key).shard_id for place, record in enumerate(records)
    }
    assert all(list(places) == sorted(places) for places in shares.values())


def test_where_shards_cannot_be_told_in_bulk_it_says_so() -> None:
    records = [sp.UserRecord("k", b""), sp.UserRecord("k", b"", "7")]

    assert bulk.Shares(MANY).of(records) is None
    assert bulk.Shares(None).of(records) is None
    assert bulk.Shares(None).of(records[:1]) == (None if native == "pure" else {None: range(1)})


@given(st.integers(min_value=1, max_value=300), st.integers(min_value=0, max_value=5))
def test_deliveries_count_on(count: int, start: int) -> None:
    first = Delivery("s", "49", start, True, (Attempt(0.5, 0.25),))

    got = list(bulk.deliveries(first, count))

    assert got == [first._replace(sub_sequence_number=start + n) for n in range(count)]
    assert {type(delivery) for delivery in got} == {Delivery}


@pytest.mark.skipif(native == "pure", reason="Python shows the collector all tuples of a class")
def test_the_collector_is_spared_what_cannot_be_garbage() -> None:
    first = Delivery("s", "49", 0, True, (Attempt(0.5, 0.25, "Code", "message"),))

    assert not any(map(gc.is_tracked, bulk.checked([("k", b"x")] * 9)))
    assert not any(map(gc.is_tracked, bulk.deliveries(first, 9)))

    attempts: Any = ([],)  # a list may become part of a cycle
    assert all(map(gc.is_tracked, list(bulk.deliveries(first._replace(attempts=attempts), 9))))


@given(USER_RECORDS, st.sampled_from(["pinned", "kpl"]), st.sampled_from([None, MANY]), st.booleans())
def test_a_batch_is_aggregated_as_its_records_one_by_one(
    records: list[sp.UserRecord], hash_keys: Any, shard_map: sp.ShardMap | None, own: bool
) -> None:
    if own:
        records[0] = records[0]._replace(explicit_hash_key="5")
    config = sp.ProducerConfig(hash_keys=hash_keys, aggregation_max_size=400)
    together, alone = (Aggregator(config, lambda _size: None) for _ in range(2))

    got = together.add(Pending("t", records, range(len(records)), 0, 0.0), shard_map, 0.0)
    expected = [
        parcel
        for n, record in enumerate(records)
        for parcel in alone.add(Pending("t", [record], range(n, n + 1), 0, 0.0), shard_map, 0.0)
    ]
    got += together.close_all()
    expected += alone.close_all()

    def shown(parcels: list[Parcel]) -> list[tuple[Any, ...]]:
        return sorted(
            (parcel.packed.data, str(parcel.packed.shard_id), [i for part in parcel.pending for i in part.indices])
            for parcel in parcels
        )

    assert shown(got) == shown(expected)
    assert sorted(i for parcel in got for part in parcel.pending for i in part.indices) == list(range(len(records)))
