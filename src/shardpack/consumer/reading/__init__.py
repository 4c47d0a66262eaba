"""Ways to read a shard other than polling.

`fan_out` stands behind the calls of polling, so that core and shells know nothing of it. May import `aws`.
"""
