"""Firehose's data transformation: its event comes in, its answer goes out.

User records are taken out of their aggregates, handed to the application's function, and joined again into one output
record for each record that Firehose sent. May import `unpacking` and what is below it. It calls no service.
"""

from __future__ import annotations

from .transformation import MAX_RESPONSE_BYTES, Transform, Transformed, transform

__all__ = ["MAX_RESPONSE_BYTES", "Transform", "Transformed", "transform"]
