"""Kinesis records in, user records out as dicts in Lambda's shape, as ``aws_kinesis_agg.deaggregator`` does it.

A user record out of an aggregate is the Kinesis record that held it, with these fields in its ``"kinesis"`` changed:
``partitionKey``, ``explicitHashKey`` (None where there is none), ``subSequenceNumber``, ``aggregated`` (True) and
``data``. A Lambda record that is not aggregated comes out unchanged: the same object.

What is different on purpose:

* ``data`` has one type for each source, aggregated or not: base64 text (str, so JSON can hold it) in records from
  Lambda, Firehose and Kinesis Analytics; bytes, not in base64, in those from boto3, which are what boto3's ``Data`` is.
  aws-kinesis-agg gives base64 as bytes for everything aggregated, and boto3's own bytes for the rest: drop the
  ``base64.b64decode`` that you had for the aggregated records of boto3, and keep all others.
* Nothing is dropped. What starts like an aggregate and is not a sound one (a wrong MD5, an index outside its table, a
  required field missing, no record inside) comes out whole, as one record that is not aggregated, and nothing is
  printed. Fields that an event leaves out come out as None in user records (``kinesisSchemaVersion`` as "1.0").
* ``explicitHashKey`` is the record's own, never another's.
* ``eventID`` gets ``:`` and the sub-sequence number at its end in user records, because those of one aggregate would
  share it otherwise, and whoever drops duplicates by it would drop all but one.
* Records from boto3, Firehose and Kinesis Analytics keep every field they had beside the ``"kinesis"`` that
  aws-kinesis-agg makes of them (of a user record, all but the data). They are known by their fields; those of a Direct
  PUT to Firehose, too. The user records of one Firehose record share its ``recordId``, which Firehose needs back once:
  join their data, or answer with one of them only.
* A whole event or ``GetRecords`` response is taken as well as the list in it.
* Keys that are not UTF-8 come out as str, with U+FFFD in place of what is not, as the KCL reads them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, cast

from ...errors import DecodeError
from ...limits import check_iterable, shown
from ...records import ReceivedRecord
from ...unpacking.shapes import keys_of
from ...unpacking.unpacker import unpack
from ...wire.format import MAGIC

__all__ = ["deaggregate_records", "iter_deaggregate_records"]

Records: TypeAlias = Mapping[str, Any] | Iterable[Mapping[str, Any]]
DataFormat: TypeAlias = Literal["Boto3"] | None

_SCHEMA_VERSION = "1.0"  # what Lambda writes; the other sources say nothing
_ABSENT = {"kinesisSchemaVersion": _SCHEMA_VERSION, "sequenceNumber": None, "approximateArrivalTimestamp": None}


def deaggregate_records(records: Records, data_format: DataFormat = None) -> list[dict[str, Any]]:
    """The user records of Kinesis records, as `iter_deaggregate_records` gives them, in a list."""
    return list(iter_deaggregate_records(records, data_format))


def iter_deaggregate_records(records: Records, data_format: DataFormat = None) -> Iterator[dict[str, Any]]:
    """The user records of Kinesis records, lazily and in their order.

    Args:
        records: Kinesis records from Lambda, boto3, Firehose or Kinesis Analytics, in any mixture; one of them; or an
            event or response that holds them.
        data_format: ``"Boto3"`` says that ``data`` given as bytes is not in base64. Records with a ``Data``, which is
            boto3's own shape, need no saying so. ``data`` then comes out as bytes, of plain and aggregated records
            alike.

    Returns:
        Dicts in Lambda's shape; see the module for their fields.

    Raises:
        ValueError: ``data_format`` is something else.
        DecodeError: a mapping is no Kinesis record, or its data is neither base64 nor bytes.
    """
    if data_format not in (None, "Boto3"):
        raise ValueError(f'data_format is {shown(data_format)}; choose "Boto3" or None')
    return _deaggregated(records, not_base64=data_format == "Boto3")


def _deaggregated(records: Records, *, not_base64: bool) -> Iterator[dict[str, Any]]:
    for given in _each(records):
        record = _in_lambda_shape(given)
        data = record["kinesis"]["data"]
        blob, in_base64 = _payload(data, not_base64=not_base64 or "Data" in record)
        for user_record in unpack({"Data": blob}, on_corrupt="raw"):
            yield _user_record(record, user_record, in_base64=in_base64) if user_record.aggregated else record


def _each(records: Records) -> Iterable[Mapping[str, Any]]:
    held: object = records
    if isinstance(records, Mapping):
        held = records.get("Records", records.get("records"))  # "records" is Firehose's and Kinesis Analytics'
    if held is None and isinstance(records, Mapping):
        return [records]
    check_iterable("records", held, "Kinesis records, or an event that holds them")
    return cast("Iterable[Mapping[str, Any]]", held)


def _in_lambda_shape(record: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(record, Mapping):
        raise DecodeError(f"{shown(record)} is no Kinesis record, which is a mapping")
    kinesis = record.get("kinesis")
    if isinstance(kinesis, Mapping) and "data" in kinesis:
        return cast("dict[str, Any]", record)
    if "Data" in record:
        kinesis = {
            "kinesisSchemaVersion": _SCHEMA_VERSION,
            "sequenceNumber": record.get("SequenceNumber"),
            "partitionKey": record.get("PartitionKey"),
            "approximateArrivalTimestamp": record.get("ApproximateArrivalTimestamp"),
            "data": record["Data"],
        }
    elif "data" in record:
        # Without metadata it is a Direct PUT to Firehose, or Lambda's inner record alone, as EventBridge Pipes send it.
        some = (record.get("kinesisRecordMetadata"), record.get("kinesisStreamRecordMetadata"))
        metadata = next((one for one in some if one and isinstance(one, Mapping)), record)
        kinesis = {
            "kinesisSchemaVersion": _SCHEMA_VERSION,
            "sequenceNumber": metadata.get("sequenceNumber"),
            "partitionKey": metadata.get("partitionKey"),
            "approximateArrivalTimestamp": metadata.get("approximateArrivalTimestamp"),
            "shardId": metadata.get("shardId"),
            "data": record["data"],
            "recordId": record.get("recordId"),
        }
    else:
        raise DecodeError(
            f"a mapping with the keys {keys_of(record)} is no Kinesis record; expected 'kinesis'"
            " with 'data' in it (Lambda), 'Data' (boto3) or 'data' (Firehose, Kinesis Analytics)"
        )
    return {**record, "kinesis": kinesis}


def _payload(data: Any, *, not_base64: bool) -> tuple[bytes, bool]:
    """The bytes of a Kinesis record, and whether they were in base64."""
    if isinstance(data, bytes | bytearray | memoryview):
        data = bytes(data)
        if not_base64 or data.startswith(MAGIC):  # no base64 starts so
            return data, False
    elif not isinstance(data, str):
        raise DecodeError(f"the data of a Kinesis record is of type {type(data).__name__}; expected base64 or bytes")
    try:
        return base64.b64decode(data), True
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"the data of a Kinesis record is not base64 ({error}): {data[:40]!r}") from None


def _user_record(record: Mapping[str, Any], user_record: ReceivedRecord, *, in_base64: bool) -> dict[str, Any]:
    data = base64.b64encode(user_record.data).decode("ascii") if in_base64 else user_record.data
    out = {field: value for field, value in record.items() if field not in ("data", "Data")}
    out["kinesis"] = {
        **_ABSENT,
        **record["kinesis"],
        "explicitHashKey": user_record.explicit_hash_key,
        "partitionKey": user_record.partition_key,
        "subSequenceNumber": user_record.sub_sequence_number,
        "aggregated": True,
        "data": data,
    }
    if "eventID" in out:
        out["eventID"] = f"{out['eventID']}:{user_record.sub_sequence_number}"
    return out
