"""Aggregates of every kind, sound and broken, from a seed: what a reader of other people's records may meet."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from aggregate_bytes import delimited, frame, varint

MAX_HASH_KEY = 2**128 - 1

_KEYS = (b"", b"a", b"k", b"key", b"k" * 256, "\u00e9\u20ac\U0001f600".encode(), b"\xff\xfe", b"\xed\xa0\x80", b"a\xc3")
_HASH_KEYS = (
    *(str(number).encode() for number in (0, 1, 7, 2**127 - 1, 2**127, MAX_HASH_KEY, MAX_HASH_KEY + 1, 10**60)),
    *(b"+5", b"-0", b"-1", b"007", b"", b" 5", b"5 ", b"1_0", b"0x10", b"1e3", b"5.0", b"undefined", b"+-1", b"--1"),
    *("\u0663\uff17".encode(), "\U0001d7cf".encode(), b"\xff", "5\u2003".encode(), b"5\x00", b"0" * 80 + b"9"),
)
_INDICES = (2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**63, 2**64 - 1)


@dataclass(frozen=True)
class Case:
    """The data of a Kinesis record, and the hash range of the shard that it was read from."""

    data: bytes
    starting: int
    ending: int


def cases(seed: int, count: int) -> Iterator[Case]:
    """So many cases; the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        body = _Body(rng)
        yield Case(_framed(rng, body.encoded()), *_hash_range(rng, body))


@dataclass
class _Body:
    """The message of an aggregate."""

    rng: random.Random
    keys: list[bytes] = field(default_factory=list)
    hash_keys: list[bytes] = field(default_factory=list)

    def encoded(self) -> bytes:
        rng = self.rng
        clean = rng.random() < 0.4
        self.keys = [self._key(clean) for _ in range(rng.choice((0, 1, 1, 2, 3, 8) if not clean else (1, 2, 5)))]
        self.hash_keys = [self._hash_key(clean) for _ in range(rng.choice((0, 0, 1, 1, 2, 4)))]
        fields = [delimited(1, key) for key in self.keys] + [delimited(2, key) for key in self.hash_keys]
        fields += [delimited(3, self._record(clean)) for _ in range(rng.choice((0, 1, 1, 2, 3, 5, 40)))]
        if not clean:
            for _ in range(rng.choice((0, 0, 0, 1, 2))):
                fields.insert(rng.randrange(len(fields) + 1), self._odd_field())
            if rng.random() < 0.2:
                rng.shuffle(fields)
        return b"".join(fields)

    def _key(self, clean: bool) -> bytes:
        if clean or self.rng.random() < 0.6:
            return f"key-{self.rng.randrange(50)}".encode()
        return self.rng.choice(_KEYS)

    def _hash_key(self, clean: bool) -> bytes:
        if clean or self.rng.random() < 0.6:
            return str(self.rng.randrange(MAX_HASH_KEY + 1)).encode()
        return self.rng.choice(_HASH_KEYS)

    def _record(self, clean: bool) -> bytes:
        rng = self.rng
        parts = [_number(1, self._index(len(self.keys), clean))]
        if self.hash_keys and rng.random() < 0.5:
            parts.append(_number(2, self._index(len(self.hash_keys), clean)))
        parts.append(delimited(3, rng.randbytes(rng.choice((0, 1, 5, 127, 128, 200)))))
        if not clean and rng.random() < 0.15:
            odd = rng.randrange(6)
            if odd == 0:
                parts.pop(rng.randrange(len(parts)))
            elif odd == 1:
                parts.append(rng.choice(parts))
            elif odd == 2:
                parts.append(_number(2, self._index(len(self.hash_keys), clean)))
            elif odd == 3:
                parts.append(delimited(4, delimited(1, b"tag") + delimited(2, b"value")))
            elif odd == 4:
                parts.append(delimited(4, delimited(2, b"a tag without its key")))
            else:
                parts.insert(rng.randrange(len(parts) + 1), self._odd_field())
            if rng.random() < 0.3:
                rng.shuffle(parts)
        return b"".join(parts)

    def _index(self, size: int, clean: bool) -> int:
        if clean or self.rng.random() < 0.9:
            return self.rng.randrange(max(size, 1))
        return self.rng.choice((*_INDICES, size, size + 1))

    def _odd_field(self) -> bytes:
        rng = self.rng
        number = rng.choice((1, 2, 3, 4, 5, 15, 16, 1000, 19_000, 2**29 - 1, 0))
        kind = rng.randrange(8)
        tag = self._overlong(number << 3 | kind)
        if kind == 0:
            long = [b"\xff" * 9 + bytes([last]) for last in (0, 1, 2, 127, 129)]
            return tag + rng.choice((b"\x00", b"\x80\x00", *long))
        if kind == 1:
            return tag + bytes(8)
        if kind == 2:
            size = rng.choice((0, 3, 3, 3, 127, 2**31 - 1, 2**31, 2**32 - 1))
            return tag + self._overlong(size) + b"abc"[: min(size, 3)]
        if kind == 3:
            depth = rng.choice((1, 1, 2, 97, 98, 99, 100, 101, 102))
            end = self._overlong((number if rng.random() < 0.8 else number + 1) << 3 | 4)
            inside = (b"", _number(1, 5), _number(0, 5), delimited(0, b"abc"), self._overlong(7 << 3) + b"\x01")
            outer = varint(7 << 3 | 3) * (depth - 1)
            return tag + outer + rng.choice(inside) + varint(7 << 3 | 4) * (depth - 1) + end
        return tag + (bytes(4) if kind == 5 else b"")

    def _overlong(self, value: int) -> bytes:
        """A varint with more bits than its reader has room for, or with more bytes than it needs; sometimes."""
        rng = self.rng
        if rng.random() < 0.6:
            return varint(value)
        if rng.random() < 0.5:
            return varint(value | rng.choice((2**32, 2**34, 2**35, 2**63, 2**64, 2**69)))
        needed = varint(value)
        return needed[:-1] + bytes([needed[-1] | 128]) + b"\x80" * rng.choice((0, 1, 3, 8, 9)) + b"\x00"


