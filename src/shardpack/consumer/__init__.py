"""What the KCL does for Java: leases, checkpoints inside an aggregate, and shards in their order."""
