"""Who reads which shard, and how far they have come.

`lease` says what a lease is and what a store of leases does. `memory`, `sqlite` and `dynamodb` are the stores; `items`
says what a lease looks like in DynamoDB, `rows` writes them on conditions, and `table` makes the calls there. `plan`
says who should have how many leases, and `balance` which of them a worker takes or asks for. Stores are called by the
shells of the consumer; everything else here does no I/O. May import `records`, `errors` and `aws`.
"""

from __future__ import annotations

from .dynamodb import DynamoDBLeases
from .lease import Lease, Leases
from .memory import MemoryLeases
from .sqlite import SQLiteLeases

__all__ = ["DynamoDBLeases", "Lease", "Leases", "MemoryLeases", "SQLiteLeases"]
