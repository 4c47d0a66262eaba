"""Aggregates that get their place when they close."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packer_model import user_records

import shardpack as sp
from shardpack.limits import MAX_HASH_KEY
from shardpack.packing.placing import Place, PlacingPacker
from shardpack.wire import pure_core
from shardpack.wire.backend import backend

PINS = st.integers(0, MAX_HASH_KEY).map(str) | st.sampled_from(["0", "9", "10", str(MAX_HASH_KEY)])


@pytest.mark.parametrize("core", [pure_core, backend()], ids=["pure", "chosen"])
@given(records=st.lists(user_records, max_size=8), before=PINS, after=PINS)
def test_an_aggregate_with_another_pin_is_what_it_would_have_been(
    core: object, records: list[sp.UserRecord], before: str, after: str
) -> None:
    new = core.builder  # type: ignore[attr-defined]
    builder, expected = new(2**20, before), new(2**20, after)
    for record in records:
        assert builder.add_any(*record)
        assert expected.add_any(*record)
    builder.repin(after)
    assert (builder.size, builder.count, builder.build()) == (expected.size, expected.count, expected.build())


@pytest.mark.parametrize("core", [pure_core, backend()], ids=["pure", "chosen"])
def test_what_is_not_pinned_gets_no_pin(core: object) -> None:
    with pytest.raises(ValueError, match="not pinned"):
        core.builder(1000, None).repin("5")  # type: ignore[attr-defined]


@given(st.lists(user_records, max_size=20), st.integers(64, 400), PINS)
def test_nothing_is_lost_and_each_goes_where_it_was_told(records: list[sp.UserRecord], limit: int, pin: str) -> None:
    records = [record._replace(data=b"%02d" % nth + record.data) for nth, record in enumerate(records)]
    sizes: list[int] = []

    def place(size: int) -> Place:
        sizes.append(size)
        return Place(pin, "shard")

    packer = PlacingPacker(sp.Limits(2000, None, limit), place)
    packed = [one for record in records for one in packer.add(*record)] + packer.flush()

    own = [one for one in packed if one.shard_id is None]
    placed = [one for one in packed if one.shard_id is not None]
    assert len(sizes) == len(placed)
    assert all(size >= one.size - 1 for size, one in zip(sizes, placed, strict=True))  # before it had its pin
    assert all(one.size <= (limit if one.user_record_count > 1 else 2000) for one in packed)
    assert {one.explicit_hash_key for one in placed} <= {pin}
    came = [one for each in packed for one in sp.unpack(each)]
    assert sorted(one.data for one in came) == [record.data for record in records]
    kept = {record.data: record.explicit_hash_key for record in records}
    for one in own:
        assert {kept[record.data] for record in sp.unpack(one)} == {one.explicit_hash_key}
    for record in came:
        assert record.explicit_hash_key in (kept[record.data] or pin, None if not record.aggregated else pin)


def test_without_a_place_an_aggregate_goes_where_its_first_record_belongs() -> None:
    packer = PlacingPacker(sp.Limits(), lambda _size: None)
    packer.add("a", b"1")
    packer.add("b", b"2")
    (packed,) = packer.flush()
    assert packed == next(iter(sp.pack([("a", b"1"), ("b", b"2")])))
