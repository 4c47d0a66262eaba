"""`register`."""

from __future__ import annotations

from typing import Any

from ..limits import shown


def register(spark: Any) -> None:
    """Make ``format("kinesis")`` known to a Spark session, for reading and writing, in batches and streams.

    ::

        shardpack.spark.register(spark)
        events = spark.readStream.format("kinesis").option("streamName", "clicks").load()

    docs/spark.md has the options, and says what is promised.

    Args:
        spark: a ``pyspark.sql.SparkSession`` of Spark 4.0 or later.

    Raises:
        TypeError: it is none.
    """
    if not hasattr(spark, "dataSource"):
        raise TypeError(
            f"spark is {shown(spark)}, of type {type(spark).__name__}; give a SparkSession of Spark 4.0 or later. On"
            " Spark 3.5, use df.mapInArrow(shardpack.spark.unpack, shardpack.spark.SCHEMA)"
        )
    from .shells.source import KinesisSource

    spark.dataSource.register(KinesisSource)
