"""A Kinesis record of a batch: by which name its caller knows it, what is inside, and what is done of it."""

from __future__ import annotations

from _collections_abc import Mapping  # see `values`

from ..errors import DecodeError
from ..limits import shown
from ..records import ReceivedRecord
from ..unpacking.unpacker import unpack, unpack_each
from ..values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ..unpacking.unpacker import OnCorrupt

_FLAT = frozenset({"partitionKey", "sequenceNumber", "kinesisSchemaVersion"})


class Unreadable(NamedTuple):
    """Something that stands where a Kinesis record should, and why it is none.

    Attributes:
        text: as it came.
        error: what is wrong with it.
    """

    text: str
    error: DecodeError


class BatchRecord:
    """A Kinesis record of a batch, and what is done of it.

    Attributes:
        sequence_number: as the event has it; None when it has none that Lambda could take back.
        of_pipe: whether it has the flat shape of EventBridge Pipes.
        identifier: by which its caller takes it back: the sequence number, and for a pipe the ``eventID`` ("Amazon
            EventBridge Pipes batching and concurrency"); None when it has none.
        shard: the stream's ARN and the shard; None when the event does not say.
        key: what names it in a `Progress`; None when nothing names it for certain.
        done: the bitmap of its user records that are done.
        total: user records that it holds; 0 before it was opened.
        to_do: those that were not done when it was opened.
        left: those that are still to be done; None before it was opened.
    """

    __slots__ = (
        *("_fields", "done", "identifier", "key", "left", "of_pipe", "raw", "sequence_number", "shard", "to_do"),
        "total",
    )

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.done = bytearray()
        self.total = self.to_do = 0
        self.left: int | None = None
        record = raw if isinstance(raw, Mapping) else {}
        self._fields = _fields_of(raw)
        number = self._fields.get("sequenceNumber")
        valid = isinstance(number, str) and number.isascii() and number.isdigit() and len(number) <= 129
        self.sequence_number: str | None = number if valid else None
        given = record.get("eventID")
        event_id = given if isinstance(given, str) else ""
        shard_id, separator, _ = event_id.partition(":")
        self.shard = f"{record.get('eventSourceARN', '')}/{shard_id}" if separator else None
        self.of_pipe = _is_flat(record)
        self.identifier = (event_id or None) if self.of_pipe else self.sequence_number
        self.key: str | None = None

    @property
    def size(self) -> int:
        """How long its data is as it came, in characters or bytes."""
        data = self._fields.get("data")
        return len(data) if isinstance(data, str | bytes) else 0

    def name(self) -> None:
        """Give the record its key, if it can have one."""
        if self.shard and self.sequence_number is not None:
            import zlib  # not before there is a store

            # The checksum is for events that someone de-aggregated before: theirs repeat a sequence number, and a batch
            # may end between two of them.
            checksum = zlib.crc32(_written(self._fields.get("data")))
            self.key = f"{self.sequence_number}.{self._fields.get('subSequenceNumber', 0)}.{checksum:08x}"

    def open(self, on_corrupt: OnCorrupt) -> list[tuple[ReceivedRecord, DecodeError | None]]:
        """The user records that are still to be done, each with the error if it could not be decoded."""
        ((_, found),) = opened([self], on_corrupt)
        return self.pending(found)

    def pending(self, found: Iterable[ReceivedRecord] | DecodeError) -> list[tuple[ReceivedRecord, DecodeError | None]]:
        """What `open` gives, of what `opened` found."""
        records: list[tuple[ReceivedRecord, DecodeError | None]]
        if isinstance(found, DecodeError):
            records = [(self.undecoded(), found)]
        else:
            records = [(record, None) for record in found]
        pending = [one for one in records if not is_done(self.done, bit_of(one[0]))] if self.done else records
        self.total, self.to_do = len(records), len(pending)
        self.left = len(pending)
        return pending

    def undecoded(self) -> ReceivedRecord:
        try:
            (record,) = unpack(check_record(self.raw), on_corrupt="raw")
        except DecodeError:
            pass
        else:
            return record  # a corrupt aggregate, whole
        data, partition_key = self._fields.get("data"), self._fields.get("partitionKey")
        text = data if isinstance(data, str) else shown(data)
        return ReceivedRecord(
            partition_key if isinstance(partition_key, str) else None,
            data if isinstance(data, bytes) else text.encode(errors="replace"),
            None,
            self.sequence_number,
            0,
            False,
            None,
            None,
        )


