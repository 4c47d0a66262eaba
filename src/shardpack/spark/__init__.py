"""User records out of Kinesis records in Apache Spark.

Spark's columns of Kinesis records come in, columns of user records go out, by ``DataFrame.mapInArrow``. May import
`arrow` and what is below it; needs pyarrow, and no pyspark of its own.
"""

from __future__ import annotations

from .mapping import SCHEMA, unpack, unpacked

__all__ = ["SCHEMA", "unpack", "unpacked"]
