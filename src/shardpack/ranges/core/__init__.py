"""What a reader of ranges decides, without an engine, without I/O and without a clock.

`marks` and `offsets` say how far a query has come, as Spark's checkpoint keeps it. `frontier` says which shards are to
be read, parents before children, and which are lost. `ends` chooses where a batch ends in a shard, by the answers of a
`Probe`; `limits` cuts that to so many rows or bytes. `ranges` is what a task reads, and `rows` the user records in it.
`options` is what a stream is read with. May import `consumer.core.shards`, `arrow` and what is below them.
"""