def opened(
    records: list[BatchRecord], on_corrupt: OnCorrupt
) -> Iterator[tuple[BatchRecord, Iterable[ReceivedRecord] | DecodeError]]:
    """Each of some Kinesis records with its user records, or with what keeps it from being decoded."""
    checked = [_checked(record.raw) for record in records]
    found = unpack_each([one for one in checked if not isinstance(one, DecodeError)], on_corrupt)
    for record, one in zip(records, checked, strict=True):
        inside = one if isinstance(one, DecodeError) else next(found)
        if isinstance(inside, Exception) and not isinstance(inside, DecodeError):
            raise inside
        yield record, inside


def _checked(raw: Any) -> Mapping[str, Any] | DecodeError:
    if isinstance(raw, Unreadable):
        return raw.error
    try:
        return check_record(raw)
    except DecodeError as error:
        return error


def check_record(record: Any) -> Mapping[str, Any]:
    """A Kinesis record of an event.

    Raises:
        DecodeError: it is none; `unpack` would look for records in it.
    """
    if isinstance(record, Mapping) and ("kinesis" in record or "Data" in record or _is_flat(record)):
        return record
    raise DecodeError(
        f"a record of the event is {shown(record)}; those of Lambda have a field 'kinesis', those of EventBridge Pipes"
        " 'data' and 'sequenceNumber', and those of GetRecords 'Data'"
    )


def is_done(bitmap: bytes | bytearray, sub_sequence_number: int) -> bool:
    """Whether a user record's bit is set."""
    byte, bit = divmod(sub_sequence_number, 8)
    return byte < len(bitmap) and bool(bitmap[byte] >> bit & 1)


def set_done(bitmap: bytearray, sub_sequence_number: int) -> None:
    """Set a user record's bit."""
    byte, bit = divmod(sub_sequence_number, 8)
    bitmap.extend(bytes(max(0, byte + 1 - len(bitmap))))
    bitmap[byte] |= 1 << bit


def bit_of(record: ReceivedRecord) -> int:
    """Which bit of its Kinesis record's bitmap a user record has."""
    return record.sub_sequence_number if record.aggregated else 0


def lambda_shape(record: Any) -> dict[str, Any]:
    """A Kinesis record of an event, in the shape that an event source mapping hands over.

    Raises:
        DecodeError: it is none.
    """
    checked = check_record(record)
    if isinstance(checked.get("kinesis"), Mapping):
        return dict(checked)
    fields = _fields_of(checked)
    rest = {name: value for name, value in checked.items() if name not in _KINESIS_FIELDS and not name[:1].isupper()}
    return {**rest, "kinesis": {name: fields[name] for name in _KINESIS_FIELDS if fields.get(name) is not None}}


_KINESIS_FIELDS = (
    *("kinesisSchemaVersion", "partitionKey", "explicitHashKey", "sequenceNumber", "subSequenceNumber", "data"),
    "approximateArrivalTimestamp",
)


def _written(data: object) -> bytes:
    return (repr(data) if isinstance(data, str | bytes) else shown(data)).encode(errors="replace")


def _is_flat(record: Mapping[str, Any]) -> bool:
    """Whether a record has all of its fields on one level, as EventBridge Pipes sends it."""
    return "kinesis" not in record and "data" in record and "recordId" not in record and not _FLAT.isdisjoint(record)


def _fields_of(raw: Any) -> Mapping[str, Any]:
    """The fields of a Kinesis record of any shape by Lambda's names; of something else, itself as the data."""
    if isinstance(raw, Unreadable):
        return {"data": raw.text}
    if not isinstance(raw, Mapping):
        return {"data": raw}
    if "kinesis" not in raw:
        return {name[:1].lower() + name[1:]: value for name, value in raw.items()} if "Data" in raw else raw
    kinesis = raw["kinesis"]
    return kinesis if isinstance(kinesis, Mapping) else {"data": kinesis}
