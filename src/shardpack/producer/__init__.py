"""The producer: what the KPL does, in Python; a core without I/O, and shells that do the I/O."""

from __future__ import annotations

from .config import ProducerConfig
from .core.metrics import ProducerStats, Statistics
from .delivery import Attempt, Delivery
from .shells.async_producer import AsyncProducer
from .shells.otel import METRIC_NAMES
from .shells.producer import Producer

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
