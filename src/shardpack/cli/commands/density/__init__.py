"""`shardpack density`: the options, the run, and the tables."""
