"""Exact parts of a stream, for whoever reads a stream as a table: planned once, and the same whenever they are read.

`core` decides and `shells` acts. Spark's source and the data frames stand on it. May import `consumer`, `leases`,
`arrow` and what is below them. Needs pyarrow and boto3.
"""
