"""What a reader of ranges does: calls of Kinesis.

`clients` makes clients, `stream` asks about a stream, `driver` plans batches, `backfill` a whole range of time or
positions, and `tasks` reads a part of a shard. `leases` asks how far an application has come. May import `core`,
`arrow`, `aws`, `leases` and `consumer`.
"""
