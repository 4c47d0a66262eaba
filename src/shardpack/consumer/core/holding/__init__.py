"""The leases that this worker holds: what it reads of their shards, gives to the application, and writes to them.

Decisions only. `hold` is one lease, from its taking to its end; `reader` reads its shard, `delivered` is what the
application is given of it, and `ending` records the shard's end. `holds` are all of them. May import `core.sharing` and
the modules beside this room that decide nothing.
"""
