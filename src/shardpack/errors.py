"""Every error that shardpack raises on purpose, on one screen.

::

    ShardpackError
      EncodeError(ValueError)       what was handed in cannot become a Kinesis record
        InvalidRecordError          .field
        RecordTooLargeError         .size, .limit
      DecodeError(ValueError)       what was received is not what it claims to be
        ChecksumMismatchError       .expected, .actual
        TruncatedError              .offset
        MalformedError              .offset
        OutOfRangeError             .hash_key, .hash_range
      DeliveryError                 .records, .attempts, .retriable
        BatchDeliveryError          .outcomes
        BufferFullError
      CheckpointError               .shard_id
        LeaseLostError
      LeaseStoreError               .retriable
      StateTooLargeError(ValueError)  .size, .limit

"Not aggregated" is an answer, not an error. Arguments of the wrong type raise `TypeError`, settings out of their range
`ValueError`, as everywhere in Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class ShardpackError(Exception):
    """The root: catch this to catch everything that shardpack raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel between processes, and pickle would call the class with the message alone.
        return _rebuild, (type(self), self.args, vars(self))


class EncodeError(ShardpackError, ValueError):
    """Something handed in cannot become a Kinesis record."""


class InvalidRecordError(EncodeError):
    """A field of a user record breaks a rule of the service.

    Attributes:
        field: the name of the field, such as ``"partition_key"``.
    """

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class RecordTooLargeError(EncodeError):
    """A user record does not fit into a Kinesis record, even alone.

    Attributes:
        size: bytes that it takes as Kinesis counts them (data and UTF-8 partition key).
        limit: bytes that are allowed.
    """

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class DecodeError(ShardpackError, ValueError):
    """Something received is not what it claims to be."""


class ChecksumMismatchError(DecodeError):
    """The MD5 trailer does not match the protobuf message before it.

    Attributes:
        expected: the 16 bytes of the trailer.
        actual: the MD5 of the message as it arrived.
    """

    def __init__(self, message: str, *, expected: bytes, actual: bytes) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class _OffsetError(DecodeError):
    def __init__(self, message: str, *, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class TruncatedError(_OffsetError):
    """The bytes end before something that they announced.

    Attributes:
        offset: where in the blob, from its first byte, the thing that is cut short begins.
    """


class MalformedError(_OffsetError):
    """The bytes break a rule of the format.

    Attributes:
        offset: where in the blob, from its first byte.
    """


class OutOfRangeError(DecodeError):
    """A sub-record's hash key lies outside the hash range asked for, and ``out_of_range="raise"``.

    Attributes:
        hash_key: the sub-record's effective hash key.
        hash_range: (starting, ending) hash key, both inclusive.
    """

    def __init__(self, message: str, *, hash_key: int, hash_range: tuple[int, int]) -> None:
        super().__init__(message)
        self.hash_key = hash_key
        self.hash_range = hash_range


class DeliveryError(ShardpackError):
    """Records were not delivered, or nobody can say whether they were.

    Attributes:
        records: the records that it is about, so that they can be put again or kept.
        attempts: what was tried, oldest first; empty where shardpack made no call itself.
        retriable: whether putting them again may help.
    """

    def __init__(self, message: str, *, records: Sequence[Any], attempts: Sequence[Any] = (), retriable: bool) -> None:
        super().__init__(message)
        self.records = records
        self.attempts = attempts
        self.retriable = retriable


class BatchDeliveryError(DeliveryError):
    """Some user records of a `put_many` were not delivered: those in `records`.

    Attributes:
        attempts: of the first that failed.
        retriable: whether putting some of them again may help.
        outcomes: a `Delivery` or a `DeliveryError` for each user record that was given, in that order.
    """

    def __init__(
        self,
        message: str,
        *,
        records: Sequence[Any],
        attempts: Sequence[Any] = (),
        retriable: bool,
        outcomes: Sequence[Any],
    ) -> None:
        super().__init__(message, records=records, attempts=attempts, retriable=retriable)
        self.outcomes = outcomes


class BufferFullError(DeliveryError):
    """A producer has as many user records on their way as it may, and was not to wait; nothing was taken."""


class CheckpointError(ShardpackError):
    """A checkpoint was not recorded.

    Attributes:
        shard_id: the shard.
    """

    def __init__(self, message: str, *, shard_id: str) -> None:
        super().__init__(message)
        self.shard_id = shard_id


class LeaseLostError(CheckpointError):
    """The lease is another worker's by now, which reads the shard on from the last checkpoint."""


class LeaseStoreError(ShardpackError):
    """Leases could not be read or written: a permission, a table or a file is not as it must be, or there is an outage.

    Attributes:
        retriable: whether the same call may succeed later without anybody's doing.
    """

    def __init__(self, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.retriable = retriable


def _rebuild(cls: type[ShardpackError], args: tuple[object, ...], attributes: dict[str, object]) -> ShardpackError:
    error = cls.__new__(cls, *args)
    vars(error).update(attributes)
    return error


class StateTooLargeError(ShardpackError, ValueError):
    """The state of a tumbling window is larger than Lambda takes.

    Attributes:
        size: bytes of its JSON.
        limit: bytes that are allowed.
    """

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit
