"""`shardpack tail`: where a replay ends, and which keys and shards are hot. May import everything."""
