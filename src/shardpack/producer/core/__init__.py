"""The producer's decisions, without I/O and without a clock.

User records, answers and the time come in; the calls to make, what has become of each user record, and a deadline go
out. `engine` is the whole, `aggregator` fills aggregates, `outbox` makes calls of them, `settling` has the outcomes,
`stream` knows the shards, `places` chooses among them, `metrics` counts, `bulk` has the native core do what it does
faster with many user records. May import `wire`, `packing` and `aws.errors`.
"""
