"""The values that go in and come out, and the rules for what goes in. Positions have a file of their own."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.records import check_data, check_explicit_hash_key, check_partition_key, check_tags, check_user_record

MAX_HASH_KEY = 2**128 - 1

texts = st.text(st.characters(codec="utf-8"))
packed_records = st.builds(
    sp.PackedRecord,
    st.binary(max_size=50),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=256),
    st.none() | st.integers(0, MAX_HASH_KEY).map(str),
    st.integers(1, 9),
)


def refused(check: Any, given_value: Any) -> sp.InvalidRecordError:
    with pytest.raises(sp.InvalidRecordError) as caught:
        check(given_value)
    return caught.value


class TestPartitionKey:
    @given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=256))
    def test_of_1_to_256_characters_is_encoded(self, partition_key: str) -> None:
        assert check_partition_key(partition_key) == partition_key.encode()

    @pytest.mark.parametrize("character", ["k", "\u00e9", "\U0001f600", "\0"])
    def test_is_counted_in_characters_not_in_bytes(self, character: str) -> None:
        assert check_partition_key(character * 256) == (character * 256).encode()
        assert "257 characters" in str(refused(check_partition_key, character * 257))

    @pytest.mark.parametrize(
        ("partition_key", "says"),
        [
            ("", "0 characters"),
            ("k" * 1000, "1,000 characters"),
            (b"k", "of type bytes"),
            (None, "of type NoneType"),
            (7, "of type int"),
            ("ok\ud800", "lone surrogate at character 2"),
            ("\udfff", "lone surrogate at character 0"),
        ],
    )
    def test_against_the_rule_is_refused(self, partition_key: Any, says: str) -> None:
        error = refused(check_partition_key, partition_key)

        assert says in str(error)
        assert error.field == "partition_key"


class TestData:
    @given(st.binary())
    def test_is_bytes_from_any_buffer(self, data: bytes) -> None:
        assert check_data(data) is data
        for buffer in (bytearray(data), memoryview(data), memoryview(bytearray(data))):
            checked = check_data(buffer)
            assert type(checked) is bytes
            assert checked == data

    @pytest.mark.parametrize(("data", "says"), [("text", "str.*encode"), (None, "None"), (7, "int"), ([1], "list")])
    def test_of_another_type_is_refused_by_its_name(self, data: Any, says: str) -> None:
        with pytest.raises(sp.InvalidRecordError, match=f"data is of type {says}") as caught:
            check_data(data)
        assert caught.value.field == "data"


class TestExplicitHashKey:
    @given(st.integers(0, MAX_HASH_KEY), st.integers(0, 50))
    def test_is_a_plain_decimal(self, hash_key: int, zeros: int) -> None:
        assert check_explicit_hash_key(hash_key) == str(hash_key)
        assert check_explicit_hash_key("0" * zeros + str(hash_key)) == str(hash_key)

    def test_at_the_bounds(self) -> None:
        assert check_explicit_hash_key(None) is None
        assert check_explicit_hash_key("0" * 10_000) == check_explicit_hash_key(0) == "0"
        assert check_explicit_hash_key(MAX_HASH_KEY) == str(MAX_HASH_KEY)

    @pytest.mark.parametrize(
        "explicit_hash_key",
        [
            *(-1, MAX_HASH_KEY + 1, str(MAX_HASH_KEY + 1), "1" + "0" * 39, True, False, 1.0, b"1", [1]),
            *("", "-0", "+1", " 1", "1\n", "0x1", "1e3", "1.0", "1_0", "\u0661", "\u00b9", "abc", "undefined"),
        ],
    )
    def test_that_is_none_is_refused(self, explicit_hash_key: Any) -> None:
        assert refused(check_explicit_hash_key, explicit_hash_key).field == "explicit_hash_key"

    @pytest.mark.parametrize("explicit_hash_key", ["9" * 100_000, 10**4000, 10**5000, -(10**5000)], ids=lambda _: "")
    def test_that_is_long_is_not_printed_whole(self, explicit_hash_key: Any) -> None:
        assert len(str(refused(check_explicit_hash_key, explicit_hash_key))) < 200


class TestTags:
    @given(st.lists(st.tuples(texts, st.none() | texts)))
    def test_are_pairs_of_any_iterable(self, tags: list[tuple[str, str | None]]) -> None:
        assert check_tags(tags) == check_tags(iter(tags)) == tuple(tags)

    @pytest.mark.parametrize("tags", [[("k",)], [("k", "v", "w")], [(1, "v")], [("k", 1)], [("k", b"v")], [None], 7])
    def test_that_are_no_pairs_are_refused(self, tags: Any) -> None:
        assert refused(check_tags, tags).field == "tags"

    @pytest.mark.parametrize("tags", [["ab"], {"id": "5"}, "ab", ("ab", "cd")])
    def test_are_no_strings_of_two_characters(self, tags: Any) -> None:
        assert refused(check_tags, tags).field == "tags"


class TestUserRecord:
    @pytest.mark.parametrize(
        ("given_record", "checked"),
        [
            (("k", b"d"), sp.UserRecord("k", b"d")),
            (("k", bytearray(b"d"), 7), sp.UserRecord("k", b"d", "7")),
            (("k", b"d", "007", [("t", None)]), sp.UserRecord("k", b"d", "7", (("t", None),))),
            (sp.UserRecord("k", b"d"), sp.UserRecord("k", b"d", None, ())),
        ],
    )
    def test_may_be_a_tuple_of_its_first_fields(self, given_record: Any, checked: sp.UserRecord) -> None:
        got = check_user_record(given_record)

        assert got == checked
        assert type(got) is sp.UserRecord

    @pytest.mark.parametrize("given_record", ["kd", ["k", b"d"], ("k",), (), ("k", b"d", None, (), 1), None, {}])
    def test_of_another_shape_is_refused(self, given_record: Any) -> None:
        assert refused(check_user_record, given_record).field == "record"

    @pytest.mark.parametrize(
        ("given_record", "field"),
        [
            (("", b"d"), "partition_key"),
            (("k", "d"), "data"),
            (("k", b"d", "x"), "explicit_hash_key"),
            (("k", b"d", None, [1]), "tags"),
        ],
    )
    def test_is_checked_in_every_field(self, given_record: Any, field: str) -> None:
        assert refused(check_user_record, given_record).field == field


class TestPackedRecord:
    @given(packed_records)
    def test_counts_its_data_and_its_partition_key_in_utf_8(self, packed: sp.PackedRecord) -> None:
        assert packed.size == len(packed.data) + len(packed.partition_key.encode("utf-8"))

    def test_leaves_an_explicit_hash_key_out_of_its_entry_when_there_is_none(self) -> None:
        assert sp.PackedRecord(b"d", "k", None, 1).entry == {"Data": b"d", "PartitionKey": "k"}
        assert sp.PackedRecord(b"d", "k", "0", 1).entry == {"Data": b"d", "PartitionKey": "k", "ExplicitHashKey": "0"}

    @given(st.lists(packed_records, min_size=1, max_size=5))
    def test_makes_an_entry_that_botocore_takes(self, packed: list[sp.PackedRecord]) -> None:
        assert faults_found_by_botocore([one.entry for one in packed]) == ""

    @pytest.mark.parametrize(
        "records",
        [
            [("k", b"", None)],
            [("\U0001f600" * 256, b"d", MAX_HASH_KEY)],
            [("k", b"1"), ("j", b"2")],
            [("k", bytes(10 * 2**20 - 1))],
        ],
    )
    def test_of_the_packer_makes_an_entry_that_botocore_takes(self, records: Any) -> None:
        (packed,) = sp.pack(records, limits=sp.Limits.large())

        assert faults_found_by_botocore([packed.entry]) == ""

    def test_is_a_value(self) -> None:
        packed = sp.PackedRecord(b"d", "k", None, 1)

        assert packed == sp.PackedRecord(b"d", "k", None, 1, None)
        assert pickle.loads(pickle.dumps(packed)) == copy.copy(packed) == packed
        assert {packed, copy.copy(packed)} == {packed}
        with pytest.raises(AttributeError):
            packed.data = b""  # type: ignore[misc]


def faults_found_by_botocore(entries: list[dict[str, str | bytes]]) -> str:
    """What botocore's own check of PutRecords parameters says before anything is sent."""
    loaders = pytest.importorskip("botocore.loaders")
    model = pytest.importorskip("botocore.model")
    validate = pytest.importorskip("botocore.validate")
    service = model.ServiceModel(loaders.create_loader().load_service_model("kinesis", "service-2"))
    parameters = {"StreamName": "stream", "Records": entries}
    shape = service.operation_model("PutRecords").input_shape
    return str(validate.ParamValidator().validate(parameters, shape).generate_report())


class TestReceivedRecord:
    record = sp.ReceivedRecord("k", b"d", None, "7", 3, True, datetime(2026, 1, 1, tzinfo=UTC), "shard")

    def test_has_a_position_where_it_has_a_sequence_number(self) -> None:
        assert self.record.position == sp.Position("7", 3)
        assert self.record._replace(sequence_number=None).position is None

    def test_is_a_value(self) -> None:
        assert pickle.loads(pickle.dumps(self.record)) == self.record
        assert self.record.tags == ()
        with pytest.raises(AttributeError):
            self.record.data = b""  # type: ignore[misc]
