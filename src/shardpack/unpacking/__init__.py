"""Kinesis records of any shape come in, user records go out.

`shapes` knows how boto3, Lambda, Firehose and others spell a Kinesis record, `unpacker` expands aggregates, and `kcl`
holds the rules by which the KCL would do it, its losses included. May import `wire` and what is below it. It does no
I/O and does not ask what time it is.
"""
