"""A record processor under the KCL's MultiLangDaemon: the KCL for Java leases, reads and de-aggregates, Python handles.

The daemon starts one process for each shard, and talks to it in lines of JSON (KCL: ``MultiLangProtocol``). `run`,
`run_each` and `run_processor` are that process. The first two take the handlers of `Consumer.run` and
`Consumer.run_each`; the third takes a `RecordProcessor`, which decides about its checkpoints itself.
"""

from __future__ import annotations

from ..consumer.batch import Batch
from .handlers import run, run_each
from .processor import Checkpointer, RecordProcessor
from .streams import run_processor

__all__ = ["Batch", "Checkpointer", "RecordProcessor", "run", "run_each", "run_processor"]
