"""A record too large for an aggregate goes alone; one too large for Kinesis is refused: every preset, at each edge."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packer_model import Model, Setting, TooLargeError
from soak_interrupts import Interrupt

import shardpack as sp
from shardpack.limits import KIB, MIB
from shardpack.packing.settings import By

PRESETS = {
    "default": sp.Limits(),
    "kpl": sp.Limits.kpl(),
    "one unit": sp.Limits.put_units(1),
    "forty units": sp.Limits.put_units(40),
    "more than 1 MiB": sp.Limits.put_units(41),
    "most units": sp.Limits.put_units(409),
    "large": sp.Limits.large(),
    "alone, counted": sp.Limits(MIB, 3, 2000),
}
ROUTES: tuple[tuple[By, bool, int], ...] = (
    ("any", True, 1),
    ("key", True, 1),
    ("key", False, 1),
    ("shard", True, 1),
    ("shard", False, 1),
    ("shard", True, 3),
)


def edges(limits: sp.Limits) -> st.SearchStrategy[int]:
    """Lengths of data at which something changes, give or take the bytes around them."""
    near = st.sampled_from([limits.aggregate_bytes, limits.max_record_bytes])
    return st.builds(lambda edge, off: max(0, edge + off), near, st.integers(-70, 4)) | st.sampled_from([0, 7, 500])


def record(size: int, key: str, explicit: str | None, kind: str) -> sp.UserRecord:
    """Of `size` bytes; some must be wrapped even alone, because they look like an aggregate, or have tags."""
    data = sp.encode([("k", bytes(max(0, size - 40)))]) if kind == "looks aggregated" else bytes(size)
    return sp.UserRecord(key, data, explicit, (("tag", None),) if kind == "tagged" else ())


def outcomes(packer: sp.Packer | Model, records: Iterable[sp.UserRecord]) -> list[list[sp.PackedRecord] | int]:
    """What each record closes, or its size if it is refused, and what is left at the end."""
    found: list[list[sp.PackedRecord] | int] = []
    for one in records:
        try:
            found.append(packer.add(*one) if isinstance(packer, sp.Packer) else packer.add(one))
        except sp.RecordTooLargeError as error:
            found.append(error.size)
        except TooLargeError as error:
            found.append(int(error.args[0]))
    return [*found, packer.flush()]


def check(limits: sp.Limits, route: tuple[By, bool, int], records: list[sp.UserRecord]) -> None:
    by, pinned, lanes = route
    setting = Setting(by, "pinned" if pinned else "kpl", lanes, limits)
    found = outcomes(sp.Packer(**setting.arguments), records)
    assert found == outcomes(Model(setting), records)
    for packed in [one for group in found if isinstance(group, list) for one in group]:
        assert packed.size <= (limits.aggregate_bytes if packed.user_record_count > 1 else limits.max_record_bytes)


KEYS = st.sampled_from(["k", "another key", "\u00e9" * 20])
EXPLICIT = st.sampled_from([None, None, "7"])
KINDS = st.sampled_from(["plain", "plain", "looks aggregated", "tagged"])


@pytest.mark.parametrize("name", [name for name, limits in PRESETS.items() if limits.max_record_bytes == MIB])
@settings(max_examples=15)
@given(st.data(), st.sampled_from(ROUTES))
def test_of_records_around_each_edge(name: str, data: st.DataObject, route: tuple[By, bool, int]) -> None:
    limits = PRESETS[name]
    check(limits, route, data.draw(st.lists(st.builds(record, edges(limits), KEYS, EXPLICIT, KINDS), max_size=5)))


@pytest.mark.parametrize("name", [name for name, limits in PRESETS.items() if limits.max_record_bytes > MIB])
@settings(max_examples=4)
@given(st.data(), st.sampled_from(ROUTES))
def test_of_large_records_around_each_edge(name: str, data: st.DataObject, route: tuple[By, bool, int]) -> None:
    limits = PRESETS[name]
    check(limits, route, data.draw(st.lists(st.builds(record, edges(limits), KEYS, EXPLICIT, KINDS), max_size=2)))


@given(
    st.lists(st.builds(record, st.sampled_from([5, 90, 150, 400, 499, 500]), KEYS, EXPLICIT, KINDS), max_size=30),
    st.sampled_from(ROUTES),
    st.integers(0, 3),
)
def test_with_a_lookahead_nothing_is_lost_and_keys_keep_their_order(
    records: list[sp.UserRecord], route: tuple[By, bool, int], lookahead: int
) -> None:
    records = [one._replace(data=b"%02d" % nth + one.data) for nth, one in enumerate(records)]
    by, pinned, lanes = route
    setting = Setting(by, "pinned" if pinned else "kpl", lanes, sp.Limits(1000, None, 200))
    packed = list(sp.pack(records, **setting.arguments, lookahead=lookahead))

    assert all(one.size <= (200 if one.user_record_count > 1 else 1000) for one in packed)
    came = [one for each in packed for one in sp.unpack(each)]
    assert sorted(one.data for one in came) == [one.data for one in records]
    given_as = {one.data: (one.partition_key, one.explicit_hash_key) for one in records}
    for key in set(given_as.values()):
        of_key = [one.data for one in came if given_as[one.data] == key]
        assert of_key == sorted(of_key)


@pytest.mark.parametrize("lookahead", [0, 2])
@pytest.mark.parametrize("kind", [list, iter])
def test_a_record_alone_keeps_its_place(kind: type, lookahead: int) -> None:
    records = [("k", b"before"), ("k", bytes(72 * KIB)), ("k", b"after"), ("k", b"last")]
    packed = list(sp.pack(kind(records), limits=sp.Limits.kpl(), lookahead=lookahead))

    assert [one.user_record_count for one in packed] == [1, 1, 2]
    assert packed[1] == sp.PackedRecord(bytes(72 * KIB), "k", None, 1)


def test_what_must_be_wrapped_is_wrapped_alone_and_takes_nobody_in() -> None:
    inside = sp.encode([("inner", bytes(60_000))])
    packed = list(sp.pack([("k", inside), ("k", b"small")], limits=sp.Limits.kpl()))

    assert [one.user_record_count for one in packed] == [1, 1]
    assert [record.data for one in packed for record in sp.unpack(one)] == [inside, b"small"]


def test_no_more_waits_than_was_said_where_records_go_alone() -> None:
    """A record beyond the limit of aggregates makes as many go out as it takes, not one."""
    packer = sp.Packer(limits=sp.Limits(MIB, None, 1000), lookahead=2)
    waiting = 0
    for nth in range(300):
        size = 100 if nth % 7 else 3000
        waiting += size
        waiting -= sum(len(one.data) for packed in packer.add("k", bytes(size)) for one in sp.unpack(packed))
        assert waiting <= 2 * 1000


def test_memory_that_a_lone_record_took_is_given_back() -> None:
    packer = sp.Packer(by="key", limits=sp.Limits.kpl(), max_buffered_bytes=MIB)
    for nth in range(50):
        (lone,) = packer.add(f"lone {nth}", bytes(60_000))
        assert lone.user_record_count == 1
        assert packer.add(f"{nth}", b"data") == []
    assert len(packer.flush()) == 50


@pytest.mark.parametrize(
    ("limits", "first"),
    [
        (sp.Limits(MIB, None, 1000), bytes(2000)),
        (sp.Limits(MIB, None, 1000), record(2000, "k", None, "looks aggregated").data),
        (sp.Limits(MIB, 1), b"first"),
    ],
    ids=["too large", "too large and wrapped", "one of one"],
)
def test_an_interrupt_before_what_is_full_was_closed_lets_nothing_join_it(
    limits: sp.Limits, first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    packer = sp.Packer(limits=limits)

    def interrupt(_route: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(packer, "_settle", interrupt)
    with pytest.raises(KeyboardInterrupt):
        packer.add("k", first)
    with Interrupt(100_000, TimeoutError):  # many more bytecodes than it takes
        packed = packer.add("k", b"second") + packer.flush()

    assert [one.user_record_count for one in packed] == [1, 1]
    assert [record.data for one in packed for record in sp.unpack(one)] == [first, b"second"]
