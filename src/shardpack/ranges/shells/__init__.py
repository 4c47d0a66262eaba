"""What a reader of ranges does: calls of Kinesis.

`clients` makes clients, `stream` asks about a stream, `driver` plans batches, `backfill` a whole range of time or
positions, and `tasks` reads a part of a shard; `reading` is all of that for tables. `putting` puts the rows of an
engine's task. `leases` asks how far an application has come. May import `core`, `arrow`, `aws`, `leases`, `producer`
and `consumer`.
"""
