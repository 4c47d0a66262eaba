"""The peers, each doing the same two jobs by its own public interface, and a plain loop on protobuf's C parser."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

from aiokpl.aggregation import UserRecord, decode_aggregated, encode_aggregated

from shardpack.wire._generated.kpl_pb2 import AggregatedRecord

# aws_kinesis_agg puts its own folder first on sys.path, where its modules shadow others.
_path = list(sys.path)
from aws_kinesis_agg.aggregator import RecordAggregator  # noqa: E402
from aws_kinesis_agg.deaggregator import deaggregate_records, iter_deaggregate_records  # noqa: E402

sys.path[:] = _path

_MAGIC = b"\xf3\x89\x9a\xc2"
_FRAME_BYTES = 20


def versions() -> dict[str, str]:
    """What is compared, and on which protobuf."""
    return {name: version(name) for name in ("aws-kinesis-agg", "aiokpl", "protobuf")}


def pack_with_aws_kinesis_agg(records: Iterable[tuple[str, bytes]], limit: int) -> list[bytes]:
    """Its loop from its README; short of the limit by more than the 20 bytes within which it loses records."""
    aggregator = RecordAggregator(limit - _FRAME_BYTES - 256)
    out = []
    for partition_key, data in records:
        full = aggregator.add_user_record(partition_key, data)
        if full:
            out.append(full.get_contents()[2])
    rest = aggregator.clear_and_get()
    if rest:
        out.append(rest.get_contents()[2])
    return out


def unpack_with_aws_kinesis_agg(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Its generator."""
    out: Iterator[dict[str, Any]] = iter_deaggregate_records(records, "Boto3" if "Data" in records[0] else None)
    return out


def unpack_into_list_with_aws_kinesis_agg(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Its best-known function, the one that Lambda examples use."""
    return iter(deaggregate_records(records))


def aiokpl_user_records(records: Iterable[tuple[str, bytes]]) -> list[UserRecord]:
    """What its encoder takes."""
    return [UserRecord(partition_key, data) for partition_key, data in records]


def pack_with_aiokpl(batches: Iterable[Sequence[UserRecord]]) -> list[bytes]:
    """Its encoder, on batches that someone else has sized."""
    return [encode_aggregated(batch) for batch in batches]


def unpack_with_aiokpl(records: Iterable[dict[str, Any]]) -> Iterator[Any]:
    """Its decoder, on each blob."""
    for blob in _blobs(records):
        yield from decode_aggregated(blob)


def pack_with_upb(records: Iterable[tuple[str, bytes]], limit: int) -> list[bytes]:
    """What one would write by hand: a message object per record, and an upper bound for its size."""
    out = []
    message, indices, size = AggregatedRecord(), dict[str, int](), _FRAME_BYTES
    for partition_key, data in records:
        cost = len(data) + 20 + (0 if partition_key in indices else len(partition_key.encode()) + 5)
        if size + cost > limit:
            out.append(_framed(message))
            message, indices, size = AggregatedRecord(), {}, _FRAME_BYTES
        index = indices.get(partition_key)
        if index is None:
            index = indices[partition_key] = len(indices)
            message.partition_key_table.append(partition_key.encode())
        message.records.add(partition_key_index=index, data=data)
        size += cost
    out.append(_framed(message))
    return out


def _framed(message: AggregatedRecord) -> bytes:
    body = message.SerializeToString()
    return _MAGIC + body + hashlib.md5(body).digest()


def unpack_with_upb(records: Iterable[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """What one would write by hand: check, parse, and pick (partition key, data) out of each record."""
    for blob in _blobs(records):
        body = blob[4:-16]
        if blob[:4] != _MAGIC or hashlib.md5(body).digest() != blob[-16:]:
            raise ValueError("not an aggregate")
        message = AggregatedRecord.FromString(body)
        keys = [key.decode() for key in message.partition_key_table]
        for user_record in message.records:
            yield keys[user_record.partition_key_index], user_record.data


def _blobs(records: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    for record in records:
        yield record["Data"] if "Data" in record else base64.b64decode(record["kinesis"]["data"])
