"""What fits into a Kinesis record: the service's limits, and how much of them to use.

Sources: the API reference of ``PutRecords`` (record and request limits, both counting partition keys), "Quotas and
limits" of the Kinesis developer guide (a shard's 1,000 records/s and 1 MiB/s), "Large records" (10 MiB), the API
reference of ``GetShardIterator`` (lengths of sequence numbers and shard ids).
"""

from __future__ import annotations

import sys
from itertools import islice

from .values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from collections.abc import Collection

KIB = 1024
MIB = 1024 * 1024

PUT_PAYLOAD_UNIT_BYTES = 25 * KIB
KPL_AGGREGATION_MAX_SIZE = 51_200

MIN_RECORD_BYTES = 64
"""The KPL's lower bound for ``aggregation_max_size``; below it, framing would be most of every record."""
MAX_RECORD_BYTES = 10 * MIB

MAX_REQUEST_RECORDS = 500
DEFAULT_REQUEST_BYTES = 5 * MIB
MAX_REQUEST_BYTES = 10 * MIB

SHARD_RECORDS_PER_SECOND = 1000
SHARD_BYTES_PER_SECOND = MIB

MAX_PARTITION_KEY_CHARACTERS = 256
MAX_SEQUENCE_NUMBER_CHARACTERS = 129
MAX_SHARD_ID_CHARACTERS = 128
MAX_HASH_KEY: int = 2**128 - 1


def check_integer(name: str, value: object) -> None:
    """Refuse a setting that is no int: 2.5 records would pass every comparison and then never be reached.

    Raises:
        TypeError: it is none; the message names it.
    """
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{name} is {shown(value)}, of type {type(value).__name__}; give an int")


def check_iterable(name: str, value: object, remedy: str) -> None:
    """Refuse what is no iterable of things, text and bytes among it: Python would go on with their characters.

    Raises:
        TypeError: it is none; the message names it and what to give.
    """
    if isinstance(value, str | bytes | bytearray | memoryview) or not hasattr(type(value), "__iter__"):
        raise TypeError(f"{name} is {shown(value)}, of type {type(value).__name__}; give {remedy}")


def check_type(name: str, value: object, kind: type, remedy: str) -> None:
    """Refuse a value of another type.

    Raises:
        TypeError: it has another; the message names both.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {shown(value)}, of type {type(value).__name__}; give {remedy}")


def check_optional(name: str, value: object, kind: type) -> None:
    """Refuse a value that is neither None nor of that type.

    Raises:
        TypeError: it has another type; the message names both.
    """
    if value is not None:
        check_type(name, value, kind, f"a {kind.__name__}, or leave it out")


def check_callable(name: str, value: object, remedy: str) -> None:
    """Refuse what cannot be called.

    Raises:
        TypeError: it cannot be; the message names it.
    """
    if not callable(value):
        raise TypeError(f"{name} is {shown(value)}, of type {type(value).__name__}; give {remedy}")


def check_number(name: str, value: object) -> None:
    """Refuse what is no finite number.

    Raises:
        TypeError: it is no number at all.
        ValueError: it is not finite, or no float can hold it.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {shown(value)}, of type {type(value).__name__}; give a number")
    if not -_MOST <= value <= _MOST:
        raise ValueError(f"{name} is {shown(value)}; give a finite number")


_MOST = sys.float_info.max


def check_timeout(value: object, name: str = "timeout") -> None:
    """Refuse what is no number of seconds; None is for as long as it takes.

    Raises:
        TypeError: it is no number.
        ValueError: it is longer than any clock of the system counts, or none that can be waited for.
    """
    if value is None:
        return
    check_number(name, value)
    if isinstance(value, int | float) and value > _MOST_SECONDS:
        raise ValueError(f"{name} is {shown(value)}; give at most {_MOST_SECONDS:,} seconds, or None for no limit")


_MOST_SECONDS = 1_000_000_000  # 31 years; Python itself counts in nanoseconds of 64 bits


def shown(value: object, form: str = "") -> str:
    """A value as a message shows it: on one line, not long, and without failing; `form` is for numbers."""
    if isinstance(value, int) and not isinstance(value, bool):  # Python refuses to print the longest ones
        return format(value, form) if abs(value) < 10**100 else f"a number of {value.bit_length():,} bits"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # a value's own repr may do anything
        return "something that cannot be shown"
    return text if len(text) <= 60 else f"{text[:57]}..."


