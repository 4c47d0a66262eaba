"""`shardpack tail`: the options, how a user record is written, where it ends, and which keys and shards are hot.

May import everything.
"""
