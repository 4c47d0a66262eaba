"""The aggregated format, and nothing else.

An aggregate is ``F3 89 9A C2``, a protobuf ``AggregatedRecord`` (proto/kpl.proto), and the MD5 of that message
(KPL: ``KinesisRecord::serialize``). Nothing here imports protobuf before the first blob is read or written.
"""

from __future__ import annotations

import sys

from ..errors import InvalidRecordError
from ..limits import check_iterable
from ..records import check_user_record
from ..values import TYPE_CHECKING
from .backend import backend

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..records import BytesLike, UserRecord, UserRecordLike

__all__ = ["decode", "encode", "is_aggregated"]


def encode(records: Iterable[UserRecordLike]) -> bytes:
    """Make one aggregate of the user records, in their order.

    The bytes are protobuf's canonical serialisation. The tables of keys come before the records, and each key stands in
    its table once, in the order of first use. This function does not limit the size; `Packer` does.

    Args:
        records: User records, or tuples of partition key, data, and perhaps explicit hash key and tags.

    Returns:
        The data of one Kinesis record.

    Raises:
        InvalidRecordError: A field breaks a rule of the service, or there is no record at all. (The KCL would take an
            empty aggregate for a plain record.)
        TypeError: ``records`` is not iterable.
    """
    check_iterable("records", records, "user records, such as [(partition key, data)]")
    aggregate = backend().builder(sys.maxsize, None)
    for record in records:
        aggregate.add_any(*check_user_record(record))
    if not aggregate.count:
        raise InvalidRecordError("an aggregate needs at least one user record; none was given", field="records")
    return aggregate.build()


def decode(blob: BytesLike) -> list[UserRecord]:
    """Read the user records of one aggregate. A record's place in the list is its sub-sequence number.

    Bytes of a key that are not UTF-8 are read as U+FFFD, as the KCL reads them. Explicit hash keys are given as they
    were sent.

    Args:
        blob: The whole data of one Kinesis record.

    Raises:
        ChecksumMismatchError: The MD5 at the end does not match.
        TruncatedError: The bytes end before something that they announce.
        MalformedError: The blob is no aggregate, holds no record, lacks a required field, or has an index that points
            outside its table.
        TypeError: ``blob`` is not bytes-like.
    """
    _check_bytes(blob)
    return backend().decode(blob)


def is_aggregated(blob: BytesLike) -> bool:
    """Whether a blob is an aggregate, by its magic, its length and its MD5. It never raises on bytes.

    A user's own data may start with the magic by accident. So the MD5 decides, as in the KCL's ``AggregatorUtil``.
    """
    _check_bytes(blob)
    return backend().is_aggregated(blob)


def _check_bytes(blob: BytesLike) -> None:
    if isinstance(blob, bytes):
        return
    try:
        memoryview(blob)
    except TypeError:
        hint = "; encode or decode text first, for instance from base64" if isinstance(blob, str) else ""
        raise TypeError(f"blob is of type {type(blob).__name__}; give bytes, bytearray or memoryview{hint}") from None
