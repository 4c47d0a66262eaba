"""`shardpack tail`: the options, the run, where it ends, and which keys and shards are hot. May import everything."""
