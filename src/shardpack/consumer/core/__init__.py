"""The consumer's decisions, without I/O and without a clock.

Answers and the time come in; the calls to make, the records to deliver and a deadline go out. `engine` is the whole.
`sharing` is its part that shares leases with other workers, `fleet` what a worker does where a leader shares them out,
`holding` its part for the shards of this worker, and `handling` says what follows when a handler fails. May import
`leases`, `unpacking` and `aws.errors`.
"""
