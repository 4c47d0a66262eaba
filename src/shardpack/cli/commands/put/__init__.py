"""`shardpack put`: the options, and the way of each line into a stream. May import everything."""
