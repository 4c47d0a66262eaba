"""The values that go in and come out: user records, packed records, received records, positions.

All are immutable. The two that exist once per user record are named tuples, because a frozen dataclass costs four times
as much to make and they are what unpacking spends its time on.
"""

from __future__ import annotations

from .errors import InvalidRecordError
from .limits import MAX_HASH_KEY, MAX_PARTITION_KEY_CHARACTERS, shown
from .values import TYPE_CHECKING, NamedTuple, Value

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import ClassVar, TypeAlias

BytesLike: TypeAlias = bytes | bytearray | memoryview
Tags: TypeAlias = tuple[tuple[str, str | None], ...]


class UserRecord(NamedTuple):
    """What the application hands in or gets back.

    Attributes:
        partition_key: 1 to 256 Unicode characters; decides the shard, unless there is an explicit hash key.
        data: the payload.
        explicit_hash_key: the hash key that overrides the partition key's, as a decimal string, or None.
        tags: (key, value or None) pairs: part of the KPL's format, though the KPL never writes them and the KCL
            never reads them.
    """

    partition_key: str
    data: bytes
    explicit_hash_key: str | None = None
    tags: Tags = ()


UserRecordLike: TypeAlias = (
    "UserRecord"
    " | tuple[str, BytesLike]"
    " | tuple[str, BytesLike, str | int | None]"
    " | tuple[str, BytesLike, str | int | None, Iterable[tuple[str, str | None]]]"
)
"""A user record, or a tuple with its first two, three or four fields."""


class PackedRecord(Value):
    """One Kinesis record, ready for `PutRecords`.

    Attributes:
        data: the bytes to put: an aggregate, or a lone user record's own data.
        partition_key: the outer partition key.
        explicit_hash_key: the outer explicit hash key as a decimal string, or None.
        user_record_count: user records inside.
        shard_id: the shard that the shard map predicts, or None without one.
    """

    data: bytes
    partition_key: str
    explicit_hash_key: str | None
    user_record_count: int
    shard_id: str | None = None

    @property
    def size(self) -> int:
        """Bytes as Kinesis counts them: data plus the partition key in UTF-8."""
        return len(self.data) + len(self.partition_key.encode())

    @property
    def entry(self) -> dict[str, str | bytes]:
        """The `PutRecords` request entry, as boto3 takes it."""
        entry: dict[str, str | bytes] = {"Data": self.data, "PartitionKey": self.partition_key}
        if self.explicit_hash_key is not None:
            entry["ExplicitHashKey"] = self.explicit_hash_key
        return entry


_MOST_DIGITS = 129  # of a sequence number, by the GetShardIterator API reference


