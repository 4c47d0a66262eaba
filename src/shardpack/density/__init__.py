"""What aggregation would save, measured by packing: `measure`, and what it takes and gives."""

from __future__ import annotations

from .measuring import measure
from .prices import Prices
from .rows import Measurement, Overhead, Row, Spread
from .strategy import Strategy, usual_strategies

__all__ = ["Measurement", "Overhead", "Prices", "Row", "Spread", "Strategy", "measure", "usual_strategies"]
