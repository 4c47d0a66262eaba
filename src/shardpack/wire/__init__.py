"""The aggregated format, and nothing else.

An aggregate is ``F3 89 9A C2``, a protobuf ``AggregatedRecord`` (proto/kpl.proto), and the MD5 of that message
(KPL: ``KinesisRecord::serialize``). Nothing here imports protobuf before the first blob is read or written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from ..errors import InvalidRecordError
from ..records import BytesLike, UserRecord, UserRecordLike, check_user_record
from .backend import backend

__all__ = ["decode", "encode", "is_aggregated"]


def encode(records: Iterable[UserRecordLike]) -> bytes:
    """One aggregate that holds the user records, in their order.

    The bytes are protobuf's canonical serialisation: tables before records, each key once, in first-use order. Nothing
    limits the size here; `Packer` does.

    Args:
        records: user records, or tuples of partition key, data, and perhaps explicit hash key and tags.

    Raises:
        InvalidRecordError: a field breaks a rule of the service, or there is no record at all (the KCL takes an empty
            aggregate for a plain record).
    """
    aggregate = backend().builder(sys.maxsize, None)
    for record in records:
        aggregate.add_any(*check_user_record(record))
    if not aggregate.count:
        raise InvalidRecordError("an aggregate needs at least one user record; none was given", field="records")
    return aggregate.build()


def decode(blob: BytesLike) -> list[UserRecord]:
    """The user records of one aggregate; a record's place in the list is its sub-sequence number.

    Keys that are not UTF-8 are read with U+FFFD in place of what is not, as the KCL does; explicit hash keys are given
    as they were sent.

    Args:
        blob: the data of one Kinesis record, whole.

    Raises:
        ChecksumMismatchError: the MD5 trailer does not match.
        TruncatedError: something announced is not there.
        MalformedError: no aggregate at all, a required field is missing, an index points outside its table, or there
            is no record inside.
    """
    return backend().decode(blob)


def is_aggregated(blob: BytesLike) -> bool:
    """Whether a blob is an aggregate by its magic, length and MD5. Never raises on bytes.

    A user's own data may start with the magic; the MD5 decides, as in the KCL's ``AggregatorUtil``.
    """
    return backend().is_aggregated(blob)