def _framed(rng: random.Random, body: bytes) -> bytes:
    damage = rng.randrange(12)
    if damage == 0 and body:  # a sound checksum over a damaged message
        at = rng.randrange(len(body))
        body = body[:at] + bytes([body[at] ^ 1 << rng.randrange(8)]) + body[at + 1 :]
    elif damage == 1:
        body = body[: rng.randrange(len(body) + 1)]
    elif damage == 2:
        body += rng.randbytes(rng.choice((1, 2, 16)))
    blob = frame(body)
    if damage == 3:
        at = rng.randrange(len(blob))
        blob = blob[:at] + bytes([blob[at] ^ 1 << rng.randrange(8)]) + blob[at + 1 :]
    elif damage == 4:
        blob = blob[: rng.randrange(len(blob) + 1)]
    elif damage == 5:
        blob += rng.randbytes(rng.choice((1, 16)))
    elif damage == 6 and rng.random() < 0.3:
        inner = frame(body)
        outer = delimited(1, b"outer") + delimited(3, _number(1, 0) + delimited(3, inner))
        blob = frame(outer)
    return blob


def _hash_range(rng: random.Random, body: _Body) -> tuple[int, int]:
    edges = [int.from_bytes(hashlib.md5(key).digest()) for key in body.keys]
    edges += [int(key) for key in body.hash_keys if key.isdigit() and len(key) < 40]
    choice = rng.randrange(5)
    if choice < 2 or not edges:
        return 0, MAX_HASH_KEY
    low, high = min(edges), max(edges)
    if choice == 2:
        return low, high  # the bounds themselves are inside
    if choice == 3:
        return min(low + 1, MAX_HASH_KEY), MAX_HASH_KEY
    return 0, max(high - 1, 0)


def _number(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)
