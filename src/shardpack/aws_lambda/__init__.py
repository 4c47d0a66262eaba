"""What AWS hands a function of a Kinesis stream, user record by user record, with an answer that loses none.

Lambda knows Kinesis records and nothing smaller: a function that fails inside an aggregate gets the whole of it again.
`process` runs a function over the user records in their order, tells Lambda where to go on (partial batch response),
and with a store of what is done hands each user record to the function once. `process_window` does so with the state
of a tumbling window. `replay` handles what Lambda gave up, once more.
`table_change` and `log_batch` take apart what DynamoDB and CloudWatch Logs put into a stream.

Each name is loaded at its first use, so that a function pays at its cold start for what it calls. Importing this loads
no client, no event loop and no protobuf.
"""

from __future__ import annotations

from ..values import TYPE_CHECKING

if TYPE_CHECKING:
    from ..replay.shells.destinations import InvokeFunction, PutAgain
    from ._decoders import LogBatch, LogEvent, TableChange, log_batch, table_change
    from ._powertools import idempotency_key, powertools_event, powertools_records
    from ._process import process
    from ._replay import replay
    from ._window import Window, process_window
    from .progress import DynamoDBProgress, Progress, SQLiteProgress

_HOME = {
    name: module
    for module, names in {
        "replay.shells.destinations": ("InvokeFunction", "PutAgain"),
        "aws_lambda._decoders": ("LogBatch", "LogEvent", "TableChange", "log_batch", "table_change"),
        "aws_lambda._powertools": ("idempotency_key", "powertools_event", "powertools_records"),
        "aws_lambda._process": ("process",),
        "aws_lambda._replay": ("replay",),
        "aws_lambda._window": ("Window", "process_window"),
        "aws_lambda.progress": ("DynamoDBProgress", "Progress", "SQLiteProgress"),
    }.items()
    for name in names
}

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


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = __import__(_HOME[name], globals(), None, [name], 2)  # as in `shardpack` itself
    value: object = getattr(home, name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
