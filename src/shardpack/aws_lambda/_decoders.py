"""Optional decoders of what AWS's own services put into a stream: they take a user record's data apart, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from ..errors import DecodeError
from ..limits import MIB, check_integer, shown
from ..records import ReceivedRecord

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_LOG_BYTES = 64 * MIB
"""Most bytes of JSON that a record of CloudWatch Logs may decompress to, unless told otherwise."""


class TableChange(NamedTuple):
    """A change of an item, as DynamoDB writes it to a Kinesis stream ("Using Kinesis Data Streams to capture changes").

    Values are Python's: text, `bytes` (B), `decimal.Decimal` (N), bool, None, lists, dicts, and sets of the first
    three.

    Attributes:
        event_name: ``"INSERT"``, ``"MODIFY"`` or ``"REMOVE"``.
        event_id: differs for each change, and stays the same when DynamoDB writes one twice.
        table_name: where it happened; None when the record does not say.
        keys: the item's key.
        new_image: the item after it; None when it is gone.
        old_image: the item before it; None when it is new.
        at: when it happened, in UTC; None when the record does not say.
    """

    event_name: str
    event_id: str | None
    table_name: str | None
    keys: dict[str, Any]
    new_image: dict[str, Any] | None
    old_image: dict[str, Any] | None
    at: datetime | None


class LogEvent(NamedTuple):
    """One line of a log.

    Attributes:
        id: unique in CloudWatch Logs.
        at: when it was written, in UTC.
        message: the line.
    """

    id: str
    at: datetime
    message: str


class LogBatch(NamedTuple):
    """What a subscription of CloudWatch Logs writes in one record ("Log group-level subscription filters").

    Attributes:
        message_type: ``"DATA_MESSAGE"``, or ``"CONTROL_MESSAGE"`` for those with which CloudWatch Logs only tries
            whether the stream can be reached. These have no events here.
        owner: the AWS account of the log.
        log_group: its group.
        log_stream: its stream.
        subscription_filters: the names of the filters that let it through.
        events: the lines.
    """

    message_type: str
    owner: str
    log_group: str
    log_stream: str
    subscription_filters: tuple[str, ...]
    events: tuple[LogEvent, ...]


def table_change(record: ReceivedRecord | bytes) -> TableChange:
    """The change of a DynamoDB table that a user record tells of.

    Args:
        record: a user record, or its data.

    Raises:
        DecodeError: it tells of none.
    """
    document = _json(_data_of(record), "a change of a DynamoDB table")
    change = document.get("dynamodb")
    if not isinstance(change, Mapping) or not isinstance(document.get("eventName"), str):
        raise DecodeError(
            f"a record with the keys {shown(list(document))} is no change of a DynamoDB table: those"
            " have 'eventName' and 'dynamodb'"
        )
    created = change.get("ApproximateCreationDateTime")
    # Milliseconds, or microseconds for a destination that was set to them.
    unit = 1 if change.get("ApproximateCreationDateTimePrecision") == "MICROSECOND" else 1000
    try:
        keys, new, old = (_item(change.get(name)) for name in ("Keys", "NewImage", "OldImage"))
    except RecursionError:  # DynamoDB takes 32 levels
        raise DecodeError("an attribute is nested too deeply to be DynamoDB's") from None
    return TableChange(
        document["eventName"],
        document.get("eventID"),
        document.get("tableName"),
        keys or {},
        new,
        old,
        None if created is None else _time(created, unit, "ApproximateCreationDateTime"),
    )


def log_batch(record: ReceivedRecord | bytes, *, max_bytes: int = MAX_LOG_BYTES) -> LogBatch:
    """The lines of a log that a user record carries, from a subscription of CloudWatch Logs.

    Args:
        record: a user record, or its data: JSON under gzip.
        max_bytes: most bytes that it may decompress to.

    Raises:
        DecodeError: it carries none, or more than ``max_bytes``.
    """
    check_integer("max_bytes", max_bytes)
    if not 1 <= max_bytes <= _MOST_LOG_BYTES:
        raise ValueError(f"max_bytes is {shown(max_bytes)}; give 1 to {_MOST_LOG_BYTES:,}")
    document = _json(_gunzip(_data_of(record), max_bytes), "a batch of CloudWatch Logs")
    try:
        control = document["messageType"] == "CONTROL_MESSAGE"
        events = [] if control else document["logEvents"]
        return LogBatch(
            document["messageType"],
            document["owner"],
            document["logGroup"],
            document["logStream"],
            tuple(document["subscriptionFilters"]),
            tuple(LogEvent(one["id"], _time(one["timestamp"], 1000, "timestamp"), one["message"]) for one in events),
        )
    except (KeyError, TypeError) as error:
        raise DecodeError(
            f"a record with the keys {shown(list(document))} is no batch of CloudWatch Logs:"
            f" {type(error).__name__} {error}"
        ) from None


_MOST_LOG_BYTES = 2**40


def _data_of(record: ReceivedRecord | bytes) -> bytes:
    data = record if isinstance(record, bytes) else getattr(record, "data", None)
    if not isinstance(data, bytes):
        raise TypeError(f"record is {shown(record)}; give a user record, or its data as bytes")
    return data


def _json(data: bytes, what: str) -> dict[str, Any]:
    import json

    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one
        hint = "; it is under gzip, as CloudWatch Logs writes: log_batch reads it" if data[:2] == b"\x1f\x8b" else ""
        raise DecodeError(f"{data[:40]!r} is no JSON ({error}), so it is not {what}{hint}") from None
    if not isinstance(document, dict):
        raise DecodeError(f"JSON of type {type(document).__name__} is not {what}: expected an object")
    return document


def _gunzip(data: bytes, max_bytes: int) -> bytes:
    import zlib

    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        # One more than allowed tells a record at the limit from one over it, and no bomb goes off.
        text = decompressor.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise DecodeError(f"{data[:40]!r} is not under gzip ({error}), as CloudWatch Logs writes") from None
    if len(text) > max_bytes:
        raise DecodeError(f"a record of {len(data):,} bytes decompresses to more than max_bytes, {max_bytes:,}")
    if not decompressor.eof or decompressor.unused_data:
        what = "ends too early" if not decompressor.eof else f"has {len(decompressor.unused_data)} bytes after its end"
        raise DecodeError(f"the gzip of a record of {len(data):,} bytes {what}")
    return text


def _time(value: object, microseconds_in_unit: int, name: str) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            return _EPOCH + timedelta(microseconds=value * microseconds_in_unit)
    raise DecodeError(f"{name!r} is {shown(value)}; expected a point in time as a number")


def _item(image: object) -> dict[str, Any] | None:
    if image is None:
        return None
    if not isinstance(image, Mapping):
        raise DecodeError(f"an item is {shown(image)}; expected attributes by name")
    return {name: _value(attribute) for name, attribute in image.items()}


def _value(attribute: object) -> Any:
    """An attribute value in Python's types ("AttributeValue", DynamoDB API reference)."""
    import base64
    from decimal import Decimal, InvalidOperation

    if not isinstance(attribute, Mapping) or len(attribute) != 1:
        raise DecodeError(f'an attribute is {shown(attribute)}; expected one type with its value, such as {{"S": "x"}}')
    ((kind, value),) = attribute.items()
    try:
        match kind:
            case "S" | "BOOL":
                return value
            case "N":
                return Decimal(value)
            case "B":
                return base64.b64decode(value, validate=True)
            case "NULL":
                return None
            case "L":
                return [_value(one) for one in value]
            case "M":
                return _item(value)
            case "SS" | "NS" | "BS":
                return {_value({kind[0]: one}) for one in value}
    except (TypeError, ValueError, InvalidOperation) as error:
        raise DecodeError(f"an attribute of type {shown(kind)} is {shown(value)} ({type(error).__name__})") from None
    raise DecodeError(f"an attribute has the type {shown(kind)}; DynamoDB has S, N, B, BOOL, NULL, L, M, SS, NS and BS")
