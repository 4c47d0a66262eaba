"""A Kinesis event source mapping's batch, user record by user record, with an answer that loses none.

Lambda knows Kinesis records and nothing smaller: a function that fails inside an aggregate gets the whole of it again.
`process` runs a function over the user records in their order, tells Lambda where to go on (partial batch response),
and with a store of what is done hands each user record to the function once.

Importing this loads no client, no event loop and no protobuf.
"""

from __future__ import annotations

from ._powertools import powertools_records
from ._process import process
from .progress import DynamoDBProgress, Progress, SQLiteProgress

__all__ = ["DynamoDBProgress", "Progress", "SQLiteProgress", "powertools_records", "process"]
