"""Fifty Kinesis records made to hurt their readers, each as large as is asked for, and a sound one to compare with.

The sound one has as many user records as its size has room for, all empty and with one key: what costs readers most of
all that packers write. A hostile one costs much if it costs more than that.
"""

from __future__ import annotations

from collections.abc import Callable

from aggregate_bytes import MAGIC, frame, varint

FRAME = len(MAGIC) + 16


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


KEY, PIN = field(1, b"k"), field(2, b"7")
SMALLEST = field(3, b"\x08\x00\x1a\x00")
PINNED = field(3, b"\x08\x00\x10\x00\x1a\x00")
UNKNOWN = b"\x28\x00"
TAG = field(4, field(1, b"t"))


def sound(size: int) -> bytes:
    """The measure: the smallest records, one key."""
    return frame(KEY + fill(SMALLEST, size - len(KEY)))


def fill(piece: bytes, size: int) -> bytes:
    """The piece as often as there is room for it."""
    return piece * max(size // len(piece), 1)


def half(number: int, character: bytes, size: int) -> bytes:
    """A table of one key that takes half of all."""
    return field(number, fill(character, size // 2))


def many_keys(number: int, size: int, keys: bytes = b"") -> bytes:
    return fill(field(number, keys), size)


def two_equal(size: int) -> bytes:
    """The second of two equal long keys, so that whoever compares them compares all of them."""
    key = field(1, fill(b"k", size // 4))
    return key * 2 + fill(field(3, b"\x08\x01\x1a\x00"), size // 2)


def distinct_keys(size: int) -> bytes:
    """A key of its own for each record."""
    count = size // 20
    keys = b"".join(field(1, b"%07d" % nth) for nth in range(count))
    return keys + b"".join(field(3, b"\x08" + varint(nth) + b"\x1a\x00") for nth in range(count))


Body = Callable[[int], bytes]

# Sound, whatever they look like: every reader takes them apart.
SOUND: dict[str, Body] = {
    "a key of half of it, in ASCII": lambda n: half(1, b"k", n) + fill(SMALLEST, n // 2),
    "a key of half of it, not UTF-8": lambda n: half(1, b"\xff", n) + fill(SMALLEST, n // 2),
    "a key of half of it, cut in a character": lambda n: half(1, b"\xf0\x9f", n) + fill(SMALLEST, n // 2),
    "a key of half of it, of surrogates": lambda n: half(1, b"\xed\xa0\x80", n) + fill(SMALLEST, n // 2),
    "a key of half of it, of zero bytes": lambda n: half(1, b"\0", n) + fill(SMALLEST, n // 2),
    "a key of half of it, of escapes": lambda n: half(1, b"\x1b", n) + fill(SMALLEST, n // 2),
    "an explicit hash key of half of it": lambda n: KEY + half(2, b"9", n) + fill(PINNED, n // 2),
    "an explicit hash key of zeros": lambda n: KEY + half(2, b"0", n) + fill(PINNED, n // 2),
    "an explicit hash key of Arabic zeros": lambda n: KEY + half(2, "\u0660".encode(), n) + fill(PINNED, n // 2),
    "an explicit hash key that is no number": lambda n: KEY + half(2, b"x", n) + fill(PINNED, n // 2),
    "an explicit hash key that is not UTF-8": lambda n: KEY + half(2, b"\xff", n) + fill(PINNED, n // 2),
    "the second of two equal keys": two_equal,
    "a key for each record": distinct_keys,
    "keys and no record that uses them": lambda n: many_keys(1, n) + SMALLEST,
    "explicit hash keys that nobody uses": lambda n: KEY + many_keys(2, n) + SMALLEST,
    "equal keys, one for each record": lambda n: many_keys(1, n // 4, b"k") + fill(SMALLEST, n // 2),
    "one record": lambda n: KEY + field(3, b"\x08\x00" + field(3, bytes(n))),
    "records with explicit hash keys": lambda n: KEY + PIN + fill(PINNED, n),
    "every other one with an explicit hash key": lambda n: KEY + PIN + fill(PINNED + SMALLEST, n),
    "an unknown field at the end": lambda n: KEY + fill(SMALLEST, n) + UNKNOWN,
    "an unknown field after each record": lambda n: KEY + fill(SMALLEST + UNKNOWN, n),
    "an unknown field in each record": lambda n: KEY + fill(field(3, b"\x08\x00\x1a\x00" + UNKNOWN), n),
    "nothing but unknown fields": lambda n: KEY + SMALLEST + fill(UNKNOWN, n),
    "unknown fields in one record": lambda n: KEY + field(3, b"\x08\x00\x1a\x00" + fill(UNKNOWN, n)),
    "groups in groups": lambda n: KEY + SMALLEST + fill(b"\x2b\x33\x34\x2c", n),
    "tags of one record": lambda n: KEY + field(3, b"\x08\x00\x1a\x00" + fill(TAG, n)),
    "a tag in each record": lambda n: KEY + fill(field(3, b"\x08\x00\x1a\x00" + TAG), n),
    "data before the index": lambda n: KEY + fill(field(3, b"\x1a\x00\x08\x00"), n),
    "the index twice": lambda n: KEY + fill(field(3, b"\x08\x00\x08\x00\x1a\x00"), n),
    "the table at the end": lambda n: fill(SMALLEST, n) + KEY,
    "the table in the middle": lambda n: fill(SMALLEST, n // 2) + KEY + fill(SMALLEST, n // 2),
    "lengths that take more bytes than they need": lambda n: KEY + fill(b"\x1a\x84\x00\x08\x00\x1a\x00", n),
    "an index that takes more bytes than it needs": lambda n: KEY + fill(field(3, b"\x08\x80\x00\x1a\x00"), n),
    "aggregates in an aggregate": lambda n: (KEY + fill(field(3, b"\x08\x00" + field(3, frame(KEY + SMALLEST))), n)),
}

# None of these is an aggregate, but each must be looked at for long to find that out.
UNSOUND: dict[str, Body] = {
    "a wrong index at the end": lambda n: KEY + fill(SMALLEST, n) + field(3, b"\x08\x01\x1a\x00"),
    "a wrong index at the start": lambda n: KEY + field(3, b"\x08\x01\x1a\x00") + fill(SMALLEST, n),
    "a wrong explicit index at the end": lambda n: KEY + fill(SMALLEST, n) + PINNED,
    "records without anything in them": lambda n: KEY + fill(b"\x1a\x00", n),
    "records without data": lambda n: KEY + fill(field(3, b"\x08\x00"), n),
    "tags without their key": lambda n: KEY + field(3, b"\x08\x00\x1a\x00" + fill(b"\x22\x00", n)),
    "no record": lambda n: many_keys(1, n),
    "nothing but records": lambda n: fill(SMALLEST, n),
    "a cut at the end": lambda n: KEY + fill(SMALLEST, n) + b"\x1a",
    "a claim of 2 GiB at the end": lambda n: KEY + fill(SMALLEST, n) + b"\x1a\xff\xff\xff\xff\x07",
    "groups that do not end": lambda n: KEY + SMALLEST + fill(b"\x2b", n),
    "groups that did not begin": lambda n: KEY + fill(SMALLEST, n) + b"\x2c",
    "a number of eleven bytes at the end": lambda n: KEY + fill(SMALLEST, n) + b"\x28" + b"\xff" * 10,
    "a field of number 0 at the end": lambda n: KEY + fill(SMALLEST, n) + b"\x00\x00",
}


def blobs(size: int) -> dict[str, bytes]:
    """All fifty, of about that size, by what is hostile about them."""
    of_bodies = {name: frame(body(size - FRAME)) for name, body in (SOUND | UNSOUND).items()}
    of_bytes = {
        "a sound one with a wrong checksum": sound(size)[:-1] + b"?",
        "nothing but the magic, again and again": fill(MAGIC, size),
    }
    return of_bodies | of_bytes
