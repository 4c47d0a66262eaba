"""What aggregation would save, measured by packing: `measure`, and what it takes and gives."""

from __future__ import annotations

from .measuring import measure
from .prices import Prices
from .rows import Growth, Measurement, Overhead, Point, Row, Sampling, Spread
from .strategy import Strategy, usual_strategies

__all__ = [
    "Growth",
    "Measurement",
    "Overhead",
    "Point",
    "Prices",
    "Row",
    "Sampling",
    "Spread",
    "Strategy",
    "measure",
    "usual_strategies",
]
