"""The shapes in which Kinesis records reach Python code, brought to one.

boto3 (``GetRecords`` responses, their records, ``PutRecords`` entries, ``SubscribeToShard`` responses and events),
Lambda (events and their records, those of EventBridge Pipes too), Firehose and Kinesis Analytics (transformation events
and their records), and `PackedRecord`. Fields that a source leaves out are None: hand-written test events leave out
most of them.
"""

from __future__ import annotations

from _collections_abc import Iterable, Mapping  # `collections.abc` has them from there, and loads `collections`
from itertools import islice

from ..errors import DecodeError
from ..limits import MAX_SEQUENCE_NUMBER_CHARACTERS, MAX_SHARD_ID_CHARACTERS, MIB, shown
from ..records import PackedRecord
from ..values import TYPE_CHECKING, NamedTuple
from ..wire.backend import backend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import UTC, datetime
    from typing import Any
else:
    try:
        from _datetime import datetime, timezone  # what `datetime` ends with; before 3.12 it takes long to come to it

        UTC = timezone.utc
    except ImportError:  # not CPython
        from datetime import UTC, datetime


class KinesisRecord(NamedTuple):
    """A Kinesis record in the one shape that the unpacker reads."""

    data: bytes
    partition_key: str | None
    explicit_hash_key: str | None
    sequence_number: str | None
    sub_sequence_number: int  # given where someone before us has de-aggregated, as Firehose does
    approximate_arrival_timestamp: datetime | None
    shard_id: str | None


def kinesis_records(source: Any) -> Iterator[KinesisRecord]:
    """Every Kinesis record in a source, which is a record, something that holds records, or an iterable of either."""
    if isinstance(source, PackedRecord):
        yield KinesisRecord(source.data, source.partition_key, source.explicit_hash_key, None, 0, None, source.shard_id)
    elif isinstance(source, Mapping):
        yield from _from_mapping(source)
    elif isinstance(source, Iterable) and not isinstance(source, str | bytes | bytearray | memoryview):
        for item in source:
            yield from kinesis_records(item)
    else:
        hint = '; for a blob without a record around it, use decode(blob) or {"Data": blob}'
        raise TypeError(f"{type(source).__name__} is no Kinesis record and holds none{hint}")


MOST_IN_BATCH = 32  # as many as the core verifies side by side; what is read of more falls out of the cache before use
_MOST_BYTES_IN_BATCH = 64 * MIB


def kinesis_record_batches(source: Any) -> Iterator[list[KinesisRecord]]:
    """`kinesis_records` in lists of those that are there already: none waits for what an iterator may give next."""
    if _is_there(source) or (isinstance(source, list | tuple) and all(map(_is_there, source))):
        yield from _batches(kinesis_records(source))
    elif isinstance(source, Mapping):
        yield from kinesis_record_batches(source["EventStream"])
    elif isinstance(source, Iterable) and not isinstance(source, str | bytes | bytearray | memoryview):
        for item in source:
            yield from kinesis_record_batches(item)
    else:
        yield list(kinesis_records(source))  # says what is wrong with it


def _is_there(source: Any) -> bool:
    return isinstance(source, PackedRecord) or (isinstance(source, Mapping) and "EventStream" not in source)


def _batches(records: Iterator[KinesisRecord]) -> Iterator[list[KinesisRecord]]:
    batch: list[KinesisRecord] = []
    size = 0
    try:
        for record in records:
            batch.append(record)
            size += len(record.data)
            if len(batch) == MOST_IN_BATCH or size >= _MOST_BYTES_IN_BATCH:
                yield batch
                batch, size = [], 0
    except Exception:
        if batch:
            yield batch  # what comes before a record that is none
        raise
    if batch:
        yield batch


def _from_mapping(source: Mapping[str, Any]) -> Iterator[KinesisRecord]:
    if "kinesis" in source:
        yield _from_lambda(source)
    elif "Data" in source:
        yield _from_boto3(source)
    elif "data" in source and "recordId" not in source and not _KINESIS_FIELDS.isdisjoint(source):
        yield _from_lambda({**source, "kinesis": source})  # EventBridge Pipes has all of its fields on one level
    elif "data" in source:
        yield _from_transformation(source)
    elif "EventStream" in source:
        yield from kinesis_records(source["EventStream"])
    elif "SubscribeToShardEvent" in source:
        yield from kinesis_records(source["SubscribeToShardEvent"])
    elif "Records" in source:
        yield from kinesis_records(source["Records"])
    elif "records" in source:
        yield from kinesis_records(source["records"])
    elif isinstance(source.get("s3"), Mapping) or source.get("source") == "aws.s3":
        raise DecodeError(
            "a notification of S3 only names an object, which unpack does not fetch; shardpack.aws_lambda.process does,"
            " and shardpack.files.read takes the Body that GetObject gives"
        )
    else:
        raise DecodeError(
            f"a mapping with the keys {keys_of(source)} is no Kinesis record and holds none;"
            " expected 'kinesis' (Lambda), 'Data' (boto3), 'data' (Firehose, Kinesis Analytics), 'Records',"
            " 'records', 'EventStream' or 'SubscribeToShardEvent'"
        )


def keys_of(source: Mapping[str, Any]) -> str:
    """The first keys of a mapping, for a message; a hostile one has millions."""
    some = [shown(key) for key in islice(source, _MOST_KEYS)]
    return ", ".join([*some, "..."] if len(source) > len(some) else some) or "none"


