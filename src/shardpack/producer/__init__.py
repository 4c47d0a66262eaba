"""The producer: what the KPL does, in Python; a core without I/O, and shells that do the I/O."""

from __future__ import annotations

from ._metrics import ProducerStats, Statistics
from ._otel import METRIC_NAMES
from .async_producer import AsyncProducer
from .config import ProducerConfig
from .delivery import Attempt, Delivery
from .producer import Producer

__all__ = [
    "METRIC_NAMES",
    "AsyncProducer",
    "Attempt",
    "Delivery",
    "Producer",
    "ProducerConfig",
    "ProducerStats",
    "Statistics",
]