def brief(text: object) -> str:
    """A text of somebody else as a message shows it without quotes: the name of a stream or a shard, a number."""
    whole = str(text)
    return whole if len(whole) <= MOST_SHOWN else f"{whole[: MOST_SHOWN - 3]}..."


def listed(texts: Collection[object]) -> str:
    """The first of some names, for a message."""
    some = [brief(text) for text in islice(texts, _MOST_LISTED)]
    return ", ".join([*some, f"and {len(texts) - len(some):,} more"] if len(texts) > len(some) else some)


_MOST_LISTED = 5
MOST_SHOWN = 150
"""Characters: sequence numbers have 129 at most, the names of streams and shards 128 (Kinesis API reference)."""


class Limits(Value):
    """How large a Kinesis record may become.

    Attributes:
        max_record_bytes: The largest size of one Kinesis record, in bytes, as Kinesis counts them: its data plus its
            partition key in UTF-8. The data of an aggregate is its magic, its protobuf message and its MD5. From 64 to
            10,485,760. A stream takes more than 1,048,576 only after ``UpdateMaxRecordSize``. A user record that does
            not fit is an error.
        max_user_records: The largest number of user records in one Kinesis record. None means no such limit.
        max_aggregate_bytes: The largest size of one Kinesis record that holds several user records, counted in the same
            way. From 64 to ``max_record_bytes``; None means the same as that. A user record that does not fit into an
            aggregate of this size goes alone, as with the KPL's ``aggregation_max_size``.

    Raises:
        ValueError: A setting is out of its range.
        TypeError: A setting is not an int.
    """

    max_record_bytes: int = MIB
    max_user_records: int | None = None
    max_aggregate_bytes: int | None = None

    def __post_init__(self) -> None:
        check_integer("max_record_bytes", self.max_record_bytes)
        if not MIN_RECORD_BYTES <= self.max_record_bytes <= MAX_RECORD_BYTES:
            raise ValueError(
                f"max_record_bytes is {shown(self.max_record_bytes, ',')}; Kinesis records hold"
                f" {MIN_RECORD_BYTES:,} to {MAX_RECORD_BYTES:,} bytes here"
            )
        if self.max_user_records is not None:
            check_integer("max_user_records", self.max_user_records)
            if self.max_user_records < 1:
                raise ValueError(
                    f"max_user_records is {shown(self.max_user_records)}; give at least 1, or None for no limit"
                )
        if self.max_aggregate_bytes is not None:
            check_integer("max_aggregate_bytes", self.max_aggregate_bytes)
            if not MIN_RECORD_BYTES <= self.max_aggregate_bytes <= self.max_record_bytes:
                raise ValueError(
                    f"max_aggregate_bytes is {shown(self.max_aggregate_bytes, ',')}; give {MIN_RECORD_BYTES:,} to"
                    f" max_record_bytes, which is {self.max_record_bytes:,}, or None for the same as that"
                )

    @property
    def aggregate_bytes(self) -> int:
        """``max_aggregate_bytes``, or ``max_record_bytes`` where that is None."""
        return self.max_record_bytes if self.max_aggregate_bytes is None else self.max_aggregate_bytes

    @classmethod
    def kpl(cls) -> Limits:
        """The KPL's default: aggregates of at most 51,200 bytes, two PUT payload units, in Kinesis records of 1 MiB."""
        return cls(max_aggregate_bytes=KPL_AGGREGATION_MAX_SIZE)

    @classmethod
    def large(cls) -> Limits:
        """At most 10 MiB, for streams whose ``MaxRecordSizeInKiB`` was raised to 10,240."""
        return cls(MAX_RECORD_BYTES)

    @classmethod
    def put_units(cls, n: int) -> Limits:
        """Aggregates of at most ``n`` PUT payload units, in Kinesis records of 1 MiB, or more where aggregates need it.

        A unit has 25 KiB and is the unit of billing in provisioned mode.

        Raises:
            ValueError: ``n`` is less than 1, or ``n`` units are more than 10 MiB.
            TypeError: ``n`` is not an int.
        """
        check_integer("n", n)
        most = MAX_RECORD_BYTES // PUT_PAYLOAD_UNIT_BYTES
        if not 1 <= n <= most:
            raise ValueError(f"n is {shown(n, ',')}; a Kinesis record holds 1 to {most} PUT payload units of 25 KiB")
        size = n * PUT_PAYLOAD_UNIT_BYTES
        return cls(max(MIB, size), max_aggregate_bytes=size)
