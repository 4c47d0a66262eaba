"""What the Spark source and sink do: calls of Kinesis, and Spark's own classes around them.

`clients` makes clients, `stream` asks about a stream, `driver` plans batches, and `tasks` reads a part of a shard; none
of these needs Spark. `source` and `sink` are Spark's classes, and the only ones that import pyspark. May import `core`,
`arrow`, `aws`, `leases`, `producer` and `consumer`.
"""
