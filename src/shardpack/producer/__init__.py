"""The producer: what the KPL does, in Python; a core without I/O, and shells that do the I/O."""

from __future__ import annotations

from .config import ProducerConfig
from .delivery import Attempt, Delivery
from .producer import Producer

__all__ = ["Attempt", "Delivery", "Producer", "ProducerConfig"]