class Position:
    """Where in a shard a user record stands: a sequence number, and its index in the aggregate there.

    Positions order as the KCL's ``ExtendedSequenceNumber`` does. The sentinels ``AT_TIMESTAMP`` <
    ``TRIM_HORIZON`` < ``LATEST`` come before every number, and ``SHARD_END`` comes after. Sequence numbers are compared
    as numbers, and the index decides between equal ones.

    Args:
        sequence_number: a decimal string as Kinesis gives it, or a sentinel's name.
        sub_sequence_number: the index inside the aggregate, from 0.

    Raises:
        InvalidRecordError: the sequence number is neither digits nor a sentinel, or the index is negative.
    """

    __slots__ = ("_order", "sequence_number", "sub_sequence_number")

    TRIM_HORIZON: ClassVar[Position]
    LATEST: ClassVar[Position]
    AT_TIMESTAMP: ClassVar[Position]
    SHARD_END: ClassVar[Position]

    sequence_number: str
    sub_sequence_number: int
    _order: tuple[float, int]

    _SENTINELS: ClassVar[dict[str, float]] = {
        "AT_TIMESTAMP": -3,
        "TRIM_HORIZON": -2,
        "LATEST": -1,
        "SHARD_END": float("inf"),
    }

    def __init__(self, sequence_number: str, sub_sequence_number: int = 0) -> None:
        is_text = isinstance(sequence_number, str)
        order = self._SENTINELS.get(sequence_number) if is_text else None
        if order is None:
            if not is_text or not _is_number(sequence_number):
                raise InvalidRecordError(
                    f"sequence_number is {shown(sequence_number)}; a position takes a string of up to {_MOST_DIGITS}"
                    f" decimal digits or one of {', '.join(self._SENTINELS)}",
                    field="sequence_number",
                )
            order = int(sequence_number)
        if not isinstance(sub_sequence_number, int) or sub_sequence_number < 0:
            raise InvalidRecordError(
                f"sub_sequence_number is {shown(sub_sequence_number)}; it is an index from 0",
                field="sub_sequence_number",
            )
        object.__setattr__(self, "sequence_number", sequence_number)
        object.__setattr__(self, "sub_sequence_number", sub_sequence_number)
        object.__setattr__(self, "_order", (order, sub_sequence_number))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Position is immutable; make a new one instead of setting {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Position is immutable; {name} cannot be deleted")

    def __reduce__(self) -> tuple[type[Position], tuple[str, int]]:
        return Position, (self.sequence_number, self.sub_sequence_number)

    def __repr__(self) -> str:
        return f"Position({self.sequence_number!r}, {self.sub_sequence_number})"

    def __eq__(self, other: object) -> bool:
        return self._order == other._order if isinstance(other, Position) else NotImplemented

    def __lt__(self, other: Position) -> bool:
        return self._order < other._order if isinstance(other, Position) else NotImplemented

    def __le__(self, other: Position) -> bool:
        return self._order <= other._order if isinstance(other, Position) else NotImplemented

    def __gt__(self, other: Position) -> bool:
        return self._order > other._order if isinstance(other, Position) else NotImplemented

    def __ge__(self, other: Position) -> bool:
        return self._order >= other._order if isinstance(other, Position) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._order)


def _is_number(text: str) -> bool:
    return len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit()


Position.TRIM_HORIZON = Position("TRIM_HORIZON")
Position.LATEST = Position("LATEST")
Position.AT_TIMESTAMP = Position("AT_TIMESTAMP")
Position.SHARD_END = Position("SHARD_END")


class ReceivedRecord(NamedTuple):
    """A user record as it came out of a stream.

    What the source did not say is None: a hand-written Lambda test event without a sequence number is still read.

    Attributes:
        partition_key: the user record's own partition key.
        data: the payload.
        explicit_hash_key: as it was sent; in a pinned aggregate the one that routed the aggregate.
        sequence_number: of the Kinesis record that held it; all sub-records of an aggregate share it.
        sub_sequence_number: its index in the aggregate, from 0; 0 for a plain record.
        aggregated: whether it came out of an aggregate.
        approximate_arrival_timestamp: when Kinesis took the Kinesis record, in UTC.
        shard_id: the shard that it was read from.
        tags: (key, value or None) pairs.
    """

    partition_key: str | None
    data: bytes
    explicit_hash_key: str | None
    sequence_number: str | None
    sub_sequence_number: int
    aggregated: bool
    approximate_arrival_timestamp: datetime | None
    shard_id: str | None
    tags: Tags = ()

    @property
    def position(self) -> Position | None:
        """(sequence number, sub-sequence number), or None where the source gave no sequence number."""
        if self.sequence_number is None:
            return None
        return Position(self.sequence_number, self.sub_sequence_number)


def check_user_record(record: UserRecordLike) -> UserRecord:
    """A `UserRecord`, or a tuple of its first fields, with every field checked and normalised.

    Raises:
        InvalidRecordError: a field breaks a rule of the service.
    """
    if not isinstance(record, tuple) or not 2 <= len(record) <= 4:
        raise no_user_record(record)
    given = UserRecord(*record)
    key, data, hash_key, tags = given
    # Nearly all are like this, and producers check each.
    is_usual = type(data) is bytes and hash_key is None and tags == () and type(key) is str
    if is_usual and key.isascii() and 1 <= len(key) <= MAX_PARTITION_KEY_CHARACTERS:
        return given
    check_partition_key(given.partition_key)
    return UserRecord(
        given.partition_key,
        check_data(given.data),
        check_explicit_hash_key(given.explicit_hash_key),
        check_tags(given.tags) if given.tags else (),
    )


