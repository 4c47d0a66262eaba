"""The consumer's decisions, without I/O and without a clock.

Answers and the time come in; the calls to make, the records to deliver and a deadline go out. `engine` is the whole,
`coordinator` its part that shares leases, `hold` and `reader` its part for one shard, and `handling` says what follows
when a handler fails. May import `leases`, `unpacking` and `aws.errors`.
"""
