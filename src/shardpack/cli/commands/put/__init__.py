"""`shardpack put`: the options, and the run. May import everything."""
