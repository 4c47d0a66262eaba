"""What AWS hands a function of a Kinesis stream, user record by user record, with an answer that loses none.

Lambda knows Kinesis records and nothing smaller: a function that fails inside an aggregate gets the whole of it again.
`process` runs a function over the user records in their order, tells Lambda where to go on (partial batch response),
and with a store of what is done hands each user record to the function once. `process_window` does so with the state
of a tumbling window. `replay` handles what Lambda gave up, once more.
`table_change` and `log_batch` take apart what DynamoDB and CloudWatch Logs put into a stream.

Importing this loads no client, no event loop and no protobuf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._decoders import LogBatch, LogEvent, TableChange, log_batch, table_change
from ._powertools import idempotency_key, powertools_event, powertools_records
from ._process import process
from ._replay import replay
from ._window import Window, process_window
from .progress import DynamoDBProgress, Progress, SQLiteProgress

if TYPE_CHECKING:
    from ..replay.shells.destinations import InvokeFunction, PutAgain

__all__ = [
    "DynamoDBProgress",
    "InvokeFunction",
    "LogBatch",
    "LogEvent",
    "Progress",
    "PutAgain",
    "SQLiteProgress",
    "TableChange",
    "Window",
    "idempotency_key",
    "log_batch",
    "powertools_event",
    "powertools_records",
    "process",
    "process_window",
    "replay",
    "table_change",
]


def __getattr__(name: str) -> Any:
    # A function that only processes batches need not load what makes calls.
    if name in ("InvokeFunction", "PutAgain"):
        from ..replay.shells import destinations

        return getattr(destinations, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
