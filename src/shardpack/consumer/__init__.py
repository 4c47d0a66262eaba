"""The consumer: what the KCL does, in Python; a core without I/O, and shells that do the I/O."""

from __future__ import annotations

from .async_consumer import AsyncConsumer
from .batch import AsyncBatch, Batch
from .config import ConsumerConfig
from .consumer import Consumer
from .dynamodb_leases import DynamoDBLeases
from .leases import Lease, Leases
from .memory_leases import MemoryLeases
from .sqlite_leases import SQLiteLeases

__all__ = [
    "AsyncBatch",
    "AsyncConsumer",
    "Batch",
    "Consumer",
    "ConsumerConfig",
    "DynamoDBLeases",
    "Lease",
    "Leases",
    "MemoryLeases",
    "SQLiteLeases",
]
