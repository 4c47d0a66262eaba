"""User records come in, Kinesis records go out.

`packer` fills aggregates, `route` says which user records may share one, `lookahead` chooses among those that wait, and
`requests` says how much a `PutRecords` call and a second of a shard can take. May import `wire` and what is below it.
It does no I/O and does not ask what time it is.
"""
