"""The aggregated format: what encode writes, and what decode makes of all that protobuf's rules allow.

What they do not allow is the subject of test_diagnosis.py.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator

import pytest
from aggregate_bytes import (
    DELIMITED,
    END_GROUP,
    FIXED32,
    FIXED64,
    MAGIC,
    START_GROUP,
    VARINT,
    delimited,
    frame,
    tag,
    varint,
)
from hypothesis import given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.wire._generated.kpl_pb2 import AggregatedRecord

KEY = delimited(1, b"k")
INDEX = tag(1, VARINT) + varint(0)
DATA = delimited(3, b"d")
RECORD = delimited(3, INDEX, DATA)
SOUND = frame(KEY + RECORD)

# A field's bytes put into an aggregate, a record or a tag, and what the aggregate holds without them.
LEVELS: dict[str, tuple[Callable[[bytes], bytes], sp.UserRecord]] = {
    "aggregate": (lambda field: frame(KEY + field + RECORD), sp.UserRecord("k", b"d")),
    "record": (lambda field: frame(KEY + delimited(3, INDEX, field, DATA)), sp.UserRecord("k", b"d")),
    "tag": (
        lambda field: frame(KEY + delimited(3, INDEX, DATA, delimited(4, delimited(1, b"t"), field))),
        sp.UserRecord("k", b"d", None, (("t", None),)),
    ),
}

text = st.text(st.characters(codec="utf-8"), max_size=12)
keys = st.sampled_from(["k", "a", "\u00e9", "\U0001d7cf", "k" * 256]) | text.filter(bool)
user_records = st.builds(
    sp.UserRecord,
    keys,
    st.binary(max_size=40),
    st.none() | st.sampled_from(["0", str(2**128 - 1)]) | st.integers(0, 2**128 - 1).map(str),
    st.lists(st.tuples(text, st.none() | text), max_size=2).map(tuple),
)


def canonical(records: Iterable[sp.UserRecord]) -> bytes:
    """The same message by protobuf alone, both tables in first-use order."""
    message = AggregatedRecord()
    tables: tuple[dict[str, int], dict[str, int]] = {}, {}
    for given_record in records:
        record = message.records.add(data=given_record.data)
        record.partition_key_index = tables[0].setdefault(given_record.partition_key, len(tables[0]))
        if given_record.explicit_hash_key is not None:
            record.explicit_hash_key_index = tables[1].setdefault(given_record.explicit_hash_key, len(tables[1]))
        for key, value in given_record.tags:
            record.tags.add(key=key.encode(), value=None if value is None else value.encode())
    message.partition_key_table.extend(key.encode() for key in tables[0])
    message.explicit_hash_key_table.extend(key.encode() for key in tables[1])
    return frame(message.SerializeToString(deterministic=True))


def views(blob: bytes) -> Iterator[bytes | bytearray | memoryview]:
    """The same bytes in every kind of buffer, contiguous and not."""
    yield blob
    yield bytearray(blob)
    yield memoryview(blob)
    yield memoryview(bytearray(blob))
    yield memoryview(b"?" + blob + b"?")[1:-1]
    yield memoryview(bytes(itertools.chain.from_iterable(zip(blob, blob, strict=True))))[::2]
    yield memoryview(blob[::-1])[::-1]
    yield memoryview(blob).cast("c")  # type: ignore[misc]  # the annotation means memoryviews of any format
    yield memoryview(blob).cast("b")
    if blob:
        yield memoryview(blob).cast("B", shape=[1, len(blob)])
    if len(blob) % 4 == 0:
        yield memoryview(blob).cast("I")


@given(st.lists(user_records, min_size=1, max_size=8))
def test_encode_writes_protobufs_canonical_bytes_and_decode_reads_them(records: list[sp.UserRecord]) -> None:
    blob = sp.encode(records)

    assert blob == canonical(records)
    decoded = sp.decode(blob)
    assert decoded == records
    assert all(type(record) is sp.UserRecord for record in decoded)
    assert sp.is_aggregated(blob)


@pytest.mark.parametrize("boundary", [128, 16_384, 2_097_152])
@pytest.mark.parametrize("explicit_hash_key", [None, "5"])
def test_lengths_around_those_where_a_varint_grows(boundary: int, explicit_hash_key: str | None) -> None:
    around = range(boundary - 24, boundary + 2) if boundary < 2**20 else (boundary - 6, boundary - 4, boundary)
    for length in around:
        records = [sp.UserRecord("k", bytes(length), explicit_hash_key), sp.UserRecord("k", b"", explicit_hash_key)]
        blob = sp.encode(records)
        assert blob == canonical(records)
        assert sp.decode(blob) == records


def test_indices_around_those_where_a_varint_grows() -> None:
    records = [sp.UserRecord(f"k{n}", b"d", str(n) if n % 3 else None) for n in range(16_500)]

    blob = sp.encode([*records, *records])

    assert blob == canonical([*records, *records])
    assert sp.decode(blob) == [*records, *records]


@pytest.mark.parametrize("explicit_hash_key", [None, "5"])
@pytest.mark.parametrize("keys_in_all", [1, 2, 127, 128, 129, 130, 16_383, 16_385])
def test_data_of_all_lengths_under_indices_of_all_lengths(keys_in_all: int, explicit_hash_key: str | None) -> None:
    lengths = (0, 1, 2, 126, 127, 128, 129, 300, 16_383, 16_384, 1)
    key_names = [f"k{n}" for n in range(keys_in_all)]
    records = [sp.UserRecord(key, key.encode(), explicit_hash_key) for key in key_names]
    for key in {*key_names[:2], *key_names[-3:]}:
        records += [sp.UserRecord(key, bytes([length % 251]) * length, explicit_hash_key) for length in lengths]

    for ordered in (records, records[::-1]):
        blob = sp.encode(ordered)
        assert blob == canonical(ordered)
        assert sp.decode(blob) == ordered


@pytest.mark.parametrize(("tags", "sent"), [((("t", None),), b"\x0a\x01t"), ((("t", ""),), b"\x0a\x01t\x12\x00")])
def test_a_tag_without_a_value_is_not_one_with_an_empty_value(tags: tuple[tuple[str, str | None]], sent: bytes) -> None:
    blob = frame(KEY + delimited(3, INDEX, DATA, delimited(4, sent)))

    assert sp.encode([("k", b"d", None, tags)]) == blob
    assert sp.decode(blob) == [sp.UserRecord("k", b"d", None, tags)]


@pytest.mark.parametrize(
    ("given_key", "sent"),
    [("007", "7"), ("000", "0"), (7, "7"), (0, "0"), (2**128 - 1, str(2**128 - 1)), ("0" * 99 + "5", "5")],
)
def test_an_explicit_hash_key_is_written_as_a_plain_decimal(given_key: str | int, sent: str) -> None:
    blob = sp.encode([("k", b"d", given_key), ("k", b"e", sent)])

    assert blob == canonical([sp.UserRecord("k", b"d", sent), sp.UserRecord("k", b"e", sent)])


@pytest.mark.parametrize(
    "explicit_hash_key",
    [
        True,
        False,
        "",
        " 5",
        "5 ",
        "+5",
        "-1",
        -1,
        2**128,
        str(2**128),
        "1_0",
        "\u0665",
        "\u00b2",
        5.0,
        b"5",
        "9" * 9999,
    ],
)
def test_what_is_no_explicit_hash_key_is_refused(explicit_hash_key: object) -> None:
    with pytest.raises(sp.InvalidRecordError, match="from 0 to 2\\^128-1") as caught:
        sp.encode([("k", b"d", explicit_hash_key)])  # type: ignore[list-item]
    assert caught.value.field == "explicit_hash_key"
    assert len(str(caught.value)) < 250


def test_an_aggregate_of_nothing_is_refused() -> None:
    with pytest.raises(sp.InvalidRecordError, match="at least one") as caught:
        sp.encode(iter(()))
    assert caught.value.field == "records"


@given(st.lists(user_records, min_size=1, max_size=3))
def test_every_kind_of_buffer_reads_the_same(records: list[sp.UserRecord]) -> None:
    for view in views(sp.encode(records)):
        assert sp.is_aggregated(view)
        assert sp.decode(view) == records


@pytest.mark.parametrize("blob", [SOUND, SOUND + bytes(-len(SOUND) % 4), frame(b"abcd" * 3)])
def test_every_kind_of_buffer_is_refused_the_same(blob: bytes) -> None:
    answers = {sp.is_aggregated(view) for view in views(blob)}
    assert len(answers) == 1
    if blob != SOUND:
        errors = []
        for view in views(blob):
            with pytest.raises(sp.DecodeError) as caught:
                sp.decode(view)
            errors.append((type(caught.value), str(caught.value)))
        assert len(set(errors)) == 1


def test_what_was_decoded_does_not_change_with_its_buffer() -> None:
    buffer = bytearray(sp.encode([("key", b"data", "5", [("t", "v")])]))
    records = sp.decode(memoryview(buffer))

    buffer[:] = bytes(len(buffer))

    assert records == [sp.UserRecord("key", b"data", "5", (("t", "v"),))]


@given(st.binary(max_size=60), st.binary(max_size=30))
def test_is_aggregated_is_magic_length_and_md5(anything: bytes, body: bytes) -> None:
    for blob in (anything, MAGIC + anything, frame(body), frame(body) + anything, frame(body)[:-1], b"?" + frame(body)):
        expected = (
            len(blob) > 20 and blob.startswith(MAGIC) and hashlib.md5(blob[4:-16]).digest() == blob[-16:]
        )  # the KCL's AggregatorUtil
        for view in views(blob):
            assert sp.is_aggregated(view) is expected


def test_an_aggregate_without_a_message_is_not_aggregated() -> None:
    assert not sp.is_aggregated(frame(b""))
    assert sp.is_aggregated(frame(b"\x00"))


UNKNOWN = {
    "varint": tag(15, VARINT) + varint(2**64 - 1),
    "fixed64": tag(15, FIXED64) + bytes(8),
    "length-delimited": delimited(15, b"anything \xff"),
    "group": tag(15, START_GROUP) + tag(1, VARINT) + varint(9) + tag(15, END_GROUP),
    "nested groups": b"".join(tag(n, START_GROUP) for n in (5, 6, 5))
    + delimited(1, b"x")
    + b"".join(tag(n, END_GROUP) for n in (5, 6, 5)),
    "fixed32": tag(15, FIXED32) + bytes(4),
    "highest number": delimited(2**29 - 1, b"x"),
    "padded tag": varint(15 << 3, padding=4) + b"\x00",
    "padded length": tag(15, DELIMITED) + varint(1, padding=4) + b"x",
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("unknown", UNKNOWN)
def test_unknown_fields_are_skipped(level: str, unknown: str) -> None:
    around, expected = LEVELS[level]

    assert sp.decode(around(UNKNOWN[unknown])) == [expected]
    assert sp.decode(around(b"".join(UNKNOWN.values()))) == [expected]


CONTENT = {VARINT: varint(0), FIXED64: bytes(8), DELIMITED: varint(0), FIXED32: bytes(4)}


@pytest.mark.parametrize(
    ("level", "number", "wire_type"),
    [
        (level, number, wire_type)
        for level, right in {
            "aggregate": {1: DELIMITED, 2: DELIMITED, 3: DELIMITED},
            "record": {1: VARINT, 2: VARINT, 3: DELIMITED, 4: DELIMITED},
            "tag": {1: DELIMITED, 2: DELIMITED},
        }.items()
        for number in right
        for wire_type in (*CONTENT, START_GROUP)
        if wire_type != right[number]
    ],
)
def test_a_known_number_with_another_wire_type_is_an_unknown_field(level: str, number: int, wire_type: int) -> None:
    around, expected = LEVELS[level]
    content = tag(number, END_GROUP) if wire_type == START_GROUP else CONTENT[wire_type]

    assert sp.decode(around(tag(number, wire_type) + content)) == [expected]


@pytest.mark.parametrize("padding", [1, 8, 9])
def test_a_number_may_be_padded_up_to_ten_bytes(padding: int) -> None:
    index = tag(1, VARINT) + varint(0, padding)
    explicit_index = tag(2, VARINT) + varint(0, padding)
    body = KEY + delimited(2, b"5") + delimited(3, index, explicit_index, DATA)

    assert sp.decode(frame(body)) == [sp.UserRecord("k", b"d", "5")]


def test_bits_beyond_the_64th_of_a_number_are_lost() -> None:
    too_much = b"\x80" * 9 + b"\x02"  # 2^64

    assert sp.decode(frame(KEY + delimited(3, tag(1, VARINT) + too_much, DATA))) == [sp.UserRecord("k", b"d")]


def test_the_last_of_a_repeated_field_counts() -> None:
    body = b"".join(
        (
            *(delimited(1, key) for key in (b"a", b"b")),
            *(delimited(2, key) for key in (b"5", b"6")),
            delimited(
                3,
                *(tag(1, VARINT) + varint(index) for index in (2**64 - 1, 0, 1)),
                *(tag(2, VARINT) + varint(index) for index in (7, 1, 0)),
                *(delimited(3, data) for data in (b"first and longer", b"last")),
                delimited(4, *(delimited(n, value) for n in (1, 2) for value in (b"no", b"yes"))),
            ),
        )
    )

    assert sp.decode(frame(body)) == [sp.UserRecord("b", b"last", "5", (("yes", "yes"),))]


def test_an_absent_explicit_hash_key_overridden_by_none_stays_absent() -> None:
    body = KEY + delimited(2, b"5") + RECORD + delimited(3, INDEX, tag(2, VARINT) + varint(0), DATA) + RECORD

    assert sp.decode(frame(body)) == [
        sp.UserRecord("k", b"d", None),
        sp.UserRecord("k", b"d", "5"),
        sp.UserRecord("k", b"d", None),
    ]


def test_tables_may_come_after_and_between_the_records() -> None:
    second = delimited(3, tag(1, VARINT) + varint(1), tag(2, VARINT) + varint(0), DATA)
    parts = [RECORD, second, KEY, delimited(1, b"l"), delimited(2, b"5")]

    for order in itertools.permutations(parts):
        if order.index(KEY) < order.index(parts[3]) and order.index(RECORD) < order.index(second):
            assert sp.decode(frame(b"".join(order))) == [sp.UserRecord("k", b"d"), sp.UserRecord("l", b"d", "5")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            delimited(1, b"a") + KEY + delimited(3, tag(1, VARINT) + varint(1), DATA),
            [("k", b"d")],
            id="fluentd: an entry that nobody uses",
        ),
        pytest.param(
            KEY + KEY + delimited(2, b"0") * 2 + RECORD + delimited(3, tag(1, VARINT) + varint(1), DATA),
            [("k", b"d"), ("k", b"d")],
            id="zio-kinesis: duplicates, and explicit hash keys that nobody uses",
        ),
        pytest.param(KEY + delimited(3, INDEX, delimited(3, SOUND)), [("k", SOUND)], id="an aggregate as data"),
        pytest.param(delimited(1) + delimited(3, INDEX, delimited(3)), [("", b"")], id="an empty key and empty data"),
    ],
)
def test_the_dialects_of_other_writers(body: bytes, expected: list[tuple[str, bytes]]) -> None:
    assert sp.decode(frame(body)) == [sp.UserRecord(*record) for record in expected]


def test_what_is_not_utf_8_becomes_the_replacement_character() -> None:
    body = delimited(1, b"\xff\xfek") + delimited(2, b"5\x80")
    body += delimited(
        3, INDEX, tag(2, VARINT) + varint(0), DATA, delimited(4, delimited(1, b"\xff"), delimited(2, b"\xc3"))
    )

    assert sp.decode(frame(body)) == [sp.UserRecord("\ufffd\ufffdk", b"d", "5\ufffd", (("\ufffd", "\ufffd"),))]
    assert sp.decode(frame(delimited(1, b"\xff\xfek") + RECORD)) == [sp.UserRecord("\ufffd\ufffdk", b"d")]


@pytest.mark.parametrize("explicit_hash_key", ["", "007", "+5", "undefined", str(2**128)])
def test_explicit_hash_keys_are_given_as_they_were_sent(explicit_hash_key: str) -> None:
    body = KEY + delimited(2, explicit_hash_key.encode()) + delimited(3, INDEX, tag(2, VARINT) + varint(0), DATA)

    assert sp.decode(frame(body)) == [sp.UserRecord("k", b"d", explicit_hash_key)]
