"""Blobs that are no sound aggregates: each is refused with the right error at the right byte, and nothing else is.

By the same rules with every release of protobuf, though these differ in what they take.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Callable

import google.protobuf
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
from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError as ProtobufDecodeError
from hypothesis import example, given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.wire._generated.kpl_pb2 import AggregatedRecord
from shardpack.wire.diagnosis import diagnose
from shardpack.wire.walking import Message, Row, walk

# What this release of protobuf takes and we refuse, so that all releases give the same answers.
UPB = api_implementation.Type() == "upb"
RELEASE = int(google.protobuf.__version__.split(".")[0]) if UPB else 3
TAKEN = {
    3: "takes more than (5|10) bytes|ends that did not begin|nested more than|a field has number",
    4: "takes more than 5 bytes",
    5: "takes more than 5 bytes",
    6: "takes more than 5 bytes",
    7: "a field has number 0 and wire type",
}[RELEASE]


KEY = delimited(1, b"k")
EXPLICIT_HASH_KEY = delimited(2, b"5")
INDEX = tag(1, VARINT) + varint(0)
DATA = delimited(3, b"d")
RECORD = delimited(3, INDEX, DATA)
BODY = (
    KEY
    + delimited(1, b"\xc3\xa9")
    + EXPLICIT_HASH_KEY
    + RECORD
    + delimited(
        3, tag(1, VARINT) + varint(1), tag(2, VARINT) + varint(0), DATA, delimited(4, delimited(1, b"t"), delimited(2))
    )
)

LEVELS: dict[str, Callable[[bytes], bytes]] = {
    "aggregate": lambda field: KEY + RECORD + field,
    "record": lambda field: KEY + delimited(3, INDEX, DATA, field),
    "tag": lambda field: KEY + delimited(3, INDEX, DATA, delimited(4, delimited(1, b"t"), field)),
}


def oracle(body: bytes) -> list[sp.UserRecord] | None:
    """What protobuf and the rules of the format make of a message; None if they refuse it."""
    try:
        message = AggregatedRecord.FromString(body)
    except (ProtobufDecodeError, RecursionError):
        return None
    if not message.IsInitialized() or not message.records:
        return None
    records = []
    for record in message.records:
        explicit_hash_key = None
        if record.partition_key_index >= len(message.partition_key_table):
            return None
        if record.HasField("explicit_hash_key_index"):
            if record.explicit_hash_key_index >= len(message.explicit_hash_key_table):
                return None
            explicit_hash_key = message.explicit_hash_key_table[record.explicit_hash_key_index].decode(errors="replace")
        tags = tuple(
            (t.key.decode(errors="replace"), t.value.decode(errors="replace") if t.HasField("value") else None)
            for t in record.tags
        )
        partition_key = message.partition_key_table[record.partition_key_index].decode(errors="replace")
        records.append(sp.UserRecord(partition_key, record.data, explicit_hash_key, tags))
    return records


def is_taken_by_protobuf_alone(body: bytes) -> bool:
    """Whether we refuse what this release takes; never what packers write."""
    message = AggregatedRecord.FromString(body)
    message.DiscardUnknownFields()
    error = diagnose(body, 4)
    return message.ByteSize() != len(body) and error is not None and re.search(TAKEN, str(error)) is not None


def check_diagnosis(body: bytes) -> None:
    """It finds something exactly where protobuf and the rules refuse, and where a stricter release does."""
    error = diagnose(body, 4)
    assert (error is None) == (oracle(body) is not None and not is_taken_by_protobuf_alone(body)), (error, body.hex())
    if error is not None:
        assert 4 <= error.offset <= 4 + len(body)
    is_of_the_records = error is not None and re.search("holds no records|_table has", str(error)) is not None
    walked = walk(body)
    assert (walked is not None) == (error is None or is_of_the_records), (error, body.hex())
    if walked is not None:
        assert walked == read_by_protobuf(body)


def read_by_protobuf(body: bytes) -> Message:
    message = AggregatedRecord.FromString(body)
    rows: list[Row] = [
        (
            record.partition_key_index,
            record.explicit_hash_key_index if record.HasField("explicit_hash_key_index") else None,
            record.data,
            tuple(
                (t.key.decode(errors="replace"), t.value.decode(errors="replace") if t.HasField("value") else None)
                for t in record.tags
            ),
        )
        for record in message.records
    ]
    return Message(list(message.partition_key_table), list(message.explicit_hash_key_table), rows)


@pytest.mark.parametrize(
    "body",
    [
        KEY + delimited(3, INDEX, DATA, b"\x2b\x2c") + b"\x2b\x2c",  # groups on both sides of a record's end
        KEY + delimited(3, INDEX, DATA, b"\x2b") + b"\x2c",
        KEY + delimited(3, DATA, tag(1, VARINT) + b"\x80" * 9 + b"\x7f") + b"\x28\x00",
        KEY + EXPLICIT_HASH_KEY + delimited(3, DATA, INDEX, tag(2, VARINT) + varint(0)),
        KEY + EXPLICIT_HASH_KEY + delimited(3, INDEX, DATA, tag(2, VARINT) + varint(0, padding=1)),
        KEY + delimited(3, INDEX, DATA, tag(2, VARINT) + b"\x80"),
        b"".join(delimited(1, b"%d" % nth) for nth in range(300))
        + b"".join(delimited(3, DATA, tag(1, VARINT) + varint(nth)) for nth in (0, 127, 128, 255, 256, 299)),
    ],
    ids=[
        "groups",
        "a group cut",
        "the largest index",
        "an index at the end of all",
        "one of two bytes there",
        "one cut there",
        "a large table",
    ],
)
def test_what_is_walked_is_what_protobuf_reads(body: bytes) -> None:
    check_diagnosis(body)
    check_against_oracle(body)


def check_against_oracle(body: bytes) -> None:
    blob = frame(body)
    expected = oracle(body)
    if expected is not None and not is_taken_by_protobuf_alone(body):
        assert sp.decode(blob) == expected
        return
    with pytest.raises((sp.TruncatedError, sp.MalformedError)) as caught:
        sp.decode(blob)
    assert expected is None or re.search(TAKEN, str(caught.value))
    assert 4 <= caught.value.offset <= len(blob) - 16
    assert f"{caught.value.offset:,}" in str(caught.value) or "protobuf cannot" in str(caught.value)


@pytest.mark.parametrize("body", [BODY, BODY[::-1]], ids=["sound", "backwards"])
def test_every_flipped_bit_is_read_by_protobufs_rules_or_refused_with_its_offset(body: bytes) -> None:
    for bit in range(8 * len(body)):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        check_against_oracle(bytes(flipped))


def test_every_pair_of_bytes_in_place_of_one_is_read_by_protobufs_rules_or_refused() -> None:
    for position in range(len(BODY)):
        for byte in (0, 1, 3, 4, 7, 10, 0x1A, 0x7F, 0x80, 0xFF):
            check_against_oracle(BODY[:position] + bytes([byte]) + BODY[position:])
            check_against_oracle(BODY[:position] + bytes([byte]) + BODY[position + 1 :])


def test_every_flipped_bit_breaks_the_checksum_or_the_magic() -> None:
    blob = frame(BODY)
    for bit in range(8 * len(blob)):
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not sp.is_aggregated(flipped)
        with pytest.raises(sp.MalformedError if bit < 32 else sp.ChecksumMismatchError):
            sp.decode(flipped)


def test_a_cut_at_each_byte() -> None:
    blob = frame(BODY)
    for length in range(len(blob)):
        cut = blob[:length]
        assert not sp.is_aggregated(cut)
        with pytest.raises(sp.DecodeError) as caught:
            sp.decode(cut)
        if length < 4:
            assert isinstance(caught.value, sp.MalformedError)
        elif length < 20:
            assert isinstance(caught.value, sp.TruncatedError)
            assert caught.value.offset == length
        else:
            assert isinstance(caught.value, sp.ChecksumMismatchError)


def test_a_message_cut_at_each_byte_and_framed_again() -> None:
    for length in range(len(BODY)):
        check_against_oracle(BODY[:length])


@pytest.mark.parametrize("trailing", [b"\0", b"\n", MAGIC, frame(BODY)])
def test_trailing_bytes_break_the_checksum(trailing: bytes) -> None:
    with pytest.raises(sp.ChecksumMismatchError):
        sp.decode(frame(BODY) + trailing)
    assert not sp.is_aggregated(frame(BODY) + trailing)


@pytest.mark.parametrize("field", [1, 2])
@pytest.mark.parametrize("index", [1, 255, 2**31, 2**32, 2**32 + 1, 2**63, 2**64 - 2, 2**64 - 1])
@pytest.mark.parametrize("others", [b"", RECORD * 3, delimited(3, INDEX, tag(2, VARINT) + varint(0), DATA)])
def test_an_index_outside_its_table_is_refused_whatever_it_is_when_truncated(
    field: int, index: int, others: bytes
) -> None:
    body = KEY + EXPLICIT_HASH_KEY + others + delimited(3, INDEX, tag(field, VARINT) + varint(index), DATA)

    with pytest.raises(sp.MalformedError, match=f"key_index {index}, but .*key_table has 1 entries") as caught:
        sp.decode(frame(body))
    assert caught.value.offset == 4 + len(KEY + EXPLICIT_HASH_KEY + others)


@pytest.mark.parametrize("padding", [0, 1])
def test_the_default_of_an_absent_index_is_refused_where_it_was_sent(padding: int) -> None:
    # 2^64-1 is what the schema gives for "absent"; on the wire it is an index like any other.
    sent = delimited(3, INDEX, tag(2, VARINT) + varint(2**64 - 1), DATA)

    for body in (
        KEY + sent,
        KEY + EXPLICIT_HASH_KEY + sent,
        KEY + EXPLICIT_HASH_KEY + sent + bytes(0) + RECORD * padding,
    ):
        with pytest.raises(sp.MalformedError, match="explicit_hash_key_index 18446744073709551615"):
            sp.decode(frame(body))


ELSEWHERE = len(MAGIC + KEY)
CLAIM = tag(9, DELIMITED) + varint(2**31)

FAULTS: dict[str, tuple[bytes, type[sp.DecodeError], int, str]] = {
    "nothing": (b"", sp.MalformedError, 4, "no records"),
    "keys without records": (KEY * 2, sp.MalformedError, 4, "no records"),
    "a record without an index": (KEY + delimited(3, DATA), sp.MalformedError, ELSEWHERE, "partition_key_index"),
    "a record without data": (KEY + delimited(3, INDEX), sp.MalformedError, ELSEWHERE, "required data"),
    "a record without anything": (KEY + delimited(3), sp.MalformedError, ELSEWHERE, "partition_key_index"),
    "a tag without a key": (
        KEY + delimited(3, INDEX, DATA, delimited(4, delimited(2, b"v"))),
        sp.MalformedError,
        ELSEWHERE + 2 + len(INDEX + DATA),
        "tag lacks its required key",
    ),
    "an index of the wrong wire type": (
        KEY + delimited(3, tag(1, FIXED32) + bytes(4), DATA),
        sp.MalformedError,
        ELSEWHERE,
        "partition_key_index",
    ),
    "data of the wrong wire type": (
        KEY + delimited(3, INDEX, tag(3, VARINT) + b"\0"),
        sp.MalformedError,
        ELSEWHERE,
        "required data",
    ),
    "a key of the wrong wire type": (
        tag(1, VARINT) + b"\0" + RECORD,
        sp.MalformedError,
        6,
        "partition_key_index 0, but partition_key_table has 0",
    ),
    "data longer than its record": (
        KEY + delimited(3, INDEX, tag(3, DELIMITED) + b"\x05d"),
        sp.TruncatedError,
        ELSEWHERE + 2 + len(INDEX),
        "field 3 needs 4 bytes more",
    ),
    "a record longer than the message": (KEY + RECORD[:-1], sp.TruncatedError, ELSEWHERE, "field 3 needs 1 bytes more"),
    "a cut fixed64": (
        KEY + RECORD + tag(9, FIXED64) + bytes(5),
        sp.TruncatedError,
        ELSEWHERE + len(RECORD),
        "needs 3 bytes",
    ),
    "a cut fixed32": (
        KEY + RECORD + tag(9, FIXED32) + bytes(1),
        sp.TruncatedError,
        ELSEWHERE + len(RECORD),
        "needs 3 bytes",
    ),
    "a cut number": (KEY + tag(9, VARINT) + b"\x80", sp.TruncatedError, ELSEWHERE + 1, "cut short"),
    "a number of 11 bytes": (
        KEY + tag(9, VARINT) + b"\x80" * 10 + b"\0",
        sp.MalformedError,
        ELSEWHERE + 1,
        "more than 10",
    ),
    "a tag of 6 bytes": (KEY + varint(9 << 3, padding=5) + b"\0", sp.MalformedError, ELSEWHERE, "more than 5"),
    "field number 0": (KEY + tag(0, VARINT) + b"\0", sp.MalformedError, ELSEWHERE, "number 0"),
    "field number 2^29": (KEY + tag(2**29, VARINT) + b"\0", sp.MalformedError, ELSEWHERE, f"number {2**29}"),
    "wire type 6": (KEY + tag(9, 6), sp.MalformedError, ELSEWHERE, "wire type 6"),
    "wire type 7": (KEY + tag(9, 7), sp.MalformedError, ELSEWHERE, "wire type 7"),
    "a length of 2^31": (KEY + CLAIM, sp.TruncatedError, ELSEWHERE, "claims 2,147,483,648 bytes"),
    "a group that does not end": (
        KEY + tag(9, START_GROUP) + RECORD,
        sp.TruncatedError,
        ELSEWHERE,
        "group 9 does not end",
    ),
    "a group that did not begin": (KEY + tag(9, END_GROUP), sp.MalformedError, ELSEWHERE, "group 9 ends"),
    "a group that ends as another": (
        KEY + tag(9, START_GROUP) + tag(8, END_GROUP),
        sp.MalformedError,
        ELSEWHERE + 1,
        "group 8 ends",
    ),
    "a group that ends outside its record": (
        KEY + delimited(3, INDEX, DATA, tag(9, START_GROUP)) + tag(9, END_GROUP),
        sp.TruncatedError,
        ELSEWHERE + len(RECORD),
        "group 9 does not end",
    ),
    "a tag's key of the wrong wire type": (
        KEY + delimited(3, INDEX, DATA, delimited(4, tag(1, VARINT) + b"\0")),
        sp.MalformedError,
        ELSEWHERE + 2 + len(INDEX + DATA),
        "tag lacks its required key",
    ),
    "data inside a group": (
        KEY + delimited(3, INDEX, tag(9, START_GROUP), DATA, tag(9, END_GROUP)),
        sp.MalformedError,
        ELSEWHERE,
        "required data",
    ),
    "a record inside a group": (
        KEY + tag(9, START_GROUP) + RECORD + tag(9, END_GROUP),
        sp.MalformedError,
        4,
        "no records",
    ),
    "a key inside a group": (
        tag(9, START_GROUP) + KEY + tag(9, END_GROUP) + RECORD,
        sp.MalformedError,
        6 + len(KEY),
        "partition_key_table has 0 entries",
    ),
    "an index that is 2^64-1 and more": (
        KEY + delimited(3, tag(1, VARINT) + b"\xff" * 9 + b"\x7f", DATA),
        sp.MalformedError,
        ELSEWHERE,
        "partition_key_index 18446744073709551615,",
    ),
    "structure comes before what is missing": (
        KEY + delimited(3) + tag(9, END_GROUP),
        sp.MalformedError,
        ELSEWHERE + 2,
        "group 9 ends",
    ),
    "what is missing comes before a bad index": (
        delimited(3, INDEX, DATA) + delimited(3, DATA) + delimited(3, INDEX),
        sp.MalformedError,
        4 + len(RECORD),
        "partition_key_index",
    ),
    "a bad partition key index comes before a bad explicit one": (
        delimited(3, INDEX, tag(2, VARINT) + varint(3), DATA),
        sp.MalformedError,
        4,
        "sub-record 0 has partition_key_index 0, but partition_key_table has 0 entries",
    ),
    "the second record's index is bad": (
        KEY + RECORD + delimited(3, tag(1, VARINT) + varint(7), DATA),
        sp.MalformedError,
        ELSEWHERE + len(RECORD),
        "sub-record 1 has partition_key_index 7, but partition_key_table has 1 entries",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_place(name: str) -> None:
    body, error, offset, text = FAULTS[name]

    check_diagnosis(body)
    with pytest.raises(error, match=text) as caught:
        sp.decode(frame(body))
    assert type(caught.value) is error
    assert isinstance(caught.value, sp.TruncatedError | sp.MalformedError)
    assert caught.value.offset == offset
    assert f"(at byte {offset} of {len(body) + 20})" in str(caught.value)


@pytest.mark.parametrize("keys_in_all", [1, 129, 200])
@pytest.mark.parametrize("explicit_hash_key", [b"", EXPLICIT_HASH_KEY])
def test_a_record_that_is_too_short_among_many_keys(keys_in_all: int, explicit_hash_key: bytes) -> None:
    tables = b"".join(delimited(1, b"%d" % n) for n in range(keys_in_all)) + explicit_hash_key
    explicit_index = tag(2, VARINT) + b"\0" if explicit_hash_key else b""
    sound = [delimited(3, tag(1, VARINT) + varint(n), explicit_index, DATA) for n in range(keys_in_all)]
    for content in (b"", INDEX, INDEX + explicit_index, INDEX + b"\x1a", b"\x1a\0", b"\x08", b"\x08\x80"):
        check_against_oracle(tables + b"".join(sound) + delimited(3, content))
        check_against_oracle(tables + delimited(3, content) + b"".join(sound))


def test_what_is_no_aggregate_at_all_is_named() -> None:
    with pytest.raises(sp.MalformedError, match="starts with nothing, not f3899ac2") as nothing:
        sp.decode(b"")
    with pytest.raises(sp.MalformedError, match="starts with 7b226b22, not f3899ac2") as plain:
        sp.decode(b'{"k": 1}')
    with pytest.raises(sp.TruncatedError, match=r"at least 20 bytes .magic and MD5., this has 19") as short:
        sp.decode(MAGIC + bytes(15))

    assert (nothing.value.offset, plain.value.offset, short.value.offset) == (0, 0, 19)


def test_a_wrong_checksum_says_what_was_there_and_what_should_have_been() -> None:
    blob = MAGIC + BODY + b"x" * 16

    with pytest.raises(sp.ChecksumMismatchError) as caught:
        sp.decode(blob)

    assert caught.value.expected == b"x" * 16
    assert caught.value.actual == hashlib.md5(BODY).digest()
    for number in (caught.value.expected.hex(), caught.value.actual.hex(), f"{len(BODY)} bytes"):
        assert number in str(caught.value)


@pytest.mark.parametrize("blob", [b"", MAGIC, MAGIC + bytes(99), frame(b""), frame(b"\x0a"), frame(KEY + delimited(3))])
def test_errors_survive_a_pickle(blob: bytes) -> None:
    with pytest.raises(sp.DecodeError) as caught:
        sp.decode(blob)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copied = pickle.loads(pickle.dumps(caught.value, protocol))
        assert type(copied) is type(caught.value)
        assert str(copied) == str(caught.value)
        assert vars(copied) == vars(caught.value)
    assert isinstance(caught.value, ValueError)
    assert caught.value.__cause__ is None


# protobuf allows messages and groups 100 deep inside the outermost message.
MOST_GROUPS = {"aggregate": 100, "record": 99, "tag": 98}


def groups(depth: int) -> bytes:
    return tag(9, START_GROUP) * depth + tag(9, END_GROUP) * depth


@pytest.mark.parametrize("level", LEVELS)
def test_groups_as_deep_as_protobuf_allows_are_skipped_and_one_more_is_refused(level: str) -> None:
    most = MOST_GROUPS[level]

    assert len(sp.decode(frame(LEVELS[level](groups(most))))) == 1
    with pytest.raises(sp.MalformedError, match="nested"):
        sp.decode(frame(LEVELS[level](groups(most + 1))))


@pytest.mark.parametrize("level", LEVELS)
def test_diagnosis_allows_groups_as_deep_as_protobuf_does(level: str) -> None:
    assert diagnose(LEVELS[level](groups(MOST_GROUPS[level])), 4) is None


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("padding", [5, 9])
def test_a_length_of_more_than_five_bytes_is_named_with_its_place(level: str, padding: int) -> None:
    field = tag(9, DELIMITED) + varint(1, padding) + b"x"

    with pytest.raises(sp.MalformedError) as caught:
        sp.decode(frame(LEVELS[level](field)))
    assert caught.value.offset > 4
    assert "protobuf cannot parse" not in str(caught.value)


@pytest.mark.parametrize("level", LEVELS)
def test_field_number_0_is_refused_inside_a_group_too(level: str) -> None:
    # As by protobuf for Java, which is the KCL's (CodedInputStream.readTag).
    with pytest.raises(sp.MalformedError, match="a field has number 0 and wire type 0"):
        sp.decode(frame(LEVELS[level](tag(9, START_GROUP) + tag(0, VARINT) + b"\0" + tag(9, END_GROUP))))


def test_diagnosis_agrees_with_protobuf_on_every_tag_and_length_of_up_to_six_bytes() -> None:
    for level in LEVELS.values():
        for padding in range(5):
            for number in (0, 1, 2, 3, 4, 9, 2**28, 2**29 - 1, 2**29, 2**32 + 9):
                for wire_type in range(8):
                    field = varint(number << 3 | wire_type, padding) + bytes(8)
                    check_diagnosis(level(field))
        for length in (0, 1, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**35, 2**63, 2**64 - 1):
            field = tag(9, DELIMITED) + varint(length) + b"x" * (length == 1)
            check_diagnosis(level(field))


GROUP = tag(9, START_GROUP) + INDEX + tag(9, END_GROUP)


def make_field(number: int, padding: int, content: tuple[int, bytes]) -> bytes:
    return varint(number << 3 | content[0], padding) + content[1]


def fields_around(messages: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A few fields, most of them well made, that hold such messages."""
    number = st.sampled_from([1, 2, 3, 4] * 4 + [9, 9, 0, 2**29])
    contents = (
        st.tuples(st.just(VARINT), st.sampled_from([0, 0, 1, 2**32, 2**64 - 1]).map(varint)),
        st.tuples(st.just(DELIMITED), messages.map(lambda content: varint(len(content)) + content)),
        st.tuples(st.integers(0, 7), st.binary(max_size=9)),
    )
    field = st.builds(make_field, number, st.sampled_from([0] * 9 + [1, 4, 5]), st.one_of(contents))
    group = st.builds(
        lambda start, content, end: tag(start, START_GROUP) + content + tag(end, END_GROUP),
        st.sampled_from([3, 9]),
        messages,
        st.sampled_from([3, 9, 9, 9]),
    )
    return st.lists(field | group | st.just(INDEX + DATA), max_size=3).map(b"".join)


