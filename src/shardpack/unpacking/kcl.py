"""What KCL 3.5.1 makes of an aggregate, its losses included: ``AggregatorUtil.deaggregate``.

For parity with a Java fleet: ``unpack(on_corrupt="kcl")``. Names of Java methods say which rule is copied.
"""

from __future__ import annotations

import functools
import re

from ..errors import MalformedError
from ..hashing import md5_hash_key
from ..limits import MAX_HASH_KEY
from ..records import BytesLike
from ..wire.columns import Columns
from ..wire.format import FRAME_BYTES

_ENCODED_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]?")  # or cut short
_MAX_DIGITS = len(str(MAX_HASH_KEY))


def read(blob: BytesLike, bounds: tuple[int, int] | None) -> Columns:
    """What ``AggregatorUtil.deaggregate`` delivers of an aggregate.

    Args:
        blob: the data of a Kinesis record.
        bounds: the hash range of its shard: one sub-record outside drops the whole aggregate. None: no such filter.

    Raises:
        DecodeError: the KCL takes it for a plain record.
    """
    if len(blob) <= FRAME_BYTES:
        raise MalformedError("the KCL takes an aggregate without a message for a plain record", offset=0)
    from . import kcl_message  # it loads protobuf, which `import shardpack` does not

    raw = kcl_message.read(blob)
    partition_keys = [java_string(key) for key in raw.partition_key_table]
    explicit_hash_keys = [java_string(key) for key in raw.explicit_hash_key_table]
    numbers = functools.cache(big_integer)  # a long explicit hash key may be shared by many records
    hash_keys = functools.cache(_hash_key)
    delivered = Columns([], [], [], [])
    for index, explicit_index, data in raw.records:
        explicit_hash_key = None
        try:
            partition_key = partition_keys[int_cast(index)]
            if explicit_index is not None:
                explicit_hash_key = explicit_hash_keys[int_cast(explicit_index)]
                hash_key = numbers(explicit_hash_key)
            else:
                hash_key = hash_keys(partition_key)
        except (IndexError, ValueError):
            break  # logged by the KCL; what came before is kept, the rest is lost
        if bounds is not None and not bounds[0] <= hash_key <= bounds[1]:
            return Columns([], [], [], [])
        delivered.partition_keys.append(partition_key)
        delivered.data.append(data)
        delivered.explicit_hash_keys.append(explicit_hash_key)
        delivered.tags.append(())
    return delivered


def _hash_key(partition_key: str) -> int:
    return md5_hash_key(partition_key.encode())


def big_integer(text: str) -> int:
    """Java's ``new BigInteger(String)``: a sign, then decimal digits of any script in the Basic Multilingual Plane.

    Numbers too long for any hash key come back as one just outside the range, and none is converted that would take
    more than linear time.

    Raises:
        ValueError: Java would raise NumberFormatException.
    """
    digits = text[1:] if text.startswith(("+", "-")) else text
    if not digits.isdecimal() or not (text.isascii() or max(text) <= "\uffff"):
        raise ValueError(f"{text!r:.60} is not a number by Java's BigInteger(String)")
    if len(digits) > _MAX_DIGITS:
        digits = digits.lstrip("0" if text.isascii() else _zeros()) or "0"
    number = int(digits) if len(digits) <= _MAX_DIGITS else MAX_HASH_KEY + 1
    return -number if text[0] == "-" else number


@functools.cache
def _zeros() -> str:
    """The zero of each script in the Basic Multilingual Plane."""
    return "".join(digit for digit in map(chr, range(0x10000)) if digit.isdecimal() and int(digit) == 0)


def int_cast(index: int) -> int:
    """Java's ``(int)`` of a uint64; what becomes negative is no index at all.

    Raises:
        IndexError: it became negative.
    """
    low = index & 0xFFFF_FFFF
    if low > 0x7FFF_FFFF:
        raise IndexError(index)
    return low


def java_string(encoded: bytes) -> str:
    """Java's ``new String(bytes, UTF_8)``, in which an encoded surrogate becomes one U+FFFD, and not three."""
    return _ENCODED_SURROGATE.sub(b"\xef\xbf\xbd", encoded).decode(errors="replace")
