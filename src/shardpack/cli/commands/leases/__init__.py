"""`shardpack leases`: its commands, how far the checkpoints lag behind, and whether a new checkpoint can be right.

In comes a store of leases, out go tables, and changes as careful as a worker's. May import everything.
"""
