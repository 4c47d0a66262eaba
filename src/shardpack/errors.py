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
        FileError                   a file: the message begins with its name and the line or byte
      DeliveryError                 .records, .attempts, .retriable
        BatchDeliveryError          .outcomes
        BufferFullError
      CallError                     .code
      DataLossError                 what is to be read has expired, or is gone
      CheckpointError               .shard_id
        LeaseLostError
      LeaseStoreError               .retriable
      StateTooLargeError(ValueError)  .size, .limit

"Not aggregated" is an answer, not an error. Arguments of the wrong type raise `TypeError`, settings out of their range
`ValueError`, as everywhere in Python.
"""

from __future__ import annotations

from .values import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class ShardpackError(Exception):
    """The root of all errors that shardpack raises on purpose. Catch it to catch all of them.

    Its message has at most 2,000 characters, whatever it tells of.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(_bounded(one) if isinstance(one, str) else one for one in args))

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel between processes, and pickle would call the class with the message alone.
        return _rebuild, (type(self), self.args, vars(self))


class EncodeError(ShardpackError, ValueError):
    """Something that was handed in cannot become a Kinesis record."""


class InvalidRecordError(EncodeError):
    """A field of a user record breaks a rule of the service.

    Attributes:
        field: The name of the field, such as ``"partition_key"``.
    """

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class RecordTooLargeError(EncodeError):
    """A user record does not fit into a Kinesis record, even alone.

    Attributes:
        size: The size of the record in bytes, as Kinesis counts them: its data and its partition key in UTF-8.
        limit: The size that is allowed, in bytes.
    """

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class DecodeError(ShardpackError, ValueError):
    """Something that was received is not what it claims to be."""


class ChecksumMismatchError(DecodeError):
    """The MD5 at the end of an aggregate does not match the protobuf message before it.

    Attributes:
        expected: The MD5 at the end of the aggregate, 16 bytes.
        actual: The MD5 of the message as it arrived, 16 bytes.
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
        offset: Where the thing that is cut short begins, in bytes from the first byte of the blob.
    """


class MalformedError(_OffsetError):
    """The bytes break a rule of the format.

    Attributes:
        offset: Where the rule is broken, in bytes from the first byte of the blob.
    """


class OutOfRangeError(DecodeError):
    """A sub-record's hash key lies outside the given hash range, and ``out_of_range="raise"`` was asked for.

    Attributes:
        hash_key: The hash key of the sub-record: its explicit hash key, or else the hash of its partition key.
        hash_range: The starting and the ending hash key of the range, both inclusive.
    """

    def __init__(self, message: str, *, hash_key: int, hash_range: tuple[int, int]) -> None:
        super().__init__(message)
        self.hash_key = hash_key
        self.hash_range = hash_range


class FileError(DecodeError):
    """A file is not what it is read as. The message begins with its name, and the line or the byte."""


class DeliveryError(ShardpackError):
    """Records were not delivered, or nobody can say whether they were.

    Attributes:
        records: The records that were not delivered, so that they can be put again or kept.
        attempts: What was tried, as `Attempt` objects, the oldest first. Empty if shardpack made no call itself.
        retriable: Whether it may help to put the records again.
    """

    def __init__(self, message: str, *, records: Sequence[Any], attempts: Sequence[Any] = (), retriable: bool) -> None:
        super().__init__(message)
        self.records = records
        self.attempts = attempts
        self.retriable = retriable


class BatchDeliveryError(DeliveryError):
    """Some user records of a `put_many` were not delivered.

    Attributes:
        records: The user records that were not delivered.
        attempts: What was tried for the first of them, the oldest attempt first.
        retriable: Whether it may help to put some of them again.
        outcomes: A `Delivery` or a `DeliveryError` for each user record that was given to `put_many`, in that order.
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
    """A producer has as many user records on their way as it may have, and may not wait. Nothing was taken."""


class CallError(ShardpackError):
    """A call of AWS failed, and it does not help to make it again. The message says what to do.

    Attributes:
        code: Why, by the service's name, such as ``"ResourceNotFoundException"``, or the AWS SDK's.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class DataLossError(ShardpackError):
    """What is to be read next has expired, or its shard or its stream is gone, and may not be passed over."""


class CheckpointError(ShardpackError):
    """A checkpoint was not recorded.

    Attributes:
        shard_id: The id of the shard.
    """

    def __init__(self, message: str, *, shard_id: str) -> None:
        super().__init__(message)
        self.shard_id = shard_id


class LeaseLostError(CheckpointError):
    """Another worker has taken the lease, and reads the shard on from the last checkpoint."""


class LeaseStoreError(ShardpackError):
    """Leases could not be read or written.

    A permission, a table or a file is not as it must be, or there is an outage. The message says which.

    Attributes:
        retriable: Whether the same call may succeed later without anybody's doing.
    """

    def __init__(self, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.retriable = retriable


_MOST_CHARACTERS = 2000
_LAST_CHARACTERS = 500  # where the remedy stands


def _bounded(message: str) -> str:
    if len(message) <= _MOST_CHARACTERS:
        return message
    first = _MOST_CHARACTERS - _LAST_CHARACTERS - len(" ... ")
    return f"{message[:first]} ... {message[-_LAST_CHARACTERS:]}"


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
