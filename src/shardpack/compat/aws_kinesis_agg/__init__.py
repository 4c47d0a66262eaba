"""A stand-in for aws-kinesis-agg 1.2.3: change the import line, and nothing else.

``from aws_kinesis_agg.deaggregator import deaggregate_records`` becomes
``from shardpack.compat.aws_kinesis_agg.deaggregator import deaggregate_records``, and ``.aggregator`` likewise. What is
different on purpose is said in the docstrings of the two modules. Nothing of aws-kinesis-agg needs to be installed, and
both may be used side by side.
"""

from __future__ import annotations

from ...limits import MIB
from ...wire.format import CHECKSUM_BYTES as DIGEST_SIZE
from ...wire.format import MAGIC
from .aggregator import AggRecord, RecordAggregator
from .deaggregator import deaggregate_records, iter_deaggregate_records

MAX_BYTES_PER_RECORD = MIB
"""Most bytes of a Kinesis record, unless its stream was set to take larger ones (`PutRecord` API reference)."""

__all__ = [
    "DIGEST_SIZE",
    "MAGIC",
    "MAX_BYTES_PER_RECORD",
    "AggRecord",
    "RecordAggregator",
    "deaggregate_records",
    "iter_deaggregate_records",
]
