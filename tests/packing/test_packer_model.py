"""The packer, call by call, against a slow model of it (packer_model.py), in every order of valid and invalid calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from packer_model import Model, Setting, TooLargeError, aggregate, settings_of, user_records

import shardpack as sp
from shardpack.packing.settings import By

# What is wrong, and the arguments of `add`.
INVALID: list[tuple[str, tuple[Any, ...]]] = [
    ("partition_key", ("", b"data")),
    ("partition_key", ("k" * 257, b"data")),
    ("partition_key", ("\U0001f600" * 257, b"data")),
    ("partition_key", ("\ud800", b"data")),
    ("partition_key", ("k\udfff", b"data")),
    ("partition_key", (b"k", b"data")),
    ("partition_key", (None, b"data")),
    ("partition_key", (1, b"data")),
    ("partition_key", (["k"], b"data")),
    ("data", ("k", "text")),
    ("data", ("k", None)),
    ("data", ("k", 3)),
    ("data", ("k", [1, 2])),
    ("explicit_hash_key", ("k", b"data", "-1")),
    ("explicit_hash_key", ("k", b"data", -1)),
    ("explicit_hash_key", ("k", b"data", 2**128)),
    ("explicit_hash_key", ("k", b"data", str(2**128))),
    ("explicit_hash_key", ("k", b"data", "9" * 5000)),
    ("explicit_hash_key", ("k", b"data", "")),
    ("explicit_hash_key", ("k", b"data", "abc")),
    ("explicit_hash_key", ("k", b"data", "1.0")),
    ("explicit_hash_key", ("k", b"data", "+1")),
    ("explicit_hash_key", ("k", b"data", " 1")),
    ("explicit_hash_key", ("k", b"data", "1_0")),
    ("explicit_hash_key", ("k", b"data", "\u0663")),
    ("explicit_hash_key", ("k", b"data", "\u00b2")),
    ("explicit_hash_key", ("k", b"data", True)),
    ("explicit_hash_key", ("k", b"data", 1.0)),
    ("explicit_hash_key", ("k", b"data", b"1")),
    ("tags", ("k", b"data", None, [("key",)])),
    ("tags", ("k", b"data", None, [("key", "value", "more")])),
    ("tags", ("k", b"data", None, [(b"key", "value")])),
    ("tags", ("k", b"data", None, [("key", b"value")])),
    ("tags", ("k", b"data", None, [(None, "value")])),
    ("tags", ("k", b"data", None, [("key", "\ud800")])),
    ("tags", ("k", b"data", None, [("\ud800", None)])),
    ("tags", ("k", b"data", None, [1])),
    ("tags", ("k", b"data", None, 1)),
]


def outcome_of_add(packer: sp.Packer | Model, record: sp.UserRecord) -> list[sp.PackedRecord] | int:
    """What came out, or the size of a record that is too large."""
    try:
        return packer.add(*record) if isinstance(packer, sp.Packer) else packer.add(record)
    except sp.RecordTooLargeError as error:
        return error.size
    except TooLargeError as error:
        return int(error.args[0])


class PackerMachine(RuleBasedStateMachine):
    routings: tuple[By, ...] = ("any", "key")

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.packer = sp.Packer()
        self.model = Model(Setting())

    @initialize(drawn=st.data())
    def make(self, drawn: st.DataObject) -> None:
        setting = drawn.draw(settings_of(*self.routings))
        self.patch.setattr("shardpack.packing.router._CACHED_ROUTES", drawn.draw(st.sampled_from([1, 2, 3, 65_536])))
        self.packer = sp.Packer(**setting.arguments)
        self.model = Model(setting)

    @rule(record=user_records, times=st.sampled_from([1, 1, 2, 9]))
    def add(self, record: sp.UserRecord, times: int) -> None:
        for _ in range(times):
            assert outcome_of_add(self.packer, record) == outcome_of_add(self.model, record)

    @rule(arguments=st.sampled_from(INVALID))
    def add_invalid(self, arguments: tuple[str, tuple[Any, ...]]) -> None:
        field, given = arguments
        with pytest.raises(sp.InvalidRecordError) as caught:
            self.packer.add(*given)
        assert caught.value.field == field

    @rule()
    def flush(self) -> None:
        assert self.packer.flush() == self.model.flush()

    def teardown(self) -> None:
        try:
            assert self.packer.flush() == self.model.flush()
        finally:
            self.patch.undo()


class ByShardMachine(PackerMachine):
    routings = ("shard",)


TestPacker = PackerMachine.TestCase
TestPackerByShard = ByShardMachine.TestCase
TestPacker.settings = TestPackerByShard.settings = settings(stateful_step_count=30)


@pytest.mark.parametrize("setting", [Setting("any"), Setting("key"), Setting("shard"), Setting("shard", lanes=3)])
@pytest.mark.parametrize(("field", "arguments"), INVALID)
def test_an_invalid_record_is_refused_by_field_and_leaves_no_trace(
    field: str, arguments: tuple[Any, ...], setting: Setting
) -> None:
    bothered, untouched = sp.Packer(**setting.arguments), sp.Packer(**setting.arguments)
    for one in (bothered, untouched):
        assert one.add("k", b"first") == []
    with pytest.raises(sp.InvalidRecordError) as caught:
        bothered.add(*arguments)

    assert caught.value.field == field
    assert bothered.add("k", b"second") == untouched.add("k", b"second") == []
    assert bothered.flush() == untouched.flush()


@pytest.mark.parametrize(("field", "arguments"), INVALID)
def test_the_first_record_may_be_the_invalid_one(field: str, arguments: tuple[Any, ...]) -> None:
    packer = sp.Packer()
    with pytest.raises(sp.InvalidRecordError) as caught:
        packer.add(*arguments)

    assert caught.value.field == field
    assert packer.flush() == []


def test_an_explicit_hash_key_too_large_to_print_is_invalid() -> None:
    with pytest.raises(sp.InvalidRecordError) as caught:
        sp.Packer().add("k", b"data", 10**5000)
    assert caught.value.field == "explicit_hash_key"


@pytest.mark.parametrize("tags", [{"id": "5"}, ["ab"]])
def test_tags_that_are_no_pairs_but_look_like_them_are_invalid(tags: Any) -> None:
    with pytest.raises(sp.InvalidRecordError) as caught:
        sp.Packer().add("k", b"data", None, tags)
    assert caught.value.field == "tags"


@given(st.lists(user_records, max_size=12), settings_of("any", "key", "shard"))
def test_pack_gives_what_the_model_gives(records: list[sp.UserRecord], setting: Setting) -> None:
    alone = Model(setting)
    fitting = [record for record in records if isinstance(outcome_of_add(alone, record), list)]
    model = Model(setting)
    expected = [packed for record in fitting for packed in model.add(record)] + model.flush()

    assert list(sp.pack(fitting, **setting.arguments)) == expected


@pytest.mark.parametrize("setting", [Setting("any"), Setting("shard"), Setting("shard", "kpl")])
@pytest.mark.parametrize("keys", [127, 128, 129, 300, 16_385])
def test_indices_of_one_two_and_three_bytes(setting: Setting, keys: int) -> None:
    records = [sp.UserRecord(f"{nth % keys}", b"%d" % nth) for nth in range(keys + 10)]
    pin = str(sp.hash_key("0")) if setting.hash_keys == "pinned" else None

    assert [packed.data for packed in sp.pack(records, **setting.arguments)] == [aggregate(records, pin)]
