"""Kinesis streams in Apache Spark: a source and a sink, and columns of Kinesis records unpacked.

With Spark 4, `register` makes ``format("kinesis")`` known: streams and batches of user records come in and go out. With
any Spark since 3.5, columns of Kinesis records come in and columns of user records go out, by ``DataFrame.mapInArrow``.
`core` decides and `shells` acts. May import `ranges`, `consumer`, `producer`, `leases`, `arrow` and what is below
them. Needs pyarrow; only `register` needs pyspark.
"""

from __future__ import annotations

from .mapping import SCHEMA, unpack, unpacked
from .registration import register

__all__ = ["SCHEMA", "register", "unpack", "unpacked"]