def no_user_record(record: object) -> InvalidRecordError:
    """What to raise for something that is none."""
    return InvalidRecordError(
        f"{shown(record)} is no user record; give a UserRecord or a tuple of partition key, data, and perhaps explicit"
        " hash key and tags",
        field="record",
    )


def check_partition_key(partition_key: str) -> bytes:
    """The partition key in UTF-8, by the service's rule: 1 to 256 Unicode characters (`PutRecords` API reference).

    Raises:
        InvalidRecordError: it breaks the rule.
    """
    if not isinstance(partition_key, str):
        raise InvalidRecordError(
            f"partition_key is of type {type(partition_key).__name__}; give a str", field="partition_key"
        )
    if not 1 <= len(partition_key) <= MAX_PARTITION_KEY_CHARACTERS:
        raise InvalidRecordError(
            f"partition_key has {len(partition_key):,} characters; Kinesis takes 1 to {MAX_PARTITION_KEY_CHARACTERS}",
            field="partition_key",
        )
    try:
        return partition_key.encode()
    except UnicodeEncodeError as error:
        raise InvalidRecordError(
            f"partition_key {partition_key!r} has a lone surrogate at character {error.start}, which UTF-8 cannot hold",
            field="partition_key",
        ) from None


def check_data(data: BytesLike) -> bytes:
    """The payload as bytes; a bytearray or memoryview is copied once, so that it may change afterwards.

    Raises:
        InvalidRecordError: it is no bytes-like object.
    """
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    hint = "; encode text first, for instance with .encode()" if isinstance(data, str) else ""
    raise InvalidRecordError(
        f"data is of type {type(data).__name__}; give bytes, bytearray or memoryview{hint}", field="data"
    )


def check_explicit_hash_key(explicit_hash_key: str | int | None) -> str | None:
    """The explicit hash key as a plain decimal ("007" becomes "7"), or None where there is none.

    Raises:
        InvalidRecordError: it is no decimal number from 0 to 2^128-1 (`PutRecords` API reference).
    """
    if explicit_hash_key is None:
        return None
    number = -1
    if isinstance(explicit_hash_key, int) and not isinstance(explicit_hash_key, bool):
        number = explicit_hash_key
    elif isinstance(explicit_hash_key, str) and explicit_hash_key.isascii() and explicit_hash_key.isdigit():
        digits = explicit_hash_key.lstrip("0") or "0"
        number = int(digits) if len(digits) <= len(str(MAX_HASH_KEY)) else -1
    if not 0 <= number <= MAX_HASH_KEY:
        raise InvalidRecordError(
            f"explicit_hash_key is {shown(explicit_hash_key)}; give a decimal number from 0 to 2^128-1 as a str"
            " or an int",
            field="explicit_hash_key",
        )
    return str(number)


def check_tags(tags: Iterable[tuple[str, str | None]]) -> Tags:
    """The tags as a tuple of (key, value or None) pairs.

    Raises:
        InvalidRecordError: they are not pairs of str, or of str and None.
    """
    pairs = None
    try:
        given = tuple(tags)
        if not any(isinstance(tag, str) for tag in given):  # two characters are no pair
            pairs = tuple((key, value) for key, value in given)
        for key, value in pairs or ():
            key.encode()
            if value is not None:
                value.encode()
    except (TypeError, ValueError, AttributeError):
        pairs = None
    if pairs is None:
        raise InvalidRecordError(f"tags are {shown(tags)}; give pairs of a str and a str or None", field="tags")
    return pairs
