"""The consumer: what the KCL does, in Python; a core without I/O, and shells that do the I/O."""

from __future__ import annotations

from ..leases.dynamodb import DynamoDBLeases
from ..leases.fleet.settings import FleetConfig
from ..leases.lease import Lease, Leases
from ..leases.memory import MemoryLeases
from ..leases.sqlite import SQLiteLeases
from .batch import AsyncBatch, Batch
from .config import ConsumerConfig
from .loss import DataLoss
from .metrics import ConsumerStats
from .shells.async_consumer import AsyncConsumer
from .shells.consumer import Consumer

__all__ = [
    "AsyncBatch",
    "AsyncConsumer",
    "Batch",
    "Consumer",
    "ConsumerConfig",
    "ConsumerStats",
    "DataLoss",
    "DynamoDBLeases",
    "FleetConfig",
    "Lease",
    "Leases",
    "MemoryLeases",
    "SQLiteLeases",
]
