"""``on_corrupt="kcl"`` against a small model of KCL 3.5.1's AggregatorUtil."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

import pytest
from aggregate_bytes import MAGIC, frame
from google.protobuf.message import DecodeError as ProtobufDecodeError
from hypothesis import event, given
from hypothesis import strategies as st

import shardpack as sp
from shardpack.unpacking.kcl import big_integer, java_string
from shardpack.wire._generated.kpl_pb2 import AggregatedRecord

MAX_HASH_KEY = 2**128 - 1

Delivered = list[tuple[str, bytes, str | None]]

# What `new String(bytes, UTF_8)` of Java 17 gave for each.
JAVA_STRINGS = {
    b"": "",
    b"k": "k",
    b"\xc3\xa9": "\u00e9",
    b"\xf0\x9f\x98\x80": "\U0001f600",
    b"\xf4\x8f\xbf\xbf": "\U0010ffff",
    b"\xed\x9f\xbf": "\ud7ff",
    b"\xef\xbf\xbd": "\ufffd",
    b"\xff\xfe": "\ufffd" * 2,
    b"a\xc3": "a\ufffd",
    b"\xc0\x80": "\ufffd" * 2,
    b"\xed\x80": "\ufffd",
    b"\xe0\x80\x80": "\ufffd" * 3,
    b"\xe0\xa0": "\ufffd",
    b"\xf0\x90\x80": "\ufffd",
    b"\xf0\x80\x80\x80": "\ufffd" * 4,
    b"\xf4\x90\x80\x80": "\ufffd" * 4,
    b"\xf8\x88\x80\x80": "\ufffd" * 4,
    b"\xed\xa0\x80": "\ufffd",
    b"\xed\xbf\xbf": "\ufffd",
    b"\xed\xa0\x80\xed\xb0\x80": "\ufffd" * 2,
}
JAVA_STRINGS_OF_CUT_SURROGATES = {
    b"\xed\xa0": "\ufffd",
    b"k\xed\xa0": "k\ufffd",
    b"\xed\xa0A": "\ufffdA",
    b"\xed\xa0\xed\xa0\x80": "\ufffd" * 2,
    b"\xed\xa0\xc3\xa9": "\ufffd\u00e9",
}

# What `new BigInteger(String)` of Java 17 gave for each; None: NumberFormatException.
BIG_INTEGERS = {
    "0": 0,
    "-0": 0,
    "+5": 5,
    "-5": -5,
    "007": 7,
    "+007": 7,
    "0" * 99 + "5": 5,
    "-" + "0" * 99 + "5": -5,
    "0" * 99: 0,
    "\u0660" * 99 + "\u0665": 5,
    "\u0663": 3,
    "\uff10\uff17": 7,
    "+\uff17": 7,
    "1\u0662\uff13": 123,
    "\u07c1": 1,
    str(MAX_HASH_KEY): MAX_HASH_KEY,
    "": None,
    "+": None,
    "-": None,
    "+-1": None,
    "-+1": None,
    "--1": None,
    "++1": None,
    "1-": None,
    "1+1": None,
    "\uff15-": None,
    "1_0": None,
    " 5": None,
    "5 ": None,
    "5\n": None,
    "\n5": None,
    "\u00a05": None,
    "5\0": None,
    "0x10": None,
    "1e3": None,
    "5.0": None,
    "A": None,
    "undefined": None,
    "\u00b2": None,
    "\u00bd": None,
    "\u2167": None,
    "\u22121": None,
    "\U0001d7cf": None,
    "1\U0001d7cf": None,
    "\U0001e951": None,
}


def model_big_integer(text: str) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits or any(len(c.encode("utf-16-le")) > 2 or unicodedata.category(c) != "Nd" for c in digits):
        raise ValueError(text)
    number = 0
    for character in digits:
        number = 10 * number + unicodedata.digit(character)
    return -number if text.startswith("-") else number


def java_int(index: int) -> int:
    return (index + 2**31) % 2**32 - 2**31


def model(blob: bytes, starting: int, ending: int) -> Delivered | None:
    """What the KCL delivers of a Kinesis record; None: the record itself."""
    body, trailer = blob[4:-16], blob[-16:]
    if blob[:4] != MAGIC or len(blob) - 4 <= 16 or hashlib.md5(body).digest() != trailer:
        return None
    try:
        message = AggregatedRecord.FromString(body)
    except ProtobufDecodeError:
        return None
    if not message.IsInitialized():
        return None
    delivered: Delivered = []
    for record in message.records:
        explicit_hash_key = None
        try:
            partition_key = model_get(message.partition_key_table, record.partition_key_index)
            hash_key = int.from_bytes(hashlib.md5(partition_key.encode()).digest(), "big")
            if record.HasField("explicit_hash_key_index"):
                explicit_hash_key = model_get(message.explicit_hash_key_table, record.explicit_hash_key_index)
                hash_key = model_big_integer(explicit_hash_key)
        except (IndexError, ValueError):
            break
        if hash_key < starting or hash_key > ending:
            return []
        delivered.append((partition_key, record.data, explicit_hash_key))
    return delivered


def model_get(table: Iterable[bytes], index: int) -> str:
    entries = list(table)
    cast = java_int(index)
    if not 0 <= cast < len(entries):
        raise IndexError(index)
    encoded = entries[cast]
    return JAVA_STRINGS[encoded] if encoded in JAVA_STRINGS else encoded.decode()


def kcl(blob: bytes, starting: int = 0, ending: int = MAX_HASH_KEY) -> Delivered | None:
    received = list(
        sp.unpack(
            {"Data": blob, "PartitionKey": "outer", "SequenceNumber": "1", "ExplicitHashKey": "2"},
            on_corrupt="kcl",
            hash_range=(starting, ending),
            out_of_range="drop_aggregate",
        )
    )
    if [r.aggregated for r in received] == [False]:
        assert received == [sp.ReceivedRecord("outer", blob, "2", "1", 0, False, None, None)]
        return None
    assert [r.sub_sequence_number for r in received] == list(range(len(received)))
    assert {(r.aggregated, r.sequence_number, r.tags) for r in received} <= {(True, "1", ())}
    return [(r.partition_key or "", r.data, r.explicit_hash_key) for r in received]


indices = st.sampled_from([0] * 24 + [1, 1, 2, 3, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**63, 2**64 - 1])
explicit_hash_keys = st.one_of(
    st.sampled_from([text for text, number in BIG_INTEGERS.items() if number is not None and number >= 0]),
    st.integers(0, MAX_HASH_KEY).map(str),
    st.sampled_from(sorted(BIG_INTEGERS))
    | st.integers(-2, 2**129).map(str)
    | st.text("0123456789+-_ \u0663\uff11\U0001d7cf", max_size=5),
)
hash_keys = st.sampled_from([0, 5, 7, 2**127, MAX_HASH_KEY]) | st.integers(0, MAX_HASH_KEY)
some_ranges = st.tuples(hash_keys, hash_keys).map(lambda pair: (min(pair), max(pair)))
ranges = st.sampled_from([0, 0, 0, 1]).flatmap(lambda some: some_ranges if some else st.just((0, MAX_HASH_KEY)))


@st.composite
def aggregates(draw: st.DrawFn) -> bytes:
    message = AggregatedRecord()
    message.partition_key_table.extend(draw(st.lists(st.sampled_from(sorted(JAVA_STRINGS)), max_size=3)) or [b"k"])
    message.explicit_hash_key_table.extend(
        text.encode() for text in draw(st.lists(explicit_hash_keys, max_size=3)) or ["5"]
    )
    for _ in range(draw(st.sampled_from([0, 1, 2, 3, 4, 4, 5, 6]))):
        record = message.records.add(data=draw(st.binary(max_size=2)))
        record.partition_key_index = draw(indices)
        if draw(st.sampled_from([False, False, True])):
            record.explicit_hash_key_index = draw(indices)
        if draw(st.sampled_from([False] * 31 + [True])):
            record.ClearField(draw(st.sampled_from(["partition_key_index", "data"])))
        if draw(st.sampled_from([False] * 9 + [True])):
            record.tags.add(key=b"t").ParseFromString(draw(st.sampled_from([b"", b"\x0a\x01t", b"\x12\x01v"])))
    body = message.SerializePartialToString() + draw(st.sampled_from([b""] * 9 + [b"\x78\x01", b"\x78"]))
    return frame(body) + draw(st.sampled_from([b""] * 15 + [b"\0"]))


@given(aggregates(), ranges)
def test_delivers_what_the_model_delivers(blob: bytes, hash_range: tuple[int, int]) -> None:
    expected = model(blob, *hash_range)

    event("the record itself" if expected is None else f"{len(expected)} sub-records")
    assert kcl(blob, *hash_range) == expected


@given(st.binary(max_size=30), st.sampled_from([b"", MAGIC[:3], MAGIC]), ranges)
def test_delivers_what_is_no_aggregate_as_it_is(anything: bytes, start: bytes, hash_range: tuple[int, int]) -> None:
    assert kcl(start + anything, *hash_range) is None


def record(index: int = 0, explicit_index: int | None = None, data: bytes = b"d") -> AggregatedRecord:
    message = AggregatedRecord()
    message.records.add(partition_key_index=index, explicit_hash_key_index=explicit_index, data=data)
    return message


def aggregate(*records: AggregatedRecord, partition_key: bytes = b"k", explicit_hash_key: str = "5") -> bytes:
    message = AggregatedRecord(
        partition_key_table=[partition_key], explicit_hash_key_table=[explicit_hash_key.encode()]
    )
    for part in records:
        message.MergeFrom(part)
    return frame(message.SerializeToString())


@pytest.mark.parametrize("field", ["partition_key", "explicit_hash_key"])
@pytest.mark.parametrize(
    ("index", "found"), [(2**32, True), (2**33, True), (2**32 + 1, False), (2**31, False), (1, False)]
)
def test_an_index_is_cut_to_a_java_int(field: str, index: int, found: bool) -> None:
    bad = record(index, data=b"bad") if field == "partition_key" else record(0, index, data=b"bad")

    delivered = kcl(aggregate(record(), bad, record()))

    assert delivered is not None
    assert [data for _, data, _ in delivered] == ([b"d", b"bad", b"d"] if found else [b"d"])


def test_an_explicit_index_that_is_the_schemas_default_is_an_index() -> None:
    assert kcl(aggregate(record(), record(0, 2**64 - 1), record())) == [("k", b"d", None)]


@pytest.mark.parametrize("text", BIG_INTEGERS)
def test_numbers_are_javas(text: str) -> None:
    expected = BIG_INTEGERS[text]

    if expected is None:
        with pytest.raises(ValueError, match="BigInteger"):
            big_integer(text)
        assert kcl(aggregate(record(), record(0, 0), record(), explicit_hash_key=text)) == [("k", b"d", None)]
    else:
        assert big_integer(text) == expected
        delivered = [("k", b"d", text)] if expected >= 0 else []
        assert kcl(aggregate(record(0, 0), explicit_hash_key=text), 0, MAX_HASH_KEY) == delivered


@given(st.text("0123456789+-_ \u0663\u0660\uff11\U0001d7cf\u00b2", max_size=50))
def test_numbers_are_javas_for_any_text(text: str) -> None:
    try:
        expected = model_big_integer(text)
    except ValueError:
        with pytest.raises(ValueError, match="BigInteger"):
            big_integer(text)
    else:
        # Numbers outside the range of hash keys only have to stay outside, on their side of it.
        assert max(-MAX_HASH_KEY, min(big_integer(text), MAX_HASH_KEY + 1)) == max(
            -MAX_HASH_KEY, min(expected, MAX_HASH_KEY + 1)
        )


@pytest.mark.parametrize("digits", [39, 40, 41, 10_000])
@pytest.mark.parametrize("sign", ["", "+", "-"])
def test_numbers_beyond_the_hash_keys_stay_beyond_them(digits: int, sign: str) -> None:
    assert kcl(aggregate(record(0, 0), explicit_hash_key=sign + "9" * digits)) == []


@pytest.mark.parametrize("encoded", JAVA_STRINGS)
def test_keys_that_are_not_utf_8_are_read_as_java_reads_them(encoded: bytes) -> None:
    assert java_string(encoded) == JAVA_STRINGS[encoded]


@pytest.mark.parametrize("encoded", JAVA_STRINGS_OF_CUT_SURROGATES)
def test_surrogates_cut_short_are_read_as_java_reads_them(encoded: bytes) -> None:
    assert java_string(encoded) == JAVA_STRINGS_OF_CUT_SURROGATES[encoded]


def test_the_hash_key_is_that_of_the_key_as_java_read_it() -> None:
    hash_key = sp.hash_key("\ufffd")

    assert kcl(aggregate(record(), partition_key=b"\xed\xa0\x80"), hash_key, hash_key) == [("\ufffd", b"d", None)]
    assert kcl(aggregate(record(), partition_key=b"\xff"), hash_key + 1, MAX_HASH_KEY) == []


def test_both_bounds_are_inside() -> None:
    blob = aggregate(record(0, 0))

    assert kcl(blob, 5, 5) == kcl(blob, 0, 5) == kcl(blob, 5, 9) == [("k", b"d", "5")]
    assert kcl(blob, 0, 4) == kcl(blob, 6, MAX_HASH_KEY) == []


def test_an_explicit_hash_key_does_not_become_that_of_its_partition_key() -> None:
    far = sp.hash_key("k")

    assert kcl(aggregate(record(0, 0), record()), 5, 5) == []
    assert kcl(aggregate(record(), record(0, 0)), far, far) == []
    assert kcl(aggregate(record(), record()), far, far) == [("k", b"d", None)] * 2


def test_what_comes_first_decides() -> None:
    bad, outside = record(9), record(0, 0)
    hash_range = sp.hash_key("k"), sp.hash_key("k")

    assert kcl(aggregate(record(), bad, outside), *hash_range) == [("k", b"d", None)]
    assert kcl(aggregate(record(), outside, bad), *hash_range) == []


def test_without_a_hash_range_every_hash_key_is_in_range_but_not_every_number() -> None:
    for text, expected in (("5", ["5"]), ("-1", []), (str(2**128), [])):
        blob = aggregate(record(0, 0), explicit_hash_key=text)
        received = sp.unpack({"Data": blob}, on_corrupt="kcl", out_of_range="drop_aggregate")
        assert [r.explicit_hash_key for r in received] == expected


def test_keeping_what_is_out_of_range_keeps_the_rest_of_the_rules() -> None:
    blob = aggregate(record(0, 0), record(9), record(), explicit_hash_key="-1")

    received = list(sp.unpack({"Data": blob}, on_corrupt="kcl", hash_range=(5, 5), out_of_range="keep"))

    assert [(r.explicit_hash_key, r.aggregated) for r in received] == [("-1", True)]


def test_an_aggregate_without_records_delivers_nothing_and_one_without_a_message_itself() -> None:
    assert kcl(frame(b"\x0a\x01k")) == []
    assert kcl(frame(b"")) is None


# Messages that protobuf for Java and for Python read differently, with what AggregatorUtil of KCL 3.5.1 delivered of
# each: the data of its sub-records; None: the record itself (tests/interop/test_interop_aggregator.py).
READ_DIFFERENTLY: dict[str, tuple[str, list[bytes] | None]] = {
    "a tag of more than 32 bits": ("c0b38080808080808001" + "00", []),
    "a known tag of more than 32 bits": ("8a808080100161" + "1a0408001a00", [b""]),
    "a length of more than 32 bits": ("0a81808080800161" + "1a0408001a00", [b""]),
    "a field 0 inside a group": ("0a0161" + "1a0408001a00" + "3b00053c", None),
    "an empty field 0 inside a group": ("0a0161" + "1a0408001a00" + "3b0200" + "3c", None),
    "groups as deep as Java allows": ("0a0161" + "1a0408001a00" + "3b" * 100 + "3c" * 100, [b""]),
    "groups one deeper": ("0a0161" + "1a0408001a00" + "3b" * 101 + "3c" * 101, None),
    "a tag of eleven bytes": ("8a" + "80" * 9 + "000161" + "1a0408001a00", None),
    "a negative length": ("0affffffff0f61", None),
    "a number cut short": ("0a0161" + "1a0408001a00" + "3880", None),
    "a tag without its key": ("0a0161" + "1a0808001a0022021200", None),
}


@pytest.mark.parametrize(("body", "delivered"), READ_DIFFERENTLY.values(), ids=READ_DIFFERENTLY)
def test_reads_protobuf_as_java_does(body: str, delivered: list[bytes] | None) -> None:
    blob = frame(bytes.fromhex(body))
    got = list(sp.unpack({"Data": blob}, on_corrupt="kcl"))
    assert [r.data for r in got] == ([blob] if delivered is None else delivered)
