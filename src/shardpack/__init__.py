"""shardpack packs user records into Amazon Kinesis records in the KPL's aggregated format, and unpacks them again.

Everything below is loaded at its first use, so that ``import shardpack`` costs next to nothing and a Lambda function
pays only for what it calls.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not from `typing`, which would load much (see `values`)

if TYPE_CHECKING:
    from .consumer.batch import AsyncBatch, Batch
    from .consumer.config import ConsumerConfig
    from .consumer.shells.async_consumer import AsyncConsumer
    from .consumer.shells.consumer import Consumer
    from .errors import (
        BatchDeliveryError,
        BufferFullError,
        CallError,
        CheckpointError,
        ChecksumMismatchError,
        DataLossError,
        DecodeError,
        DeliveryError,
        EncodeError,
        FileError,
        InvalidRecordError,
        LeaseLostError,
        LeaseStoreError,
        MalformedError,
        OutOfRangeError,
        RecordTooLargeError,
        ShardpackError,
        StateTooLargeError,
        TruncatedError,
    )
    from .hashing import Shard, ShardMap, hash_key
    from .leases.dynamodb import DynamoDBLeases
    from .leases.memory import MemoryLeases
    from .leases.sqlite import SQLiteLeases
    from .limits import Limits
    from .packing.packer import Packer, pack
    from .packing.requests import PutRequest, ShardBudget, put_requests
    from .producer import AsyncProducer, Attempt, Delivery, Producer, ProducerConfig, ProducerStats
    from .records import PackedRecord, Position, ReceivedRecord, UserRecord
    from .unpacking.unpacker import unpack
    from .wire import decode, encode, is_aggregated
    from .wire.backend import native

__version__ = "0.2.0"

_HOME = {
    name: module
    for module, names in {
        ".consumer.shells.async_consumer": ("AsyncConsumer",),
        ".consumer.batch": ("AsyncBatch", "Batch"),
        ".consumer.config": ("ConsumerConfig",),
        ".consumer.shells.consumer": ("Consumer",),
        ".leases.dynamodb": ("DynamoDBLeases",),
        ".leases.memory": ("MemoryLeases",),
        ".leases.sqlite": ("SQLiteLeases",),
        ".errors": (
            "BatchDeliveryError",
            "BufferFullError",
            "CallError",
            "CheckpointError",
            "ChecksumMismatchError",
            "DataLossError",
            "DecodeError",
            "DeliveryError",
            "EncodeError",
            "FileError",
            "InvalidRecordError",
            "LeaseLostError",
            "LeaseStoreError",
            "MalformedError",
            "OutOfRangeError",
            "RecordTooLargeError",
            "ShardpackError",
            "StateTooLargeError",
            "TruncatedError",
        ),
        ".hashing": ("Shard", "ShardMap", "hash_key"),
        ".limits": ("Limits",),
        ".packing.packer": ("Packer", "pack"),
        ".producer": ("AsyncProducer", "Attempt", "Delivery", "Producer", "ProducerConfig", "ProducerStats"),
        ".records": ("PackedRecord", "Position", "ReceivedRecord", "UserRecord"),
        ".packing.requests": ("PutRequest", "ShardBudget", "put_requests"),
        ".unpacking.unpacker": ("unpack",),
        ".wire": ("decode", "encode", "is_aggregated"),
        ".wire.backend": ("native",),
    }.items()
    for name in names
}

__all__ = [
    "AsyncBatch",
    "AsyncConsumer",
    "AsyncProducer",
    "Attempt",
    "Batch",
    "BatchDeliveryError",
    "BufferFullError",
    "CallError",
    "CheckpointError",
    "ChecksumMismatchError",
    "Consumer",
    "ConsumerConfig",
    "DataLossError",
    "DecodeError",
    "Delivery",
    "DeliveryError",
    "DynamoDBLeases",
    "EncodeError",
    "FileError",
    "InvalidRecordError",
    "LeaseLostError",
    "LeaseStoreError",
    "Limits",
    "MalformedError",
    "MemoryLeases",
    "OutOfRangeError",
    "PackedRecord",
    "Packer",
    "Position",
    "Producer",
    "ProducerConfig",
    "ProducerStats",
    "PutRequest",
    "ReceivedRecord",
    "RecordTooLargeError",
    "SQLiteLeases",
    "Shard",
    "ShardBudget",
    "ShardMap",
    "ShardpackError",
    "StateTooLargeError",
    "TruncatedError",
    "UserRecord",
    "decode",
    "encode",
    "hash_key",
    "is_aggregated",
    "native",
    "pack",
    "put_requests",
    "unpack",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # What `importlib.import_module` does; Python has not loaded `importlib` by itself.
    home = __import__(_HOME[name][1:], globals(), None, [name], 1)
    value: object = getattr(home, name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
