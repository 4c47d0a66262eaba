"""`shardpack replay`: the options, and what is done with each message. May import everything."""
