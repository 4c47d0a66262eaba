"""Ways to read a shard other than polling, and several streams as one.

`fan_out` and `streams` stand behind the calls of polling, so that core and shells know nothing of them. `directory` is
what `streams` knows. May import `aws`, and the keys of `leases`.
"""
