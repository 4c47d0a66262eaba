"""What the Spark source and sink do: Spark's own classes around what reads ranges and puts records.

`source` and `sink` are the only ones that import pyspark. May import `core`, `ranges`, `arrow`, `aws`, `producer` and
`consumer`.
"""