messages = st.recursive(st.sampled_from([b"", b"k", INDEX, DATA, INDEX + DATA, GROUP]), fields_around, max_leaves=8)
mutated = st.builds(
    lambda body, position, cut, put: body[: position % len(body)] + put + body[position % len(body) + cut :],
    st.sampled_from([BODY, BODY, KEY + delimited(3, INDEX, DATA, GROUP)]),
    st.integers(0, 100),
    st.integers(0, 3),
    st.binary(max_size=3) | messages,
)
extended = st.lists(st.sampled_from([KEY, RECORD, EXPLICIT_HASH_KEY, BODY]) | messages, max_size=5).map(b"".join)
bodies = st.binary(max_size=40) | extended | mutated


@given(bodies)
@example(b"")
@example(BODY)
def test_diagnosis_finds_something_exactly_where_protobuf_and_the_rules_refuse(body: bytes) -> None:
    check_diagnosis(body)


@given(bodies)
def test_decode_answers_by_protobufs_rules_or_refuses(body: bytes) -> None:
    check_against_oracle(body)


@given(st.binary(max_size=50))
def test_decode_of_anything_raises_decode_errors_only(blob: bytes) -> None:
    for candidate in (blob, MAGIC + blob, frame(blob)):
        try:
            sp.decode(candidate)
        except sp.DecodeError:
            continue
        assert sp.is_aggregated(candidate)