_MOST_KEYS = 10
_KINESIS_FIELDS = frozenset({"partitionKey", "sequenceNumber", "kinesisSchemaVersion"})


def _from_lambda(record: Mapping[str, Any]) -> KinesisRecord:
    kinesis = record["kinesis"]
    if not isinstance(kinesis, Mapping) or "data" not in kinesis:
        raise DecodeError(f"the 'kinesis' field of a Lambda record has no 'data': {shown(kinesis)}")
    shard_id, separator, _ = (_text(record, "eventID") or "").partition(":")
    return KinesisRecord(
        _payload(kinesis, "data"),
        _text(kinesis, "partitionKey"),
        _text(kinesis, "explicitHashKey"),
        _sequence_number(kinesis, "sequenceNumber"),
        _index(kinesis, "subSequenceNumber"),
        _timestamp(kinesis.get("approximateArrivalTimestamp"), seconds_in_unit=1),
        _shard_id(shard_id) if separator else None,
    )


def _from_boto3(record: Mapping[str, Any]) -> KinesisRecord:
    return KinesisRecord(
        _payload(record, "Data"),
        _text(record, "PartitionKey"),
        _text(record, "ExplicitHashKey"),
        _sequence_number(record, "SequenceNumber"),
        0,
        _timestamp(record.get("ApproximateArrivalTimestamp"), seconds_in_unit=1),
        _shard_id(_text(record, "ShardId")),
    )


def _from_transformation(record: Mapping[str, Any]) -> KinesisRecord:
    metadata = record.get("kinesisRecordMetadata") or record.get("kinesisStreamRecordMetadata") or {}
    if not isinstance(metadata, Mapping):
        raise DecodeError(f"the metadata of a Kinesis record is no mapping: {shown(metadata)}")
    timestamp = metadata.get("approximateArrivalTimestamp", record.get("approximateArrivalTimestamp"))
    return KinesisRecord(
        _payload(record, "data"),
        _text(metadata, "partitionKey"),
        None,
        _sequence_number(metadata, "sequenceNumber"),
        _index(metadata, "subsequenceNumber"),
        _timestamp(timestamp, seconds_in_unit=0.001),
        _shard_id(_text(metadata, "shardId")),
    )


def _text(record: Mapping[str, Any], field: str) -> str | None:
    """A field as text, or None where it is not there. Another type would be found out much later, by whom it surprises.

    Raises:
        DecodeError: it is no text, or none that UTF-8 and thus Kinesis can hold.
    """
    value = record.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise DecodeError(
            f"{field!r} of a Kinesis record is {shown(value)}, of type {type(value).__name__}; expected text"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DecodeError(
            f"{field!r} of a Kinesis record has a lone surrogate at character {error.start}, which UTF-8 cannot hold:"
            f" {shown(value)}"
        ) from None
    return value


# User records share these two. Whoever writes them out for each writes a long one a million times.


def _sequence_number(record: Mapping[str, Any], field: str) -> str | None:
    """A sequence number as text, of the length that Kinesis's have at most. Errors: DecodeError."""
    return _bounded("sequence number", _text(record, field), MAX_SEQUENCE_NUMBER_CHARACTERS)


def _shard_id(text: str | None) -> str | None:
    """A shard id, likewise."""
    return _bounded("shard id", text, MAX_SHARD_ID_CHARACTERS)


def _bounded(name: str, text: str | None, most: int) -> str | None:
    if text is not None and len(text) > most:
        raise DecodeError(
            f"the {name} of a Kinesis record has {len(text):,} characters, {shown(text)}; Kinesis's have at most {most}"
        )
    return text


def _index(record: Mapping[str, Any], field: str) -> int:
    """An index that someone before us has given, as Firehose and ``aws_kinesis_agg`` do; text in older events."""
    value = record.get(field)
    number = -1
    if value is None or value == "":
        number = 0
    elif (isinstance(value, str) and value.isdecimal() and len(value) <= _MOST_DIGITS) or (
        isinstance(value, int | float) and 0 <= value <= _LARGEST_INDEX
    ):
        number = int(value)
    if not 0 <= number <= _LARGEST_INDEX or (isinstance(value, float) and number != value):
        raise DecodeError(
            f"{field!r} of a Kinesis record is {shown(value)}; expected an index from 0 to {_LARGEST_INDEX:,}"
        )
    return number


_LARGEST_INDEX = 2**32 - 1
_MOST_DIGITS = 20  # zeros in front of an index among them


def _payload(record: Mapping[str, Any], field: str) -> bytes:
    """The data: bytes as boto3 gives them, base64 text as JSON carries them."""
    data = record[field]
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    if not isinstance(data, str):
        raise DecodeError(f"{field!r} of a Kinesis record is of type {type(data).__name__}; expected base64 or bytes")
    decoded = backend().from_base64(data)
    if decoded is not None:
        return decoded
    import base64  # here, because the native core does without

    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise DecodeError(f"{field!r} of a Kinesis record is not base64 ({error}): {data[:40]!r}") from None


def _timestamp(value: Any, seconds_in_unit: float) -> datetime | None:
    """A datetime in UTC: boto3 gives one, Lambda seconds, Firehose milliseconds, the AWS CLI either text or seconds."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return datetime.fromtimestamp(float(value) * seconds_in_unit, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        raise DecodeError(
            f"the arrival timestamp {shown(value)} is not a point in time ; expected ISO 8601,"
            " a number of seconds, or for Firehose of milliseconds"
        ) from None
