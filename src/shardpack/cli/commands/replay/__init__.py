"""`shardpack replay`: the options, and the run. May import everything."""
